"""Contrastive learning: two views of a digit are to be alike, others not; then ten labels of each class are enough."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

import truestep as ts

TEMPERATURE = 0.2

pixels, labels = load_digits(return_X_y=True)
images, targets = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)
train = ts.Batches(images[:1300], batch_size=128, shuffle=True)  # no labels


def view(images):
    """Move each image by up to a pixel, change its strength, and cover a square of it."""
    moves = torch.randint(-1, 2, (len(images), 2)) * 0.25  # a pixel is a quarter of -1 to 1
    grid = F.affine_grid(torch.eye(2, 3).repeat(len(images), 1, 1), list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid + moves[:, None, None], align_corners=False)
    images = images * (0.7 + 0.6 * torch.rand(len(images), 1, 1, 1))
    top, left = torch.randint(0, 6, (2, len(images), 1, 1, 1))
    rows, columns = torch.arange(8).view(1, 1, 8, 1), torch.arange(8).view(1, 1, 1, 8)
    covered = (rows >= top) & (rows < top + 3) & (columns >= left) & (columns < left + 3)
    return images.masked_fill(covered, 0.0)


def contrastive_loss(first, second):
    """NT-Xent (Chen et al. 2020): of all other views, each has to find its partner."""
    features = F.normalize(torch.cat([first, second]), dim=1)
    similarity = features @ features.T / TEMPERATURE
    similarity = similarity.masked_fill(torch.eye(len(features), dtype=torch.bool), -torch.inf)  # not with itself
    partners = torch.arange(len(features)).roll(len(first))
    return F.cross_entropy(similarity, partners)


def probe(encoder):
    """How well a linear model on frozen features tells the digits apart, from 100 labels."""
    encoder.eval()
    with torch.no_grad():
        features = encoder(images)
    fitted = LogisticRegression(max_iter=2000).fit(features[:100], targets[:100])
    return ts.metrics.accuracy(torch.tensor(fitted.predict(features[1300:])), targets[1300:])


torch.manual_seed(0)
encoder = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten()
)
head = nn.Sequential(nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 32))  # thrown away afterwards
before = probe(encoder)
optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=2e-3)
for epoch in range(15):
    mean = ts.RunningMean()
    encoder.train()
    for batch in train.epoch(epoch):
        optimizer.zero_grad()
        loss = contrastive_loss(head(encoder(view(batch))), head(encoder(view(batch))))
        loss.backward()
        optimizer.step()
        mean.add(loss, weight=len(batch))
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1}: loss {mean.compute():.4f}")
print(f"before {before:.4f}")
print(f"after {probe(encoder):.4f}")
