"""A whole run: from a recipe to a trained, evaluated, saved model. What `truestep train` does."""

from __future__ import annotations

import math
import shutil
import signal
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.utils.data import IterableDataset

from truestep import distributed, folder, models, overview, resumption
from truestep.batches import Batches, StreamedBatches, number_of
from truestep.code import call_code, is_code, load_code
from truestep.data import (
    ArrayEncoder,
    Augment,
    Data,
    ImageEncoder,
    PixelEncoder,
    Split,
    StreamEncoder,
    Table,
    TableEncoder,
    TextEncoder,
    Transformed,
    check_iterable,
    load,
    with_targets,
)
from truestep.device import Precision, choose, choose_threads, reproducible
from truestep.doctor.beginning import Beginning
from truestep.doctor.report import as_json, in_a_line
from truestep.dropout import key_dropout
from truestep.errors import InputError, Interrupted, NonFiniteError, RefusedError, TruestepError
from truestep.evaluation import measure
from truestep.listing import harmless
from truestep.loop import Fitted, fit
from truestep.metrics import higher_is_better, why_undefined
from truestep.objectives import Binary, Multiclass, Multilabel, NextToken, Objective, Regression
from truestep.optimizers import DEFAULT_LR, DEFAULT_WEIGHT_DECAY, build_optimizer, build_schedule
from truestep.preconditions import check_heeded, check_monitor
from truestep.prediction import Predictor, preparation
from truestep.progress import Counter
from truestep.recipe import Recipe, short_names
from truestep.report import write_report
from truestep.resumption import NAMES_OF_CODE
from truestep.signals import Signals, Stopped, exit_code, handled
from truestep.transfer import Frozen, freeze, initialise

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    import polars as pl
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from truestep.data import Target
    from truestep.doctor.report import Report
    from truestep.keyed import Keys
    from truestep.objectives import Metrics


EPOCHS = 30  # of a run that is not told how many; see benchmarks/results.md
LEAST_EXAMPLES = 32_000  # that it sees all the same: 1,000 updates of the usual batch
TEXT_EPOCHS = 5  # of learning the next token: a text has an example at each of its tokens


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
        resume: the folder of a run that was stopped; its recipe is taken, and its data if that came from a file;
            data that came from Python is given again as `source`. `choices` may prolong it.
        resume_anyway: go on though the data, the code or the choices are no longer what the run began with.
        show: progress on stderr.
        say: called with a sentence for each thing that was decided or noticed.
        doctor: watches the first steps for silent mistakes, which changes no bit; what it found is in `results`.
        choices: by short name (`epochs=20`) or in full (`**{"train.epochs": 20}`).

    Raises:
        InputError: the data or the choices can't be used.
        NonFiniteError: the numbers went NaN or infinite.
        Interrupted: asked to stop by a signal; `resume` goes on from there.
    """
    if isinstance(choices.get("model"), nn.Module):
        raise InputError("model: expected the name of a model, found a module. Train your own with truestep.fit.")
    if resume is not None:
        own_code = isinstance(source, str) and is_code(source)
        if (isinstance(source, str | Path) and not own_code) or target is not None or out is not None:
            raise InputError("resume: expected no source, target or out beside it: the run has its own.")
        recipe, out = recipe or Path(resume) / "recipe.toml", Path(resume)
    made = recipe if isinstance(recipe, Recipe) else Recipe.from_toml(recipe) if recipe else Recipe()
    said = choices | ({} if target is None else {"target": target})
    if isinstance(source, str | Path):
        said["data.source"] = _absolute(str(source))
    elif source is not None:
        said["data.source"] = ""
    if not isinstance(recipe, Recipe):
        _check_code_is_said(made, said, recipe)
    made = made.changed(said)
    asked = resumption.sum_of(made)
    if resume is not None:
        resumption.check_choices(resumption.recipe_of(Path(resume)), made, anyway=resume_anyway, say=say)
    if source is None and not made.data.source:
        raise InputError("source: expected data to train on, found none. Try: truestep train digits")
    check_heeded(made, made.objective.name)
    path = Path(out) if out is not None else None
    if path and resume is None and resumption.begun(path):
        if not resumption.is_same(path, made):
            raise InputError(
                f"{path}: expected a new or empty folder, found a run that was stopped. Go on with --resume {path}, "
                "or choose another --out."
            )
        say(f"{path} holds this run, which was stopped: it goes on")
        resume, made = path, Recipe.from_toml(path / "recipe.toml")
        resumption.check_choices(resumption.recipe_of(path), made, anyway=resume_anyway, say=say)
    elif path and resume is None:
        folder.check_free(path)
    device = choose(made.run.device)
    with distributed.processes(device), handled() as signals:
        return _run(
            made, made.data.source or source, device, path, signals,
            resume=resume is not None, anyway=resume_anyway, asked=asked, show=show, say=say,
            doctor=doctor,
        )  # fmt: skip


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
) -> Run:
    say = say if distributed.is_main() else lambda _: None
    data = load_data(recipe, source, show=show)
    path = path or folder.fresh_name(data.name)
    if isinstance(data.train.examples, IterableDataset):
        check_iterable(
            cast("IterableDataset[Any]", data.train.examples),
            valid=data.valid,
            shuffled=recipe.objective.balance == "sampler",
            num_workers=recipe.data.workers,
            world_size=distributed.world_size(),
            max_steps=recipe.train.max_steps,
        )
    check_heeded(recipe, data.target.task)
    objective = choose_objective(recipe, data)
    check_monitor(objective, recipe.train.monitor)
    recipe = resolve(recipe, data, device)
    size = count_weights(recipe)
    if not size:
        raise InputError(f"model '{recipe.model.name}': expected weights to learn, found none.")
    threads, reason = choose_threads(size, recipe.run.threads)
    recipe = recipe.changed({"run.threads": threads})
    for sentence in data.facts.notes:
        say(sentence)
    say(f"objective {objective.name}: {data.target.reason}")
    say(f"model {recipe.model.name}: {size:,} parameters on {device}, CPU threads: {threads} ({reason})")

    changed: dict[str, list[Any]] = {}
    known = resumption.circumstances(recipe, data, device) | {"asked_sha256": asked}
    goes_on = resume and resumption.has_checkpoint(path)
    if resume and not goes_on:
        say(f"{path} was stopped before its first checkpoint: it begins anew")
    if goes_on:
        changed = resumption.check_circumstances(path, known, anyway=anyway, say=say)

    with (
        reproducible(recipe.run.seed, threads),
        Beginning(enabled=doctor and distributed.is_main(), tell=_told(show=show)) as beginning,
    ):
        model = models.build(recipe.model.name, recipe.model.args, trusted=True)
        if recipe.model.init and not goes_on:
            initialise(model, Path(recipe.model.init), say)
        if recipe.train.keyed_dropout:
            key_dropout(model, recipe.run.seed)
        frozen = freeze(model, recipe.model.freeze) if recipe.model.freeze else None
        model.to(device)
        predictor = Predictor(
            model,
            {"name": recipe.model.name, "args": recipe.model.args},
            objective,
            data.encoder,
            data.target,
            recipe.train.precision,
            threads,
        )
        train = _training_batches(data, recipe, device)
        held_out = {name: _held_out(predictor, data.splits[name]) for name in ("valid", "test") if data.splits[name]}
        optimizer, scheduler = _optimizer(recipe, model, number_of(train))
        precision = Precision.of(recipe.train.precision, device)
        before_epoch, stop, batches = _unfreezing(frozen, recipe), _stop_at(signals), number_of(train)
        beginning.epoch_has(None if batches is None else -(-batches // recipe.train.accumulate))

        def epoch_begins(epoch: int) -> None:
            beginning.epoch_begins()
            before_epoch(epoch)

        def updated() -> Interrupted | None:
            note()
            return beginning.updated() or stop()

        if goes_on:
            resumption.check_not_back(path, recipe)
        with _opened(path, recipe, known, changed, resume=resume, goes_on=goes_on) as note:
            with signals.noted():
                fitted = fit(
                    distributed.wrap(model), train, held_out.get("valid"), objective, optimizer,
                    epochs=recipe.train.epochs or EPOCHS, max_steps=recipe.train.max_steps or math.inf,
                    max_minutes=recipe.train.max_minutes, scheduler=scheduler, accumulate=recipe.train.accumulate,
                    max_grad_norm=recipe.train.max_grad_norm, max_grad_value=recipe.train.max_grad_value,
                    precision=precision, ema_decay=recipe.train.ema_decay, monitor=recipe.train.monitor,
                    patience=recipe.train.patience, on_nonfinite=recipe.train.on_nonfinite,
                    micro_batch=recipe.train.micro_batch, folder=path,
                    resume=goes_on, save_seconds=recipe.run.save_seconds,
                    save_steps=recipe.run.save_steps or math.inf, keep=recipe.run.keep_checkpoints,
                    log_every=recipe.run.log_every, show=show,
                    stop=updated, before_epoch=epoch_begins,
                )  # fmt: skip
            note()
            beginning.end()
            if "valid" in held_out and not fitted.best.epoch:
                _refuse_monitor(path, recipe, data, *measure(model, held_out["valid"], objective, precision=precision))
            figures = {
                name: _figures(objective, data.target, *measure(model, batches, objective, precision=precision))
                for name, batches in held_out.items()
            }
            results = _results(recipe, data, fitted, figures, size)
            results["doctor"] = None if beginning.report is None else as_json(beginning.report)
            if distributed.is_main():
                _write(path, predictor, data, recipe, fitted, results)
    return Run(path, recipe, predictor, results)


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


def _check_code_is_said(recipe: Recipe, said: Mapping[str, Any], path: Path | str | None) -> None:
    """Refuse to run code that only a file names: whoever starts a run says what code it may run."""
    named = {full: value for full in NAMES_OF_CODE if is_code(value := recipe.get(full) or "")}
    given = {short_names().get(name.replace("-", "_"), name): value for name, value in said.items()}
    for full, value in named.items():
        if full not in given:
            option = "as the source" if full == "data.source" else f"with --{full} {value}"
            raise RefusedError(
                f"{path}: {full} names code, {value}. A file's word is not enough to run it: say it {option}."
            )


def choose_objective(recipe: Recipe, data: Data) -> Objective:
    """Return the objective that the data's target asks for, with the recipe's details."""
    choices = recipe.objective
    targets = (data.train if len(data.train) else data.valid).targets  # nobody has read all of a stream's
    if data.target.has_classes and len(targets) and bool((targets == targets[0]).all()):
        only = (data.target.class_names or ())[int(targets[0])]
        raise InputError(f"target: expected at least two classes to train on, found '{only}' in every training row.")
    match data.target.task:
        case "multiclass":
            weights = None
            if choices.balance == "weights":  # as scikit-learn: N / (C * count)
                counts = targets.bincount(minlength=data.target.num_outputs).double().clamp(min=1)
                weights = tuple((len(targets) / (len(counts) * counts)).tolist())
            return Multiclass(data.target.num_outputs, weights, choices.label_smoothing)
        case "binary":
            positives = int(targets.sum())
            balanced = choices.balance == "weights"
            return Binary(positive_weight=(len(targets) - positives) / positives if balanced else 1.0)
        case "multilabel":
            return Multilabel(data.target.num_outputs)
        case "next-token":
            return NextToken(data.target.num_outputs)
        case _:
            return Regression.of(targets, choices.loss)


def resolve(recipe: Recipe, data: Data, device: torch.device) -> Recipe:
    """Return the recipe with what was chosen in place of every "auto" and every value left out."""
    spec = data.encoder.spec
    name = models.choose(spec) if recipe.model.name == "auto" else recipe.model.name
    optimizer = recipe.optimizer.name
    lr = DEFAULT_LR.get(optimizer)
    if lr is not None and optimizer in ("adam", "adamw"):
        lr *= models.FASTER.get(name, 1.0)
    known = {
        "train.epochs": recipe.train.epochs or _enough_epochs(data),
        "optimizer.lr": recipe.optimizer.lr or lr,
        "optimizer.weight_decay": DEFAULT_WEIGHT_DECAY.get(optimizer, 0.0)
        if recipe.optimizer.weight_decay is None and optimizer in DEFAULT_LR
        else recipe.optimizer.weight_decay,
    }
    encoder = data.encoder
    if isinstance(encoder, TextEncoder | StreamEncoder):
        known |= {"data.tokenizer": encoder.tokenizer.to_json()["name"], "data.length": encoder.length}
    if isinstance(encoder, ImageEncoder) and encoder.height == encoder.width:
        known |= {"data.image_size": encoder.height}
    return recipe.changed(
        {
            "data.target": None if isinstance(data.encoder, ArrayEncoder) else data.target.name,  # arrays name none
            "objective.name": data.target.task,
            "model.name": name,
            "model.args": models.arguments_for(name, data.encoder.spec, data.target.num_outputs, recipe.model.args),
            "run.device": str(device) if distributed.world_size() == 1 else device.type,
            **known,
        }
    )


def _enough_epochs(data: Data) -> int:
    """Return the usual number of epochs, or more where there are so few examples that a model would learn too little."""
    if data.target.task == "next-token":
        return TEXT_EPOCHS
    examples = len(data.train)  # 0 of a stream, which nobody has counted
    return max(EPOCHS, -(-LEAST_EXAMPLES // examples)) if examples else EPOCHS


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
        batches = _held_out(predictor, part)
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


def same_data(path: Path, recipe: Recipe, *, show: bool = False) -> Data:
    """Read the data of a run again, if it is still what it was."""
    data = load_data(recipe, recipe.data.source, show=show)
    if folder.read_json(path / "environment.json").get("data_sha256") != resumption.fingerprint(data):
        raise RefusedError(f"{recipe.data.source}: no longer the data that {path} was trained on.")
    return data


def load_data(recipe: Recipe, source: Any, *, show: bool = False) -> Data:
    """Read and split the data as the recipe says."""
    if isinstance(source, str) and is_code(source):
        source = call_code(source, "data")
    with Counter("reading", enabled=show and distributed.is_main()) as counter:
        return load(source, recipe.data, task=recipe.objective.name, seed=recipe.run.seed, progress=counter)


def count_weights(recipe: Recipe) -> int:
    """Return how many weights the model has, without making them where that is possible."""
    try:
        with torch.device("meta"):
            model = models.build(recipe.model.name, recipe.model.args, trusted=True)
    except InputError:
        if not is_code(recipe.model.name):
            raise
        model = models.build(recipe.model.name, recipe.model.args, trusted=True)  # not every one can do without values
    return sum(parameter.numel() for parameter in model.parameters())


def _unfreezing(frozen: Frozen | None, recipe: Recipe) -> Callable[[int], None]:
    """Return what `fit` calls before each epoch: weights are let go from the chosen one on."""
    begins = recipe.model.unfreeze_epoch
    if begins is not None and frozen is None:
        raise InputError("model.unfreeze_epoch: expected frozen weights, found none. Say which: --freeze PATTERN.")
    if begins is not None and distributed.world_size() > 1:
        raise InputError("model.unfreeze_epoch: can't be done in several processes, which agree on gradients at first.")

    def before_epoch(epoch: int) -> None:
        if frozen is not None and begins is not None and epoch + 1 >= begins:
            frozen.unfreeze()

    return before_epoch


def _transform(data: Data, recipe: Recipe) -> Callable[[Any, Keys], Any] | None:
    """Return what happens to a training batch on its way to the model: it is augmented, and prepared as any other."""
    choices = {name: value for name, value in asdict(recipe.augment).items() if name != "transform"}
    prepare = preparation(data.encoder)
    if not any(choices.values()):
        return prepare
    if data.encoder.spec["kind"] != "image":
        chosen = ", ".join(f"augment.{name}" for name, value in choices.items() if value)
        raise InputError(f"{chosen}: expected images to change, found inputs of kind {data.encoder.spec['kind']}.")
    if (recipe.augment.colour or recipe.augment.random) and prepare is None:
        raise InputError("augment.colour, augment.random: expected image files, whose values are known to be 0 to 255.")
    classes = data.target.num_outputs if data.target.task == "multiclass" else 0
    augment = Augment(**choices, num_classes=classes)

    def transform(batch: Any, keys: Keys) -> Any:
        changed = augment(batch, keys)
        return changed if prepare is None else prepare(changed, keys)

    return transform


def _training_batches(data: Data, recipe: Recipe, device: torch.device) -> Batches | StreamedBatches:
    split, weights = data.train, None
    examples = split.examples
    if isinstance(examples, IterableDataset):
        return StreamedBatches(
            examples,
            recipe.train.batch_size,
            seed=recipe.run.seed,
            device=device,
            num_workers=recipe.data.workers,
        )
    if recipe.augment.transform:
        examples = Transformed(examples, load_code(recipe.augment.transform), recipe.augment.transform)
    if recipe.objective.balance == "sampler" and data.target.has_classes:
        counts = split.targets.bincount(minlength=len(data.target.class_names or ())).double()
        weights = 1 / counts.clamp(min=1)[split.known]
    return Batches(
        examples,
        recipe.train.batch_size,
        shuffle=True,
        seed=recipe.run.seed,
        device=device,
        num_workers=recipe.data.workers,
        rows=split.rows,
        names=split.names,
        lengths=split.lengths,
        weights=weights,
        transform=_transform(data, recipe),
    )


def _held_out(predictor: Predictor, split: Split) -> Batches:
    return predictor.batches(split.examples, rows=split.rows, names=split.names, lengths=split.lengths)


def _optimizer(recipe: Recipe, model: nn.Module, batches: int | None) -> tuple[Optimizer, LRScheduler]:
    choices, schedule = recipe.optimizer, recipe.schedule
    optimizer = build_optimizer(
        choices.name,
        model,
        lr=choices.lr,
        weight_decay=choices.weight_decay,
        momentum=choices.momentum,
        nesterov=choices.nesterov,
        lrs=choices.lrs,
        args=choices.args,
    )
    epochs = recipe.train.epochs or EPOCHS
    planned = math.inf if batches is None else -(-batches // recipe.train.accumulate) * epochs
    total = int(min(planned, recipe.train.max_steps or planned))
    scheduler = build_schedule(
        schedule.name,
        optimizer,
        total_steps=total,
        warmup_steps=0 if schedule.name == "plateau" else int(schedule.warmup * total),
        args=schedule.args,
        mode="max" if higher_is_better(recipe.train.monitor) else "min",
    )
    return optimizer, scheduler


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


def _refuse_monitor(path: Path, recipe: Recipe, data: Data, loss: float, metrics: Metrics | None) -> None:
    """Say why no epoch was the best: its metric can't be known of these rows, or nothing was finite."""
    monitor = recipe.train.monitor
    known = {} if metrics is None else {"loss": loss} | metrics.compute()
    why = why_undefined(known, metrics.details() if metrics else {}, data.target.class_names)
    if reason := why.get(monitor.removeprefix("valid_")):
        raise NonFiniteError(f"{path}: {monitor} is undefined: {reason}. Watch another with --monitor.")
    raise NonFiniteError(f"{path}: no epoch had a finite {monitor}. Lower the learning rate.")


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
        "stopped": progress.stopped,
        "seconds": progress.seconds,
        "examples_per_second": seen / max(progress.seconds, 1e-9),
        "seed": recipe.run.seed,
        "versions": folder.environment()["versions"],
    }


def _absolute(source: str) -> str:
    """Return a path that still leads to the file from elsewhere; a bundled name as it is."""
    return str(Path(source).absolute()) if Path(source).exists() else source
