"""From a recipe and its data to the text of a script: the parts are templates, filled and put together here."""

from __future__ import annotations

import inspect
import math
import re
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
from truestep.eject.literals import WIDTH, argument, assigned, called, comprehension, literal, width
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
    "blake2b": "from hashlib import blake2b",
    "Path": "from pathlib import Path",
}
INSTALLED = {
    "np": "import numpy as np",
    "pl": "import polars as pl",
    "torch": "import torch",
    "F": "import torch.nn.functional as F",
    "AveragedModel": "from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn",
    "Image": "from PIL import Image",
    "load_file": "from safetensors.torch import load_file",
    "save_file": "from safetensors.torch import save_file",
    **{f"load_{name}": f"from sklearn.datasets import load_{name}" for name in ("digits", "iris", "wine")},
    **{f"load_{name}": f"from sklearn.datasets import load_{name}" for name in ("breast_cancer", "diabetes")},
    "nn": "from torch import nn",
}
TITLES = {
    "multiclass": "tell classes apart",
    "binary": "tell two classes apart",
    "multilabel": "give labels",
    "regression": "predict a number",
    "next-token": "say what comes next in a text",
}
CLASSES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "lbfgs": "LBFGS"}
NUMBERS_OF_UPDATES = ("step", "total_steps", "warmup_steps")  # that a schedule is told
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
        "channels_last": recipe.model.layout == "channels-last",
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
    updates = (recipe.train.epochs or 0) * _updates_of_epoch(recipe, len(data.train))
    is_cut = recipe.train.max_steps is not None and recipe.train.max_steps < updates
    total = min(updates, recipe.train.max_steps or updates)
    fills |= _model(recipe, source) | _objective(recipe, data, objective, source)
    fills |= _training(recipe, lengths=source.lengths, is_cut=is_cut) | _schedule(recipe, total, is_cut=is_cut)
    constants = _constants(recipe, objective, total) | fills["model_constants"] | source.constants
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
    return re.search(rf"\b{name.partition(',')[0]}\b", body) is not None


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
    lines = sorted(lines, key=lambda line: (line.startswith("from"), line))
    return [line if width(line) <= WIDTH else _wrapped(line) for line in lines]


def _wrapped(line: str) -> str:
    place, _, what = line.partition(" import ")
    names = "".join(f"    {name},\n" for name in what.split(", "))
    return f"{place} import (\n{names})"


def _constant(name: str, value: Any, source: sources.Source) -> str:
    if name == "DATA" and source.copied:
        return f"DATA = Path(__file__).with_name({literal(value)})"
    if name == "AUGMENT":
        return f"AUGMENT = 0x{value:X}  # made of SEED"
    if name == "VALID, TEST":
        return f"{name} = {', '.join(map(literal, value))}  # shares"
    if name == "WARMUP":
        return f"WARMUP = {value}  # updates"
    if name == "WORD":
        return f'WORD = r"{value}"'
    if name == "SALT":
        return f"SALT = 0x{value:X}  # another number gives another split"
    if name == "NO_VALUE":
        return f"NO_VALUE = 0x{value:X}  # the bits of NaN, which stand for no value"
    if isinstance(value, list) and name in ("CLASS_WEIGHTS", "MEAN", "STD"):
        return assigned(name, value, "torch.tensor")
    return assigned(name, value)


def _updates_of_epoch(recipe: Recipe, examples: int) -> int:
    return math.ceil(math.ceil(examples / recipe.train.batch_size) / recipe.train.accumulate)


def _constants(recipe: Recipe, objective: Objective, updates: int) -> dict[str, Any]:
    """Return the numbers of a run by the names that the script gives them."""
    found: dict[str, Any] = {
        "SEED": recipe.run.seed,
        "EPOCHS": recipe.train.epochs,
        "MAX_STEPS": recipe.train.max_steps,
        "BATCH_SIZE": recipe.train.batch_size,
        "ACCUMULATE": recipe.train.accumulate,
        "LR": recipe.optimizer.lr,
        "WEIGHT_DECAY": recipe.optimizer.weight_decay,
        "WARMUP": int(recipe.schedule.warmup * updates),
        **{key.upper(): value for key, value in _arguments(recipe, updates).items()},
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
        long = {f"MODEL_{key.upper()}": key for key, part in zip(args, parts, strict=True) if width(part) > WIDTH - 9}
        named = {key: f"{key}={name}" for name, key in long.items()}
        parts = [named.get(key, part) for key, part in zip(args, parts, strict=True)]
        return {
            "model": "own",
            "model_constants": {name: args[key] for name, key in long.items()},
            "is_sequential": True,
            "is_tied": False,
            "draws": True,
            "made": [called(f"model = {made}", parts, 4)],
        }
    with torch.device("meta"):
        model = models.build(name, args)
    words = model_part.describe(name, args, model, source.names[0], is_flat=source.is_flat)
    # The words of a table's columns are fills of the same names: the model asks only whether there are any.
    words |= {"numeric": "numeric" in source.names} if source.template == "table" else {}
    plain = model_part.plain(name, args, model, is_flat=source.is_flat)
    return words | {
        "model": name,
        "model_constants": {},
        "is_sequential": bool(plain),
        "is_tied": words.get("tied", False),
        "draws": bool(args.get("dropout")),
        "made": plain or [f"model = {model_part.CLASSES[name]}()"],
    }


def _objective(recipe: Recipe, data: Data, objective: Objective, source: sources.Source) -> dict[str, Any]:
    """Return the lines of outputs, losses, counts and metrics; `ROWS` stands for the rows meant."""
    low = recipe.train.precision != "fp32"
    batch_size = evaluation_batch_size(data.encoder.spec)
    in_one = max(len(data.valid), len(data.test)) <= batch_size
    task, helper, parts, function = data.target.task, "", ["outputs", "targets"], "cross_entropy"
    outputs, count, loss_mean = f"model({source.inputs}){'.float()' if low else ''}", "len(ROWS)", ""
    sums = {"total": "LOSS.item()"}
    after = ['return {"loss": total / len(rows), "accuracy": hits / len(rows)}']
    loss_sum, words, before_sums = "loss_sum(outputs, targets[ROWS])", "", ""
    match objective:
        case Multiclass():
            sums["hits"] = "(outputs.argmax(1) == targets[ROWS]).sum().item()"
            if objective.class_weights or objective.label_smoothing:
                helper = "classes"
                parts += ["weight=CLASS_WEIGHTS"] if objective.class_weights else []
                parts += ["label_smoothing=LABEL_SMOOTHING"] if objective.label_smoothing else []
            else:
                loss_sum = 'F.cross_entropy(outputs, targets[ROWS], reduction="sum")'
                alone = recipe.optimizer.name != "lbfgs" and recipe.train.accumulate == 1 and not low
                loss_mean = "F.cross_entropy(outputs, targets[ROWS])" if alone else ""
            if objective.class_weights:
                count = "CLASS_WEIGHTS[targets[ROWS]].sum()"
                sums["count"] = f"{count}.item()"
                after = ['return {"loss": total / count, "accuracy": hits / len(rows)}']
        case Binary():
            outputs, helper, function = f"{outputs}.squeeze(1)", "binary", "binary_cross_entropy_with_logits"
            parts += ["pos_weight=torch.tensor([POSITIVE_WEIGHT])"] if objective.positive_weight != 1 else []
            sums["hits"] = "((outputs > 0) == targets[ROWS]).sum().item()"
        case Regression():
            several = len(objective.mean) > 1
            function, parts[1] = LOSSES[objective.loss], "(targets - MEAN) / STD"
            outputs, helper = outputs if several else f"{outputs}.squeeze(1)", "regression"
            count = "targets[ROWS].numel()" if several else count
            words = "Errors over these rows, in the targets' own unit."
            sums["values"], after = "outputs * STD + MEAN", _of_values(several=several, in_one=in_one)
        case _ if task == "multilabel":
            helper, function, count = "binary", "binary_cross_entropy_with_logits", "targets[ROWS].numel()"
            sums["hits"] = "((outputs > 0) == targets[ROWS]).sum().item()"
            after = ["count = targets[rows].numel()", 'return {"loss": total / count, "accuracy": hits / count}']
            words = "Mean loss, and the share of labels that are right."
        case _:
            helper, parts = "tokens", ["outputs.flatten(0, 1)", "targets.flatten()"]
            count, before_sums = "(targets[ROWS] != -100).sum()", "real = targets[ROWS] != -100"
            words = "Mean loss over the tokens of these rows that count, and what follows."
            sums["count"] = "real.sum().item()"
            sums["hits"] = "(outputs.argmax(-1) == targets[ROWS])[real].sum().item()"
            after = [
                "loss = total / count",
                'return {"loss": loss, "perplexity": math.exp(loss), "token_accuracy": hits / count}',
            ]
    autocast = f'torch.autocast("cpu", {DTYPES[recipe.train.precision]})' if low else ""
    sums["total"] = sums["total"].replace("LOSS", loss_sum)
    monitor = recipe.train.monitor.removeprefix("valid_")
    return {
        "title": f"Train a model to {TITLES[task]}",
        "loss_helper": helper,
        "loss_function": f"F.{function}",
        "loss_parts": [*parts, 'reduction="sum"'],
        "loss_lines": _loss_lines(recipe, source, outputs, loss_sum, loss_mean, count, autocast),
        "count": count,
        "chances": recipe.objective.balance == "sampler",
        "monitor": monitor,
        "higher": higher_is_better(monitor),
        "autocast": autocast,
        "evaluation": {
            "words": words,
            "lines": [*_sums(outputs, autocast, before_sums, sums, 0 if in_one else batch_size), *after],
        },
    }


def _loss_lines(
    recipe: Recipe, source: sources.Source, outputs: str, loss_sum: str, loss_mean: str, count: str, autocast: str
) -> list[str]:
    """Return what a step computes for a batch `rows`, down to its loss."""
    accumulates = recipe.train.accumulate > 1
    indent = 16 if accumulates or recipe.optimizer.name == "lbfgs" else 12
    lines = [f"batch = augmented({source.names[0]}[rows], epoch, rows)"] if source.augments else []
    if source.augments:
        outputs = outputs.replace(f"{source.names[0]}[ROWS]", "batch")
    of_examples = count == "len(ROWS)"
    if not accumulates and not loss_mean and not of_examples:
        lines.append(f"count = {count}")
    loss = loss_mean or f"{loss_sum} / {'len(ROWS)' if of_examples and not accumulates else 'count'}"
    lines, outputs, loss = (
        [line.replace("ROWS", "rows") for line in lines],
        *(text.replace("ROWS", "rows") for text in (outputs, loss)),
    )
    if autocast:
        return [*lines, f"with {autocast}:", *_made(outputs, indent), f"loss = {loss}"]
    whole = f"loss = {loss.replace('outputs', outputs)}"
    if indent + width(whole) <= WIDTH:
        return [*lines, whole]
    if indent + width(f"loss = {loss}") <= WIDTH:
        return [*lines, f"outputs = {outputs}", f"loss = {loss}"]
    total, _, divisor = loss.rpartition(" / ")
    return [*lines, f"outputs = {outputs}", f"total = {total}", f"loss = total / {divisor}"]


def _made(outputs: str, indent: int) -> list[str]:
    """Return the lines in an autocast: in float32 afterwards, for a sum of losses in 16 bits would have three digits."""
    line = f"    outputs = {outputs}"
    if indent + width(line) <= WIDTH:
        return [line]
    called_model, of, after = outputs.partition(".float()")
    return [f"    outputs = {called_model}", f"outputs = outputs{of}{after}"]


def _sums(outputs: str, autocast: str, before: str, sums: dict[str, str], batch_size: int) -> list[str]:
    """Return the lines that add up what is evaluated, in batches of this size, or all at once for 0."""
    rows = "part" if batch_size else "rows"
    lines = [f"with {autocast}:", *_made(outputs, 8)] if autocast else [f"outputs = {outputs}"]
    lines += [before] if before else []
    if not batch_size:
        lines += [f"{name} = {value}" for name, value in sums.items()]
        return [line.replace("ROWS", rows) for line in lines]
    numbers = [name for name in sums if name != "values"]
    begun = f"{' = '.join(numbers)} = 0.0" if "values" not in sums else "total, values = 0.0, []"
    lines += [f"values.append({value})" if name == "values" else f"{name} += {value}" for name, value in sums.items()]
    return [begun, f"for part in rows.split({batch_size}):", *(f"    {line.replace('ROWS', rows)}" for line in lines)]


def _of_values(*, several: bool, in_one: bool) -> list[str]:
    values = "values" if in_one else "torch.cat(values)"
    truth = ["truth = targets[rows].double()", f"errors = {values}.double() - truth"]
    if several:
        return [
            *truth,
            "squares = errors.square().sum(0)",
            "spread = (truth - truth.mean(0)).square().sum(0)",
            "return {",
            '    "loss": total / truth.numel(),',
            '    "rmse": (squares / len(rows)).sqrt().mean().item(),',
            '    "mae": errors.abs().mean(0).mean().item(),',
            '    "r2": (1 - squares / spread).mean().item(),',
            "}",
        ]
    return [
        *truth,
        "squares, spread = errors.square().sum(), (truth - truth.mean()).square().sum()",
        "return {",
        '    "loss": total / len(rows),',
        '    "rmse": (squares / len(rows)).sqrt().item(),',
        '    "mae": errors.abs().mean().item(),',
        '    "r2": (1 - squares / spread).item(),',
        "}",
    ]


def _training(recipe: Recipe, *, lengths: bool, is_cut: bool) -> dict[str, Any]:
    """Return what fills the loop; `is_cut` says whether MAX_STEPS end it."""
    chosen, train = recipe.optimizer, recipe.train
    may_skip = train.on_nonfinite == "skip" or train.precision == "fp16"
    return {
        "optimizer": _optimizer(recipe),
        "lbfgs": chosen.name == "lbfgs",
        "precision": train.precision,
        "accumulate": train.accumulate,
        "plateau": recipe.schedule.name == "plateau",
        "ema": train.ema_decay is not None and train.ema_decay > 0,
        "kept": "average.module" if train.ema_decay else "model",
        "patience": train.patience,
        "max_steps": is_cut,
        "cuts": is_cut and not may_skip and not (train.accumulate > 1 and lengths),
        "skips": train.on_nonfinite == "skip",
        "max_grad_norm": train.max_grad_norm < math.inf,
        "max_grad_value": train.max_grad_value < math.inf,
    }


def _optimizer(recipe: Recipe) -> dict[str, Any]:
    """Return the line that makes the optimizer, and whether some weights decay and others don't."""
    chosen = recipe.optimizer
    given = {"lr": "LR", "weight_decay": "WEIGHT_DECAY"}
    if chosen.name == "sgd":
        given |= {"momentum": literal(chosen.momentum)} | ({"nesterov": "True"} if chosen.nesterov else {})
    if chosen.name == "lbfgs":
        given["line_search_fn"] = '"strong_wolfe"'
    if chosen.name in ("sgd", "adam", "adamw"):
        given["fused"] = "True"
    for name, value in chosen.args.items():
        argument(name, value)  # a name, and nothing else
        given[name] = literal(tuple(value) if isinstance(value, list) else value)
    given["weight_decay"] = "WEIGHT_DECAY"  # that of the recipe wins, as in the run's groups
    if not chosen.weight_decay and chosen.name != "adamw":  # the others have none unless told
        del given["weight_decay"]
    groups = bool(chosen.weight_decay) and chosen.name != "lbfgs"
    parts = ["groups" if groups else "model.parameters()", *(f"{name}={value}" for name, value in given.items())]
    return {"line": called(f"optimizer = torch.optim.{CLASSES[chosen.name]}", parts, 4), "groups": groups}


def _arguments(recipe: Recipe, updates: int) -> dict[str, Any]:
    """Return the numbers of a schedule, those that were left out too."""
    if recipe.schedule.name not in FACTORS:
        return {}
    parameters = inspect.signature(FACTORS[recipe.schedule.name]).parameters.items()
    found = {name: parameter.default for name, parameter in parameters if name not in NUMBERS_OF_UPDATES}
    found |= recipe.schedule.args
    if "step_size" in found:
        found["step_size"] = found["step_size"] or max(1, updates // 3)
    return found


def _schedule(recipe: Recipe, updates: int, *, is_cut: bool) -> dict[str, Any]:
    """Return the lines of the schedule: the factors of the learning rate in all updates, which is what it is."""
    name, args = recipe.schedule.name, _arguments(recipe, updates)
    warmup = int(recipe.schedule.warmup * updates)
    epoch = "len(train) / BATCH_SIZE" + (" / ACCUMULATE" if recipe.train.accumulate > 1 else "")
    total = "MAX_STEPS" if is_cut else f"EPOCHS * math.ceil({epoch})"
    fills: dict[str, Any] = {"schedule": name, "has_schedule": True, "warmup": warmup, "updates": total}
    scheduler = "scheduler = torch.optim.lr_scheduler.LambdaLR"
    if name == "plateau":
        mode = "max" if higher_is_better(recipe.train.monitor) else "min"
        settings = {"mode": mode, "threshold": 0.0, **recipe.schedule.args}
        parts = ["optimizer", *(argument(key, value) for key, value in settings.items())]
        line = called("scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau", parts, 4)
        return fills | {"has_schedule": False, "schedule_lines": [line]}
    if name == "constant" and not warmup:
        return fills | {"has_schedule": False, "schedule_lines": []}
    if name == "one-cycle":
        return fills | {"schedule_lines": [called(scheduler, ["optimizer", "lr_factor"], 4)]}
    if name == "constant":
        factor = "lambda update: min(1.0, (update + 1) / (WARMUP + 1))"
        words = "# Linear warm-up, then the learning rate stays."
        return fills | {"schedule_lines": [words, called(scheduler, ["optimizer", factor], 4)]}
    words, down = {
        "cosine": ("half a cosine down", "(1 + math.cos(math.pi * (update / rest))) / 2"),
        "step": ("down by the same factor at every stair", "GAMMA ** (update // STEP_SIZE)"),
        "exponential": ("times the same number in every update", "FINAL_FACTOR ** (update / rest)"),
        "polynomial": ("down as a power of what is left", "(1 - update / rest) ** POWER"),
        "wsd": ("constant, then straight down at the end", "min(1.0, (rest - update) / decay)"),
    }[name]
    if args.get("power") == 1:
        words, down = "straight down", "1 - update / rest"
    lines = [f"# {f'Linear warm-up, then {words}' if warmup else words.capitalize()}."]
    if name == "wsd" and warmup:
        lines.append(f"updates = {total}")
        total = "updates"
    lines.append(f"rest = {total}{' - WARMUP' if warmup else ''}")
    if name == "wsd":
        part = f"DECAY_FRACTION * {'updates' if warmup else 'rest'}"
        lines.append(f"decay = {part if args['decay_fraction'] * updates < updates - warmup else 'rest'}")
    lines += ["up = [(update + 1) / (WARMUP + 1) for update in range(WARMUP)]"] if warmup else []
    lines.append(comprehension("down", down, "for update in range(rest + 1)", 4))
    if args.get("final_factor") and name != "exponential":
        lines.append("down = [FINAL_FACTOR + (1 - FINAL_FACTOR) * factor for factor in down]")
    factors = "(up + down)" if warmup else "down"
    return fills | {"schedule_lines": [*lines, called(scheduler, ["optimizer", f"{factors}.__getitem__"], 4)]}
