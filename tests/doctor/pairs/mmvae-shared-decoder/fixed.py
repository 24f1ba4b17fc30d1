"""Two modality autoencoder: own encoders and decoders, a shared core between them.

Source: zdebruine/MMVAE#39
"""

import itertools

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(30)


class Core(nn.Module):
    def __init__(self, width=16, latent=3):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, 16), nn.ELU(), nn.Linear(16, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 16), nn.ELU(), nn.Linear(16, width))

    def forward(self, h):
        return self.decoder(self.encoder(h))


class Expert(nn.Module):
    def __init__(self, n_in, width=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_in, width), nn.ELU())
        self.decoder = nn.Linear(width, n_in)


core = Core()
experts = nn.ModuleDict({"rna": Expert(20), "atac": Expert(12)})

shared_opt = torch.optim.Adam(core.parameters(), lr=5e-3)
expert_opt = torch.optim.Adam(itertools.chain(*[e.parameters() for e in experts.values()]), lr=5e-3)

z = torch.randn(700, 3)
cells = {
    "rna": torch.tanh(z @ torch.randn(3, 20)) + 0.05 * torch.randn(700, 20),
    "atac": torch.sin(z @ torch.randn(3, 12)) + 0.05 * torch.randn(700, 12),
}


def loss_fn(name, x):
    e = experts[name]
    return F.mse_loss(e.decoder(core(e.encoder(x))), x)


for epoch in range(5):
    core.train(), experts.train()
    for idx in torch.randperm(600).split(50):
        shared_opt.zero_grad()
        expert_opt.zero_grad()
        loss = sum(loss_fn(name, x[idx]) for name, x in cells.items())
        loss.backward()
        shared_opt.step()
        expert_opt.step()
    core.eval(), experts.eval()
    with torch.no_grad():
        report = {name: round(loss_fn(name, x[600:]).item(), 4) for name, x in cells.items()}
    print("epoch", epoch, report)
