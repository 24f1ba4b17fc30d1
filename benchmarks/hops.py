"""How much code runs for one training step? Counts files, functions and calls of each trainer, with a profiler.

For one steady-state optimizer step (in the middle of the second epoch; a linear layer on the CPU, default settings):
how deep is the stack when `optimizer.step` runs, and how much of the library, and of the libraries it needs, runs from
the end of one `optimizer.step` to the end of the next? PyTorch, NumPy and the standard library are not counted, nor is
this file. Each trainer runs in a process of its own, because some look at what else is imported.

    python benchmarks/hops.py            # every trainer that is installed here
    pip install accelerate pytorch-ignite skorch lightning transformers keras

Nothing is timed, so the counts are the same on every machine with these versions, but for two things: a progress bar
that redraws by the clock may add a few calls on a slow one, and Lightning chooses its bar by whether `rich` is there.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path

import torch
from counting import Calls
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ROWS, BATCH, FEATURES, CLASSES, EPOCHS = 80, 8, 4, 3, 2
WATCHED_STEP = 15  # of the second epoch, whose steps are 10 to 19

generator = torch.Generator().manual_seed(0)
INPUTS = torch.randn(ROWS, FEATURES, generator=generator)
TARGETS = torch.randint(0, CLASSES, (ROWS,), generator=generator)

STDLIB, INSTALLED = (sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib"))
NOT_COUNTED = (
    str(Path(torch.__file__).parent) + os.sep,
    str(Path(importlib.util.find_spec("numpy").origin).parent) + os.sep,
    INSTALLED + "_distutils_hack",  # setuptools' hook in every import
    __file__,
    "<",  # made at run time, as by dataclasses
)


def counted(file: str) -> bool:
    in_stdlib = file.startswith(STDLIB) and not file.startswith(INSTALLED)  # without a venv, one lies in the other
    return not in_stdlib and not file.startswith(NOT_COUNTED)


class Count:
    """Watches one optimizer: profiles from the end of one step to the end of the next."""

    def __init__(self) -> None:
        self.steps = 0
        self.calls = Calls()
        self.stack: list[str] = []

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.register_step_pre_hook(self.before)
        optimizer.register_step_post_hook(self.after)

    def before(self, *_: object) -> None:
        if self.steps == WATCHED_STEP:
            frame, self.stack = sys._getframe(1), []
            while frame:
                if counted(frame.f_code.co_filename):
                    self.stack.append(frame.f_code.co_filename)
                frame = frame.f_back

    def after(self, *_: object) -> None:
        if self.steps == WATCHED_STEP - 1:
            self.calls.begin()
        elif self.steps == WATCHED_STEP:
            self.calls.end()
        self.steps += 1

    def row(self, name: str) -> str:
        assert self.steps == EPOCHS * ROWS // BATCH, self.steps
        calls = {place: count for place, count in self.calls.found.items() if counted(place[0])}
        files = {file for file, _ in calls}
        lines = sum(len(Path(file).read_text(encoding="utf-8").splitlines()) for file in files)
        frames = len(self.stack)
        numbers = [frames, len(files), len(calls), sum(calls.values()), lines]
        return f"| {name} | " + " | ".join(f"{number:,}" for number in numbers) + " |"


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(FEATURES, CLASSES)


def loader() -> DataLoader:
    return DataLoader(TensorDataset(INPUTS, TARGETS), BATCH, shuffle=True)


def plain(count: Count) -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    count.attach(optimizer)
    for _ in range(EPOCHS):
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
    ts.fit(net, batches, (INPUTS, TARGETS), ts.Multiclass(CLASSES), optimizer, epochs=EPOCHS)


def accelerate(count: Count) -> None:
    from accelerate import Accelerator

    accelerator, net = Accelerator(cpu=True), model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    count.attach(optimizer)
    net, optimizer, batches = accelerator.prepare(net, optimizer, loader())
    for _ in range(EPOCHS):
        for inputs, targets in batches:
            optimizer.zero_grad()
            accelerator.backward(nn.functional.cross_entropy(net(inputs), targets))
            optimizer.step()


def ignite(count: Count) -> None:
    from ignite.engine import create_supervised_trainer

    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    count.attach(optimizer)
    create_supervised_trainer(net, optimizer, nn.CrossEntropyLoss()).run(loader(), max_epochs=EPOCHS)


def skorch(count: Count) -> None:
    from skorch import NeuralNetClassifier

    def sgd(*arguments: object, **options: object) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(*arguments, **options)
        count.attach(optimizer)
        return optimizer

    NeuralNetClassifier(
        model(),
        criterion=nn.CrossEntropyLoss,
        optimizer=sgd,
        lr=0.1,
        max_epochs=EPOCHS,
        batch_size=BATCH,
        train_split=None,
    ).fit(INPUTS, TARGETS)


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
        trainer = lightning.Trainer(max_epochs=EPOCHS, accelerator="cpu", default_root_dir=folder)
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
            folder, num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, use_cpu=True, report_to=[]
        )
        Trainer(net, arguments, train_dataset=data, optimizers=(optimizer, None)).train()


def keras(count: Count) -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    from keras.layers import TorchModuleWrapper

    optimizer = keras.optimizers.SGD(0.1)  # Keras has its own, so that its update is counted too
    apply = optimizer.apply

    def watched(*arguments: object) -> None:
        count.before()
        apply(*arguments)
        count.after()

    optimizer.apply = watched
    net = keras.Sequential([keras.Input((FEATURES,)), TorchModuleWrapper(model())])
    net.compile(optimizer, loss=lambda targets, outputs: nn.functional.cross_entropy(outputs, targets.long()))
    net.fit(loader(), epochs=EPOCHS)


TRAINERS = {
    "torch": (plain, "plain loop, PyTorch {}"),
    "truestep": (truestep, "truestep {}"),
    "pytorch-ignite": (ignite, "Ignite {}"),
    "accelerate": (accelerate, "Accelerate {} (the loop is yours)"),
    "skorch": (skorch, "skorch {}"),
    "transformers": (transformers, "HF Trainer {}"),
    "keras": (keras, "Keras {} (the optimizer is its own)"),
    "lightning": (lightning, "Lightning {}"),
}


def one(package: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    train, name = TRAINERS[package]
    count = Count()
    with redirect_stdout(io.StringIO()):
        train(count)
    print(count.row(name.format(version(package))))


def main() -> None:
    print("| trainer | frames to `step` | files that run | functions | calls | lines in those files |")
    print("|---|--:|--:|--:|--:|--:|")
    for package in TRAINERS:
        if not importlib.util.find_spec(package.removeprefix("pytorch-")):
            print(f"{package}: not installed here", file=sys.stderr)
            continue
        run = subprocess.run([sys.executable, __file__, package], capture_output=True, text=True, check=False)
        if run.returncode:
            print(f"{package} failed:\n{run.stderr}", file=sys.stderr)
        print(run.stdout, end="", flush=True)
    print(f"\nPython {platform.python_version()}")


if __name__ == "__main__":
    one(sys.argv[1]) if len(sys.argv) > 1 else main()
