"""The adding problem with a plain recurrent net of rectified units.

Source: mahmoodlab/CLAM#184
"""

import torch
from torch import nn

torch.manual_seed(0)
T = 40


def batch(n):
    values = torch.rand(n, T)
    marks = torch.zeros(n, T)
    marks[torch.arange(n), torch.randint(0, T // 2, (n,))] = 1
    marks[torch.arange(n), torch.randint(T // 2, T, (n,))] = 1
    return torch.stack([values, marks], 2), (values * marks).sum(1)


class Adder(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.rnn = nn.RNN(2, hidden, nonlinearity="relu", batch_first=True)
        nn.init.eye_(self.rnn.weight_hh_l0)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1]).squeeze(1)


net = Adder()
opt = torch.optim.SGD(net.parameters(), lr=0.003)
for it in range(60):
    x, y = batch(32)
    loss = nn.functional.mse_loss(net(x), y)  # may: loss-not-finite
    opt.zero_grad()
    loss.backward()  # expect: gradients-exploding
    opt.step()
    if it % 10 == 0:
        norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm().item()
        print(f"{it:3d} loss {loss.item():.4f} gradient norm {norm:.2f}")
net.eval()
with torch.no_grad():
    x, y = batch(200)
    print("test mse", round(nn.functional.mse_loss(net(x), y).item(), 4))
