"""Every choice of a run, named once. Nothing about a run is decided anywhere else.

The sections below are the tables of a recipe.toml, the `--section.field` options of the command line, and the names that
`truestep.train` takes; the fields marked `short` are also known by a name of their own (`--epochs`, `epochs=`).
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from truestep.errors import InputError, did_you_mean

LARGEST_FILE = 64 * 1024  # bytes; no recipe is that long
DEEPEST = re.compile(r"""(?<![\w"'-])(?:[\w"'-]++\s*+\.\s*+){100}""")  # deeply dotted TOML takes quadratic time


def choice(
    default: Any,
    text: str,
    *,
    short: str | None = None,
    least: float = -math.inf,
    below: float = math.inf,
    commas: bool = False,
) -> Any:
    """Return a field with its help text, its short name, its range [least, below), and whether a list may have commas."""
    made: dict[str, Any] = {"default_factory": default} if callable(default) else {"default": default}
    return field(**made, metadata={"help": text, "short": short, "least": least, "below": below, "commas": commas})


TINY = math.ulp(0.0)  # the least number above 0


@dataclass(frozen=True)
class DataChoices:
    source: str = choice("", "where the data is")
    target: str | None = choice(None, "column to predict", short="target")
    valid: float | str = choice(
        0.15, "share of rows to validate on, or a file of them", short="valid", least=0, below=1
    )
    test: float | str = choice(
        0.15, "share of rows to test on, once, at the end, or a file of them", short="test", least=0, below=1
    )
    group: str | None = choice(None, "column whose equal values stay in one split", short="group")
    time: str | None = choice(None, "column of time: train on the past, test on the future", short="time")
    split: Literal["auto", "rows", "groups", "time"] = choice("auto", "what decides where a row belongs")
    stratify: bool = choice(False, "exactly the same shares of classes in every split; added rows may then move others")
    drop: tuple[str, ...] = choice((), "columns to leave out")
    missing: tuple[str, ...] = choice((), "words that stand for no value, besides NA, none and the like", commas=True)
    kinds: dict[str, str] = choice(dict, "column kinds to use instead of those found, as --data.kinds.COLUMN KIND")
    scale: Literal["standard", "quantile"] = choice("standard", "of numbers: mean and deviation, or ranks")
    window: int = choice(
        0, "rows of a time series that a model sees; 0: each row stands alone", short="window", least=0
    )
    horizon: int = choice(1, "rows from the end of a window to the one to predict", least=0)
    image_size: int = choice(0, "pixels of height and width; 0 chooses by the images", least=0)
    tokenizer: Literal["auto", "bytes", "words", "bpe"] = choice("auto", "how text is cut into tokens")
    vocabulary: int = choice(8192, "most tokens that a tokenizer knows", least=2)
    length: int = choice(0, "most tokens of a text that a model sees; 0 chooses by the texts", least=0)
    workers: int = choice(0, "processes that read what is not kept in memory; the results are the same", least=0)


@dataclass(frozen=True)
class AugmentChoices:
    flip: bool = choice(False, "mirror images left to right at random")
    shift: int = choice(0, "move images by up to so many pixels", least=0)
    rotate: float = choice(0.0, "turn images by up to so many degrees", least=0, below=181)
    zoom: float = choice(0.0, "enlarge or shrink images by up to this share", least=0, below=1)
    colour: float = choice(0.0, "change brightness, contrast and saturation by up to this share", least=0, below=1)
    random: int = choice(0, "apply so many operations drawn at random, as RandAugment does", least=0)
    erase: float = choice(0.0, "chance of blanking a random rectangle", least=0, below=1)
    mixup: float = choice(0.0, "mix pairs of examples and their targets; alpha of the Beta distribution", least=0)
    cutmix: float = choice(0.0, "paste a rectangle of another image; alpha of the Beta distribution", least=0)
    transform: str | None = choice(None, "function of your own, as file.py:function, from image tensor to image tensor")


@dataclass(frozen=True)
class ModelChoices:
    name: str = choice(
        "auto",
        "auto, linear, mlp, cnn, resnet, bag, recurrent, transformer, file.py:Class or package.module:Class",
        short="model",
    )
    args: dict[str, Any] = choice(dict, "arguments of the model, as --model.args.NAME VALUE")
    layout: Literal["auto", "contiguous", "channels-last"] = choice(
        "auto", "of images and their weights in memory; channels-last makes convolutions faster, with other last bits"
    )
    init: str | None = choice(None, "folder of a run or .safetensors file to take matching weights from", short="init")
    freeze: tuple[str, ...] = choice((), "weights to leave as they are, by patterns such as 'stages.*'", short="freeze")
    unfreeze_epoch: int | None = choice(None, "epoch from which frozen weights are trained too, from 1", least=1)


@dataclass(frozen=True)
class ObjectiveChoices:
    name: Literal["auto", "multiclass", "binary", "multilabel", "regression", "next-token"] = choice(
        "auto", "what to learn", short="objective"
    )
    loss: Literal["mse", "mae", "huber"] = choice("mse", "for regression")
    label_smoothing: float = choice(0.0, "for multiclass: probability shared by all classes", least=0, below=1)
    balance: Literal["none", "weights", "sampler"] = choice(
        "none", "rare classes: weigh them more in the loss, or draw them more often", short="balance"
    )


@dataclass(frozen=True)
class OptimizerChoices:
    name: str = choice("adamw", "sgd, adam, adamw, rmsprop, lbfgs, muon, or package.module:Class", short="optimizer")
    lr: float | None = choice(
        None, "learning rate; left out, the usual one of the optimizer and the model", short="lr", least=TINY
    )
    weight_decay: float | None = choice(
        None, "left out, the optimizer's usual one; never for biases and norms", least=0
    )
    momentum: float = choice(0.9, "for sgd and muon", least=0, below=1)
    nesterov: bool = choice(False, "for sgd")
    lrs: dict[str, float] = choice(dict, "learning rates of some weights, as --optimizer.lrs.PATTERN LR", least=TINY)
    args: dict[str, Any] = choice(dict, "further arguments of the optimizer, as --optimizer.args.NAME VALUE")


@dataclass(frozen=True)
class ScheduleChoices:
    name: str = choice(
        "cosine", "constant, cosine, one-cycle, step, exponential, polynomial, wsd, plateau", short="schedule"
    )
    warmup: float = choice(0.05, "share of all updates in which the learning rate rises", least=0, below=1)
    args: dict[str, Any] = choice(dict, "further arguments of the schedule, as --schedule.args.NAME VALUE")


@dataclass(frozen=True)
class TrainChoices:
    epochs: int | None = choice(
        None,
        "passes over the training data; left out, 30 or what shows 32,000 examples; 5 for next-token",
        short="epochs",
        least=1,
    )
    max_steps: int | None = choice(None, "updates after which to stop", short="max-steps", least=1)
    max_minutes: float = choice(
        math.inf, "minutes after which to stop; a resumed run has as many again", short="max-minutes", least=TINY
    )
    batch_size: int = choice(32, "examples a batch", short="batch-size", least=1)
    accumulate: int = choice(1, "batches an update", short="accumulate", least=1)
    micro_batch: int | Literal["auto"] | None = choice(
        None,
        "examples that go through the model at a time, with the same gradient; auto finds out what fits into memory",
        short="micro-batch",
        least=1,
    )
    keyed_dropout: bool = choice(False, "masks by (seed, update, layer, example): the same however batches are cut")
    max_grad_norm: float = choice(math.inf, "scale gradients down to this L2 norm", short="max-grad-norm", least=TINY)
    max_grad_value: float = choice(math.inf, "cut each gradient to this size", least=TINY)
    precision: Literal["fp32", "bf16", "fp16"] = choice("fp32", "number format of the forward pass", short="precision")
    ema_decay: float | None = choice(None, "average the weights with this decay, and use the average", least=0, below=1)
    monitor: str = choice("valid_loss", "metric that is to be best", short="monitor")
    patience: int | None = choice(None, "epochs without a better one before stopping", short="patience", least=1)
    on_nonfinite: Literal["stop", "skip", "rollback"] = choice(
        "stop", "on NaN or infinite numbers: rollback goes back to the last checkpoint", short="on-nonfinite"
    )


@dataclass(frozen=True)
class RunChoices:
    seed: int = choice(0, "of splits, weights, order and dropout", short="seed", least=0, below=2**31)
    device: str = choice("auto", "auto, cpu, cuda, cuda:1, mps", short="device")
    threads: int = choice(0, "CPU threads; 0 chooses by the size of the model", least=0)
    compile: bool = choice(
        False, "have PyTorch compile the model: a wait first, then faster updates, on a GPU at least", short="compile"
    )
    log_every: int = choice(50, "updates between two step lines in metrics.jsonl", least=1)
    save_seconds: float = choice(30.0, "between two checkpoints, which are written beside the training", least=0)
    save_steps: int | None = choice(None, "updates between two checkpoints, if that is sooner", least=1)
    keep_checkpoints: int = choice(2, "how many of the newest stay", least=1)


@dataclass(frozen=True)
class Recipe:
    """All choices of a run."""

    data: DataChoices = field(default_factory=DataChoices)
    augment: AugmentChoices = field(default_factory=AugmentChoices)
    model: ModelChoices = field(default_factory=ModelChoices)
    objective: ObjectiveChoices = field(default_factory=ObjectiveChoices)
    optimizer: OptimizerChoices = field(default_factory=OptimizerChoices)
    schedule: ScheduleChoices = field(default_factory=ScheduleChoices)
    train: TrainChoices = field(default_factory=TrainChoices)
    run: RunChoices = field(default_factory=RunChoices)

    @classmethod
    def names(cls) -> list[str]:
        """Return the full names of all choices, such as "train.epochs"."""
        return [f"{section.name}.{option.name}" for section in fields(cls) for option in section_fields(section.name)]

    def get(self, name: str) -> Any:
        """Return a choice by its full name, such as "train.epochs"."""
        section, _, rest = name.partition(".")
        return getattr(getattr(self, section), rest)

    def changed(self, choices: Mapping[str, Any], where: str = "") -> Recipe:
        """Return a recipe with other choices, by short name (`epochs`) or full name (`train.epochs`).

        Raises:
            InputError: no such choice, or a value that does not fit; it names the nearest one.
        """
        recipe = self
        for given, value in choices.items():
            name = given.replace("-", "_")
            section, _, rest = short_names().get(name, name).partition(".")
            if not rest:
                known = [*short_names(), *self.names()]
                raise InputError(f"{where}{given}: no such choice.{did_you_mean(name, known)}")
            recipe = recipe._with(section, {rest: value}, where)
        return recipe

    def _with(self, section: str, values: Mapping[str, Any], where: str) -> Recipe:
        if section not in (known := [f.name for f in fields(Recipe)]):
            hint = did_you_mean(section, known) or f" Known: {', '.join(known)}."
            raise InputError(f"{where}[{section}]: no such section.{hint}")
        kinds = {f.name: f for f in section_fields(section)}
        checked: dict[str, Any] = {}
        for name, value in values.items():
            if name not in kinds:
                hint = did_you_mean(name, kinds) or f" Known: {', '.join(kinds)}."
                raise InputError(f"{where}{section}.{name}: no such choice.{hint}")
            checked[name] = _fit(value, type_of(section, name), kinds[name].metadata, f"{where}{section}.{name}")
        return replace(self, **{section: replace(getattr(self, section), **checked)})

    def to_toml(self) -> str:
        """Return the recipe as TOML; a choice that is None is left out."""
        import tomli_w

        sections = {
            name: {key: value for key, value in values.items() if value is not None}
            for name, values in asdict(self).items()
        }
        return tomli_w.dumps(sections)

    @classmethod
    def from_toml(cls, path: Path | str) -> Recipe:
        """Read a recipe; what it leaves out has its default.

        Raises:
            InputError: the file is missing or no TOML, or holds a choice or value that is unknown; it names the line.
        """
        path = Path(path)
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise InputError(
                    f"{path}: expected a recipe of at most {LARGEST_FILE // 1024} kB, found a larger file."
                )
            text = path.read_text(encoding="utf-8") if path.is_file() else None
        except OSError as error:
            raise InputError(f"{path}: can't read the recipe ({error.strerror}).") from None
        except UnicodeDecodeError:
            raise InputError(f"{path}: expected TOML in UTF-8, found other bytes.") from None
        if text is None:
            raise InputError(f"{path}: expected a recipe file, found a folder. Did you mean {path / 'recipe.toml'}?")
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, where: str) -> Recipe:
        """Read a recipe from the TOML of a file; `where` is for messages.

        Raises:
            InputError: as `from_toml`.
        """
        if DEEPEST.search(text):
            raise InputError(f"{where}: expected a recipe, found a name of more than 100 parts.")
        try:
            content = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise InputError(f"{where}: not valid TOML: {error}.") from None
        recipe = cls()
        for section, values in content.items():
            if not isinstance(values, dict):
                raise InputError(f"{where}{_line(text, '', section)}, {section}: expected a [section], found a value.")
            if not values:
                recipe = recipe._with(section, {}, f"{where}, ")
            for name, value in cast("dict[str, Any]", values).items():
                recipe = recipe._with(section, {name: value}, f"{where}{_line(text, section, name)}, ")
        return recipe


def section_fields(section: str) -> tuple[Any, ...]:
    """Return the dataclass fields of a section."""
    return fields(_sections()[section])


def type_of(section: str, name: str) -> Any:
    return _types(section)[name]


@cache
def _types(section: str) -> dict[str, Any]:
    return get_type_hints(_sections()[section])


@cache
def _sections() -> dict[str, Any]:
    return get_type_hints(Recipe)


@cache
def short_names() -> dict[str, str]:
    """Return the full name of each choice that has a short one: {"epochs": "train.epochs", ...}."""
    return {
        option.metadata["short"].replace("-", "_"): f"{section}.{option.name}"
        for section in _sections()
        for option in section_fields(section)
        if option.metadata["short"]
    }


def _fit(value: Any, kind: Any, bounds: Mapping[str, Any], where: str) -> Any:
    """Return the value as `kind`, or raise InputError saying what was expected."""
    if get_origin(kind) in (Union, UnionType):
        kinds = [part for part in get_args(kind) if part is not type(None)]
        if value is None and len(kinds) < len(get_args(kind)):
            return None
        words = [part for part in kinds if part is str or get_origin(part) is Literal]
        if isinstance(value, str) and words and value not in (get_args(words[0]) or (value,)):
            raise InputError(f"{where}: expected a number or {' or '.join(get_args(words[0]))}, found {value!r}.")
        kind = cast("Any", words[0] if words and isinstance(value, str) else kinds[0])
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            hint = did_you_mean(str(value), get_args(kind))
            raise InputError(f"{where}: expected one of {', '.join(get_args(kind))}, found {value!r}.{hint}")
        return value
    if kind in (int, float):
        number: Any = value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or (kind is int and number != int(number if math.isfinite(number) else 0)):
            raise InputError(f"{where}: expected a {'whole ' if kind is int else ''}number, found {value!r}.")
        if not bounds["least"] <= number <= bounds["below"] or number == bounds["below"] < math.inf:
            raise InputError(f"{where}: expected {_range(bounds['least'], bounds['below'])}, found {value}.")
        return kind(number)
    if kind is bool or kind is str:
        if not isinstance(value, kind):
            hint = f" Say '{value}'." if kind is str and isinstance(value, int) and not isinstance(value, bool) else ""
            raise InputError(f"{where}: expected {'true or false' if kind is bool else 'text'}, found {value!r}.{hint}")
        return value
    if get_origin(kind) is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: expected NAME = VALUE pairs, found {value!r}.")
        each = get_args(kind)[1]
        return {
            name: item if each is Any else _fit(item, each, bounds, f"{where}.{name}")
            for name, item in cast("Mapping[str, Any]", value).items()
        }
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in cast("list[Any]", items)):
        raise InputError(f"{where}: expected a list of texts, found {value!r}.")
    return tuple(cast("list[str]", items))


def _range(least: float, below: float) -> str:
    low = "a number above 0" if least == TINY else f"a number of at least {least:g}"
    return low if below == math.inf else f"{low} and below {below:g}"


def _line(text: str, section: str, name: str) -> str:
    """Return `, line 7` for where a key stands, or nothing when it is written in another way."""
    inside = section == ""
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.strip()
        if words.startswith("["):
            inside = words.strip("[] \t").split("#")[0].strip("] ") == section
        if words.split("=")[0].strip() in ({name, f'"{name}"'} if inside else {f"{section}.{name}"}):
            return f", line {number}"
    return ""
