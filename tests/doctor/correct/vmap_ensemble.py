"""Train an ensemble in one go with stack_module_state, vmap and functional_call.

Source: pytorch/functorch model ensembling tutorial
"""

import copy

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

torch.manual_seed(3)
make = lambda: nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3))
models = [make() for _ in range(5)]
params, buffers = stack_module_state(models)
base_model = copy.deepcopy(models[0]).to("meta")

centres = torch.randn(3, 4) * 1.5
labels = torch.randint(0, 3, (500,))
points = centres[labels] + torch.randn(500, 4)
train_x, train_y, test_x, test_y = points[:400], labels[:400], points[400:], labels[400:]


def loss_of_one(p, b, x, y):
    return nn.functional.cross_entropy(functional_call(base_model, (p, b), (x,)), y)


step_all = vmap(grad_and_value(loss_of_one), in_dims=(0, 0, 0, 0))
predict_all = vmap(lambda p, b, x: functional_call(base_model, (p, b), (x,)), in_dims=(0, 0, None))
lr = 0.3
for step in range(60):
    # a bootstrap sample for each member
    rows = torch.randint(0, 400, (5, 64))
    grads, losses = step_all(params, buffers, train_x[rows], train_y[rows])
    with torch.no_grad():
        params = {name: (p - lr * grads[name]) for name, p in params.items()}
    if step % 20 == 19:
        with torch.no_grad():
            probabilities = predict_all(params, buffers, test_x).softmax(-1).mean(0)
        accuracy = (probabilities.argmax(-1) == test_y).float().mean().item()
        print(f"step {step + 1} losses {[round(v, 3) for v in losses.tolist()]} ensemble accuracy {accuracy:.3f}")
