"""Differentially private SGD: per-sample gradients by vmap are clipped, summed, noised and written to `.grad`.

Source: meta-pytorch/opacus
"""

import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.func import functional_call, grad, vmap

torch.manual_seed(0)
X, y = load_iris(return_X_y=True)
perm = torch.randperm(150)
X, y = torch.tensor(X, dtype=torch.float32)[perm], torch.tensor(y)[perm]
mean, std = X[:110].mean(0), X[:110].std(0)
X = (X - mean) / std

model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
max_grad_norm, noise_multiplier, batch_size = 1.0, 0.4, 32


def compute_loss(params, sample, target):
    out = functional_call(model, params, (sample.unsqueeze(0),))
    return nn.functional.cross_entropy(out, target.unsqueeze(0))


ft_compute_sample_grad = vmap(grad(compute_loss), in_dims=(None, 0, 0))

for step in range(1, 41):
    take = torch.rand(110) < batch_size / 110  # Poisson sampling
    params = {k: v.detach() for k, v in model.named_parameters()}
    per_sample = ft_compute_sample_grad(params, X[:110][take], y[:110][take])
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in per_sample.values()], 1).norm(dim=1)
    factor = (max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
    for name, p in model.named_parameters():
        summed = torch.einsum("n,n...->...", factor, per_sample[name])
        p.grad = (summed + noise_multiplier * max_grad_norm * torch.randn_like(p)) / batch_size
    optimizer.step()
    if step % 10 == 0:
        with torch.no_grad():
            acc = (model(X[110:]).argmax(1) == y[110:]).float().mean().item()
        print(f"step {step}: clipped {(norms > max_grad_norm).float().mean().item():.2f} test accuracy {acc:.3f}")
