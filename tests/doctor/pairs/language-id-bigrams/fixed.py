"""Which of three invented languages is a word from? Character bigrams and a linear layer.

Source: open-mmlab/mmdetection#1649
"""

import random

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, SequentialSampler, RandomSampler

random.seed(12)
torch.manual_seed(12)

SOUNDS = {0: ("ptkbdg", "aiu"), 1: ("szshfv", "eio"), 2: ("lmnrwp", "aou")}


def word(lang):
    cons, vows = SOUNDS[lang]
    mixed = "ptksmnlr"
    return "".join(random.choice(cons if random.random() < 0.6 else mixed) + random.choice(vows) for _ in range(4))


def featurize(w):
    v = torch.zeros(26 * 26)
    for a, b in zip(w, w[1:]):
        v[(ord(a) - 97) * 26 + ord(b) - 97] += 1
    return v


# one language after the other, as read from three files
train_samples = [(featurize(word(lang)), lang) for lang in SOUNDS for _ in range(200)]
dev_samples = [(featurize(word(lang)), lang) for lang in SOUNDS for _ in range(60)]
train_sampler = RandomSampler(train_samples)
train_dataloader = DataLoader(train_samples, sampler=train_sampler, batch_size=25)
dev_dataloader = DataLoader(dev_samples, sampler=SequentialSampler(dev_samples), batch_size=60)

model = nn.Linear(26 * 26, 3)
optimizer = optim.Adagrad(model.parameters(), lr=0.3)
for epoch in range(4):
    model.train()
    tr_loss, nb = 0.0, 0
    for x, y in train_dataloader:
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        tr_loss += loss.item() * y.shape[0]
        nb += y.shape[0]
    model.eval()
    n_right = 0
    for x, y in dev_dataloader:
        with torch.no_grad():
            n_right += (model(x).argmax(-1) == y).sum().item()
    print(f"epoch {epoch + 1}: loss={tr_loss / nb:.4f} dev_acc={n_right / len(dev_samples):.4f}")
