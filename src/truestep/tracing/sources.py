"""What `truestep trace` looks at: the model that a run on a source would begin with, or the one that a folder holds."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset

from truestep import checkpoint
from truestep.assembly import (
    Plan,
    assemble,
    choose_objective,
    count_weights,
    optimizer_of,
    plan,
    resolve,
    same_data,
)
from truestep.code import is_code
from truestep.data import StreamEncoder
from truestep.device import Precision, choose, choose_threads, reproducible
from truestep.errors import InputError, RefusedError
from truestep.preconditions import check_heeded
from truestep.prediction import Predictor
from truestep.recipe import Recipe
from truestep.resumption import NAMES_OF_CODE, check_code_is_said
from truestep.tracing import Trace, look
from truestep.tracing.broken import Lesson, teach
from truestep.tracing.lines import Subject

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from truestep.batches import Batches, StreamedBatches


@dataclass(frozen=True)
class Begun:
    """A run before its first step, or after its last one."""

    plan: Plan
    model: nn.Module
    train: Batches | StreamedBatches
    trained: str  # by what, in words; "" if by nothing
    why: str  # the model is another than the usual one, in words
    is_run: bool  # whose recipe names every choice, whoever made it

    def batches(self) -> Iterator[Any]:
        """Yield the training batches of one epoch after another, as a run has them."""
        for epoch in count():
            batches = iter(self.train.epoch(epoch))
            first = next(batches, None)
            if first is None:
                raise InputError(f"{self.plan.data.name}: expected training examples, found none.")
            yield first
            yield from batches

    def optimizer(self, model: nn.Module) -> Optimizer:
        """Return a new one for a copy of the model, at its full learning rate."""
        return optimizer_of(self.plan.recipe, model)

    def head(self, batches: str) -> dict[str, str]:
        """Return in words where all of this is from."""
        data, recipe = self.plan.data, self.plan.recipe
        examples = f"{len(data.train):,}" if len(data.train) else "the"
        head = {
            "data": f"{data.name}, the first {batches} of {examples} training examples",
            "model": self.why or recipe.model.name,
            "objective": f"{self.plan.objective.name}: {'that of the run' if self.is_run else data.target.reason}",
        }
        if self.trained:
            head["weights"] = self.trained
        if recipe.schedule.name != "constant" or recipe.schedule.warmup:
            head["schedule"] = f"{recipe.schedule.name}, left out here: steps are at the full learning rate"
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
    with _nothing_left_behind(), _begun(source, choices, recipe, show=show) as begun:
        model, train = begun.model, begun.plan.recipe.train
        subject = Subject(
            model,
            next(begun.batches()),
            begun.plan.objective,
            begun.optimizer(model),
            Precision.of(train.precision, begun.plan.device),
            max_grad_norm=train.max_grad_norm,
            max_grad_value=train.max_grad_value,
            trained=bool(begun.trained),
            targets=_training_targets(begun.plan),
            head=begun.head("batch"),
        )
        return look(subject)


def teach_source(
    word: str, source: Any, choices: dict[str, Any], *, recipe: Path | None = None, show: bool = False
) -> Lesson:
    """Return a classic mistake beside the right way, measured on this source. Arguments as for `trace_source`."""
    random = word == "eval"
    with _nothing_left_behind(), _begun(source, choices, recipe, show=show, random=random) as begun:
        return teach(
            word,
            begun.model,
            lambda number: list(islice(begun.batches(), number)),
            begun.plan.objective,
            begun.optimizer,
            head=begun.head("batches"),
        )


@contextmanager
def _begun(
    source: Any, choices: dict[str, Any], recipe: Path | None, *, show: bool, random: bool = False
) -> Generator[Begun]:
    """Have everything ready, with the seed and the threads of the run.

    Args:
        random: choose a model with dropout, unless one is named.
    """
    why, weights, trained = "", None, ""
    if not _is_run(source):
        planned, why = _of_source(source, choices, recipe, show=show, random=random)
        if planned.recipe.model.init:
            trained = f"begun with those of {planned.recipe.model.init}"
    elif recipe is not None:
        raise InputError(f"{source}: expected no recipe beside the folder of a run, which has its own; found {recipe}.")
    else:
        planned, weights, trained = _of_folder(Path(source), choices, show=show)
    with reproducible(planned.recipe.run.seed, planned.recipe.run.threads):
        made = assemble(planned, fresh=weights is None)
        if weights is not None:
            try:
                made.model.load_state_dict(weights)
            except (RuntimeError, TypeError) as error:
                raise RefusedError(f"{source}: weights of another model ({' '.join(str(error).split())}).") from None
        yield Begun(planned, made.model, made.train, trained, why, weights is not None)


def _is_run(source: Any) -> bool:
    try:
        return isinstance(source, str | Path) and Path(source, "recipe.toml").is_file()
    except (OSError, ValueError):
        return False


def _of_source(
    source: Any, choices: dict[str, Any], file: Path | None, *, show: bool, random: bool
) -> tuple[Plan, str]:
    begin = Recipe.from_toml(file) if file else Recipe()
    said = choices | ({"data.source": str(source)} if isinstance(source, str | Path) else {})
    if file is not None:
        check_code_is_said(begin, said, file)
    recipe = begin.changed(said)
    if source is None and not recipe.data.source:
        raise InputError("source: expected data to trace, found none. Try: truestep trace digits")
    check_heeded(recipe, recipe.objective.name)
    try:
        planned = plan(recipe, recipe.data.source or source, choose(recipe.run.device), show=show)
    except InputError as error:
        if isinstance(source, str | Path) and Path(source).is_dir():
            raise InputError(f"{error} Nor is it the folder of a run, which has a recipe.toml.") from None
        raise
    if not random or recipe.model.name != "auto" or planned.recipe.model.name not in ("cnn", "resnet"):
        return planned, ""
    other = resolve(recipe.changed({"model.name": "mlp"}), planned.data, planned.device)
    size = count_weights(other)
    other = other.changed({"run.threads": choose_threads(size, recipe.run.threads)[0]})
    return replace(planned, recipe=other, size=size), f"mlp, because the {planned.recipe.model.name} has no dropout"


def _of_folder(path: Path, choices: dict[str, Any], *, show: bool) -> tuple[Plan, dict[str, Tensor], str]:
    """Return the plan of a run, the weights that it has come to, and which these are in words."""
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
    if (path / "model" / "model.json").is_file():
        predictor = Predictor.load(path, own_model=choices.get("model.name") if "model.name" in code else None)
        weights, which = predictor.model.state_dict(), f"the best ones of the run {path}"
    elif newest := checkpoint.newest_first(path / "checkpoints"):
        weights, which = _weights_of(newest[0]), f"those at {newest[0].name} of the run {path}, which was stopped"
    else:
        raise InputError(f"{path}: expected a model or a checkpoint, found none: the run was stopped before its first.")
    data, device = same_data(path, recipe, show=show), choose("cpu")
    size = count_weights(recipe)
    recipe = recipe.changed({"run.threads": choose_threads(size, recipe.run.threads)[0]})
    return Plan(recipe, data, choose_objective(recipe, data), device, size), weights, which


def _weights_of(path: Path) -> dict[str, Tensor]:
    try:
        return checkpoint.read_state(path)["model"]
    except KeyError:
        raise RefusedError(f"{path}: of a run with other parts (no model).") from None


def _training_targets(planned: Plan) -> Tensor | None:
    """Return the targets of all training rows, where that is what batches are drawn from."""
    data = planned.data
    streamed = isinstance(data.train.examples, IterableDataset) or isinstance(data.encoder, StreamEncoder)
    if streamed or planned.recipe.objective.balance == "sampler":
        return None
    return data.train.targets


@contextmanager
def _nothing_left_behind() -> Generator[None]:
    """Have Python write no bytecode beside the user's own files."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
