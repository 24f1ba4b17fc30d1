"""A whole run: from a recipe to a trained, evaluated, saved model. What `truestep train` does."""

from __future__ import annotations

import math
import shutil
import signal
import sys
import time
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from truestep import checkpoint, distributed, folder, overview, resumption
from truestep.assembly import EPOCHS, Assembled, Plan, assemble, held_out_batches, plan, same_data
from truestep.batches import number_of
from truestep.code import call_code, is_code
from truestep.data import (
    Data,
    ImageEncoder,
    PixelEncoder,
    Table,
    TableEncoder,
    TextEncoder,
    with_targets,
)
from truestep.device import Precision, choose, compiling, reproducible
from truestep.doctor.beginning import Beginning
from truestep.doctor.report import as_json, in_a_line
from truestep.errors import InputError, Interrupted, NonFiniteError, RefusedError, TruestepError
from truestep.evaluation import measure
from truestep.listing import harmless
from truestep.loop import Fitted, fit
from truestep.metrics import why_undefined
from truestep.nonfinite import first_in
from truestep.objectives import Objective
from truestep.preconditions import check_heeded
from truestep.prediction import Predictor
from truestep.recipe import Recipe
from truestep.report import write_report
from truestep.signals import Signals, Stopped, exit_code, handled
from truestep.tuning import tuned

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import polars as pl

    from truestep.data import Target
    from truestep.doctor.report import Report
    from truestep.objectives import Metrics


@dataclass
class Run:
    """A finished run."""

    folder: Path
    recipe: Recipe  # resolved: no "auto" left in it
    predictor: Predictor
    results: dict[str, Any]  # what results.json holds

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the test split, or without one those of the validation split."""
        metrics = self.results["metrics"]
        return metrics.get("test") or metrics.get("valid") or {}

    @property
    def model(self) -> nn.Module:
        return self.predictor.model

    def predict(self, source: Any) -> pl.DataFrame:
        """Return one row for each of the source's: its id if it has one, the prediction, and the probabilities."""
        return self.predictor.predict(source)


def train(
    source: Any = None,
    target: str | None = None,
    *,
    recipe: Recipe | Path | str | None = None,
    out: Path | str | None = None,
    resume: Path | str | None = None,
    resume_anyway: bool = False,
    show: bool = True,
    say: Callable[[str], None] = lambda _: None,
    doctor: bool = True,
    tune_speed: bool = False,
    **choices: Any,
) -> Run:
    """Train a model on data, and leave everything about it in a folder.

    Args:
        source: whatever `truestep.data.load` takes: the name of a bundled data set, a file or a folder, a table, arrays,
            PyTorch or Hugging Face datasets; or `file.py:function` or `package.module:function`, which gives one of
            these. None takes the recipe's.
        target: the column to predict.
        recipe: where all choices begin: a `Recipe` or its file. None takes the defaults, or those of `resume`.
        out: the folder, new or empty, or one in which this very run was stopped, which goes on. None makes one under
            `runs/`.
        resume: the folder of a run that was stopped; its recipe is taken, and its data if that came from a file; that
            was moved, or data that came from Python, is given again as `source`. `choices` may prolong it.
        resume_anyway: go on though the data, the code or the choices are no longer what the run began with.
        show: progress on stderr.
        say: called with a sentence for each thing that was decided or noticed.
        doctor: watches the first steps for silent mistakes, which changes no bit; what it found is in `results`.
        tune_speed: first try how many threads, which layout and how many readers are the fastest here, and keep these.
        choices: by short name (`epochs=20`) or in full (`**{"train.epochs": 20}`).

    Raises:
        InputError: the data or the choices can't be used.
        NonFiniteError: the numbers went NaN or infinite.
        Interrupted: asked to stop by a signal; `resume` goes on from there.
    """
    if isinstance(choices.get("model"), nn.Module):
        raise InputError("model: expected the name of a model, found a module. Train your own with truestep.fit.")
    if resume is not None:
        if target is not None or out is not None:
            raise InputError("resume: expected no target or out beside it: the run has its own.")
        recipe, out = recipe or Path(resume) / "recipe.toml", Path(resume)
    made = recipe if isinstance(recipe, Recipe) else Recipe.from_toml(recipe) if recipe else Recipe()
    said = choices | ({} if target is None else {"target": target})
    if isinstance(source, str | Path):
        said["data.source"] = _absolute(str(source))
    elif source is not None:
        said["data.source"] = ""
    if not isinstance(recipe, Recipe):
        resumption.check_code_is_said(made, said, recipe)
    made = made.changed(said)
    asked = resumption.sum_of(made)
    if resume is not None:
        _check_goes_on(Path(resume), made, anyway=resume_anyway, say=say)
        if source is None and (missing := resumption.missing_data(made)):
            raise InputError(
                f"{missing}: expected the data of {resume}, found none. Moved? "
                f"{resumption.going_on(Path(resume), made, source)}"
            )
    if source is None and not made.data.source:
        raise InputError("source: expected data to train on, found none. Try: truestep train digits")
    check_heeded(made, made.objective.name)
    path = Path(out) if out is not None else None
    if path and resume is None and resumption.begun(path):
        if not resumption.is_same(path, made):
            before = resumption.recipe_of(path)
            raise InputError(
                f"{path}: expected a new or empty folder, found a run that was stopped{resumption.differing(before, made)}. "
                f"Go on with {resumption.going_on(path, before, source)}, or choose another --out."
            )
        say(f"{path} holds this run, which was stopped: it goes on")
        resume, made = path, Recipe.from_toml(path / "recipe.toml")
        _check_goes_on(path, made, anyway=resume_anyway, say=say)
    elif path and resume is None:
        if (path / "results.json").is_file() and resumption.is_same(path, made):
            raise InputError(
                f"{path}: holds this very run, which is finished. Prolong it with --resume {path} --epochs N, or choose "
                "another --out."
            )
        folder.check_free(path)
    device = choose(made.run.device)
    with distributed.processes(device), handled() as signals:
        return _run(
            made, made.data.source or source, device, path, signals,
            resume=resume is not None, anyway=resume_anyway, asked=asked, show=show, say=say,
            doctor=doctor, tune_speed=tune_speed,
        )  # fmt: skip


def _check_goes_on(path: Path, recipe: Recipe, *, anyway: bool, say: Callable[[str], None]) -> None:
    """Refuse a recipe that the run in a folder can't go on with; say what it changes."""
    resumption.check_not_back(path, recipe)
    resumption.check_choices(resumption.recipe_of(path), recipe, anyway=anyway, say=say)


def _run(
    recipe: Recipe,
    source: Any,
    device: torch.device,
    path: Path | None,
    signals: Signals,
    *,
    resume: bool,
    anyway: bool,
    asked: str,
    show: bool,
    say: Callable[[str], None],
    doctor: bool,
    tune_speed: bool,
) -> Run:
    say = say if distributed.is_main() else lambda _: None
    planned = plan(recipe, source, device, show=show, say=say)
    if tune_speed and resume:
        say("tune_speed: a run that goes on keeps what it was tuned to")
    elif tune_speed:
        planned = tuned(planned, recipe, say)
    recipe, data, objective = planned.recipe, planned.data, planned.objective
    path = path or folder.fresh_name(data.name)

    changed: dict[str, list[Any]] = {}
    known = resumption.circumstances(recipe, data, device) | {"asked_sha256": asked}
    goes_on = resume and checkpoint.has_any(path)  # one that was stopped before its first begins anew
    if resume and not goes_on:
        say(f"{path} was stopped before its first checkpoint: it begins anew")
    if goes_on:
        changed = resumption.check_circumstances(path, known, anyway=anyway, say=say)

    with (
        reproducible(recipe.run.seed, recipe.run.threads),
        Beginning(enabled=doctor and distributed.is_main(), tell=_told(show=show)) as beginning,
    ):
        made = assemble(planned, fresh=not goes_on, say=say)
        stop, batches = _stop_at(signals), number_of(made.train)
        beginning.epoch_has(None if batches is None else -(-batches // recipe.train.accumulate))

        def epoch_begins(epoch: int) -> None:
            beginning.epoch_begins()
            made.before_epoch(epoch)

        waiting = [time.monotonic()] if recipe.run.compile else []

        def updated() -> Interrupted | None:
            note()
            if waiting:
                say(f"compiled: the first update took {time.monotonic() - waiting.pop():.1f} s")
            return beginning.updated() or stop()

        with _opened(path, recipe, known, changed, resume=resume, goes_on=goes_on) as note:
            with signals.noted():
                fitted = learn(
                    planned, made, path, resume="anyway" if goes_on and anyway else goes_on, show=show, stop=updated,
                    before_epoch=epoch_begins,
                )  # fmt: skip
            note()
            beginning.end()
            precision = Precision.of(recipe.train.precision, device)
            figures_of = {
                name: measure(made.model, batches, objective, precision=precision)
                for name, batches in made.held_out.items()
            }
            bad = {
                name: first_in(made.held_out[name], made.model, objective, precision)
                for name, (loss, _) in figures_of.items()
                if not math.isfinite(loss)
            }
            if "valid" in made.held_out and not fitted.best.epoch:
                _refuse_monitor(path, recipe, data, *figures_of["valid"], bad.get("valid"))
            figures = {name: _figures(objective, data.target, *found) for name, found in figures_of.items()}
            results = _results(recipe, data, fitted, figures, planned.size)
            results["doctor"] = None if beginning.report is None else as_json(beginning.report)
            if distributed.is_main():
                _write(path, made.predictor, data, recipe, fitted, results)
                for name, error in bad.items():
                    warnings.warn(f"{path}: the {name} metrics are not finite: {name}, {error}", stacklevel=3)
    return Run(path, recipe, made.predictor, results)


def learn(planned: Plan, made: Assembled, path: Path, **options: Any) -> Fitted:
    """Fit what was assembled as its recipe says. `options` of `fit` come before those of the recipe."""
    train, run = planned.recipe.train, planned.recipe.run
    chosen: dict[str, Any] = {
        "epochs": train.epochs or EPOCHS,
        "max_steps": train.max_steps or math.inf,
        "max_minutes": train.max_minutes,
        "scheduler": made.scheduler,
        "accumulate": train.accumulate,
        "max_grad_norm": train.max_grad_norm,
        "max_grad_value": train.max_grad_value,
        "precision": Precision.of(train.precision, planned.device),
        "ema_decay": train.ema_decay,
        "monitor": train.monitor,
        "patience": train.patience,
        "on_nonfinite": train.on_nonfinite,
        "micro_batch": train.micro_batch,
        "save_seconds": run.save_seconds,
        "save_steps": run.save_steps or math.inf,
        "keep": run.keep_checkpoints,
        "log_every": run.log_every,
        "before_epoch": made.before_epoch,
    }
    with compiling():
        return fit(
            made.to_train, made.train, made.held_out.get("valid"), planned.objective, made.optimizer,
            folder=path, **chosen | options,
        )  # fmt: skip


def _write(
    path: Path, predictor: Predictor, data: Data, recipe: Recipe, fitted: Fitted, results: dict[str, Any]
) -> None:
    """Write what a finished run leaves: the model, the figures, the last line of the log, the report."""
    predictor.save(path / "model")
    results |= overview.of_run(predictor, data, recipe.run.seed)
    final = {
        f"{split}_{name}": value for split, metrics in results["metrics"].items() for name, value in metrics.items()
    }
    with folder.MetricsLog(path, fitted.progress.log_size) as log:
        log.write({"kind": "final", "epoch": fitted.progress.epoch, "step": fitted.progress.step, **final})
    folder.write(path / "results.json", folder.to_json(results, indent=2) + "\n")
    write_report(path)


def _told(*, show: bool) -> Callable[[Report], None]:
    """Return what says at once, while the run goes on, what the doctor thinks is wrong with it."""

    def tell(report: Report) -> None:
        for one in report.alarms if show else ():
            print(harmless(f"doctor: {in_a_line(one)}", 10_000), file=sys.stderr)

    return tell


def evaluate_folder(
    path: Path | str,
    source: str | None = None,
    split: str = "test",
    model: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return the figures of a finished run on labelled data, or again on a split of the data that it came from.

    Rows of labelled data that have no target are left out, as in training; `say` is called with a sentence about them.

    Raises:
        InputError: there is no such folder, file or split.
        RefusedError: the folder is damaged, or its data is no longer what it was.
    """
    path = Path(path)
    predictor = Predictor.load(path, own_model=model)
    recipe = Recipe.from_toml(path / "recipe.toml")
    own_code = is_code(recipe.data.source)
    if own_code and source is None:
        raise _code_refused(path, recipe, f"truestep evaluate {path} {recipe.data.source}")
    if source is None or (own_code and source == recipe.data.source):
        if split not in ("train", "valid", "test"):
            raise InputError(f"split: expected train, valid or test, found '{split}'.")
        if not recipe.data.source:
            raise InputError(f"{path}: this run's data came from Python. Give a labelled file to evaluate on.")
        data = same_data(path, recipe)
        if not len(part := data.splits[split]):
            raise InputError(f"split: this run has no {split} rows.")
        batches = held_out_batches(predictor, part)
        return {"split": split} | _figures(predictor.objective, predictor.target, *predictor.measure(batches))
    labelled = call_code(source, "data") if is_code(source) else source
    if isinstance(
        predictor.encoder, TableEncoder | PixelEncoder | TextEncoder | ImageEncoder
    ):  # windows need every row
        table = predictor.encoder.read(labelled)
        if isinstance(table, Table) and predictor.target.name in table.columns:
            labelled = with_targets(table, predictor.target.name)
            for note in labelled.notes[len(table.notes) :]:
                say(note)
    batches = predictor.batches(predictor.encoder.encode_labelled(labelled, predictor.target))
    return {"split": Path(source).name} | _figures(predictor.objective, predictor.target, *predictor.measure(batches))


def look_at_folder(path: Path | str, *, model: str | None = None, show: bool = False) -> dict[str, Any]:
    """Return what was understood of a run's data, and under "suspects" the held-out labels that its model doubts.

    Raises:
        InputError: there is no such folder, or nothing in it says what its data were.
        RefusedError: the folder is damaged, or its data is no longer what it was, or would be made by code.
    """
    path = Path(path)
    recipe = Recipe.from_toml(path / "recipe.toml")
    if is_code(recipe.data.source):
        raise _code_refused(path, recipe, f"truestep data {recipe.data.source}")
    predictor = Predictor.load(path, own_model=model)
    if not recipe.data.source:
        raise InputError(f"{path}: this run's data came from Python; its report says what was understood of them.")
    # Its recipe names the task, whoever chose it; the model remembers why.
    data = replace(same_data(path, recipe, show=show), target=predictor.target)
    return overview.describe(data) | {"suspects": overview.doubts(predictor, data)}


def _code_refused(path: Path, recipe: Recipe, instead: str) -> RefusedError:
    return RefusedError(
        f"{path}: its data comes from code, {recipe.data.source}. A folder's word is not enough to run it: {instead}"
    )


@contextmanager
def _opened(
    path: Path,
    recipe: Recipe,
    known: dict[str, Any],
    changed: dict[str, list[Any]],
    *,
    resume: bool,
    goes_on: bool,
) -> Generator[Callable[[], None]]:
    """Have the folder of a run to ourselves, and take it away if the run is refused before its first line of metrics.

    Yields what writes recipe and environment: of a run that goes on, after its first update, when nothing refuses it.
    """
    made, noted = path, not distributed.is_main()

    def note() -> None:
        nonlocal noted
        if noted:
            return
        noted = True
        resumption.write_recipe(path, recipe)
        if goes_on:
            resumption.note(path, known, changed)
        else:
            resumption.write_environment(path, known)

    if distributed.is_main() and not resume:
        made = folder.create(path)
    with folder.locked(path) if distributed.is_main() else nullcontext():
        if not goes_on:
            note()
        try:
            yield note
        except Interrupted as error:
            raise Interrupted(f"{error}. Go on with: truestep train --resume {path}", error.exit_code) from None
        except Stopped as error:
            error.args = (f"{error}. Go on with: truestep train --resume {path}",)
            raise
        except Exception as error:
            is_wrong = isinstance(error, InputError) or not isinstance(error, TruestepError)  # their input, or code
            if is_wrong and not resume and distributed.is_main() and not (path / "metrics.jsonl").exists():
                shutil.rmtree(made, ignore_errors=True)
            raise


def _stop_at(signals: Signals) -> Callable[[], Interrupted | None]:
    """Return what `fit` asks after each update: whether a signal has come to any process."""

    def stop() -> Interrupted | None:
        if not distributed.any_rank(bool(signals.received)):
            return None
        number = signals.received or signal.SIGTERM
        return Interrupted(f"stopped by {signal.Signals(number).name}; a checkpoint was saved", exit_code(number))

    return stop


def _figures(objective: Objective, target: Target, loss: float, metrics: Metrics | None) -> dict[str, Any]:
    """Return the metrics of a split, their intervals, why some are undefined, and what else there is to show."""
    if metrics is None:
        return {"metrics": objective.from_loss(loss), "intervals_95": {}, "details": {}, "undefined": {}}
    numbers, details = objective.from_loss(loss) | metrics.compute(), metrics.details()
    return {
        "metrics": numbers,
        "intervals_95": {name: list(interval) for name, interval in metrics.intervals().items()},
        "details": details,
        "undefined": why_undefined(numbers, details, target.class_names),
    }


def _refuse_monitor(
    path: Path, recipe: Recipe, data: Data, loss: float, metrics: Metrics | None, bad: NonFiniteError | None
) -> None:
    """Say why no epoch was the best: its metric can't be known of these rows, or nothing was finite."""
    monitor = recipe.train.monitor
    known = {} if metrics is None else {"loss": loss} | metrics.compute()
    why = why_undefined(known, metrics.details() if metrics else {}, data.target.class_names)
    if reason := why.get(monitor.removeprefix("valid_")):
        raise NonFiniteError(f"{path}: {monitor} is undefined: {reason}. Watch another with --monitor.")
    reason = f"valid, {bad}" if bad else "Lower the learning rate."
    raise NonFiniteError(f"{path}: no epoch had a finite {monitor}. {reason}")


def _results(
    recipe: Recipe, data: Data, fitted: Fitted, figures: dict[str, dict[str, Any]], size: int
) -> dict[str, Any]:
    progress = fitted.progress
    epochs = progress.epoch + (progress.batch > 0)
    if len(data.train):
        seen = len(data.train) * progress.epoch + min(progress.batch * recipe.train.batch_size, len(data.train))
    else:  # a dataset that nobody has counted
        seen = progress.step * recipe.train.batch_size * recipe.train.accumulate
    return {
        "objective": data.target.task,
        "model": recipe.model.name,
        "parameters": size,
        **{
            kind: {name: found[kind] for name, found in figures.items()}
            for kind in ("metrics", "intervals_95", "details", "undefined")
        },
        "classes": data.target.class_names,
        "examples": {name: len(split) for name, split in data.splits.items()},
        "monitor": recipe.train.monitor,
        "best_epoch": fitted.best.epoch or epochs,
        "epochs": epochs,
        "steps": progress.step,
        "skipped": progress.skipped,
        "rollbacks": progress.rollbacks,
        "stopped": progress.stopped,
        "seconds": progress.seconds,
        "examples_per_second": seen / max(progress.seconds, 1e-9),
        "seed": recipe.run.seed,
        "versions": folder.environment()["versions"],
    }


def _absolute(source: str) -> str:
    """Return a path that still leads to the file from elsewhere; a bundled name as it is."""
    return str(Path(source).absolute()) if Path(source).exists() else source
