"""What would make a run fail or mislead, said in one line before its first step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import LBFGS
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import Dataset

from truestep import distributed
from truestep.batches import Batches
from truestep.code import is_code
from truestep.device import Precision
from truestep.errors import InputError, did_you_mean
from truestep.evaluation import known_metrics
from truestep.nest import tensors_of
from truestep.nonfinite import POLICIES
from truestep.optimizers import SCHEDULES

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from truestep.objectives import Objective
    from truestep.recipe import Recipe


NEEDS = {  # choices that only some objectives, optimizers and schedules heed
    "objective.loss": ("objective", {"regression"}),
    "objective.label_smoothing": ("objective", {"multiclass"}),
    "objective.balance": ("objective", {"multiclass", "binary"}),
    "optimizer.momentum": ("optimizer", {"sgd", "muon"}),
    "optimizer.nesterov": ("optimizer", {"sgd"}),
    "schedule.warmup": ("schedule", {*SCHEDULES} - {"plateau"}),
}


def check_heeded(recipe: Recipe, objective: str) -> None:
    """Raise InputError for a choice that nothing heeds, which would leave a wrong belief.

    What is switched off (0 or false), or is as it is by default, does no harm.

    Args:
        recipe: of the run.
        objective: its name; "auto" while nobody knows, which passes over what depends on it.
    """
    found = {"objective": objective, "optimizer": recipe.optimizer.name, "schedule": recipe.schedule.name}
    for choice, (what, heeding) in NEEDS.items():
        value, name = recipe.get(choice), found[what]
        if value and value != type(recipe)().get(choice) and name not in {*heeding, "auto"}:
            hint = ""
            if what == "optimizer" and is_code(name):
                hint = f" What it takes is given as --optimizer.args.{choice.partition('.')[2]}."
            raise InputError(
                f"{choice}: expected {what} {' or '.join(sorted(heeding))} for this choice, found {name}, "
                f"on which it has no effect. Leave it out.{hint}"
            )


def check_steps(
    model: nn.Module,
    optimizer: Optimizer,
    precision: Precision | str,
    *,
    accumulate: int,
    max_grad_norm: float,
    max_grad_value: float,
    on_nonfinite: str,
) -> None:
    """Raise InputError for options of `train_steps` that are out of range or can't go together."""
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(p.requires_grad for p in model.parameters()):
        raise InputError("model: expected parameters to train, found none: all are frozen, or there are none.")
    if not any(id(p) in trained for p in model.parameters()):
        raise InputError("optimizer: expected parameters of this model, found none. Make it from model.parameters().")
    if accumulate < 1:
        raise InputError(f"accumulate: expected at least 1 batch, found {accumulate}.")
    for name, value in (("max_grad_norm", max_grad_norm), ("max_grad_value", max_grad_value)):
        if not value > 0:
            raise InputError(f"{name}: expected a number above 0, found {value}.")
    clips = min(max_grad_norm, max_grad_value) < math.inf
    if max(max_grad_norm, max_grad_value) < math.inf:
        raise InputError("max_grad_norm, max_grad_value: expected one of them, found both.")
    if on_nonfinite not in POLICIES:
        raise InputError(f"on_nonfinite: expected one of {', '.join(POLICIES)}, found '{on_nonfinite}'.")
    scales = precision == "fp16" or (isinstance(precision, Precision) and precision.scaler.is_enabled())
    if isinstance(optimizer, LBFGS) and (clips or scales or on_nonfinite == "skip"):
        raise InputError("lbfgs: expected no clipping, no fp16 and no skipping; its line search needs true gradients.")
    if distributed.world_size() > 1 and not distributed.is_wrapped(model):
        raise InputError("model: expected DistributedDataParallel(model) among several processes, found a bare module.")


def check_run(
    objective: Objective,
    train: Iterable[Any],
    valid: Iterable[Any] | None,
    scheduler: LRScheduler | None,
    *,
    monitor: str,
    patience: int | None,
    epochs: int,
    log_every: int,
    ema_decay: float | None,
    on_nonfinite: str,
    folder: Path | str | None,
    resume: bool,
) -> None:
    """Raise InputError for what `fit` can't do, and for the first target that does not fit the objective."""
    if resume and folder is None:
        raise InputError("resume: expected the folder of the run to go on with, found none. Give folder=.")
    if on_nonfinite == "rollback" and folder is None:
        raise InputError("on_nonfinite: expected a folder with checkpoints to go back to, found none. Give folder=.")
    if not resume and folder is not None and any((Path(folder) / "checkpoints").glob("step-*")):
        raise InputError(f"{folder}: holds the checkpoints of another run. Give resume=True, or another folder.")
    for name, value in (("epochs", epochs), ("log_every", log_every)):
        if value < 1:
            raise InputError(f"{name}: expected at least 1, found {value}.")
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise InputError(f"ema_decay: expected a number of at least 0 and below 1, found {ema_decay}.")
    if valid is None and isinstance(scheduler, ReduceLROnPlateau):
        raise InputError("scheduler: ReduceLROnPlateau expected validation data to watch, found none.")
    if isinstance(train, tuple | dict | Dataset):
        raise InputError("train: expected batches, found data. Say how to cut it: Batches(train, 32, shuffle=True).")
    if valid is None and patience is not None:
        raise InputError("patience: expected validation data to watch, found none.")
    check_monitor(objective, monitor)
    for name, batches in (("train", train), ("valid", valid)):
        data = batches.data if isinstance(batches, Batches) else batches
        if isinstance(data, tuple | dict | Tensor) and any(True for _ in tensors_of(data)):
            try:
                objective.check(objective.unpack(data)[1])
            except InputError as error:
                raise InputError(f"{name} {error}") from None


def check_monitor(objective: Objective, monitor: str) -> None:
    """Raise InputError unless evaluating gives this metric."""
    known = [f"valid_{name}" for name in known_metrics(objective)]
    if monitor not in known:
        hint = did_you_mean(monitor, known)
        raise InputError(f"monitor: expected one of {', '.join(known)}, found '{monitor}'.{hint}")
