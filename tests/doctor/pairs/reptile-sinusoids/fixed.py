"""Reptile on few shot sine regression: adapt to a task, then move the start towards the adapted weights.

Source: pytorch/pytorch#34765
"""

from copy import deepcopy

import numpy as np
import torch
from torch import nn

rng = np.random.RandomState(0)
torch.manual_seed(0)

inner_step, inner_epochs, outer_step, iterations = 0.02, 3, 0.5, 40
x_all = np.linspace(-5, 5, 50)[:, None]
n_train = 10


def gen_task():
    phase, amplitude = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 2)
    return lambda x: np.sin(x + phase) * amplitude


model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


def to_torch(x):
    return torch.tensor(x, dtype=torch.float32)


def inner_loop(x, y):
    opt = torch.optim.SGD(model.parameters(), lr=inner_step)
    for _ in range(inner_epochs):
        for start in range(0, len(x), n_train):
            mb = slice(start, start + n_train)
            opt.zero_grad()
            loss = (model(to_torch(x[mb])) - to_torch(y[mb])).pow(2).mean()
            loss.backward()
            opt.step()


x_probe = rng.uniform(-5, 5, (30, 1))
probe_tasks = [gen_task() for _ in range(5)]
for iteration in range(iterations):
    weights_before = deepcopy(model.state_dict())
    f = gen_task()
    order = rng.permutation(len(x_all))
    inner_loop(x_all[order], f(x_all[order]))
    weights_after = model.state_dict()
    step = outer_step * (1 - iteration / iterations)  # linear schedule
    model.load_state_dict(
        {name: weights_before[name] + (weights_after[name] - weights_before[name]) * step for name in weights_before}
    )
    if (iteration + 1) % 10 == 0:
        with torch.no_grad():
            losses = [(model(to_torch(x_probe)) - to_torch(g(x_probe))).pow(2).mean().item() for g in probe_tasks]
        print(f"iteration {iteration + 1} loss before adaptation on other tasks {np.mean(losses):.4f}")
