"""How do time and memory grow? With rows, columns, batches, the model, metrics, workers, and the length of a run.

    python benchmarks/growth.py [--rows 6] [--only rows,columns,epoch,batch,model,metrics,reading,workers,length] [--repeats 3] [--out FILE]

Each point is a process of its own: CPU time, of its workers too, and the highest memory over what its imports take. `--rows 6`
goes up to 10^6 rows. Each table has the time for one of what grows, so that linear is constant and fixed costs make it fall; the
last line names what rises again, by more than half over its least. Given is the least of the repeats: other programs only add.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

import truestep as ts
from truestep import data, folder

CLASSES, LIMIT = 3, 1.5


class Examples(Dataset):
    """Is read one by one, as what does not fit into memory is."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, row: int) -> tuple[torch.Tensor, ...]:
        return tuple(tensor[row] for tensor in self.tensors)


def cpu() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def highest() -> float:
    """MiB of this process so far; ru_maxrss would begin with what the one before it had."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    begun = cpu()
    found = act()
    return cpu() - begun, found


def read(rows: int, columns: int, place: Path) -> dict[str, float]:
    """Read a table, split it, and cut an epoch of it."""
    random = np.random.default_rng(0)
    path = place / "table.csv"
    for start in range(0, rows, 100_000):  # in pieces, so that writing does not set the highest memory
        count = min(100_000, rows - start)
        table = {f"c{n}": random.normal(size=count).round(4) for n in range(columns)}
        table["label"] = random.choice(np.array(["no", "yes"]), count)
        with path.open("ab") as file:
            pl.DataFrame(table).write_csv(file, include_header=start == 0)
    before = highest()
    reading, found = timed(lambda: data.load(str(path), target="label"))
    train = found.train
    cutting, _ = timed(lambda: [None for _ in ts.Batches(train.examples, 1024, shuffle=True, rows=train.rows)])
    return {"read": reading, "cut": cutting, "memory": highest() - before}


def train(
    *, rows: int = 4_096, columns: int = 16, batch: int = 64, hidden: int = 64, epochs: int = 1, metrics: bool = True,
    workers: int | None = None, place: Path, **options: Any,
) -> dict[str, float]:  # fmt: skip
    """Train and evaluate with everything on, after a first step that imports what is imported once."""
    before, generator = highest(), torch.Generator().manual_seed(0)
    x, y = torch.randn(rows, columns, generator=generator), torch.randint(0, CLASSES, (rows,), generator=generator)
    model = nn.Sequential(nn.Linear(columns, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
    model.append(nn.Linear(hidden, CLASSES))
    objective = ts.Multiclass(CLASSES) if metrics else lambda model, batch: F.cross_entropy(model(batch[0]), batch[1])
    examples = (x, y) if workers is None else Examples(x, y)

    def fit() -> None:
        optimizer = ts.build_optimizer("adamw", model, lr=1e-4, weight_decay=0.01)
        loader = ts.Batches(examples, batch, shuffle=True, num_workers=workers or 0)
        valid = ts.Batches((x[: rows // 4], y[: rows // 4]), batch)
        ts.fit(model, loader, valid, objective, optimizer, epochs=epochs, folder=place / "run", show=False, **options)

    few, optimizer = [(x[:8], y[:8])], ts.build_optimizer("adamw", model, lr=1e-9)
    ts.fit(model, few, few, objective, optimizer, epochs=1, show=False)
    training, _ = timed(fit)
    peak = highest() - before
    reading, _ = timed(lambda: list(folder.read_metrics(place / "run" / "metrics.jsonl")))
    weights = sum(parameter.numel() for parameter in model.parameters())
    return {"train": training, "log": reading, "memory": peak, "weights": weights}


def points(most: int) -> dict[str, tuple[list[dict[str, Any]], dict[str, Callable[[dict, dict], float]]]]:
    """By table: its points, and its columns, each from what a point was and what was found; "µs" first of those compared."""

    def per(found: str, unit: Callable[[dict, dict], float]) -> Callable[[dict, dict], float]:
        return lambda given, result: 1e6 * result[found] / unit(given, result)

    def steps(given: dict, _: dict) -> float:
        return given.get("epochs", 1) * -(-given.get("rows", 4_096) // given.get("batch", 64))

    rows: Callable[[dict, dict], float] = lambda given, _: given.get("rows", 4_096)  # noqa: E731
    step = {"µs a step": per("train", steps)}
    return {
        "rows": (
            [{"rows": 10**power, "columns": 8} for power in range(3, most + 1)],
            {"µs a row, read": per("read", rows), "µs a row, cut": per("cut", rows)},
        ),
        "columns": (
            [{"rows": 4_000, "columns": 4**power} for power in range(1, 6)],
            {"µs a number, read": per("read", lambda given, _: given["rows"] * given["columns"])},
        ),
        "epoch": (
            [{"rows": 10**power, "batch": 256} for power in range(3, most + 1)],
            {"µs an example": per("train", rows)},
        ),
        "batch": ([{"rows": 16_384, "batch": 4**power} for power in range(1, 7)], {"µs an example": per("train", rows)}),
        "model": (
            [{"rows": 1_024, "hidden": 4**power} for power in range(2, 6)],
            {"ns a weight and step": lambda given, found: 1e9 * found["train"] / found["weights"] / steps(given, found)},
        ),
        "metrics": ([{"rows": 16_384, "epochs": 4, "metrics": on} for on in (False, True)], step),
        "reading": (
            [{"rows": 16_384, "workers": count} for count in (None, 0, 1)],  # None: as one tensor, in memory
            {"µs an example": per("train", rows)},
        ),
        "workers": (
            [{"rows": 16_384, "workers": count} for count in (1, 2, 4)],
            {"µs an example": per("train", rows)},
        ),
        "length": (
            [{"rows": 640, "epochs": epochs, "log_every": 1, "save_steps": 200} for epochs in (2, 20, 200, 2_000)],
            {**step, "µs to read a step of the log": per("log", steps)},
        ),
    }  # fmt: skip


def measured(given: dict[str, Any], repeats: int) -> dict[str, float]:
    found: list[dict[str, float]] = []
    for _ in range(repeats):
        run = subprocess.run(
            [sys.executable, __file__, "--one", json.dumps(given)],
            capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        if run.returncode:
            sys.exit(f"{given} failed:\n{run.stderr[-2000:]}")
        found.append(json.loads(run.stdout.splitlines()[-1]))
    return {name: min(one[name] for one in found) for name in found[0]}


def table(name: str, given: list[dict[str, Any]], columns: dict[str, Callable], repeats: int, rising: list[str]) -> str:
    titles = list(dict.fromkeys(key for one in given for key in one))
    lines = [f"\n| {' | '.join([*titles, *columns, 'MiB'])} |", "|--:" * (len(titles) + len(columns) + 1) + "|"]
    reached: dict[str, list[float]] = {title: [] for title in columns}
    for one in given:
        result = measured({"table": name, **one}, repeats)
        for title, figure in columns.items():
            reached[title].append(figure(one, result))
        cells = [f"{one[key]:,}" if type(one[key]) is int else str(one[key]) for key in titles]
        cells += [f"{values[-1]:,.3g}" if values[-1] < 100 else f"{values[-1]:,.0f}" for values in reached.values()]
        lines.append(f"| {' | '.join([*cells, format(result['memory'], ',.0f')])} |")
        print(lines[-1], file=sys.stderr, flush=True)
    numbers = all(type(value) is int for one in given for value in one.values())  # not: this or that
    for title, values in reached.items():
        if numbers and values[-1] > LIMIT * min(values):
            rising.append(f"{title} with {name} (x {values[-1] / min(values):.1f})")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=6, help="as a power of ten")
    parser.add_argument("--only", default="")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        torch.set_num_threads(1)
        kind = given.one.pop("table")
        with tempfile.TemporaryDirectory() as place:
            act = read if kind in ("rows", "columns") else train
            print(json.dumps(act(**given.one, place=Path(place))))
        return
    begun, rising, chosen = time.monotonic(), list[str](), given.only.split(",") if given.only else None
    tables = [
        table(name, points_, columns, given.repeats, rising)
        for name, (points_, columns) in points(given.rows).items()
        if chosen is None or name in chosen
    ]
    told = f"Faster than linear: {', '.join(rising) or 'nothing'}."
    machine = f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one thread"
    text = "\n".join([*tables, f"\n{told}\n{machine}; {time.monotonic() - begun:.0f} s in all."]) + "\n"
    given.out.write_text(text, encoding="utf-8") if given.out else print(text)


if __name__ == "__main__":
    main()
