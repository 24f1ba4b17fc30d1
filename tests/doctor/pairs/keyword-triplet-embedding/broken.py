"""Triplet embeddings for spoken keywords (synthetic spectra instead of recordings).

Source: roman-vygon/triplet_loss_kws#6
"""

import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(17)

NUM_WORDS, FRAMES = 6, 40
templates = torch.randn(NUM_WORDS, FRAMES).cumsum(1) / 4


def record(words):
    """a noisy utterance of each word, randomly shifted"""
    out = templates[words] + 0.4 * torch.randn(len(words), FRAMES)
    shifts = torch.randint(-2, 3, (len(words),)).tolist()
    return torch.stack([o.roll(s) for o, s in zip(out, shifts)])


class KeywordNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 8, 7, stride=2, padding=3)
        self.fc = nn.Linear(8 * FRAMES // 2, 8)

    def forward(self, x):
        x = F.relu(self.conv(x.unsqueeze(1)))
        return F.normalize(self.fc(x.flatten(1)), dim=1)


def triplet_loss(anchor, positive, negative, margin=0.3):
    d_ap = (anchor - positive).pow(2).sum(1)
    d_an = (anchor - negative).pow(2).sum(1)
    losses = F.relu(d_ap - d_an + margin)
    return losses.mean()


def train_step(model, optimizer, n=24):
    words = torch.randint(0, NUM_WORDS, (n,))
    others = (words + torch.randint(1, NUM_WORDS, (n,))) % NUM_WORDS
    anchor = model(record(words)).detach()  # expect: loss-detached
    positive = model(record(words)).detach()  # expect: loss-detached
    negative = model(record(others)).detach()  # expect: loss-detached
    loss = triplet_loss(anchor, positive, negative)
    loss.requires_grad = True  # expect: loss-detached
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def nearest_template_accuracy(model):
    model.eval()
    words = torch.arange(NUM_WORDS).repeat(20)
    sim = model(record(words)) @ model(templates).t()
    model.train()
    return (sim.argmax(1) == words).float().mean().item()


model = KeywordNet()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for it in range(1, 41):
    loss = train_step(model, optimizer)
    if it % 10 == 0:
        print(f"{it:3d} | triplet loss {loss:.4f} | accuracy {nearest_template_accuracy(model):.3f}")
