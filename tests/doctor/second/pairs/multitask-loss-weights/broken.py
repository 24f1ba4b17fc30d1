"""Two heads over one trunk; the losses are summed with fixed weights.

Source: speechbrain/speechbrain#735
"""

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 32), nn.ReLU())
        self.kind = nn.Linear(32, 3)
        self.size = nn.Linear(32, 1)

    def forward(self, x):
        h = self.trunk(x)
        return {"kind": self.kind(h), "size": self.size(h).squeeze(-1)}


def make_data(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 10, generator=g)
    kind = x[:, :3].argmax(1)
    size = x[:, 3] * x[:, 4] + 0.5 * x[:, 5]
    return TensorDataset(x, kind, size)


weights = {"kind": 1.0, "size": 0.5}
model = TwoHeads()
optimizer = optim.Adam(model.parameters(), lr=5e-3)
train_loader = DataLoader(make_data(640, 0), batch_size=64, shuffle=True)
test_x, test_kind, test_size = make_data(256, 1).tensors

for epoch in range(5):
    model.train()
    for x, kind, size in train_loader:
        out = model(x)
        parts = {
            "kind": nn.functional.cross_entropy(out["kind"], kind),
            "size": nn.functional.mse_loss(out["size"], size),
        }
        loss = torch.tensor(sum(weights[k] * parts[k] for k in parts), requires_grad=True)  # expect: loss-detached
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        out = model(test_x)
        acc = (out["kind"].argmax(1) == test_kind).float().mean()
        mse = nn.functional.mse_loss(out["size"], test_size)
    print(f"epoch {epoch}: kind acc {acc:.3f}, size mse {mse:.4f}")
