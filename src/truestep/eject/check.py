"""Whether a script does what the run does, as far as that can be seen before training: its data and its model's outputs.

A script is refused rather than handed out inexact: a file with a surprise in it is one that the plain lines read
differently, and this finds every such file, also those that nobody has thought of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from truestep import models
from truestep.code import load_code
from truestep.data import Data, ImageEncoder, StreamEncoder, TextEncoder
from truestep.device import preserved_rng
from truestep.errors import InputError, TruestepError
from truestep.nest import tensors_of
from truestep.optimizers import build_optimizer, build_schedule
from truestep.preconditions import check_steps
from truestep.recipe import Recipe


def check_data(script: Path, data: Data, group: str | None) -> None:
    """Raise InputError unless the script's `load_data` gives the run's examples, targets and splits, bit for bit.

    Args:
        group: the column that decides on the splits, if one does.
    """
    few = f"groups in column '{group}'" if group else "rows"
    try:
        found = load_code(f"{script}:load_data")()
    except TruestepError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{data.name}: no plain script reads these data as the run does ({reason}).") from error
    *tensors, train, valid, test = cast("tuple[Any, ...]", found)
    for name, rows, split in (("train", train, data.train), ("valid", valid, data.valid), ("test", test, data.test)):
        if not torch.equal(rows, split.rows):
            raise InputError(
                f"{data.name}: a plain script would have {len(rows)} rows to {name} instead of {len(split)}, or others. "
                f"Few different {few}, or a class too rare for every split, make an exception that a short script has not."
            )
    for number, (one, other) in enumerate(zip(tensors, _expected(data), strict=True)):
        if not _equal(one, other):
            what = "targets" if number == len(tensors) - 1 else "inputs"
            raise InputError(
                f"{data.name}: a plain script would read other {what} than the run does; the file holds something that "
                "takes more than plain lines, such as odd spellings of numbers, dates or classes."
            )


def _expected(data: Data) -> list[Any]:
    """Return what the script's `load_data` is to give before the rows."""
    examples = data.train.examples
    if isinstance(data.encoder, StreamEncoder):
        inputs, targets = examples.batch_of(torch.arange(len(examples)))
        return [inputs["tokens"], targets]
    if isinstance(data.encoder, TextEncoder):
        texts = examples[0]
        return [[torch.tensor(texts[row]) for row in range(len(texts))], texts.lengths, data.train.known]
    if isinstance(data.encoder, ImageEncoder):
        return list(examples)
    return [*tensors_of(examples[0]), data.train.known]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        texts = zip(cast("list[Tensor]", one), cast("list[Tensor]", other), strict=True)
        return len(cast("list[Any]", one)) == len(other) and all(torch.equal(*pair) for pair in texts)
    # Targets of two classes are float32 where the run has them as int64: the values tell.
    return one.shape == other.shape and bool((one.double() == other.double()).all())


def check_trains(recipe: Recipe) -> None:
    """Raise InputError for choices that the run itself would refuse."""
    chosen, train, schedule = recipe.optimizer, recipe.train, recipe.schedule
    for name, value in schedule.args.items():
        if not isinstance(value, int | float | str) or (isinstance(value, str) and schedule.name != "plateau"):
            raise InputError(f"schedule.args.{name}: expected a number, found {value!r}.")
    with preserved_rng():
        model = models.build(recipe.model.name, recipe.model.args, trusted=True)
    optimizer = build_optimizer(
        chosen.name, model, lr=chosen.lr, weight_decay=chosen.weight_decay, momentum=chosen.momentum,
        nesterov=chosen.nesterov, lrs=chosen.lrs, args=chosen.args,
    )  # fmt: skip
    build_schedule(schedule.name, optimizer, total_steps=1, args=schedule.args)
    check_steps(
        model, optimizer, train.precision, accumulate=train.accumulate, max_grad_norm=train.max_grad_norm,
        max_grad_value=train.max_grad_value, on_nonfinite=train.on_nonfinite,
    )  # fmt: skip


def check_own_model(recipe: Recipe, data: Data) -> None:
    """Raise InputError unless a model of the user's own, called plainly, says what it says in the run."""
    name, args = recipe.model.name, recipe.model.args
    examples = data.train.examples
    with torch.no_grad(), preserved_rng():
        torch.manual_seed(0)
        called = models.build(name, args, trusted=True).eval()
        torch.manual_seed(0)
        plain = load_code(name, "model")(**args).eval()
        inputs = [tensor[:2] for tensor in tensors_of(examples[0])] if isinstance(examples, tuple) else []
        if isinstance(data.encoder, ImageEncoder):
            inputs = [data.encoder.prepare(inputs[0])]
        nest = data.encoder.spec["kind"] == "table"
        names = ("numeric", "categories") if data.encoder.spec.get("num_numeric") else ("categories",)
        try:
            expected = called(**dict(zip(names, inputs, strict=False))) if nest else called(*inputs)
            found = plain(*inputs)
        except Exception as error:
            raise InputError(f"model.name: can't be ejected; called plainly, {name} fails ({error}).") from error
        if not inputs or not isinstance(found, Tensor) or not torch.equal(found, expected):
            raise InputError(
                f"model.name: can't be ejected; {name} is called with names, or returns more than a tensor, which a "
                "script would have to say. Let its forward take the inputs in order and return a tensor."
            )
        if any(True for _ in plain.buffers()) and (
            recipe.train.on_nonfinite == "skip" or recipe.train.precision == "fp16"
        ):
            raise InputError(
                "model.name: can't be ejected; updates may be left out, and it has buffers to be restored."
            )
