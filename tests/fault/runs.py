"""Small runs of many kinds, each in a process of its own that can be killed, and a digest of all that one ends with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import random
import signal
import sys
import threading
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # optimizers import it at their first use, a second in every copy
from torch import nn
from torch.utils.data import Dataset, IterableDataset

import truestep as ts
from truestep import disk
from truestep.batches import Batches, StreamedBatches
from truestep.checkpoint import newest_first
from truestep.data import Augment
from truestep.folder import read_metrics
from truestep.optimizers import build_optimizer, build_schedule

CLASSES, STEPS = 4, 24
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(46, 1, 8, 8, generator=GENERATOR)
TARGETS = (IMAGES.mean((1, 2, 3)) * 40).long().clamp(0, CLASSES - 1)
VALID = (torch.randn(16, 1, 8, 8, generator=GENERATOR), torch.arange(16) % CLASSES)


class Noisy(Dataset):
    """Draws from all global generators, as people's datasets do."""

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        noise = torch.randn(1, 8, 8) + float(np.random.randn()) + random.random()  # noqa: NPY002
        return IMAGES[index] + 0.1 * noise, TARGETS[index]


class Stream(IterableDataset):
    def __iter__(self):
        for image, target in zip(IMAGES, TARGETS, strict=True):
            yield image + 0.1 * torch.randn(1, 8, 8), target


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(256, 12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, CLASSES),
    )  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One kind of run."""

    data: str = "images"  # "augmented", "dataset", "workers" or "stream"
    optimizer: str = "adamw"
    schedule: str = "cosine"
    save_steps: int = 3
    options: tuple = ()


KINDS = {
    "everything": Kind("augmented", options=(("ema_decay", 0.9), ("patience", 4), ("max_grad_norm", 1.0))),
    "ragged windows, workers": Kind("workers", save_steps=2, options=(("accumulate", 3),)),
    "float16": Kind(optimizer="sgd", options=(("precision", "fp16"), ("accumulate", 2))),
    "stream, plateau": Kind("stream", "rmsprop", "plateau", options=(("ema_decay", 0.8),)),
    "saved in every step": Kind("dataset", "adam", "one-cycle", 1, (("precision", "bf16"),)),
}
MORE_KINDS = {
    "muon": Kind("augmented", "muon", "wsd", options=(("accumulate", 2),)),
    "lbfgs": Kind(optimizer="lbfgs", schedule="constant"),
    "nothing but steps": Kind(optimizer="sgd", schedule="step", save_steps=5),
    "skipping": Kind("stream", options=(("on_nonfinite", "skip"),)),
    "float16 and workers": Kind("workers", "adam", "exponential", 2, (("precision", "fp16"), ("ema_decay", 0.5))),
}


def fit(kind: Kind, folder: Path, *, resume: bool, stop=lambda: None):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    model = network()
    match kind.data:
        case "images" | "augmented":
            augment = Augment(flip=True, shift=1) if kind.data == "augmented" else None
            train = Batches((IMAGES, TARGETS), 6, shuffle=True, seed=1, transform=augment)
        case "stream":
            train = StreamedBatches(Stream(), 6, seed=1)
        case _:
            train = Batches(Noisy(), 6, shuffle=True, seed=1, num_workers=2 * (kind.data == "workers"))
    optimizer = build_optimizer(kind.optimizer, model, lr=0.01)
    schedule = build_schedule(kind.schedule, optimizer, total_steps=STEPS)
    found = ts.fit(
        model, train, VALID, ts.Multiclass(CLASSES), optimizer, scheduler=schedule, epochs=6, max_steps=STEPS,
        folder=folder, resume=resume, save_seconds=math.inf, save_steps=kind.save_steps, log_every=2, show=False,
        stop=stop, **dict(kind.options),
    )  # fmt: skip
    return model, optimizer, schedule, found


def digest(folder: Path, model, optimizer, schedule, found) -> str:
    """Return the SHA-256 of weights, optimizer, schedule, best weights, generators, and of every line of the log."""
    sums = hashlib.sha256()

    def add(value):
        if isinstance(value, torch.Tensor):
            sums.update(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for name in sorted(value, key=str):
                sums.update(repr(name).encode())
                add(value[name])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            sums.update(repr(value).encode())

    progress = {name: value for name, value in vars(found.progress).items() if name not in ("seconds", "log_size")}
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(folder / "metrics.jsonl")]
    best = found.best.state_dict()
    for part in (model.state_dict(), optimizer.state_dict(), schedule.state_dict(), best, progress, rows):
        add(part)
    add([torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()])  # noqa: NPY002
    return sums.hexdigest()


def in_a_copy(function, *arguments) -> int:
    """Call a function in a copy of this process; return its exit code, negative for a signal."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            warnings.simplefilter("default")
            function(*arguments)
            code = 0
        except BaseException:  # noqa: BLE001  the copy must end here
            traceback.print_exc()
        os._exit(code)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at_change(number: int) -> None:
    """Have this process killed ahead of its `number`-th change of the disk, counted from 0."""
    left = iter(range(number, -1, -1))

    def counted(original):
        def call(*arguments):
            if next(left, 1) == 0:
                kill_self()
            return original(*arguments)

        return call

    for name in ("make_folder", "create", "write", "flush", "flush_folder", "rename", "remove", "remove_folder"):
        setattr(disk, name, counted(getattr(disk, name)))


def run(kind: Kind, folder: Path, *, step: int | None = None, change: int | None = None, settled: bool = False) -> None:
    """Begin or go on, until killed after so many updates or ahead of so many changes of the disk; leave a digest.

    Settled, each update waits for the checkpoint that is being written.
    """
    if change is not None:
        killed_at_change(change)
    calls = iter(range(10_000))

    def stop():
        for thread in threading.enumerate() if settled else ():
            if thread.name == "checkpoint":
                thread.join()
        if step is not None and next(calls) == step:
            kill_self()

    resume = bool(newest_first(folder / "checkpoints"))
    ended = fit(kind, folder, resume=resume, stop=stop)
    (folder / "digest.json").write_text(json.dumps(digest(folder, *ended)))


def reference(kind: Kind, folder: Path) -> str:
    assert in_a_copy(run, kind, folder) == 0
    return json.loads((folder / "digest.json").read_text())


def ended_as(folder: Path) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        return json.loads((folder / "digest.json").read_text())
    return None
