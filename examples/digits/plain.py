"""Train a model to tell classes apart: python plain.py FOLDER"""

import argparse
import math
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import nn

SEED = 0
EPOCHS = 10
BATCH_SIZE = 32
LR = 0.003
WEIGHT_DECAY = 0.3
WARMUP = 20  # updates
VALID, TEST = 0.15, 0.15  # shares
SALT = 0x2884C7F1BD5D38A7  # another number gives another split


def load_data():
    pixels, targets = load_digits(return_X_y=True)
    digests = [blake2b(row.tobytes(), digest_size=8).digest() for row in pixels]
    # A row belongs where a hash of what it holds says: added rows move no other.
    keys = (np.frombuffer(b"".join(digests), np.uint64) ^ SALT) + 0x9E3779B97F4A7C15
    keys = (keys ^ (keys >> 30)) * 0xBF58476D1CE4E5B9  # the finaliser of SplitMix64
    keys = (keys ^ (keys >> 27)) * 0x94D049BB133111EB
    place = ((keys ^ (keys >> 31)) >> 11) * 2.0**-53  # in [0, 1)
    part = torch.from_numpy(np.digitize(place, [TEST, TEST + VALID]))
    test, valid, train = [(part == number).nonzero()[:, 0] for number in range(3)]
    mean, std = pixels[train].mean(), pixels[train].std()
    images = torch.tensor((pixels - mean) / std, dtype=torch.float32)
    return images.view(-1, 1, 8, 8), torch.tensor(targets), train, valid, test


@torch.no_grad()
def evaluate(model, images, targets, rows):
    model.eval()
    outputs = model(images[rows])
    total = F.cross_entropy(outputs, targets[rows], reduction="sum").item()
    hits = (outputs.argmax(1) == targets[rows]).sum().item()
    return {"loss": total / len(rows), "accuracy": hits / len(rows)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where model.safetensors is written")
    path = parser.parse_args().folder / "model.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # of an earlier run
    torch.set_num_threads(1)  # the last bits of a sum depend on them
    torch.manual_seed(SEED)
    images, targets, train, valid, test = load_data()
    model = nn.Sequential()  # its parts one after the other
    model.stages = nn.Sequential()
    for channels, filters in [(1, 32), (32, 64)]:
        conv = nn.Conv2d(channels, filters, 3, padding=1)
        again = nn.Conv2d(filters, filters, 3, padding=1)
        model.stages.extend([conv, nn.ReLU(), again, nn.ReLU(), nn.MaxPool2d(2)])
    model.hidden = nn.Sequential(nn.Flatten(), nn.Linear(256, 128), nn.ReLU())
    model.output = nn.Linear(128, 10)
    model.to(memory_format=torch.channels_last)  # in which convolutions are faster
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    biases = [weight for weight in model.parameters() if weight.ndim < 2]  # and norms
    groups = [{"params": matrices}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    # Linear warm-up, then half a cosine down.
    rest = EPOCHS * math.ceil(len(train) / BATCH_SIZE) - WARMUP
    up = [(update + 1) / (WARMUP + 1) for update in range(WARMUP)]
    down = [(1 + math.cos(math.pi * (update / rest))) / 2 for update in range(rest + 1)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, (up + down).__getitem__)
    best = math.inf
    for epoch in range(EPOCHS):
        model.train()
        order = train[np.random.default_rng([SEED, epoch]).permutation(len(train))]
        for rows in order.split(BATCH_SIZE):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images[rows]), targets[rows])
            loss.backward()
            optimizer.step()
            scheduler.step()
        metrics = evaluate(model, images, targets, valid)
        print(f"epoch {epoch + 1}: valid_loss {metrics['loss']:.4f}")
        if metrics["loss"] < best:
            best = metrics["loss"]
            weights = model.state_dict().items()
            save_file({name: weight.contiguous() for name, weight in weights}, path)
    model.load_state_dict(load_file(path))
    for name, value in evaluate(model, images, targets, test).items():
        print(f"test_{name} {value}")
