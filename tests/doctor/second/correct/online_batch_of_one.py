"""Online learning: one example at a time, in the order of arrival, error counted before learning.

Source: spro/practical-pytorch#9
"""

import torch
from torch import nn

torch.manual_seed(0)
w = torch.tensor([1.0, -2.0, 0.5])
model = nn.Linear(3, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.05)
mistakes, window = 0, []
for t in range(400):
    x = torch.randn(1, 3)
    if t == 200:
        w = -w  # the world changes
    y = ((x @ w) > 0).float().unsqueeze(1)
    out = model(x)
    wrong = float((out > 0).float().item() != y.item())
    loss = nn.functional.binary_cross_entropy_with_logits(out, y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    window.append(wrong)
    if t % 50 == 49:
        print(t + 1, "error rate of the last fifty", sum(window[-50:]) / 50)
