"""Runs to be ejected: every kind of data with every kind of training, each pair of choices at least once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WORDS = ["good", "bad", "nice", "poor", "film", "plot", "actor", "great", "awful", "story", "the", "a", "isn't"]

# What is learnt from what, by which model. Paths are of files that `make_files` makes.
KINDS: dict[str, dict[str, Any]] = {
    "digits": {"data.source": "digits", "model.args": {"filters": 4, "hidden": 16}, "run.threads": 1},
    "iris": {"data.source": "iris", "data.drop": ["petal_width_cm"], "model.args": {"hidden": [16], "norm": "layer"}},
    "breast-cancer": {"data.source": "breast-cancer", "model.name": "linear", "train.monitor": "valid_accuracy"},
    "diabetes": {"data.source": "diabetes", "objective.loss": "huber", "data.valid": 0.2, "train.monitor": "valid_mae"},
    "penguins": {"data.source": "penguins", "data.test": 0.2},
    "csv": {
        "data.source": "table.csv",
        "data.target": "label",
        "data.drop": ["price", "who", "day"],
        "data.missing": ["unknown"],
        "data.kinds": {"rooms": "categorical"},
    },
    "csv by group": {"data.source": "table.csv", "data.target": "member", "data.group": "who", "model.name": "linear"},
    "csv by time": {"data.source": "table.csv", "data.target": "price", "data.time": "day", "data.split": "time"},
    "parquet": {"data.source": "table.parquet", "data.target": "label", "data.drop": ["who", "day"]},
    "images": {
        "data.source": "images",
        "model.name": "resnet",
        "model.args": {"filters": 8},
        "data.image_size": 16,
        "augment.flip": True,
    },
    "images split": {
        "augment.flip": True,
        "augment.shift": 3,
        "data.source": "images_split",
        "model.args": {"filters": 4, "hidden": 8},
        "model.layout": "contiguous",
        "data.workers": 1,
    },
    "text bag": {"data.source": "texts.csv", "data.target": "stars", "data.vocabulary": 20, "data.length": 16},
    "text recurrent": {
        "data.source": "texts.csv",
        "data.target": "stars",
        "data.tokenizer": "bytes",
        "data.length": 24,
        "model.name": "recurrent",
        "model.args": {"cell": "gru", "bidirectional": True, "width": 8, "layers": 2},
    },
    "text transformer": {
        "data.source": "texts.csv",
        "data.target": "stars",
        "model.name": "transformer",
        "model.args": {"width": 16, "heads": 2, "layers": 1},
    },
    "next token": {
        "data.source": "book.txt",
        "data.length": 16,
        "model.args": {"width": 16, "heads": 2, "layers": 1},
        "train.monitor": "valid_perplexity",
    },
    "next token recurrent": {
        "data.source": "book.txt",
        "data.length": 24,
        "objective.name": "next-token",
        "model.name": "recurrent",
        "model.args": {"cell": "gru", "width": 16, "dropout": 0.1},
    },
    "labels": {"data.source": "labels.npz"},
    "numbers": {"data.source": "numbers.npz", "objective.loss": "mae", "train.monitor": "valid_rmse"},
    "bytes": {"data.source": "bytes.npz", "model.name": "mlp", "augment.shift": 2},
    "own model": {"data.source": "classes.npz", "model.name": "net.py:Net", "model.args": {"hidden": 8}},
    "own data": {"data.source": "arrays_of_mine.py:make", "run.log_every": 7, "run.save_steps": 3},
}
WITH_CLASSES = {
    "digits",
    "iris",
    "breast-cancer",
    "penguins",
    "csv",
    "csv by group",
    "parquet",
    "images",
    "images split",
}
WITH_CLASSES |= {"text bag", "text recurrent", "text transformer", "bytes", "own model", "own data"}
TWO_CLASSES = {"breast-cancer", "csv by group", "text bag", "text recurrent", "text transformer", "bytes", "own data"}

# How it is trained; what stands first is the default.
TRAINING: dict[str, list[dict[str, Any]]] = {
    "schedule": [
        {},
        {"schedule.name": "constant", "schedule.warmup": 0.0},
        {"schedule.name": "constant"},
        {"schedule.args": {"final_factor": 0.1}},
        {"schedule.name": "one-cycle", "schedule.warmup": 0.3},
        {"schedule.name": "step", "schedule.args": {"gamma": 0.5}},
        {"schedule.name": "exponential"},
        {"schedule.name": "polynomial", "schedule.args": {"power": 2.0}},
        {"schedule.name": "wsd"},
        {"schedule.name": "plateau", "schedule.args": {"patience": 0}},
    ],
    "optimizer": [
        {},
        {"optimizer.name": "sgd", "optimizer.nesterov": True, "optimizer.momentum": 0.8},
        {"optimizer.name": "adam", "optimizer.lr": 0.01, "optimizer.args": {"betas": [0.8, 0.9]}},
        {"optimizer.name": "rmsprop", "optimizer.weight_decay": 0.1},
    ],
    "precision": [{}, {"train.precision": "bf16"}, {"train.precision": "fp16"}],
    "clipping": [{}, {"train.max_grad_norm": 0.1}, {"train.max_grad_value": 0.01}],
    "accumulate": [{}, {"train.accumulate": 3, "train.batch_size": 24}],
    "balance": [{}, {"objective.balance": "weights"}, {"objective.balance": "sampler"}],
    "smoothing": [{}, {"objective.label_smoothing": 0.1}],
    "ema": [{}, {"train.ema_decay": 0.8}],
    "ends": [{}, {"train.patience": 1, "train.epochs": 4}, {"train.max_steps": 5}],
    "seed": [{}, {"run.seed": 7}],
    "nonfinite": [{}, {"train.on_nonfinite": "skip"}],
}
ALONE = {  # which go together with nothing else, or only some of it
    "lbfgs": {"data.source": "classes.npz", "optimizer.name": "lbfgs", "train.batch_size": 500},
    "lstm": {
        "data.source": "texts.csv",
        "data.target": "stars",
        "model.name": "recurrent",
        "model.args": {"width": 8, "layers": 2},
    },
    "no dropout": {
        "data.source": "unlabelled.csv",
        "data.target": "stars",
        "model.name": "transformer",
        "model.args": {"width": 16, "heads": 2, "layers": 1, "dropout": 0.0},
    },
    "no dropout in a book": {
        "data.source": "book.txt",
        "data.length": 16,
        "model.args": {"width": 16, "heads": 2, "layers": 2, "dropout": 0.0},
    },
    "no dropout in layers": {
        "data.source": "texts.csv",
        "data.target": "stars",
        "model.name": "recurrent",
        "model.args": {"width": 8, "layers": 3, "dropout": 0.0},
    },
    "no dropout both ways": {
        "data.source": "texts.csv",
        "data.target": "stars",
        "model.name": "recurrent",
        "model.args": {"width": 8, "layers": 2, "dropout": 0.0, "cell": "gru", "bidirectional": True},
    },
    "no validation": {"data.source": "wine", "data.valid": 0.0, "train.ema_decay": 0.5},
    "no test": {"data.source": "iris", "data.test": 0.0},
    "flights": {"data.source": "flights", "train.epochs": 1, "train.batch_size": 512},
    "speeches": {
        "data.source": "speeches",
        "train.max_steps": 5,
        "run.save_seconds": 5.0,
        "run.keep_checkpoints": 1,
    },
    "speeches-text": {
        "data.source": "speeches-text",
        "data.length": 64,
        "train.max_steps": 2,
        "model.args": {"width": 8, "heads": 2, "layers": 1},
    },
}
QUICK = ("digits 0", "iris 1", "diabetes 2", "csv 3", "csv by group 4", "csv by time 6", "images 6", "text bag 7")
QUICK += ("text transformer 8", "next token 9", "labels 0", "own model 1", "no validation", "no dropout")


def cases() -> dict[str, dict[str, Any]]:
    """Return the choices of each case by its name: each kind with each schedule, the rest drawn beside them."""
    found: dict[str, dict[str, Any]] = {}
    for kind, choices in KINDS.items():
        draw, rows = random.Random(f"{kind} 0"), len(TRAINING["schedule"])
        drawn = {name: _shuffled(values, rows, draw) for name, values in TRAINING.items()}
        for row in range(rows):
            chosen = {name: values[row] for name, values in drawn.items()}
            if kind not in WITH_CLASSES:
                chosen["balance"] = {}
            if kind not in WITH_CLASSES - TWO_CLASSES:
                chosen["smoothing"] = {}
            if chosen["precision"] == {"train.precision": "fp16"}:
                chosen["nonfinite"] = {}
            found[f"{kind} {row}"] = {"train.epochs": 2, **choices}
            for part in chosen.values():
                found[f"{kind} {row}"] |= part
    return found | {name: {"train.epochs": 2, **choices} for name, choices in ALONE.items()}


def _shuffled(values: list[Any], count: int, draw: random.Random) -> list[Any]:
    """Return so many of the values, each about as often as any other, in any order."""
    found = [values[place % len(values)] for place in range(count)]
    draw.shuffle(found)
    return found


def make_files(folder: Path) -> None:
    """Write the files that the cases read."""
    rng, draw = np.random.default_rng(0), random.Random(0)
    lines = ["age,city,member,joined,income,rooms,label,price,who,day"]
    for i in range(300):
        income = rng.lognormal(3, 1)
        cells = [
            "NA" if i % 17 == 0 else f"{rng.normal(40, 12):.1f}",
            draw.choice(["Rome", "Oslo", "Bern", "unknown", "", "L'Aquila", 'the "Hub"']),
            draw.choice(["yes", "no"]),
            f"2021-{rng.integers(1, 13):02d}-{rng.integers(1, 28):02d}",
            f"{income:.2f}",
            str(draw.randrange(1, 5)),
            draw.choice(["no", "yes", "maybe"]) if i % 5 else "maybe",
            f"{income * 2 + rng.normal():.3f}",
            f"g{rng.integers(40)}",
            f"2020-01-{1 + i // 12:02d}",
        ]
        lines.append(",".join('"' + cell.replace('"', '""') + '"' if '"' in cell else cell for cell in cells))
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    import polars as pl

    frame = pl.read_csv(folder / "table.csv", null_values=["NA", "unknown"], try_parse_dates=True)
    frame.write_parquet(folder / "table.parquet")

    lines = ["text,stars"]
    for number in range(160):
        words = [draw.choice(WORDS) for _ in range(draw.randrange(2, 20))]
        good = sum(word in ("good", "nice", "great") for word in words)
        lines.append(f'"{" ".join(words)}, {number}",{"up" if good > 2 else "down"}')
    (folder / "texts.csv").write_text("\n".join(lines) + "\n")
    unlabelled = [line.rpartition(",")[0] + "," if number % 9 == 5 else line for number, line in enumerate(lines)]
    (folder / "unlabelled.csv").write_text("\n".join(unlabelled) + "\n")
    pages = [" ".join(draw.choice(WORDS) for _ in range(10)) for _ in range(60)]
    (folder / "book.txt").write_text("\n".join(pages), encoding="utf-8")

    for label in range(3):
        for number in range(24):
            pixels = (rng.integers(0, 120, (24 + number % 5, 20, 3)) + label * 60).astype(np.uint8)
            suffix = "jpg" if number % 2 else "png"
            _save(pixels, folder / "images" / f"class {label}" / f"{number}.{suffix}")
            part = "train" if number < 16 else "valid" if number < 20 else "test"
            _save(pixels[:12, :12, 0], folder / "images_split" / part / f"class {label}" / f"{number}.png")

    inputs = rng.normal(size=(160, 6)).astype(np.float32)
    np.savez(folder / "classes.npz", x=inputs, y=(inputs @ rng.normal(size=(6, 3))).argmax(1))
    np.savez(folder / "labels.npz", inputs=inputs, targets=(inputs[:, :4] > 0).astype(np.int64))
    np.savez(folder / "numbers.npz", inputs=inputs, targets=inputs[:, :2] * 3 + 1)
    images = rng.integers(0, 255, (160, 1, 6, 6)).astype(np.uint8)
    np.savez(folder / "bytes.npz", images=images, labels=(images.mean((1, 2, 3)) > 128).astype(np.int64))
    (folder / "net.py").write_text(NET)
    (folder / "arrays_of_mine.py").write_text(ARRAYS)


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


NET = """\
from torch import nn


class Net(nn.Module):
    def __init__(self, num_features, num_classes, hidden=16):
        super().__init__()
        self.first = nn.Linear(num_features, hidden)
        self.dropout = nn.Dropout(0.2)
        self.last = nn.Linear(hidden, num_classes)

    def forward(self, x):
        return self.last(self.dropout(self.first(x).relu()))
"""
ARRAYS = """\
import numpy as np


def make():
    inputs = np.random.default_rng(1).normal(size=(160, 5))
    return inputs.astype(np.float32), (inputs[:, 0] > 0.3).astype(np.int64)
"""
