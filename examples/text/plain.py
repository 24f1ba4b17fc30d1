"""Train a model to tell classes apart: python plain.py FOLDER"""

import argparse
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

SEED = 0
EPOCHS = 5
BATCH_SIZE = 32
ACCUMULATE = 2
LR = 0.01
WEIGHT_DECAY = 0.3
WARMUP = 6  # updates
MAX_GRAD_NORM = 1.0
DATA = Path(__file__).with_name("speeches.csv.gz")
TARGET = "era"
CLASSES = ["1946 to 1980", "since 1981", "until 1936"]
GROUP = "president"
VALID_GROUPS = ["Herbert Hoover", "Gerald R Ford", "William J Clinton"]
TEST_GROUPS = ["Woodrow Wilson", "John F Kennedy", "Donald J Trump"]
TEXT = "text"
LENGTH = 120
WORD = r"\w+(?:['\u2019]\w+)*|[^\w\s]"
VOCABULARY = 8192


def load_data():
    frame = pl.read_csv(DATA, infer_schema=False)
    texts = frame[TEXT].fill_null("").to_list()
    groups = frame[GROUP]
    where = groups.is_in(VALID_GROUPS) + 2 * groups.is_in(TEST_GROUPS).cast(pl.Int8)
    where = torch.tensor(where.to_numpy())
    train, valid, test = [(where == part).nonzero()[:, 0] for part in range(3)]
    words = [re.findall(WORD, text.lower()) for text in texts]
    counts = Counter(word for row in train for word in words[row])
    often = sorted((-count, word) for word, count in counts.items() if count > 1)
    # 0 is padding, 1 a word that training texts don't have twice.
    numbers = {word: number for number, (_, word) in enumerate(often[:VOCABULARY], 3)}
    tokens = [[numbers.get(word, 1) for word in text[:LENGTH]] or [1] for text in words]
    texts = [torch.tensor(row) for row in tokens]
    lengths = torch.tensor([len(row) for row in tokens])
    targets = torch.tensor([CLASSES.index(label) for label in frame[TARGET]])
    return texts, lengths, targets, train, valid, test


def padded(texts, rows):
    return nn.utils.rnn.pad_sequence([texts[row] for row in rows], batch_first=True)


class Bag(nn.Module):
    """The average of what each word says, then one linear layer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5597, 64, padding_idx=0)
        # Small: a rare word hardly moves from where it began, and should say little.
        nn.init.uniform_(self.embedding.weight, -1 / 64, 1 / 64)
        nn.init.zeros_(self.embedding.weight[0])
        self.output = nn.Linear(64, 3)

    def forward(self, tokens, lengths):
        is_token = torch.arange(tokens.shape[1]) < lengths.unsqueeze(1)
        weights = is_token.float()
        if self.training:  # some words are left out
            weights = weights * (torch.rand_like(weights) >= 0.3)
        total = (weights.unsqueeze(1) @ self.embedding(tokens)).squeeze(1)
        return self.output(total / weights.sum(1, keepdim=True).clamp(min=1))


@torch.no_grad()
def evaluate(model, texts, lengths, targets, rows):
    model.eval()
    rows = rows[lengths[rows].argsort(stable=True)]  # less padding in a batch
    outputs = model(padded(texts, rows), lengths[rows])
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
    texts, lengths, targets, train, valid, test = load_data()
    model = Bag()
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    biases = [weight for weight in model.parameters() if weight.ndim < 2]  # and norms
    groups = [{"params": matrices}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    # Linear warm-up, then half a cosine down.
    rest = EPOCHS * math.ceil(len(train) / BATCH_SIZE / ACCUMULATE) - WARMUP
    up = [(update + 1) / (WARMUP + 1) for update in range(WARMUP)]
    down = [(1 + math.cos(math.pi * (update / rest))) / 2 for update in range(rest + 1)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, (up + down).__getitem__)
    best = math.inf
    for epoch in range(EPOCHS):
        model.train()
        order = train[np.random.default_rng([SEED, epoch]).permutation(len(train))]
        # Texts alike in length make a batch: less padding. The batches come in any order.
        pools = order.split(50 * BATCH_SIZE)
        order = torch.cat([pool[lengths[pool].argsort(stable=True)] for pool in pools])
        batches = order.split(BATCH_SIZE)
        places = np.random.default_rng([SEED, epoch, 1]).permutation(len(batches))
        batches = [batches[place] for place in places]
        for start in range(0, len(batches), ACCUMULATE):
            group = batches[start : start + ACCUMULATE]
            optimizer.zero_grad()
            # Sums divided by the count of the whole update: exact, whatever the batches.
            count = sum(len(rows) for rows in group)
            for rows in group:
                outputs = model(padded(texts, rows), lengths[rows])
                loss = F.cross_entropy(outputs, targets[rows], reduction="sum") / count
                loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            scheduler.step()
        metrics = evaluate(model, texts, lengths, targets, valid)
        print(f"epoch {epoch + 1}: valid_loss {metrics['loss']:.4f}")
        if metrics["loss"] < best:
            best = metrics["loss"]
            save_file(model.state_dict(), path)
    model.load_state_dict(load_file(path))
    for name, value in evaluate(model, texts, lengths, targets, test).items():
        print(f"test_{name} {value}")
