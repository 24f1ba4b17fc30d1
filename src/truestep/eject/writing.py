"""From a recipe and its data to the text of a script: the parts are templates, filled and put together here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from truestep import models
from truestep.code import is_code
from truestep.data import Data
from truestep.device import DTYPES
from truestep.eject import model as model_part
from truestep.eject import sources
from truestep.eject.literals import argument, assigned, called, literal
from truestep.metrics import higher_is_better
from truestep.objectives import Binary, Multiclass, Objective, Regression
from truestep.optimizers import FACTORS
from truestep.prediction import evaluation_batch_size
from truestep.recipe import Recipe

# What a name that a script uses is imported by; only what it uses is.
STANDARD = {
    "argparse": "import argparse",
    "math": "import math",
    "re": "import re",
    "Counter": "from collections import Counter",
    "partial": "from functools import partial",
    "blake2b": "from hashlib import blake2b",
    "Path": "from pathlib import Path",
}
INSTALLED = {
    "np": "import numpy as np",
    "pl": "import polars as pl",
    "torch": "import torch",
    "F": "import torch.nn.functional as F",
    "LambdaLR": "from torch.optim.lr_scheduler import LambdaLR",
    "ReduceLROnPlateau": "from torch.optim.lr_scheduler import ReduceLROnPlateau",
    "AveragedModel": "from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn",
    "Image": "from PIL import Image",
    "save_file": "from safetensors.torch import save_file",
    **{f"load_{name}": f"from sklearn.datasets import load_{name}" for name in ("digits", "iris", "wine")},
    **{f"load_{name}": f"from sklearn.datasets import load_{name}" for name in ("breast_cancer", "diabetes")},
    "nn": "from torch import nn",
    "clip_grad_norm_": "from torch.nn.utils import clip_grad_norm_",
    "clip_grad_value_": "from torch.nn.utils import clip_grad_value_",
    "pad_sequence": "from torch.nn.utils.rnn import pad_sequence",
}
TITLES = {
    "multiclass": "tell classes apart",
    "binary": "tell two classes apart",
    "multilabel": "give labels",
    "regression": "predict a number",
    "next-token": "say what comes next in a text",
}
CLASSES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "lbfgs": "LBFGS"}
LOSSES = {"mse": "mse_loss", "mae": "l1_loss", "huber": "huber_loss"}


def script_of(recipe: Recipe, data: Data, objective: Objective, source: sources.Source, name: str) -> str:
    """Return the script of a run.

    Args:
        recipe: resolved, and checked.
        data: of the run.
        objective: of the run.
        source: how its data are read.
        name: of the script, for how to call it.

    Raises:
        InputError: the data or the model can't be written shortly.
    """
    fills: dict[str, Any] = {
        "script": name if re.fullmatch(r"[\w.-]+", name) else "train.py",
        "threads": recipe.run.threads,
        "names": ", ".join(source.names),
        "data": source.template,
        "lengths": source.lengths,
        "augments": source.augments,
        "flip": recipe.augment.flip,
        "shift": recipe.augment.shift,
        "task": data.target.task,
        "valid": len(data.valid) > 0,
        "test": len(data.test) > 0,
        "classes": data.target.has_classes,
        **source.fills,
    }
    fills |= _model(recipe, source) | _objective(recipe, data, objective, source) | _training(recipe)
    constants = _constants(recipe, objective) | source.constants
    body = _environment().get_template("train.jinja").render(**fills, imports=(), constants=())
    used = {name: value for name, value in constants.items() if _uses(body, name)}
    lines = [_constant(name, value, source) for name, value in used.items()]
    body = _environment().get_template("train.jinja").render(
        **fills, imports=_imports(body, recipe), constants=lines
    )  # fmt: skip
    return re.sub(r"\n{4,}", "\n\n\n", body).rstrip() + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("truestep.eject"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  Python is written, in which what comes from outside is a literal
    )
    environment.globals.update(called=called, sequential=model_part.sequential, literal=literal)  # pyright: ignore[reportArgumentType]  # it takes any
    return environment


def _uses(body: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", body) is not None


def _imports(body: str, recipe: Recipe) -> list[str]:
    code = re.sub(r'"""[\s\S]*?"""|#.*', "", body)
    standard = [line for name, line in STANDARD.items() if re.search(rf"(?<![.\w]){name}[.(,)]", code)]
    installed = [line for name, line in INSTALLED.items() if re.search(rf"(?<![.\w]){name}[.(,)]", code)]
    own = [
        f"from {Path(place).stem if place.endswith('.py') else place} import {attribute}"
        for place, _, attribute in (text.rpartition(":") for text in (recipe.model.name, recipe.data.source))
        if is_code(f"{place}:{attribute}")
    ]  # names of code are made of identifiers
    lines: list[str] = []
    for group in (standard, installed, own):
        found = _joined(group)
        lines += ["", *found] if lines and found else found
    return lines


def _joined(group: list[str]) -> list[str]:
    """Return imports in order, those from one module on one line."""
    names: dict[str, list[str]] = {}
    for line in group:
        place, _, what = line.partition(" import ")
        names.setdefault(place, []).extend([what] if what else [])
    lines = [f"{place} import {', '.join(sorted(what))}" if what else place for place, what in names.items()]
    return sorted(lines, key=lambda line: (line.startswith("from"), line))


def _constant(name: str, value: Any, source: sources.Source) -> str:
    if name == "DATA" and source.copied:
        return f"DATA = Path(__file__).with_name({literal(value)})"
    if name == "AUGMENT":
        return f"AUGMENT = 0x{value:X}  # made of SEED"
    if name == "SALT":
        return f"SALT = 0x{value:X}  # another number gives another split"
    if name == "NO_VALUE":
        return f"NO_VALUE = 0x{value:X}  # the bits of NaN, which stand for no value"
    if isinstance(value, list) and (
        name == "CLASS_WEIGHTS" or (name in ("MEAN", "STD") and source.template != "images")
    ):
        return assigned(name, value, "torch.tensor")
    return assigned(name, value)


def _constants(recipe: Recipe, objective: Objective) -> dict[str, Any]:
    """Return the numbers of a run by the names that the script gives them."""
    found: dict[str, Any] = {
        "SEED": recipe.run.seed,
        "EPOCHS": recipe.train.epochs,
        "MAX_STEPS": recipe.train.max_steps,
        "BATCH_SIZE": recipe.train.batch_size,
        "ACCUMULATE": recipe.train.accumulate,
        "LR": recipe.optimizer.lr,
        "WEIGHT_DECAY": recipe.optimizer.weight_decay,
        "WARMUP": recipe.schedule.warmup,
        "MAX_GRAD_NORM": recipe.train.max_grad_norm,
        "MAX_GRAD_VALUE": recipe.train.max_grad_value,
        "EMA_DECAY": recipe.train.ema_decay,
        "PATIENCE": recipe.train.patience,
    }
    match objective:
        case Multiclass():
            found["LABEL_SMOOTHING"] = objective.label_smoothing
            found["CLASS_WEIGHTS"] = list(objective.class_weights or ())
        case Binary():
            found["POSITIVE_WEIGHT"] = objective.positive_weight
        case Regression():
            several = len(objective.mean) > 1
            found["MEAN"], found["STD"] = (
                list(values) if several else values[0] for values in (objective.mean, objective.std)
            )
        case _:
            pass
    return found


def _model(recipe: Recipe, source: sources.Source) -> dict[str, Any]:
    name, args = recipe.model.name, recipe.model.args
    if is_code(name):
        made = name.rpartition(":")[2]
        parts = [argument(key, value) for key, value in args.items()]
        return {"model": "own", "made": called(f"model = {made}", parts, 4)}
    with torch.device("meta"):
        model = models.build(name, args)
    words = model_part.describe(name, args, model, source.names[0], is_flat=source.is_flat)
    # The words of a table's columns are fills of the same names: the model asks only whether there are any.
    words |= {"numeric": "numeric" in source.names} if source.template == "table" else {}
    return words | {"model": name, "made": f"model = {model_part.CLASSES[name]}()"}


def _objective(recipe: Recipe, data: Data, objective: Objective, source: sources.Source) -> dict[str, Any]:
    """Return the expressions of outputs, losses, counts and metrics; `ROWS` stands for the rows meant."""
    low = recipe.train.precision != "fp32"
    lbfgs = recipe.optimizer.name == "lbfgs"
    full = "outputs.float()" if low else "outputs"
    task, helper, parts, function = data.target.task, "", [full, "targets"], "cross_entropy"
    outputs, count = f"model({source.inputs})", "len(ROWS)"
    each, before = ["total += loss.item()"], ["total = hits = 0.0"]
    after = ['return {"loss": total / len(rows), "accuracy": hits / len(rows)}']
    loss_sum, loss_mean, words = (
        "loss_sum(outputs, targets[ROWS])",
        "",
        "Mean loss and accuracy over these rows at once.",
    )
    match objective:
        case Multiclass():
            each.append("hits += (outputs.argmax(1) == targets[part]).sum().item()")
            if objective.class_weights or objective.label_smoothing or low or lbfgs or recipe.train.accumulate > 1:
                helper = "classes"
                parts += ["weight=CLASS_WEIGHTS"] if objective.class_weights else []
                parts += ["label_smoothing=LABEL_SMOOTHING"] if objective.label_smoothing else []
            else:
                loss_mean = "F.cross_entropy(outputs, targets[ROWS])"
                loss_sum = 'F.cross_entropy(outputs, targets[ROWS], reduction="sum")'
            if objective.class_weights:
                count, before[0] = "CLASS_WEIGHTS[targets[ROWS]].sum()", "total = count = hits = 0.0"
                each.append("count += CLASS_WEIGHTS[targets[part]].sum().item()")
                after = ['return {"loss": total / count, "accuracy": hits / len(rows)}']
        case Binary():
            outputs, helper, function = f"{outputs}.squeeze(1)", "binary", "binary_cross_entropy_with_logits"
            parts += ["pos_weight=torch.tensor([POSITIVE_WEIGHT])"] if objective.positive_weight != 1 else []
            each.append("hits += ((outputs > 0) == targets[part]).sum().item()")
        case Regression():
            several = len(objective.mean) > 1
            function, parts[1] = LOSSES[objective.loss], "(targets - MEAN) / STD"
            outputs, helper = outputs if several else f"{outputs}.squeeze(1)", "regression"
            count, words = (
                "targets[ROWS].numel()" if several else count,
                "Errors over these rows at once, in the targets' own unit.",
            )
            before, each = ["total, values = 0.0, []"], [*each, f"values.append({full} * STD + MEAN)"]
            after = _of_values(several=several)
        case _ if task == "multilabel":
            helper, function, count = "binary", "binary_cross_entropy_with_logits", "targets[ROWS].numel()"
            each.append("hits += ((outputs > 0) == targets[part]).sum().item()")
            after = [
                "count = targets[rows].numel()",
                'return {"loss": total / count, "accuracy": hits / count}',
            ]
            words = "Mean loss, and the share of labels that are right."
        case _:
            helper, count, parts = (
                "tokens",
                "(targets[ROWS] != -100).sum()",
                [f"{full}.flatten(0, 1)", "targets.flatten()"],
            )
            words = "Mean loss over the tokens of these rows that count, and what follows."
            before = ["total = count = hits = 0.0"]
            each += [
                "real = targets[part] != -100",
                "count += real.sum().item()",
                "hits += (outputs.argmax(-1) == targets[part])[real].sum().item()",
            ]
            after = [
                "loss = total / count",
                "accuracy = hits / count",
                'found = {"loss": loss, "perplexity": math.exp(loss)}',
                'return {**found, "token_accuracy": accuracy}',
            ]
    monitor = recipe.train.monitor.removeprefix("valid_")
    return {
        "title": f"Train a model to {TITLES[task]}.",
        "outputs": outputs,
        "trained": outputs.replace(f"{source.names[0]}[ROWS]", "batch") if source.augments else outputs,
        "loss_helper": helper,
        "loss_sum": loss_sum,
        "loss_mean": "" if lbfgs else loss_mean,
        "loss_function": f"F.{function}",
        "loss_parts": [*parts, 'reduction="sum"'],
        "count": count,
        "chances": recipe.objective.balance == "sampler",
        "monitor": monitor,
        "higher": higher_is_better(monitor),
        "autocast": f'torch.autocast("cpu", {DTYPES[recipe.train.precision]})' if low else "",
        "evaluation": {
            "words": words,
            "before": before,
            "each": each,
            "after": after,
            "batch_size": evaluation_batch_size(data.encoder.spec),
        },
    }


def _of_values(*, several: bool) -> list[str]:
    errors = ["truth = targets[rows].double()", "errors = torch.cat(values).double() - truth"]
    if several:
        return [
            *errors,
            "squares = errors.square().sum(0)",
            "spread = (truth - truth.mean(0)).square().sum(0)",
            "found = {",
            '    "loss": total / truth.numel(),',
            '    "rmse": (squares / len(rows)).sqrt().mean().item(),',
            '    "mae": errors.abs().mean(0).mean().item(),',
            '    "r2": (1 - squares / spread).mean().item(),',
            "}",
            "return found",
        ]
    return [
        *errors,
        "squares, spread = errors.square().sum(), (truth - truth.mean()).square().sum()",
        "return {",
        '    "loss": total / len(rows),',
        '    "rmse": (squares / len(rows)).sqrt().item(),',
        '    "mae": errors.abs().mean().item(),',
        '    "r2": (1 - squares / spread).item(),',
        "}",
    ]


def _training(recipe: Recipe) -> dict[str, Any]:
    chosen, train = recipe.optimizer, recipe.train
    updates = "EPOCHS * math.ceil(len(train) / BATCH_SIZE)"
    if train.accumulate > 1:
        updates = "EPOCHS * math.ceil(len(train) / BATCH_SIZE / ACCUMULATE)"
    if train.max_steps:
        updates = f"min({updates}, MAX_STEPS)"
    plateau = ""
    if recipe.schedule.name == "plateau":
        mode = "max" if higher_is_better(train.monitor) else "min"
        settings = {"mode": mode, "threshold": 0.0, **recipe.schedule.args}
        parts = ["optimizer", *(argument(name, value) for name, value in settings.items())]
        plateau = called("scheduler = ReduceLROnPlateau", parts, 4)
    has_schedule = not plateau and not (recipe.schedule.name == "constant" and not recipe.schedule.warmup)
    return {
        "optimizer": _optimizer(recipe),
        "lbfgs": chosen.name == "lbfgs",
        "precision": train.precision,
        "accumulate": train.accumulate,
        "has_schedule": has_schedule,
        "schedule": _schedule(recipe) if has_schedule else {},
        "plateau": plateau,
        "updates": updates,
        "ema": train.ema_decay is not None and train.ema_decay > 0,
        "kept": "average.module" if train.ema_decay else "model",
        "patience": train.patience,
        "max_steps": train.max_steps,
        "skips": train.on_nonfinite == "skip",
        "max_grad_norm": train.max_grad_norm < math.inf,
        "max_grad_value": train.max_grad_value < math.inf,
    }


def _optimizer(recipe: Recipe) -> dict[str, Any]:
    """Return the line that makes the optimizer, and whether some weights decay and others don't."""
    chosen = recipe.optimizer
    given = {"lr": "LR"} | ({} if chosen.name == "lbfgs" else {"weight_decay": "WEIGHT_DECAY"})
    if chosen.name == "sgd":
        given |= {"momentum": literal(chosen.momentum)} | ({"nesterov": "True"} if chosen.nesterov else {})
    if chosen.name == "lbfgs":
        given["line_search_fn"] = '"strong_wolfe"'
    if chosen.name in ("sgd", "adam", "adamw"):
        given["fused"] = "True"
    for name, value in chosen.args.items():
        argument(name, value)  # a name, and nothing else
        given[name] = literal(tuple(value) if isinstance(value, list) else value)
    if chosen.name != "lbfgs":
        given["weight_decay"] = "WEIGHT_DECAY"  # that of the recipe wins, as in the run's groups
    groups = bool(chosen.weight_decay) and chosen.name != "lbfgs"
    parts = ["groups" if groups else "model.parameters()", *(f"{name}={value}" for name, value in given.items())]
    return {"line": called(f"optimizer = torch.optim.{CLASSES[chosen.name]}", parts, 4), "groups": groups}


def _schedule(recipe: Recipe) -> dict[str, Any]:
    import inspect

    name = recipe.schedule.name
    defaults: Mapping[str, Any] = {
        key: parameter.default
        for key, parameter in inspect.signature(FACTORS[name]).parameters.items()
        if key not in ("step", "total_steps", "warmup_steps")
    }
    words = {
        "constant": "the learning rate stays",
        "cosine": "half a cosine down",
        "step": "down by the same factor at every stair",
        "exponential": "times the same number in every update",
        "polynomial": "down as a power of what is left",
        "wsd": "constant, then straight down at the end",
    }
    if name == "one-cycle":
        said = "Up from 1/25 on a cosine, and down to almost nothing."
    else:
        said = f"{'Linear warm-up, then ' if recipe.schedule.warmup else ''}{words[name]}."
    return {
        "name": name,
        "warmup": recipe.schedule.warmup,
        "words": said[0].upper() + said[1:],
        **{key: literal(value) if value else value for key, value in {**defaults, **recipe.schedule.args}.items()},
    }
