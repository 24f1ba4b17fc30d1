"""SimSiam: a predictor on one branch and a stop-gradient on the other.

Source: facebookresearch/simsiam
"""

import torch
from torch import nn
from torch.utils.data import DataLoader


class SimSiam(nn.Module):
    def __init__(self, n_in, dim=48, pred_dim=16):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(n_in, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(inplace=True),
            nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim, affine=False),
        )  # fmt: skip
        self.predictor = nn.Sequential(
            nn.Linear(dim, pred_dim, bias=False),
            nn.BatchNorm1d(pred_dim),
            nn.ReLU(inplace=True),
            nn.Linear(pred_dim, dim),
        )

    def forward(self, x1, x2):
        z1, z2 = self.encoder(x1), self.encoder(x2)
        return self.predictor(z1), self.predictor(z2), z1.detach(), z2.detach()


def views(x):
    drop = lambda v: v * (torch.rand_like(v) > 0.2)
    return drop(x + 0.1 * torch.randn_like(x)), drop(x + 0.1 * torch.randn_like(x))


torch.manual_seed(31)
basis = torch.randn(6, 24)
x = torch.randn(512, 6) @ basis / 2
loader = DataLoader(x, batch_size=64, shuffle=True)
model = SimSiam(24)
criterion = nn.CosineSimilarity(dim=1)
optim_params = [
    {"params": model.encoder.parameters(), "fix_lr": False},
    {"params": model.predictor.parameters(), "fix_lr": True},
]
optimizer = torch.optim.SGD(optim_params, 0.05, momentum=0.9, weight_decay=1e-4)

epochs = 6
for epoch in range(epochs):
    cur_lr = 0.05 * 0.5 * (1.0 + torch.cos(torch.tensor(torch.pi * epoch / epochs)).item())
    for group in optimizer.param_groups:
        group["lr"] = 0.05 if group["fix_lr"] else cur_lr
    model.train()
    meter = 0.0
    for batch in loader:
        p1, p2, z1, z2 = model(*views(batch))
        loss = -(criterion(p1, z2).mean() + criterion(p2, z1).mean()) * 0.5
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        meter += loss.item() * len(batch)
    spread = nn.functional.normalize(z1, dim=1).std(0).mean().item()
    print(f"epoch {epoch} loss {meter / len(x):.4f} std of the outputs {spread:.4f} (1/sqrt(d) = {48**-0.5:.4f})")
