"""Model-agnostic meta-learning on sine waves, second order: the inner step is part of the graph.

Source: cbfinn/maml, AntreasAntoniou/HowToTrainYourMAMLPytorch
"""

import torch
from torch import nn
from torch.func import functional_call


def sample_task():
    amplitude, phase = torch.rand(1) * 4.9 + 0.1, torch.rand(1) * torch.pi
    draw = lambda n: (torch.rand(n, 1) * 10 - 5,)
    (xs,), (xq,) = draw(10), draw(10)
    return (xs, amplitude * (xs - phase).sin()), (xq, amplitude * (xq - phase).sin())


def adapt(model, support, inner_lr=0.01, steps=1, create_graph=True):
    x, y = support
    params = dict(model.named_parameters())
    for _ in range(steps):
        loss = nn.functional.mse_loss(functional_call(model, params, (x,)), y)
        grads = torch.autograd.grad(loss, list(params.values()), create_graph=create_graph)
        params = {name: p - inner_lr * g for (name, p), g in zip(params.items(), grads)}
    return params


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
meta_opt = torch.optim.Adam(model.parameters(), lr=2e-3)

for it in range(1, 61):
    meta_opt.zero_grad()
    meta_loss = 0.0
    for _ in range(4):
        support, (xq, yq) = sample_task()
        fast = adapt(model, support)
        meta_loss = meta_loss + nn.functional.mse_loss(functional_call(model, fast, (xq,)), yq)
    meta_loss = meta_loss / 4
    meta_loss.backward()
    meta_opt.step()
    if it % 20 == 0:
        errors = []
        for _ in range(10):
            support, (xq, yq) = sample_task()
            fast = adapt(model, support, steps=3, create_graph=False)
            with torch.no_grad():
                errors.append(nn.functional.mse_loss(functional_call(model, fast, (xq,)), yq).item())
        print(
            f"iteration {it} meta loss {meta_loss.item():.3f} after 3 steps on new tasks {sum(errors) / len(errors):.3f}"
        )
