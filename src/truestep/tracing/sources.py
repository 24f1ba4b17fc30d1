"""What `truestep trace` looks at: the model that a run on a source would begin with, or the one that a folder holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset

from truestep import checkpoint, models
from truestep.code import is_code
from truestep.data import StreamEncoder
from truestep.device import Precision, choose, choose_threads, reproducible
from truestep.dropout import key_dropout
from truestep.errors import InputError, RefusedError
from truestep.preconditions import check_heeded
from truestep.prediction import Predictor
from truestep.recipe import Recipe
from truestep.resumption import NAMES_OF_CODE
from truestep.run import (
    check_code_is_said,
    choose_objective,
    count_weights,
    load_data,
    optimizer_of,
    resolve,
    same_data,
    training_batches,
)
from truestep.tracing import Trace, look
from truestep.tracing.broken import Lesson, teach
from truestep.tracing.lines import Subject
from truestep.transfer import freeze, initialise

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from truestep.data import Data
    from truestep.objectives import Objective


@dataclass(frozen=True)
class Prepared:
    """A run before its first step, or after its last one."""

    recipe: Recipe  # resolved
    data: Data
    objective: Objective
    make: Callable[[], nn.Module]  # its model, with random weights from torch's global generator if they are not known
    device: torch.device
    trained: str = ""  # by what, in words
    why: str = ""  # the model is another than the usual one

    def batches(self) -> Iterator[Any]:
        """Yield the training batches of one epoch after another, as a run has them."""
        made, epoch = training_batches(self.data, self.recipe, self.device), 0
        while True:
            batches = iter(made.epoch(epoch))
            first = next(batches, None)
            if first is None:
                raise InputError(f"{self.data.name}: expected training examples, found none.")
            yield first
            yield from batches
            epoch += 1

    def optimizer(self, model: nn.Module) -> Optimizer:
        """Return a new one for a copy of the model, at its full learning rate."""
        return optimizer_of(self.recipe, model)

    def head(self, batches: str) -> dict[str, str]:
        """Return in words where all of this is from."""
        count = len(self.data.train)
        head = {
            "data": f"{self.data.name}, the first {batches} of {f'{count:,}' if count else 'the'} training examples",
            "model": self.why or self.recipe.model.name,
            "objective": f"{self.objective.name}: {self.data.target.reason}",
        }
        if self.trained:
            head["weights"] = self.trained
        if self.recipe.schedule.name != "constant" or self.recipe.schedule.warmup:
            head["schedule"] = f"{self.recipe.schedule.name}, left out here: steps are at the full learning rate"
        return head


def trace_source(source: Any, choices: dict[str, Any], *, recipe: Path | None = None, show: bool = False) -> Trace:
    """Trace what `truestep train` would begin with on this source, or the model in the folder of a run.

    Args:
        source: as for `truestep.train`, or the folder of a run, finished or stopped.
        choices: as for `truestep.train`; beside a folder the model's code alone, if it has some.
        recipe: a file where all choices begin.
        show: progress on stderr.

    Raises:
        InputError: the data, the model or the choices can't be used.
        RefusedError: a folder is damaged, or names code that nobody has said may run.
    """
    with _nothing_left_behind(), _begun(source, choices, recipe, show=show) as (prepared, model):
        train = prepared.recipe.train
        subject = Subject(
            model,
            next(prepared.batches()),
            prepared.objective,
            prepared.optimizer(model) if any(p.requires_grad for p in model.parameters()) else None,
            Precision.of(train.precision, prepared.device),
            max_grad_norm=train.max_grad_norm,
            max_grad_value=train.max_grad_value,
            trained=bool(prepared.trained),
            targets=_training_targets(prepared),
            head=prepared.head("batch"),
        )
        return look(subject)


def teach_source(
    word: str, source: Any, choices: dict[str, Any], *, recipe: Path | None = None, show: bool = False
) -> Lesson:
    """Return a classic mistake beside the right way, measured on this source. Arguments as for `trace_source`."""
    random = word == "eval"
    with _nothing_left_behind(), _begun(source, choices, recipe, show=show, random=random) as (prepared, model):
        return teach(
            word,
            model,
            lambda count: list(islice(prepared.batches(), count)),
            prepared.objective,
            prepared.optimizer,
            head=prepared.head("batches"),
        )


@contextmanager
def _begun(
    source: Any, choices: dict[str, Any], recipe: Path | None, *, show: bool, random: bool = False
) -> Generator[tuple[Prepared, nn.Module]]:
    """Have everything ready, with the seed and the threads of the run.

    Args:
        random: choose a model with dropout, unless one is named.
    """
    if not _is_run(source):
        prepared = _of_source(source, choices, recipe, show=show, random=random)
    elif recipe is not None:
        raise InputError(f"{source}: expected no recipe beside the folder of a run, which has its own; found {recipe}.")
    else:
        prepared = _of_folder(Path(source), choices, show=show)
    threads, _ = choose_threads(count_weights(prepared.recipe), prepared.recipe.run.threads)
    with reproducible(prepared.recipe.run.seed, threads):
        yield prepared, prepared.make().to(prepared.device)


def _is_run(source: Any) -> bool:
    try:
        return isinstance(source, str | Path) and Path(source, "recipe.toml").is_file()
    except (OSError, ValueError):
        return False


def _of_source(source: Any, choices: dict[str, Any], file: Path | None, *, show: bool, random: bool) -> Prepared:
    begin = Recipe.from_toml(file) if file else Recipe()
    said = choices | ({"data.source": str(source)} if isinstance(source, str | Path) else {})
    if file is not None:
        check_code_is_said(begin, said, file)
    recipe = begin.changed(said)
    if source is None and not recipe.data.source:
        raise InputError("source: expected data to trace, found none. Try: truestep trace digits")
    check_heeded(recipe, recipe.objective.name)
    device = choose(recipe.run.device)
    try:
        data = load_data(recipe, recipe.data.source or source, show=show)
    except InputError as error:
        is_folder = isinstance(source, str | Path) and Path(source).is_dir()
        if is_folder:
            raise InputError(f"{error} Nor is it the folder of a run, which has a recipe.toml.") from None
        raise
    check_heeded(recipe, data.target.task)
    why = ""
    if random and recipe.model.name == "auto" and models.choose(data.encoder.spec) in ("cnn", "resnet"):
        recipe, why = recipe.changed({"model.name": "mlp"}), "mlp, for the usual one has no dropout"
    objective = choose_objective(recipe, data)
    recipe = resolve(recipe, data, device)

    def make() -> nn.Module:
        model = models.build(recipe.model.name, recipe.model.args, trusted=True)
        if recipe.model.init:
            initialise(model, Path(recipe.model.init))
        if recipe.train.keyed_dropout:
            key_dropout(model, recipe.run.seed)
        if recipe.model.freeze:
            freeze(model, recipe.model.freeze)
        return model

    trained = f"begun with those of {recipe.model.init}" if recipe.model.init else ""
    return Prepared(recipe, data, objective, make, device, trained, why)


def _of_folder(path: Path, choices: dict[str, Any], *, show: bool) -> Prepared:
    recipe = Recipe.from_toml(path / "recipe.toml")
    code = {name for name in NAMES_OF_CODE if is_code(recipe.get(name) or "")}
    if others := [name for name in choices if name not in {*code, "model.name"}]:
        raise InputError(
            f"{path}: expected no choices beside the folder of a run, which has its own: {', '.join(others)}."
        )
    if "data.source" in code:
        again = f"truestep trace {recipe.data.source} --recipe {path / 'recipe.toml'} --init {path}"
        raise RefusedError(
            f"{path}: its data comes from code, {recipe.data.source}. A folder's word is not enough to run it: {again}"
        )
    if not recipe.data.source:
        raise InputError(f"{path}: this run's data came from Python. Use truestep.trace there.")
    check_code_is_said(recipe, choices, path)
    for name, said in choices.items():
        if said != recipe.get(name):
            raise InputError(f"{name}: this run's is '{recipe.get(name)}', found '{said}'.")
    own_model = choices.get("model.name") if "model.name" in code else None
    finished = (path / "model" / "model.json").is_file()
    device = choose("cpu")
    data = same_data(path, recipe, show=show)
    if finished:
        predictor = Predictor.load(path, own_model=own_model)
        how = f"the best ones of the run {path}"
        return Prepared(recipe, data, predictor.objective, lambda: predictor.model, device, how)
    newest = checkpoint.newest_first(path / "checkpoints")
    if not newest:
        raise InputError(f"{path}: expected a model or a checkpoint, found none: the run was stopped before its first.")

    def make() -> nn.Module:
        model = models.build(recipe.model.name, recipe.model.args, trusted=True)
        _fill(model, newest)
        return model

    how = f"those at {newest[0].name} of the run {path}, which was stopped"
    return Prepared(recipe, data, choose_objective(recipe, data), make, device, how)


def _fill(model: nn.Module, newest: list[Path]) -> None:
    """Give a model the weights of the newest whole checkpoint."""
    try:
        state = checkpoint.read_state(newest[0])
        model.load_state_dict(state["model"])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise RefusedError(f"{newest[0]}: of another model ({' '.join(str(error).split())}).") from None


def _training_targets(prepared: Prepared) -> Tensor | None:
    """Return the targets of all training rows, where that is what batches are drawn from."""
    streamed = isinstance(prepared.data.train.examples, IterableDataset)
    if streamed or isinstance(prepared.data.encoder, StreamEncoder) or prepared.recipe.objective.balance == "sampler":
        return None
    targets = prepared.data.train.targets
    return targets if len(targets) else None


@contextmanager
def _nothing_left_behind() -> Generator[None]:
    """Have Python write no bytecode beside the user's own files."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
