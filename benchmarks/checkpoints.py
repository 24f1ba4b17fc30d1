"""What checkpoints cost: the stall of the training, the write, the steps beside it, and the way back into an epoch.

    python benchmarks/checkpoints.py [--megabytes 100] [--repeats 9] [--folder FOLDER]

Wall clock, since a disk is waited for. Contenders take turns in each repeat; given are medians and, in brackets, quartiles.
"Unsafe" is `torch.save` to the file's own name and nothing else: no flush, no checksum, and no whole file if it is killed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

import truestep as ts
from truestep.checkpoint import Checkpoints

BATCHES = 20_000  # of the epoch that is gone back into
PLACES = (0.01, 0.5, 0.99)


class Holder:
    """A part of a run: some tensors, as large as a model's and its optimizer's."""

    def __init__(self, megabytes: int) -> None:
        self.tensors = {f"weight.{i}": torch.randn(512, 512) for i in range(megabytes)}  # of 1 MiB each

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self.tensors

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.tensors = state


def seconds(act) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def told(values: list[float], unit: float = 1e3) -> str:
    low, middle, high = (value * unit for value in statistics.quantiles(values, n=4))
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def writes(folder: Path, megabytes: int, repeats: int) -> list[tuple[str, str, str]]:
    holder, steps = Holder(megabytes), itertools.count()
    checkpoints = Checkpoints(folder / "run", {"it": holder})

    def unsafe() -> None:
        torch.save(holder.tensors, folder / "unsafe.pt")

    def flushed() -> None:
        with (folder / "flushed.pt").open("wb") as file:
            torch.save(holder.tensors, file)
            file.flush()
            os.fsync(file.fileno())

    def durable() -> None:
        checkpoints.save({"step": next(steps)})

    def stall() -> None:
        checkpoints.save({"step": next(steps)}, wait=False)

    acts = {
        "torch.save, unsafe": unsafe,
        "torch.save and a flush": flushed,
        "ours, waited for": durable,
        "stall": stall,
    }
    found: dict[str, list[float]] = {name: [] for name in acts}
    for repeat in range(repeats + 1):
        for name, act in acts.items():
            os.sync()  # nobody pays for what another has left to write
            taken = seconds(act)
            checkpoints._finish()
            if repeat:
                found[name].append(taken)
    ratios = {
        name: [one / reference for one, reference in zip(values, found["torch.save, unsafe"], strict=True)]
        for name, values in found.items()
    }
    names = {"stall": "ours, beside the training: the stall"}
    return [(names.get(name, name), told(found[name]), f"{statistics.median(ratios[name]):.2f}") for name in acts]


def beside(folder: Path, megabytes: int, repeats: int) -> str:
    """Steps while a checkpoint is written, in ratio to those while none is."""
    holder, steps = Holder(megabytes), itertools.count()
    checkpoints = Checkpoints(folder / "beside", {"it": holder})
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    inputs, targets = torch.randn(64, 784), torch.randint(0, 10, (64,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    checkpoints.save({"step": next(steps)}, wait=False)
    ratios = []
    for _ in range(repeats):
        checkpoints._finish()
        os.sync()
        alone = [seconds(step) for _ in range(200)]
        checkpoints.save({"step": next(steps)}, wait=False)
        written = []
        while checkpoints.busy:
            written.append(seconds(step))
        if written:
            ratios.append(statistics.median(written) / statistics.median(alone))
    return f"{statistics.median(ratios):.2f}"


def ways_back(folder: Path, repeats: int) -> list[tuple[str, str]]:
    """From `fit(resume=True)` to its first update, by how far into the epoch it goes back."""
    data = (torch.randn(BATCHES * 4, 8), torch.randn(BATCHES * 4, 1))

    def fit(place: Path, *, resume: bool, ends: int) -> float:
        torch.manual_seed(0)
        model = nn.Linear(8, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        count, first = itertools.count(1), [0.0]

        def stop() -> ts.Interrupted | None:
            first[0] = first[0] or time.perf_counter()
            return ts.Interrupted("there", 130) if next(count) == ends else None

        begun = time.perf_counter()
        with suppress(ts.Interrupted):
            ts.fit(
                model, ts.Batches(data, 4, shuffle=True), None, ts.Regression(), optimizer, epochs=1, folder=place,
                resume=resume, show=False, stop=stop, log_every=1_000,
            )  # fmt: skip
        return first[0] - begun

    found: dict[float, list[float]] = {place: [] for place in PLACES}
    for place in PLACES:
        fit(folder / f"at-{place}", resume=False, ends=int(BATCHES * place))
    for _ in range(repeats):
        for place in PLACES:
            copy = folder / "copy"
            shutil.copytree(folder / f"at-{place}", copy)
            found[place].append(fit(copy, resume=True, ends=1))
            shutil.rmtree(copy)
    return [(f"{place:.0%}", told(values)) for place, values in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; by default where temporary files are")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        print(f"| {given.megabytes} MiB of state | ms | ratio to unsafe |\n|---|--:|--:|")
        for row in writes(Path(place), given.megabytes, given.repeats):
            print(f"| {' | '.join(row)} |")
        print(f"\nSteps beside a write: {beside(Path(place), given.megabytes, given.repeats)} of their time alone.")
        print(f"\n| goes back into an epoch of {BATCHES:,} batches at | ms to the first update |\n|---|--:|")
        for row in ways_back(Path(place), given.repeats):
            print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
