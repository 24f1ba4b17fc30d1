"""Ensemble of eight nets trained at once with vmap and functional_call.

Source: pytorch/pytorch#88850
"""

import copy

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

torch.manual_seed(0)
nets = [nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 1)) for _ in range(8)]
params, buffers = stack_module_state(nets)
params = {k: v.detach() for k, v in params.items()}
base = copy.deepcopy(nets[0]).to("meta")
x = torch.rand(400, 2) * 2 - 1
y = torch.sin(3 * x[:, :1]) + x[:, 1:] ** 2 + 0.05 * torch.randn(400, 1)


def loss_of(p, b, xb, yb):
    return nn.functional.mse_loss(functional_call(base, (p, b), (xb,)), yb)


step = vmap(grad_and_value(loss_of), in_dims=(0, 0, None, None))
for it in range(150):
    idx = torch.randint(0, 320, (64,))
    grads, losses = step(params, buffers, x[idx], y[idx])
    params = {k: v - 0.1 * grads[k] for k, v in params.items()}
    if it % 50 == 49:
        print(it + 1, [round(v, 3) for v in losses.tolist()])
with torch.no_grad():
    outs = vmap(lambda p, b: functional_call(base, (p, b), (x[320:],)))(params, buffers)
    single = ((outs - y[320:]) ** 2).mean().item()
    print("single", round(single, 4), "ensemble", round(((outs.mean(0) - y[320:]) ** 2).mean().item(), 4))
