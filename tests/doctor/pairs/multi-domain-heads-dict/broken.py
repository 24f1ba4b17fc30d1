"""Three domains, one trunk, a head per domain (kept by name).

Source: asyml/texar-pytorch#72
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(77)

DOMAINS = ["books", "films", "music"]
W = {d: torch.randn(16, 4) for d in DOMAINS}


def make(domain, n):
    x = torch.randn(n, 16)
    return x, (x @ W[domain] + 0.3 * torch.randn(n, 4)).argmax(1)


class MultiDomain(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(16, hidden), nn.ReLU())
        self.heads = {d: nn.Linear(hidden, 4) for d in DOMAINS}  # expect: module-not-registered

    def forward(self, x, domain):
        return self.heads[domain](self.trunk(x))


model = MultiDomain()
opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
loss_fn = nn.CrossEntropyLoss()
loaders = {d: DataLoader(TensorDataset(*make(d, 320)), batch_size=32, shuffle=True) for d in DOMAINS}
valid = {d: make(d, 200) for d in DOMAINS}

for epoch in range(5):
    model.train()
    for batches in zip(*loaders.values()):
        opt.zero_grad()
        loss = sum(loss_fn(model(x, d), y) for d, (x, y) in zip(DOMAINS, batches)) / len(DOMAINS)
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        accs = [(model(x, d).argmax(1) == y).float().mean().item() for d, (x, y) in valid.items()]
    print(f"epoch {epoch}: " + ", ".join(f"{d} {a:.3f}" for d, a in zip(DOMAINS, accs)))
