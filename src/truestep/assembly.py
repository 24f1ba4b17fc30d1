"""From a recipe to what is trained: data, objective, model, batches, optimizer, schedule. Nothing here trains."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.utils.data import IterableDataset

from truestep import distributed, folder, models, resumption
from truestep.batches import Batches, StreamedBatches, number_of
from truestep.code import call_code, is_code, load_code
from truestep.data import (
    ArrayEncoder,
    Augment,
    Data,
    ImageEncoder,
    Split,
    StreamEncoder,
    TextEncoder,
    Transformed,
    check_iterable,
    load,
)
from truestep.device import choose_layout, choose_threads, compiled, lay_out
from truestep.dropout import key_dropout
from truestep.errors import InputError, RefusedError
from truestep.metrics import higher_is_better
from truestep.objectives import Binary, Multiclass, Multilabel, NextToken, Objective, Regression
from truestep.optimizers import DEFAULT_LR, DEFAULT_WEIGHT_DECAY, build_optimizer, build_schedule
from truestep.preconditions import check_heeded, check_monitor
from truestep.prediction import Predictor, preparation
from truestep.progress import Counter
from truestep.transfer import Frozen, freeze, initialise

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from truestep.keyed import Keys
    from truestep.recipe import Recipe

EPOCHS = 30  # of a run that is not told how many; see benchmarks/results.md
LEAST_EXAMPLES = 32_000  # that it sees all the same: 1,000 updates of the usual batch
TEXT_EPOCHS = 5  # of learning the next token: a text has an example at each of its tokens


@dataclass(frozen=True)
class Plan:
    """What a run will do, with every choice made; nothing of it is built yet."""

    recipe: Recipe  # resolved: no "auto" left in it
    data: Data
    objective: Objective
    device: torch.device
    size: int  # how many weights the model has


@dataclass(frozen=True)
class Assembled:
    """What a plan trains, and with what."""

    model: nn.Module
    to_train: nn.Module  # the same one, compiled or ready to average its gradients over processes
    predictor: Predictor
    train: Batches | StreamedBatches
    held_out: dict[str, Batches]  # "valid" and "test", where there are such rows
    optimizer: Optimizer
    scheduler: LRScheduler
    before_epoch: Callable[[int], None]  # lets frozen weights go


def plan(
    recipe: Recipe,
    source: Any,
    device: torch.device,
    *,
    of: Path | None = None,
    show: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Read the data and make every choice that is left open.

    Args:
        of: the folder of a run, whose data they have to be.

    Raises:
        InputError: the data or the choices can't be used.
        RefusedError: the data are not that run's any more.
    """
    data = load_data(recipe, source, show=show) if of is None else same_data(of, recipe, show=show)
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
    layout = "" if recipe.model.layout == "contiguous" else f", {recipe.model.layout}"
    say(f"model {recipe.model.name}: {size:,} parameters on {device}{layout}, CPU threads: {threads} ({reason})")
    return Plan(recipe, data, objective, device, size)


def assemble(plan: Plan, *, fresh: bool = True, say: Callable[[str], None] = lambda _: None) -> Assembled:
    """Build what a plan trains; to be called within `device.reproducible`, whose seed draws the weights.

    Args:
        fresh: begin from the weights that the recipe names; a run that goes on has its own.
    """
    recipe, data = plan.recipe, plan.data
    model = models.build(recipe.model.name, recipe.model.args, trusted=True)
    if recipe.model.init and fresh:
        initialise(model, Path(recipe.model.init), say)
    if recipe.train.keyed_dropout:
        key_dropout(model, recipe.run.seed)
    frozen = freeze(model, recipe.model.freeze) if recipe.model.freeze else None
    model.to(plan.device)
    lay_out(model, recipe.model.layout)
    architecture = {"name": recipe.model.name, "args": recipe.model.args}
    predictor = Predictor(
        model,
        architecture,
        plan.objective,
        data.encoder,
        data.target,
        recipe.train.precision,
        recipe.run.threads,
        recipe.model.layout,
    )
    train = _training_batches(data, recipe, plan.device)
    held_out = {name: held_out_batches(predictor, data.splits[name]) for name in ("valid", "test") if data.splits[name]}
    optimizer = optimizer_of(recipe, model)
    scheduler = _schedule(recipe, optimizer, number_of(train))
    return Assembled(
        model,
        _to_train(model, train, recipe),
        predictor,
        train,
        held_out,
        optimizer,
        scheduler,
        _unfreezing(frozen, recipe),
    )


def _to_train(model: nn.Module, train: Batches | StreamedBatches, recipe: Recipe) -> nn.Module:
    if not recipe.run.compile:
        return distributed.wrap(model)
    if distributed.world_size() > 1:
        raise InputError("run.compile: expected one process, found several. Leave it out.")
    return compiled(model, lengths_vary=isinstance(train, Batches) and train.lengths is not None)


def load_data(recipe: Recipe, source: Any, *, show: bool = False) -> Data:
    """Read and split the data as the recipe says."""
    if isinstance(source, str) and is_code(source):
        source = call_code(source, "data")
    with Counter("reading", enabled=show and distributed.is_main()) as counter:
        return load(source, recipe.data, task=recipe.objective.name, seed=recipe.run.seed, progress=counter)


def same_data(path: Path, recipe: Recipe, *, show: bool = False) -> Data:
    """Read the data of a run again, if it is still what it was."""
    data = load_data(recipe, recipe.data.source, show=show)
    if folder.read_json(path / "environment.json").get("data_sha256") != resumption.fingerprint(data):
        raise RefusedError(f"{recipe.data.source}: no longer the data that {path} was trained on.")
    return data


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
            "model.layout": choose_layout(device, recipe.train.precision, convolves=name in models.CONVOLVING)
            if recipe.model.layout == "auto"
            else recipe.model.layout,
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


def held_out_batches(predictor: Predictor, split: Split) -> Batches:
    return predictor.batches(split.examples, rows=split.rows, names=split.names, lengths=split.lengths)


def optimizer_of(recipe: Recipe, model: nn.Module) -> Optimizer:
    """Return the optimizer that the recipe names, of this model's parameters, at its full learning rate."""
    choices = recipe.optimizer
    return build_optimizer(
        choices.name,
        model,
        lr=choices.lr,
        weight_decay=choices.weight_decay,
        momentum=choices.momentum,
        nesterov=choices.nesterov,
        lrs=choices.lrs,
        args=choices.args,
    )


def _schedule(recipe: Recipe, optimizer: Optimizer, batches: int | None) -> LRScheduler:
    schedule, epochs = recipe.schedule, recipe.train.epochs or EPOCHS
    planned = math.inf if batches is None else -(-batches // recipe.train.accumulate) * epochs
    total = int(min(planned, recipe.train.max_steps or planned))
    return build_schedule(
        schedule.name,
        optimizer,
        total_steps=total,
        warmup_steps=0 if schedule.name == "plateau" else int(schedule.warmup * total),
        args=schedule.args,
        mode="max" if higher_is_better(recipe.train.monitor) else "min",
    )
