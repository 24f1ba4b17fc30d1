"""Train a model to tell classes apart.

python plain.py --out FOLDER
"""

import argparse
import math
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

SEED = 0
EPOCHS = 10
BATCH_SIZE = 32
LR = 0.003
WEIGHT_DECAY = 0.3
WARMUP = 0.05
VALID = 0.15
TEST = 0.15
SALT = 0x2884C7F1BD5D38A7  # another number gives another split


def digest(content):
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def mixed(keys):
    """Scatter 64-bit keys evenly (the finaliser of SplitMix64)."""
    keys = keys + 0x9E3779B97F4A7C15
    keys = (keys ^ (keys >> 30)) * 0xBF58476D1CE4E5B9
    keys = (keys ^ (keys >> 27)) * 0x94D049BB133111EB
    return keys ^ (keys >> 31)


def hashed(name, column):
    """Return 64 bits for each value of a column; those of -0.0 are those of 0.0."""
    return mixed(mixed((column + 0.0).view(np.uint64)) ^ digest(name.encode()))


def split(keys):
    """Put each row where a hash of what it holds says: added rows move no other."""
    place = (mixed(keys ^ SALT) >> 11) * 2.0**-53  # in [0, 1)
    where = np.where(place < TEST, 2, np.where(place < TEST + VALID, 1, 0))
    return [torch.from_numpy(np.flatnonzero(where == part)) for part in range(3)]


def load_data():
    digits = load_digits()
    names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    keys = sum(hashed(name, digits.data[:, i]) for i, name in enumerate(names))
    train, valid, test = split(keys)
    mean, std = digits.data[train].mean(), digits.data[train].std()
    images = torch.tensor((digits.data - mean) / std, dtype=torch.float32)
    images, targets = images.view(-1, 1, 8, 8), torch.tensor(digits.target)
    return images, targets, train, valid, test


class CNN(nn.Module):
    """Stages of two convolutions and a pooling, then two linear layers."""

    def __init__(self):
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(256, 128), nn.ReLU())
        self.output = nn.Linear(128, 10)

    def forward(self, images):
        return self.output(self.hidden(self.stages(images)))


def lr_factor(update, updates):
    """Linear warm-up, then half a cosine down."""
    warmup = int(WARMUP * updates)
    if update < warmup:
        return (update + 1) / (warmup + 1)
    progress = (update - warmup) / (updates - warmup)
    return (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def evaluate(model, images, targets, rows):
    """Mean loss and accuracy over these rows at once."""
    model.eval()
    total = hits = 0.0
    for part in rows.split(1024):
        outputs = model(images[part])
        loss = F.cross_entropy(outputs, targets[part], reduction="sum")
        total += loss.item()
        hits += (outputs.argmax(1) == targets[part]).sum().item()
    return {"loss": total / len(rows), "accuracy": hits / len(rows)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out

    torch.set_num_threads(1)  # the last bits of a sum depend on them
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(SEED)
    images, targets, train, valid, test = load_data()
    model = CNN()
    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    # Biases and norms don't decay.
    groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    updates = EPOCHS * math.ceil(len(train) / BATCH_SIZE)
    scheduler = LambdaLR(optimizer, partial(lr_factor, updates=updates))

    best, best_loss = {}, math.inf
    for epoch in range(EPOCHS):
        model.train()
        # A generator of its own: the global one would shift every dropout mask.
        order = np.random.default_rng([SEED, epoch]).permutation(len(train))
        for rows in train[torch.from_numpy(order)].split(BATCH_SIZE):
            optimizer.zero_grad()
            outputs = model(images[rows])
            loss = F.cross_entropy(outputs, targets[rows])
            loss.backward()
            optimizer.step()
            scheduler.step()
        metrics = evaluate(model, images, targets, valid)
        print(f"epoch {epoch + 1}: valid_loss {metrics['loss']:.4f}")
        if metrics["loss"] < best_loss:
            best_loss = metrics["loss"]
            # Copies: what state_dict returns goes on changing with the model.
            best = {name: weight.clone() for name, weight in model.state_dict().items()}

    model.load_state_dict(best)
    for name, value in evaluate(model, images, targets, test).items():
        print(f"test_{name} {value}")
    out.mkdir(parents=True, exist_ok=True)
    save_file(best, out / "model.safetensors")


if __name__ == "__main__":
    main()
