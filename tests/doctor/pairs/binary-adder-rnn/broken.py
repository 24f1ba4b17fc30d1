"""Learn to add binary numbers bit by bit with a hand written RNN cell.

Source: zhaoyuzhi/deepfillv2#6
"""

import torch
import torch.nn as nn

torch.manual_seed(5)

BITS = 8


def make_batch(n):
    a = torch.randint(0, 2 ** (BITS - 1), (n,))
    b = torch.randint(0, 2 ** (BITS - 1), (n,))
    shifts = torch.arange(BITS)  # least significant bit first
    bits = lambda v: ((v.unsqueeze(1) >> shifts) & 1).float()
    return torch.stack([bits(a), bits(b)], dim=2), bits(a + b)


class Adder(nn.Module):
    def __init__(self, hidden=12):
        super().__init__()
        self.hidden = hidden
        self.inp = nn.Linear(2, hidden)
        self.rec = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        h = x.new_zeros(x.size(0), self.hidden)
        ys = []
        for t in range(x.size(1)):
            h = torch.tanh(self.inp(x[:, t]) + self.rec(h))
            ys.append(self.out(h))
        return torch.cat(ys, dim=1)


model = Adder()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
criterion = nn.BCEWithLogitsLoss()

it = 0
while it < 80:
    model.train()
    x, y = make_batch(32)
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()  # expect: step-never-called
    it += 1
    if it % 20 == 0:
        model.eval()
        with torch.no_grad():
            x, y = make_batch(128)
            bit_acc = ((model(x) > 0) == (y > 0.5)).float().mean().item()
        print(f"iter {it}: loss {loss.item():.4f} bit accuracy {bit_acc:.3f}")
