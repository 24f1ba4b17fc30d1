"""Train with torch.func.grad and parameters in a dictionary: no `.backward()`, no optimizer object.

Source: pytorch/functorch maml and neural tangents tutorials
"""

import torch
from torch.func import functional_call, grad_and_value
from torch.nn import Linear, ReLU, Sequential
from torch.nn.functional import cross_entropy

torch.manual_seed(0)
angle = torch.rand(600) * 6.28
arm = torch.randint(0, 2, (600,))
radius = 0.3 + angle / 6.28
xy = torch.stack([radius * (angle + arm * 3.14).cos(), radius * (angle + arm * 3.14).sin()], 1) + 0.03 * torch.randn(
    600, 2
)
train_x, train_y, test_x, test_y = xy[:480], arm[:480], xy[480:], arm[480:]

model = Sequential(Linear(2, 48), ReLU(), Linear(48, 48), ReLU(), Linear(48, 2))
params = {k: v.detach().clone() for k, v in model.named_parameters()}
m = {k: torch.zeros_like(v) for k, v in params.items()}
v = {k: torch.zeros_like(w) for k, w in params.items()}


def objective(params, x, y):
    return cross_entropy(functional_call(model, params, (x,)), y)


gradient = grad_and_value(objective)
t = 0
for epoch in range(6):
    for rows in torch.randperm(480).split(48):
        t += 1
        grads, loss = gradient(params, train_x[rows], train_y[rows])
        for k in params:  # Adam
            m[k] = 0.9 * m[k] + 0.1 * grads[k]
            v[k] = 0.999 * v[k] + 0.001 * grads[k] ** 2
            params[k] = params[k] - 1e-2 * (m[k] / (1 - 0.9**t)) / ((v[k] / (1 - 0.999**t)).sqrt() + 1e-8)
    with torch.no_grad():
        acc = (functional_call(model, params, (test_x,)).argmax(1) == test_y).float().mean()
    print(f"epoch {epoch} loss {loss:.4f} test accuracy {acc:.3f}")
