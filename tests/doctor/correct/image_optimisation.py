"""Optimise an image instead of weights: the optimizer holds one tensor, the network is frozen and in eval mode.

Source: pytorch/tutorials neural_style_tutorial
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
# a fixed random feature extractor stands in for VGG
features = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU()
).eval()
features.requires_grad_(False)


def gram(x):
    b, c, h, w = x.shape
    f = x.view(b, c, h * w)
    return f @ f.transpose(1, 2) / (c * h * w)


t = torch.linspace(0, 12, 24)
content = (t[:, None].sin() + t[None, :].cos()).view(1, 1, 24, 24)
style = torch.rand(1, 1, 24, 24)
content_target, style_target = features(content).detach(), gram(features(style)).detach()
input_img = torch.randn(1, 1, 24, 24, requires_grad=True)
optimizer = torch.optim.LBFGS([input_img], max_iter=4)

for run in range(8):

    def closure():
        optimizer.zero_grad()
        out = features(input_img)
        loss = F.mse_loss(out, content_target) + 100 * F.mse_loss(gram(out), style_target)
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    if run % 2 == 1:
        print(f"run {run + 1}: loss {loss.item():.6f}")
with torch.no_grad():
    input_img.clamp_(-2, 2)
print("changed by", round((input_img.detach() - content).abs().mean().item(), 4))
