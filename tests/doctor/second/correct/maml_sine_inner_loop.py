"""Second-order MAML on sine waves; the inner loop never touches an optimizer.

Source: facebookresearch/higher#60
"""

import torch
from torch import nn
from torch.func import functional_call

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
meta = torch.optim.Adam(net.parameters(), lr=1e-2)


def task():
    amp, phase = torch.rand(1) * 2 + 0.5, torch.rand(1) * 3
    draw = lambda n: (lambda x: (x, amp * torch.sin(x + phase)))(torch.rand(n, 1) * 10 - 5)
    return draw(10), draw(10)


def adapt(params, support, steps, lr=0.02, create_graph=True):
    x, y = support
    for _ in range(steps):
        loss = nn.functional.mse_loss(functional_call(net, params, (x,)), y)
        grads = torch.autograd.grad(loss, list(params.values()), create_graph=create_graph)
        params = {k: p - lr * g for (k, p), g in zip(params.items(), grads)}
    return params


for it in range(75):
    meta.zero_grad()
    total = 0.0
    for _ in range(4):
        support, (xq, yq) = task()
        fast = adapt(dict(net.named_parameters()), support, 2)
        loss = nn.functional.mse_loss(functional_call(net, fast, (xq,)), yq) / 4
        loss.backward()  # four tasks add up to one meta step
        total += loss.item()
    meta.step()
    if it % 25 == 24:
        print(it, round(total, 4))

before = after = 0.0
for _ in range(10):
    support, (xq, yq) = task()
    params = {k: p.detach().clone().requires_grad_() for k, p in net.named_parameters()}
    with torch.no_grad():
        before += nn.functional.mse_loss(functional_call(net, params, (xq,)), yq).item() / 10
    params = adapt(params, support, 3, create_graph=False)
    with torch.no_grad():
        after += nn.functional.mse_loss(functional_call(net, params, (xq,)), yq).item() / 10
print("before", round(before, 4), "after", round(after, 4))
