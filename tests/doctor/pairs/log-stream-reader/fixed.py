"""Stream log lines from a file with an IterableDataset and classify them by severity.

Source: huggingface/datasets#3423
"""

import os
import random
import tempfile

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

LEVELS = ["INFO", "WARN", "FAIL"]
PARTS = {"INFO": ["started", "ready", "done"], "WARN": ["slow", "retry", "late"], "FAIL": ["crash", "lost", "denied"]}


def write_logs(path, n, seed):
    rng = random.Random(seed)
    with open(path, "w") as f:
        for _ in range(n):
            level = rng.choice(LEVELS)
            noise = "".join(rng.choice("abcdefgh ") for _ in range(12))
            word = rng.choice(PARTS[level]) if rng.random() < 0.9 else rng.choice(PARTS[rng.choice(LEVELS)])
            f.write(f"{LEVELS.index(level)}\t{noise} {word} {noise[::-1]}\n")


class LogLines(IterableDataset):
    def __init__(self, path):
        self.path = path

    def __iter__(self):
        info = get_worker_info()
        start, step = (info.id, info.num_workers) if info else (0, 1)
        with open(self.path) as f:
            for number, line in enumerate(f):
                if number % step == start:
                    yield self.encode(line)

    @staticmethod
    def encode(line):
        level, text = line.rstrip("\n").split("\t")
        counts = torch.zeros(27 * 27)
        codes = [ord(c) - 96 if c != " " else 0 for c in text]
        for a, b in zip(codes, codes[1:]):
            counts[a * 27 + b] += 1
        return counts, int(level)


def main():
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        train_path, test_path = os.path.join(folder, "train.log"), os.path.join(folder, "test.log")
        write_logs(train_path, 400, 1)
        write_logs(test_path, 150, 2)
        train_loader = DataLoader(LogLines(train_path), 20, num_workers=2)
        test_loader = DataLoader(LogLines(test_path), batch_size=75)
        model = nn.Linear(27 * 27, len(LEVELS))
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for epoch in range(3):
            model.train()
            seen, total = 0, 0.0
            for x, y in train_loader:
                loss = nn.functional.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                seen += len(y)
                total += loss.item() * len(y)
            model.eval()
            with torch.no_grad():
                right = sum((model(x).argmax(1) == y).sum().item() for x, y in test_loader)
            print(f"epoch {epoch}: {seen} lines, loss {total / seen:.4f}, test accuracy {right / 150:.3f}")


if __name__ == "__main__":
    main()
