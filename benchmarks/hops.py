"""How much code runs for one training step? Counts files, functions and calls of each trainer, with a profiler.

For one steady-state optimizer step (in the middle of the second epoch; a linear layer on the CPU, default settings):
how deep is the stack when `optimizer.step` runs, and how much of the library runs between one `optimizer.step` and the
next? PyTorch, NumPy and the standard library are not counted, nor is this file.

    python benchmarks/hops.py            # every trainer that is installed here
    pip install accelerate pytorch-ignite skorch lightning transformers keras

Nothing is timed, so the counts are the same on every machine with these versions.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import sysconfig
import tempfile
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ROWS, BATCH, FEATURES, CLASSES = 80, 8, 4, 3
WATCHED_STEP = 15  # of the second epoch, whose steps are 10 to 19

generator = torch.Generator().manual_seed(0)
INPUTS = torch.randn(ROWS, FEATURES, generator=generator)
TARGETS = torch.randint(0, CLASSES, (ROWS,), generator=generator)
NOT_COUNTED = (
    sysconfig.get_path("stdlib"),
    str(Path(torch.__file__).parent),
    str(Path(importlib.util.find_spec("numpy").origin).parent),
    __file__,
    "<",
)


class Count:
    """Watches one optimizer: profiles from the end of one step to the end of the next."""

    def __init__(self, package: str) -> None:
        self.package, self.steps = package, 0
        self.calls: Counter[tuple[str, str]] = Counter()
        self.stack: list[str] = []

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.register_step_pre_hook(self._before)
        optimizer.register_step_post_hook(self._after)

    def _before(self, *_: object) -> None:
        if self.steps == WATCHED_STEP:
            frame, self.stack = sys._getframe(1), []
            while frame:
                if not frame.f_code.co_filename.startswith(NOT_COUNTED):
                    self.stack.append(frame.f_code.co_filename)
                frame = frame.f_back

    def _after(self, *_: object) -> None:
        if self.steps == WATCHED_STEP - 1:
            sys.setprofile(self._profile)
        elif self.steps == WATCHED_STEP:
            sys.setprofile(None)
        self.steps += 1

    def _profile(self, frame: object, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and not code.co_filename.startswith(NOT_COUNTED):
            self.calls[code.co_filename, code.co_qualname] += 1

    def row(self) -> str:
        files = {file for file, _ in self.calls}
        lines = sum(len(Path(file).read_text(encoding="utf-8").splitlines()) for file in files)
        frames = len(self.stack)
        numbers = [frames, len(files), len(self.calls), sum(self.calls.values()), lines]
        return f"| {self.package} | " + " | ".join(f"{number:,}" for number in numbers) + " |"


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(FEATURES, CLASSES)


def loader() -> DataLoader:
    return DataLoader(TensorDataset(INPUTS, TARGETS), BATCH, shuffle=True)


def plain(count: Count) -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    count.attach(optimizer)
    for _ in range(2):
        for inputs, targets in loader():
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs), targets).backward()
            optimizer.step()


def truestep(count: Count) -> None:
    import truestep as ts

    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    count.attach(optimizer)
    batches = ts.Batches((INPUTS, TARGETS), BATCH, shuffle=True)
    ts.fit(net, batches, (INPUTS, TARGETS), ts.Multiclass(CLASSES), optimizer, epochs=2)


def accelerate(count: Count) -> None:
    from accelerate import Accelerator

    accelerator, net = Accelerator(cpu=True), model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    count.attach(optimizer)
    net, optimizer, batches = accelerator.prepare(net, optimizer, loader())
    for _ in range(2):
        for inputs, targets in batches:
            optimizer.zero_grad()
            accelerator.backward(nn.functional.cross_entropy(net(inputs), targets))
            optimizer.step()


def ignite(count: Count) -> None:
    from ignite.engine import create_supervised_trainer

    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    count.attach(optimizer)
    create_supervised_trainer(net, optimizer, nn.CrossEntropyLoss()).run(loader(), max_epochs=2)


def skorch(count: Count) -> None:
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(
        model(), criterion=nn.CrossEntropyLoss, max_epochs=2, batch_size=BATCH, train_split=None, verbose=0
    ).initialize()
    count.attach(net.optimizer_)
    net.partial_fit(INPUTS, TARGETS)


def lightning(count: Count) -> None:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = model()

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            count.attach(optimizer)
            return optimizer

    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=folder, log_every_n_steps=5)
        trainer.fit(Module(), loader())


def transformers(count: Count) -> None:
    from transformers import Trainer, TrainingArguments

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model()

        def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": nn.functional.cross_entropy(self.net(inputs), labels)}

    net = Wrapped()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    count.attach(optimizer)
    data = [{"inputs": x, "labels": y} for x, y in zip(INPUTS, TARGETS, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=2, per_device_train_batch_size=BATCH, use_cpu=True, report_to=[]
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
        Trainer(net, arguments, train_dataset=data, optimizers=(optimizer, schedule)).train()


TRAINERS = {
    "plain PyTorch loop": (plain, "torch"),
    "truestep": (truestep, "truestep"),
    "Ignite": (ignite, "pytorch-ignite"),
    "Accelerate (the loop is yours)": (accelerate, "accelerate"),
    "skorch": (skorch, "skorch"),
    "HF Trainer": (transformers, "transformers"),
    "Lightning": (lightning, "lightning"),
}


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["KERAS_BACKEND"] = "torch"
    print("| trainer | frames to `step` | files that run | functions | calls | lines in those files |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, (train, package) in TRAINERS.items():
        if not importlib.util.find_spec(package.removeprefix("pytorch-")):
            print(f"{name}: not installed here", file=sys.stderr)
            continue
        count = Count(name if package == "torch" else f"{name} {version(package)}")
        stdout, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115, PTH123  peers print
        try:
            train(count)
        finally:
            sys.setprofile(None)
            sys.stdout.close()
            sys.stdout = stdout
        print(count.row())


if __name__ == "__main__":
    main()
