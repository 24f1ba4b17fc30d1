"""Grad-CAM: hooks keep activations and gradients of a layer, backward in eval mode and no step after it.

Source: jacobgil/pytorch-grad-cam
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class GradCAM:
    def __init__(self, model, layer):
        self.model, self.activation, self.gradient = model, None, None
        self.handles = [layer.register_forward_hook(self.keep)]

    def keep(self, module, inputs, output):
        self.activation = output
        if output.requires_grad:
            output.register_hook(lambda g: setattr(self, "gradient", g))

    def __call__(self, image):
        self.model.eval()
        logits = self.model(image)
        self.model.zero_grad()
        logits.max(1).values.sum().backward()
        weights = self.gradient.mean((2, 3), keepdim=True)
        return F.relu((weights * self.activation).sum(1)).detach()

    def remove(self):
        for h in self.handles:
            h.remove()


def make(n):
    """A cross or a ring somewhere on noise."""
    x, y = 0.3 * torch.randn(n, 1, 12, 12), torch.randint(0, 2, (n,))
    place = torch.randint(1, 7, (n, 2))
    cross = torch.eye(5) + torch.eye(5).flip(1)
    ring = F.pad(torch.zeros(3, 3), (1, 1, 1, 1), value=1.0)
    for i, (r, c) in enumerate(place.tolist()):
        x[i, 0, r : r + 5, c : c + 5] += cross if y[i] else ring
    return x, y, place


torch.manual_seed(0)
x, y, _ = make(400)
xt, yt, place = make(100)
features = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU())
model = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(4):
    model.train()
    for xb, yb in DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(f"epoch {epoch} loss {loss.item():.3f} acc {(model(xt).argmax(1) == yt).float().mean():.3f}")

cam = GradCAM(model, features[2])
inside = 0
for i in range(20):
    heat = cam(xt[i : i + 1])[0]
    r, c = divmod(heat.argmax().item(), 12)
    inside += bool(place[i, 0] - 1 <= r <= place[i, 0] + 5 and place[i, 1] - 1 <= c <= place[i, 1] + 5)
cam.remove()
print(f"hottest point on the figure in {inside} of 20")
