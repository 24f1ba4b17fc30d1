"""How much longer than its arithmetic does training take? Trainers beside the loop of the tutorials, side by side.

    python benchmarks/overhead.py [--repeats 7] [--work table,digits,cnn,transformer] [--only NAME,...] [--out FILE]
    pip install lightning transformers accelerate pytorch-ignite skorch keras      # whatever is missing is left out

Every contender trains the same model on the same batches for the same epochs, with AdamW at the same rate, and reports loss and
accuracy of both splits after each epoch. CPU time of one thread. Each runs in a process of its own, in random order, and there
takes turns with the hand-written loop: given is the median over all turns of its time, start not included, by that of the loop
right beside it, and the quartiles. "Hand-written, again" is the null: how far apart two equal things come out. Accuracy is that
of the validation rows at the end, as proof of the same work.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import logging
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

LR = 1e-3


@dataclass
class Work:
    """Something to train: the same for all."""

    model: Callable[[], nn.Module]
    classes: int
    batch: int
    epochs: int
    train: tuple[Tensor, Tensor]
    valid: tuple[Tensor, Tensor]

    def made(self) -> nn.Module:
        torch.manual_seed(0)
        return self.model()

    def loaders(self) -> tuple[DataLoader, DataLoader]:
        train = DataLoader(TensorDataset(*self.train), batch_size=self.batch, shuffle=True)
        return train, DataLoader(TensorDataset(*self.valid), batch_size=self.batch)

    @property
    def steps(self) -> int:
        return self.epochs * -(-len(self.train[0]) // self.batch)


class Transformer(nn.Module):
    """Which token is the most frequent one? Two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.output = nn.Linear(32, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(self.layers(self.embedding(tokens)).mean(1))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 8 * 8, 10),
    )  # fmt: skip


def work_called(name: str) -> Work:
    generator = torch.Generator().manual_seed(0)

    def split(x: Tensor, y: Tensor, train: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        return (x[:train], y[:train]), (x[train:], y[train:])

    match name:
        case "table":
            x = torch.randn(5_000, 20, generator=generator)
            y = (x[:, 0] + x[:, 1] > 0).long() + (x[:, 2] * x[:, 3] > 0.5).long()
            layers = (nn.Linear, 20, 64, 3)
            return Work(lambda: perceptron(*layers[1:]), 3, 32, 5, *split(x, y, 4_000))
        case "digits":
            from sklearn.datasets import load_digits

            digits = load_digits()
            order = torch.randperm(len(digits.data), generator=generator)
            x, y = torch.tensor(digits.data / 16, dtype=torch.float32)[order], torch.tensor(digits.target)[order]
            return Work(lambda: perceptron(64, 128, 10), 10, 32, 10, *split(x, y, 1_437))
        case "cnn":
            y = torch.randint(0, 10, (1_280,), generator=generator)
            x = torch.randn(1_280, 3, 32, 32, generator=generator) + torch.randn(10, 3, 1, 1, generator=generator)[y]
            return Work(convolutions, 10, 32, 1, *split(x, y, 1_024))
        case "transformer":
            x = torch.randint(0, 16, (1_280, 24), generator=generator)
            return Work(Transformer, 16, 32, 2, *split(x, x.mode(1).values, 1_024))
    raise SystemExit(f"--work {name}: expected table, digits, cnn, transformer")


def perceptron(inputs: int, hidden: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes)
    )


# ---- the contenders: each trains, and returns the accuracy on the validation rows --------------------------------------


def hand_written(work: Work) -> float:
    """The loop of the tutorials, with AdamW as one writes it."""
    model, (train, valid) = work.made(), work.loaders()
    optimizer, criterion = torch.optim.AdamW(model.parameters(), lr=LR), nn.CrossEntropyLoss()
    accuracy = 0.0
    for _ in range(work.epochs):
        model.train()
        loss_sum, right = 0.0, 0
        for inputs, targets in train:
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(targets)
            right += (outputs.argmax(1) == targets).sum().item()
        model.eval()
        valid_sum, valid_right = 0.0, 0
        with torch.no_grad():
            for inputs, targets in valid:
                outputs = model(inputs)
                valid_sum += criterion(outputs, targets).item() * len(targets)
                valid_right += (outputs.argmax(1) == targets).sum().item()
        accuracy = valid_right / len(work.valid[0])
    return accuracy


def lean(work: Work) -> float:
    """A careful loop: batches by index, metrics left on tensors, a fused optimizer."""
    model, (x, y), (vx, vy) = work.made(), work.train, work.valid
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
    accuracy = 0.0
    for _ in range(work.epochs):
        model.train()
        losses, hits = [], []
        for rows in torch.randperm(len(x)).split(work.batch):
            inputs, targets = x.index_select(0, rows), y.index_select(0, rows)
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = F.cross_entropy(outputs, targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach() * len(targets))
            hits.append((outputs.argmax(1) == targets).sum())
        _ = torch.stack(losses).sum().item(), torch.stack(hits).sum().item()
        model.eval()
        with torch.no_grad():
            outputs = [model(inputs) for inputs in vx.split(work.batch)]
            accuracy = (torch.cat(outputs).argmax(1) == vy).double().mean().item()
    return accuracy


def floor(work: Work) -> float:
    """Nothing but forward, backward and a fused optimizer, on one batch, as often as the others."""
    model, (inputs, targets), valid = (
        work.made(),
        (part[: work.batch] for part in work.train),
        work.valid[0][: work.batch],
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
    for _ in range(work.epochs):
        for _ in range(work.steps // work.epochs):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        with torch.no_grad():
            for _ in range(-(-len(work.valid[0]) // work.batch)):
                model(valid)
    return float("nan")


def truestep(work: Work, **options: object) -> float:
    """`fit` with everything on: exact loss and accuracy, the guard against NaN, the log, checkpoints, the progress line."""
    import truestep as ts

    model = work.made()
    optimizer = ts.build_optimizer("adamw", model, lr=LR, weight_decay=0.01)
    train = ts.Batches(work.train, work.batch, shuffle=True)
    with tempfile.TemporaryDirectory() as folder:
        objective = ts.Multiclass(work.classes)
        found = ts.fit(model, train, work.valid, objective, optimizer, epochs=work.epochs, folder=folder, **options)
    return found.history[-1]["valid_accuracy"]


def truestep_silent(work: Work) -> float:
    return truestep(work, show=False)


def truestep_clipping(work: Work) -> float:
    return truestep(work, max_grad_norm=1.0)


def accelerate(work: Work) -> float:
    from accelerate import Accelerator

    accelerator, model = Accelerator(cpu=True), work.made()
    optimizer, criterion = torch.optim.AdamW(model.parameters(), lr=LR), nn.CrossEntropyLoss()
    model, optimizer, train, valid = accelerator.prepare(model, optimizer, *work.loaders())
    accuracy = 0.0
    for _ in range(work.epochs):
        for training, loader in ((True, train), (False, valid)):
            model.train(training)
            loss_sum, right = 0.0, 0
            with torch.set_grad_enabled(training):
                for inputs, targets in loader:
                    outputs = model(inputs)
                    loss = criterion(outputs, targets)
                    if training:
                        optimizer.zero_grad()
                        accelerator.backward(loss)
                        optimizer.step()
                    loss_sum += loss.item() * len(targets)
                    right += (outputs.argmax(1) == targets).sum().item()
        accuracy = right / len(work.valid[0])
    return accuracy


def ignite(work: Work) -> float:
    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.metrics import Accuracy, Loss, RunningAverage  # noqa: F401

    model, criterion, (train, valid) = work.made(), nn.CrossEntropyLoss(), work.loaders()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    trainer = create_supervised_trainer(
        model, optimizer, criterion, output_transform=lambda _, y, outputs, __: (outputs.detach(), y)
    )
    Accuracy().attach(trainer, "accuracy")
    Loss(criterion).attach(trainer, "loss")
    evaluator = create_supervised_evaluator(model, {"accuracy": Accuracy(), "loss": Loss(criterion)})
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: evaluator.run(valid))
    trainer.run(train, max_epochs=work.epochs)
    return evaluator.state.metrics["accuracy"]


def skorch(work: Work) -> float:
    from skorch import NeuralNetClassifier
    from skorch.callbacks import EpochScoring
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    net = NeuralNetClassifier(
        work.made(), criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, lr=LR, max_epochs=work.epochs,
        batch_size=work.batch, iterator_train__shuffle=True, train_split=predefined_split(Dataset(*work.valid)),
        callbacks=[("train_acc", EpochScoring("accuracy", name="train_acc", on_train=True, lower_is_better=False))],
    )  # fmt: skip
    net.fit(*work.train)
    return net.history[-1, "valid_acc"]


def lightning(work: Work) -> float:
    import lightning as pl
    from torchmetrics.classification import MulticlassAccuracy

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = work.made()
            self.accuracies = nn.ModuleDict(
                {split: MulticlassAccuracy(work.classes, average="micro") for split in ("on_train", "on_valid")}
            )

        def shared(self, batch: tuple[Tensor, Tensor], split: str) -> Tensor:
            outputs = self.net(batch[0])
            loss = F.cross_entropy(outputs, batch[1])
            self.accuracies[split](outputs, batch[1])
            self.log(f"{split}_loss", loss, on_step=False, on_epoch=True)
            self.log(f"{split}_accuracy", self.accuracies[split], on_step=False, on_epoch=True)
            return loss

        def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            return self.shared(batch, "on_train")

        def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
            self.shared(batch, "on_valid")

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=LR)

    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=work.epochs, accelerator="cpu", default_root_dir=folder, num_sanity_val_steps=0,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Module(), *work.loaders())
        return float(trainer.callback_metrics["on_valid_accuracy"])


def transformers(work: Work) -> float:
    from transformers import Trainer, TrainingArguments

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = work.made()

        def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
            outputs = self.net(inputs)
            return {"loss": F.cross_entropy(outputs, labels), "logits": outputs}

    def rows(split: tuple[Tensor, Tensor]) -> list[dict[str, Tensor]]:
        return [{"inputs": x, "labels": y} for x, y in zip(*split, strict=True)]

    def accuracy(found: object) -> dict[str, float]:
        return {"accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=work.epochs, per_device_train_batch_size=work.batch, learning_rate=LR, use_cpu=True,
            per_device_eval_batch_size=work.batch, eval_strategy="epoch", save_strategy="no", report_to=[],
            lr_scheduler_type="constant",
        )  # fmt: skip
        trainer = Trainer(
            Wrapped(),
            arguments,
            train_dataset=rows(work.train),
            eval_dataset=rows(work.valid),
            compute_metrics=accuracy,
        )
        trainer.train()
        return trainer.evaluate()["eval_accuracy"]


def keras(work: Work) -> float:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    from keras.layers import TorchModuleWrapper

    shape = tuple(work.train[0].shape[1:])
    dtype = "int64" if work.train[0].dtype == torch.int64 else "float32"
    net = keras.Sequential([keras.Input(shape, dtype=dtype), TorchModuleWrapper(work.made())])
    net.compile(
        keras.optimizers.AdamW(LR), metrics=["sparse_categorical_accuracy"],
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )  # fmt: skip
    train, valid = work.loaders()
    return net.fit(train, validation_data=valid, epochs=work.epochs, verbose=2).history[
        "val_sparse_categorical_accuracy"
    ][-1]


CONTENDERS: dict[str, tuple[Callable[[Work], float], str, str]] = {
    "floor": (floor, "torch", "floor: forward, backward, fused AdamW"),
    "lean": (lean, "torch", "lean loop"),
    "again": (hand_written, "torch", "hand-written, again"),
    "truestep": (truestep, "truestep", "**truestep {}, everything on**"),
    "silent": (truestep_silent, "truestep", "truestep, no progress line"),
    "clipping": (truestep_clipping, "truestep", "truestep, clipping too"),
    "skorch": (skorch, "skorch", "skorch {}"),
    "ignite": (ignite, "pytorch-ignite", "Ignite {}"),
    "accelerate": (accelerate, "accelerate", "Accelerate {}"),
    "transformers": (transformers, "transformers", "HF Trainer {}"),
    "keras": (keras, "keras", "Keras {}, torch backend"),
    "lightning": (lightning, "lightning", "Lightning {}"),
}


def measure(name: str, work: Work, repeats: int) -> dict[str, object]:
    """Take turns with the hand-written loop, in this process."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    train = CONTENDERS[name][0]
    ours, reference, accuracy = [], [], 0.0
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        hand_written(work), train(work)  # imports, caches
        for _ in range(repeats):
            turns = [(ours, train), (reference, hand_written)]
            random.shuffle(turns)
            for times, act in turns:
                begun = time.process_time()
                reached = act(work)
                times.append(time.process_time() - begun)
                if act is train:
                    accuracy = reached
    ratios = [one / other for one, other in zip(ours, reference, strict=True)]
    return {
        "ratios": ratios,
        "micros": 1e6 * statistics.median(ours) / work.steps,
        "accuracy": accuracy,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def row(name: str, found: dict[str, object]) -> str:
    _, package, words = CONTENDERS[name]
    low, middle, high = statistics.quantiles(found["ratios"], n=4)
    accuracy = "" if found["accuracy"] != found["accuracy"] else f"{found['accuracy']:.3f}"
    return (
        f"| {words.format(version(package))} | {middle:.2f} | {low:.2f} to {high:.2f} | {found['micros']:,.0f} | {accuracy} | "
        f"{found['peak']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--work", default="table,digits,cnn,transformer")
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one[0], work_called(given.one[1]), given.repeats)))
        return
    names = given.only.split(",") if given.only else [*CONTENDERS]
    installed = [name for name in names if importlib.util.find_spec(CONTENDERS[name][1].removeprefix("pytorch-"))]
    lines = []
    for work in given.work.split(","):
        found = {}
        for name in random.sample(installed, len(installed)):
            command = [sys.executable, __file__, "--one", name, work, "--repeats", str(given.repeats)]
            run = subprocess.run(
                command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
            if run.returncode:
                print(f"{name} on {work} failed:\n{run.stderr[-2000:]}", file=sys.stderr)
            else:
                found[name] = json.loads(run.stdout.splitlines()[-1])
                print(row(name, found[name]), file=sys.stderr, flush=True)
        made = work_called(work)
        size = (
            f"{sum(p.numel() for p in made.made().parameters()):,} weights, batches of {made.batch}, {made.steps} steps"
        )
        lines += [
            f"\n**{work}** ({size})\n",
            "| | time | quartiles | µs a step | accuracy | peak MiB |",
            "|---|--:|--:|--:|--:|--:|",
        ]
        lines += [
            row(name, found[name]) for name in sorted(found, key=lambda one: statistics.median(found[one]["ratios"]))
        ]
    lines.append(f"\nPython {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one thread.")
    text = "\n".join(lines) + "\n"
    given.out.write_text(text, encoding="utf-8") if given.out else print(text)


if __name__ == "__main__":
    main()
