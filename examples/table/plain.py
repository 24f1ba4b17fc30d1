"""Train a model to tell classes apart: python plain.py FOLDER"""

import argparse
import math
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

SEED = 0
EPOCHS = 30
BATCH_SIZE = 32
LR = 0.001
WEIGHT_DECAY = 0.3
WARMUP = 12  # updates
PATIENCE = 5
CLASS_WEIGHTS = torch.tensor(
    [0.7538940809968847, 1.6133333333333335, 0.9490196078431372]
)
DATA = Path(__file__).with_name("penguins.csv.gz")
TARGET = "species"
CLASSES = ["Adelie", "Chinstrap", "Gentoo"]
MISSING = ["NA"]
VALID, TEST = 0.15, 0.15  # shares
SALT = 0x2884C7F1BD5D38A7  # another number gives another split
NO_VALUE = 0x7FF8000000000000  # the bits of NaN, which stand for no value
NUMERIC = [
    "bill_length_mm",
    "bill_depth_mm",
    "flipper_length_mm",
    "body_mass_g",
    "year",
]
GAPS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
CATEGORICAL = ["island", "sex"]
CARDINALITIES = [4, 3]


def mixed(keys):
    """Scatter 64-bit keys evenly (the finaliser of SplitMix64)."""
    keys = keys + 0x9E3779B97F4A7C15
    keys = (keys ^ (keys >> 30)) * 0xBF58476D1CE4E5B9
    keys = (keys ^ (keys >> 27)) * 0x94D049BB133111EB
    return keys ^ (keys >> 31)


def digest(text):
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def hashed(name, column):
    """Return 64 bits for each value of a column."""
    if isinstance(column, pl.Series):
        bits = [digest(word) if word else NO_VALUE for word in column]
    else:
        bits = (column + 0.0).view(np.uint64)  # -0.0 counts as 0.0
    return mixed(mixed(np.array(bits, dtype=np.uint64)) ^ digest(name))


def load_data():
    frame = pl.read_csv(DATA, infer_schema=False, null_values=MISSING)
    columns = {name: frame[name].cast(pl.Float64).to_numpy() for name in NUMERIC}
    columns |= {name: frame[name] for name in CATEGORICAL}
    # A row belongs where a hash of what it holds says: added rows move no other.
    keys = sum(hashed(name, column) for name, column in columns.items())
    place = (mixed(keys ^ SALT) >> 11) * 2.0**-53  # in [0, 1)
    part = torch.from_numpy(np.digitize(place, [TEST, TEST + VALID]))
    test, valid, train = [(part == number).nonzero()[:, 0] for number in range(3)]
    numeric = []
    for name in NUMERIC:  # scaled by what training rows say
        known = columns[name][train]
        known = known[~np.isnan(known)]
        scaled = (columns[name] - known.mean()) / known.std()
        numeric.append(np.nan_to_num(scaled))  # a missing value is the mean,
    numeric += [np.isnan(columns[name]) for name in GAPS]  # and a 1 for it
    numeric = torch.tensor(np.stack(numeric, 1), dtype=torch.float32)
    categories = []
    for name in CATEGORICAL:  # numbered from 1; 0 is missing, or never seen in training
        known = columns[name].gather(train.numpy()).drop_nulls().unique().sort()
        numbers = dict(zip(known, range(1, len(known) + 1)))
        column = columns[name].replace_strict(numbers, default=0, return_dtype=pl.Int64)
        categories.append(torch.tensor(column.to_numpy()))
    categories = torch.stack(categories, 1)
    targets = torch.tensor([CLASSES.index(label) for label in frame[TARGET]])
    return numeric, categories, targets, train, valid, test


class MLP(nn.Module):
    """Embeddings of categories beside numbers, then hidden layers."""

    def __init__(self):
        super().__init__()
        self.embeddings = nn.ModuleList(
            # Category 0, missing or never seen, stays all zeros: it says nothing.
            nn.Embedding(count, min(50, (count + 1) // 2), padding_idx=0)
            for count in CARDINALITIES
        )
        self.hidden = nn.Sequential(
            nn.Linear(13, 128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Dropout(0.3),
        )
        self.output = nn.Linear(64, 3)

    def forward(self, numeric, categories):
        columns = zip(self.embeddings, categories.unbind(1))
        features = [embedding(column) for embedding, column in columns]
        return self.output(self.hidden(torch.cat([numeric, *features], 1)))


def loss_sum(outputs, targets):
    return F.cross_entropy(outputs, targets, weight=CLASS_WEIGHTS, reduction="sum")


@torch.no_grad()
def evaluate(model, numeric, categories, targets, rows):
    model.eval()
    outputs = model(numeric[rows], categories[rows])
    total = loss_sum(outputs, targets[rows]).item()
    hits = (outputs.argmax(1) == targets[rows]).sum().item()
    count = CLASS_WEIGHTS[targets[rows]].sum().item()
    return {"loss": total / count, "accuracy": hits / len(rows)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where model.safetensors is written")
    path = parser.parse_args().folder / "model.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # of an earlier run
    torch.set_num_threads(1)  # the last bits of a sum depend on them
    torch.manual_seed(SEED)
    numeric, categories, targets, train, valid, test = load_data()
    model = MLP()
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    biases = [weight for weight in model.parameters() if weight.ndim < 2]  # and norms
    groups = [{"params": matrices}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    # Linear warm-up, then half a cosine down.
    rest = EPOCHS * math.ceil(len(train) / BATCH_SIZE) - WARMUP
    up = [(update + 1) / (WARMUP + 1) for update in range(WARMUP)]
    down = [(1 + math.cos(math.pi * (update / rest))) / 2 for update in range(rest + 1)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, (up + down).__getitem__)
    best, epochs_since = math.inf, 0
    for epoch in range(EPOCHS):
        model.train()
        order = train[np.random.default_rng([SEED, epoch]).permutation(len(train))]
        for rows in order.split(BATCH_SIZE):
            optimizer.zero_grad()
            count = CLASS_WEIGHTS[targets[rows]].sum()
            outputs = model(numeric[rows], categories[rows])
            loss = loss_sum(outputs, targets[rows]) / count
            loss.backward()
            optimizer.step()
            scheduler.step()
        metrics = evaluate(model, numeric, categories, targets, valid)
        print(f"epoch {epoch + 1}: valid_loss {metrics['loss']:.4f}")
        if metrics["loss"] < best:
            best, epochs_since = metrics["loss"], 0
            save_file(model.state_dict(), path)
        else:
            epochs_since += 1
        if epochs_since == PATIENCE:
            break
    model.load_state_dict(load_file(path))
    for name, value in evaluate(model, numeric, categories, targets, test).items():
        print(f"test_{name} {value}")
