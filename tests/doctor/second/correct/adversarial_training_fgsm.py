"""Adversarial training: input gradients in training and in the robust evaluation.

Source: ashafahi/free_adv_train#4
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)
d = load_digits()
X, Y = torch.tensor(d.data / 16, dtype=torch.float32), torch.tensor(d.target)
perm = torch.randperm(len(X))
X, Y = X[perm], Y[perm]
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
opt = torch.optim.Adam(model.parameters(), lr=5e-3)


def fgsm(model, x, y, eps=0.1):
    was_training = model.training
    model.eval()
    x = x.clone().requires_grad_(True)
    F.cross_entropy(model(x), y).backward()  # also fills the weights' gradients; cleared before they are used
    model.train(was_training)
    return (x + eps * x.grad.sign()).clamp(0, 1).detach()


for epoch in range(3):
    model.train()
    for idx in torch.randperm(1400).split(70):
        adv = fgsm(model, X[idx], Y[idx])
        opt.zero_grad()
        loss = 0.5 * F.cross_entropy(model(X[idx]), Y[idx]) + 0.5 * F.cross_entropy(model(adv), Y[idx])
        loss.backward()
        opt.step()
    print(epoch, round(loss.item(), 4))
model.eval()
clean = (model(X[1400:]).argmax(1) == Y[1400:]).float().mean().item()
robust = (model(fgsm(model, X[1400:], Y[1400:])).argmax(1) == Y[1400:]).float().mean().item()
print("clean", round(clean, 4), "robust", round(robust, 4))
