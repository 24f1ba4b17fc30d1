"""Reptile: train a copy on each task with plain SGD, then move the weights towards the copy.

Source: openai/supervised-reptile
"""

from copy import deepcopy

import numpy as np
import torch
from torch import nn

seed, inner_step_size, inner_epochs, outer_step_size0, n_iterations = 0, 0.02, 1, 0.1, 60
rng = np.random.RandomState(seed)
torch.manual_seed(seed)
x_all = np.linspace(-5, 5, 50)[:, None]
n_train = 10


def gen_task():
    phase, ampl = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 5)
    return lambda x: np.sin(x + phase) * ampl


def totorch(x):
    return torch.tensor(x, dtype=torch.float32)


model = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))


def train_on_batch(x, y):
    x, y = totorch(x), totorch(y)
    model.zero_grad()
    loss = (model(x) - y).pow(2).mean()
    loss.backward()
    for param in model.parameters():
        param.data -= inner_step_size * param.grad.data


def predict(x):
    with torch.no_grad():
        return model(totorch(x)).numpy()


f_plot = gen_task()
xtrain_plot = x_all[rng.choice(len(x_all), size=n_train)]

for iteration in range(n_iterations):
    weights_before = deepcopy(model.state_dict())
    f = gen_task()
    y_all = f(x_all)
    for _ in range(inner_epochs):
        inds = rng.permutation(len(x_all))
        for start in range(0, len(x_all), n_train):
            mbinds = inds[start : start + n_train]
            train_on_batch(x_all[mbinds], y_all[mbinds])
    # interpolate between the weights before and the weights trained on this task
    weights_after = model.state_dict()
    outer_step_size = outer_step_size0 * (1 - iteration / n_iterations)
    model.load_state_dict(
        {
            name: weights_before[name] + (weights_after[name] - weights_before[name]) * outer_step_size
            for name in weights_before
        }
    )

    if (iteration + 1) % 20 == 0:
        f = f_plot
        weights_before = deepcopy(model.state_dict())
        for inneriter in range(8):
            train_on_batch(xtrain_plot, f(xtrain_plot))
        lossval = np.square(predict(x_all) - f(x_all)).mean()
        model.load_state_dict(weights_before)  # restore from snapshot
        print(f"iteration {iteration + 1}: loss on the plotted curve from {n_train} examples {lossval:.3f}")
