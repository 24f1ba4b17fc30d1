"""What becomes of every choice of a recipe in a plain script: the one list, which the documentation shows too.

A choice that is not here makes a test fail, so that a new one can't be forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from truestep.code import is_code
from truestep.errors import InputError
from truestep.optimizers import OPTIMIZERS
from truestep.recipe import Recipe

MONITORS = {  # of each objective, what the script computes
    "multiclass": ("loss", "accuracy"),
    "binary": ("loss", "accuracy"),
    "multilabel": ("loss", "accuracy"),
    "regression": ("loss", "rmse", "mae", "r2"),
    "next-token": ("loss", "perplexity", "token_accuracy"),
}
PLATEAU = ("factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps")
EJECTED_OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "lbfgs")


@dataclass(frozen=True)
class Option:
    """What becomes of a choice."""

    becomes: str  # in words, for the documentation
    refused: Callable[[Any], str | None] = lambda _: None  # why a value of it can't be ejected


def check(recipe: Recipe, objective: str = "auto") -> None:
    """Raise InputError for the first choice that can't be ejected, with the reason.

    Args:
        recipe: of the run.
        objective: its name; "auto" while nobody knows, which passes over what depends on it.
    """
    for name, option in OPTIONS.items():
        if reason := option.refused(recipe.get(name)):
            raise InputError(f"{name}: can't be ejected; {reason}")
    known = [f"valid_{name}" for name in MONITORS.get(objective, ())]
    if known and recipe.train.monitor not in known:
        raise InputError(
            f"train.monitor: can't be ejected; the script computes {', '.join(known)}, found {recipe.train.monitor}."
        )
    if recipe.train.on_nonfinite == "skip" and recipe.train.precision == "fp16":
        raise InputError("train.on_nonfinite: can't be ejected; fp16 leaves updates out by itself, use stop.")


def _if_set(reason: str) -> Callable[[Any], str | None]:
    return lambda value: reason if value else None


def _device(device: str) -> str | None:
    return None if device in ("cpu", "auto") else f"bits are the same on CPUs only, found {device}. Say --device cpu."


def _optimizer(name: str) -> str | None:
    if name in EJECTED_OPTIMIZERS:
        return None
    why = "it is two optimizers in one" if name in OPTIMIZERS else "it is code of your own"
    return f"{why}, found {name}. Use one of {', '.join(EJECTED_OPTIMIZERS)}."


def _model(name: str) -> str | None:
    if not is_code(name) or name.rpartition(":")[0].endswith(".py"):
        return None
    return "a model of an installed package is called through more than a script can show; copy it to a file.py."


KEYED = "it takes pages of code; augment.flip and augment.shift can be."
SHARE = "the rows with the lowest hashes of what they hold"

OPTIONS: dict[str, Option] = {
    "data.source": Option(
        "the lines that read it: bundled sets, CSV and Parquet files, folders of images, one .txt file, .npz files, "
        "`file.py:function` that gives arrays"
    ),
    "data.target": Option("`TARGET`; the classes in their order are `CLASSES`"),
    "data.valid": Option(f"`VALID`: {SHARE}; a file of its own is refused"),
    "data.test": Option(f"`TEST`: {SHARE}; a file of its own is refused"),
    "data.group": Option("the hash of the group's name decides; with `data.time` refused"),
    "data.time": Option("`VALID_FROM` and `TEST_FROM`, the first moments of both, of a column of text in one length"),
    "data.split": Option("which of these it is"),
    "data.stratify": Option("refused", _if_set("an exact share of each class takes a page of code.")),
    "data.drop": Option("the columns that are left, by name"),
    "data.missing": Option("`MISSING`, with the usual words for no value that the file has; CSV only"),
    "data.kinds": Option("the columns of each kind, by name; numbers and dates only as plainly written"),
    "data.scale": Option(
        "standard: mean and deviation of training rows; quantile refused",
        lambda value: None if value == "standard" else "ranks of a normal distribution take a page of code.",
    ),
    "data.window": Option("refused but 0", _if_set("windows of time series take pages of code.")),
    "data.horizon": Option("refused, as windows are", lambda value: None if value == 1 else "it is of windows."),
    "data.image_size": Option("the size to scale to, if images have others"),
    "data.tokenizer": Option("words, or bytes; bpe refused; for the next token bytes only"),
    "data.vocabulary": Option("`VOCABULARY`"),
    "data.length": Option("`LENGTH`"),
    "data.workers": Option("left out: the results are the same, and the data of the script are in memory"),
    "augment.flip": Option("a line of `augmented`"),
    "augment.shift": Option("`SHIFT`, in some lines of `augmented`"),
    "augment.rotate": Option("refused", _if_set(KEYED)),
    "augment.zoom": Option("refused", _if_set(KEYED)),
    "augment.colour": Option("refused", _if_set(KEYED)),
    "augment.random": Option("refused", _if_set(KEYED)),
    "augment.erase": Option("refused", _if_set(KEYED)),
    "augment.mixup": Option("refused", _if_set(KEYED)),
    "augment.cutmix": Option("refused", _if_set(KEYED)),
    "augment.transform": Option("refused", _if_set("each image's own generators take pages of code.")),
    "model.name": Option(
        "the model's class with the sizes of this run, and without what it does not use; of `file.py:Class` an import",
        _model,
    ),
    "model.args": Option("numbers in the model; of a class of your own, the arguments that it is made with"),
    "model.init": Option("refused", _if_set("which of another's weights fit takes a page of code.")),
    "model.layout": Option("a line for channels-last"),
    "model.freeze": Option("refused", _if_set("patterns of names take a page of code.")),
    "model.unfreeze_epoch": Option("refused, as freezing is", _if_set("freezing can't be.")),
    "objective.name": Option("the loss and the metrics"),
    "objective.loss": Option("PyTorch's function of it"),
    "objective.label_smoothing": Option("`LABEL_SMOOTHING`"),
    "objective.balance": Option("weights: `CLASS_WEIGHTS` or `POSITIVE_WEIGHT`; sampler: `chances`"),
    "optimizer.name": Option(f"PyTorch's class: {', '.join(EJECTED_OPTIMIZERS)}; others refused", _optimizer),
    "optimizer.lr": Option("`LR`"),
    "optimizer.weight_decay": Option("`WEIGHT_DECAY`, in a group without biases and norms"),
    "optimizer.momentum": Option("an argument"),
    "optimizer.nesterov": Option("an argument"),
    "optimizer.lrs": Option("refused", _if_set("patterns of names take a page of code.")),
    "optimizer.args": Option("arguments"),
    "schedule.name": Option("the factors of the learning rate in all updates, or PyTorch's ReduceLROnPlateau"),
    "schedule.warmup": Option("`WARMUP`, in updates"),
    "schedule.args": Option("numbers such as `FINAL_FACTOR`"),
    "train.epochs": Option("`EPOCHS`"),
    "train.max_steps": Option("`MAX_STEPS`, unless the epochs end first"),
    "train.max_minutes": Option(
        "refused but inf", lambda value: None if value == math.inf else "where it ends depends on the machine."
    ),
    "train.batch_size": Option("`BATCH_SIZE`"),
    "train.accumulate": Option("`ACCUMULATE`: sums over batches, divided by the count of the update"),
    "train.micro_batch": Option(
        "refused", _if_set("cutting batches to fit takes a page of code; train.batch_size and train.accumulate can be.")
    ),
    "train.keyed_dropout": Option("refused", _if_set("masks by number take pages of code; PyTorch's own can be.")),
    "train.max_grad_norm": Option("`MAX_GRAD_NORM`"),
    "train.max_grad_value": Option("`MAX_GRAD_VALUE`"),
    "train.precision": Option("autocast, and for fp16 a GradScaler"),
    "train.ema_decay": Option("`EMA_DECAY`, by PyTorch's AveragedModel"),
    "train.monitor": Option(
        "which number is to be best: loss, accuracy, rmse, mae, r2, perplexity, token_accuracy; others refused"
    ),
    "train.patience": Option("`PATIENCE`"),
    "train.on_nonfinite": Option(
        "skip: such an update is left out; refused with fp16. stop: nothing, for a run that came to its end met none"
    ),
    "run.seed": Option("`SEED`, and `SALT`, the number that it adds to what decides the split"),
    "run.device": Option("cpu; others refused", _device),
    "run.threads": Option("a line, for the last bits of a sum depend on them"),
    "run.compile": Option("refused", _if_set("a compiler makes other kernels of a script than it made of the run.")),
    "run.log_every": Option("left out: the script writes no log"),
    "run.save_seconds": Option("left out: the script writes no checkpoints"),
    "run.save_steps": Option("left out, likewise"),
    "run.keep_checkpoints": Option("left out, likewise"),
}


def table() -> str:
    """Return the list as a table in Markdown."""
    rows = [f"| `{name}` | {option.becomes} |" for name, option in OPTIONS.items()]
    return "\n".join(["| choice | in the script |", "|---|---|", *rows]) + "\n"
