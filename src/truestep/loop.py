"""The training loop. Read this file first: every other file explains one of its lines.

`train_steps` is the ritual, five numbered lines repeated for every update. `fit` repeats it for every epoch, and between
epochs evaluates, saves, and decides whether to stop. To change what happens around a step, write your own
`for step in train_steps(...)` instead of `fit`: there are no callbacks to learn.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from truestep import distributed
from truestep.batches import accumulated, as_batches, batches_on, number_of
from truestep.best import Best
from truestep.checkpoint import Checkpoints, has_any, write_state
from truestep.device import Precision, draw_again, drawn, sum_of_bits
from truestep.errors import InputError, Interrupted, NonFiniteError, RefusedError
from truestep.evaluation import evaluate
from truestep.folder import MetricsLog, check_writable, make_folder
from truestep.fused import averaging, scale_down, total_norm
from truestep.hits import Hits
from truestep.metrics import RunningMean
from truestep.nest import map_tensors
from truestep.nonfinite import (
    ROLLBACKS,
    bad_weights,
    explain,
    leave_out_on_device,
    located,
    read_losses,
    reads_at_once,
    with_evidence,
)
from truestep.objectives import Objective, as_objective
from truestep.preconditions import check_run, check_steps
from truestep.progress import Display
from truestep.splitting import Splitting


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimizer update did. The tensors stay on the device: reading one waits for it."""

    batches: int  # consumed by this update: `accumulate`, or fewer at the end of an epoch
    loss: Tensor  # () mean over everything that counts in this update
    count: float | Tensor  # how much that was: examples, unpadded tokens, or their weights
    grad_norm: Tensor  # () L2 norm of all gradients, before clipping
    lr: float  # of the first parameter group, as used in this update
    skipped: bool  # whether the update was left out, because its numbers were not finite
    outputs: list[tuple[Any, Any]]  # (outputs, targets) of each batch, if they were to be kept


def train_steps(
    model: nn.Module,
    batches: Iterable[Any],
    objective: Objective | Callable[[nn.Module, Any], Tensor],
    optimizer: Optimizer,
    *,
    scheduler: LRScheduler | None = None,
    ema: AveragedModel | None = None,
    precision: Precision | str = "fp32",
    accumulate: int = 1,
    max_grad_norm: float = math.inf,
    max_grad_value: float = math.inf,
    on_nonfinite: str = "stop",
    micro_batch: Splitting | int | str | None = None,
    keep_outputs: bool = False,
    step: int = 0,
) -> Iterator[Step]:
    """Train on `batches` once, yielding after every optimizer update.

    Args:
        model: in training mode, on the device the batches are on.
        batches: pairs (inputs, targets), or whatever `objective` unpacks.
        objective: one of `truestep.objectives`, or a function of (model, batch) that returns the mean loss.
        optimizer: of the model's parameters.
        scheduler: stepped once per update, not per epoch; `ReduceLROnPlateau` is left to the caller.
        ema: a running average of the weights, updated after each update.
        precision: "fp32", "bf16", "fp16", or a `Precision` whose scaler should outlive this call.
        accumulate: batches per update. Exact, also when batches differ in size: see `truestep.objectives`.
        max_grad_norm: gradients are scaled down to this L2 norm; inf leaves them as they are.
        max_grad_value: each gradient is cut to within plus or minus this; inf leaves them as they are.
        on_nonfinite: "stop" raises before bad weights are made; "skip" leaves the update out, as if its batches had not
            been there.
        micro_batch: examples of a batch that go through the model at a time, with the same gradient to rounding; "auto"
            finds out what fits into memory; a `Splitting` is one that should outlive this call.
        keep_outputs: have each `Step` hold what the model said, for metrics, until the next one comes.
        step: how many updates came before, for dropout that draws by key.

    Raises:
        InputError: memory ran out, and pieces are no way out.
        NonFiniteError: a loss or gradient is NaN or infinite. Off the CPU, see `truestep.nonfinite`.
    """
    check_steps(
        model, optimizer, precision, accumulate=accumulate,
        max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, on_nonfinite=on_nonfinite,
    )  # fmt: skip
    objective, parameters = as_objective(objective), list(model.parameters())
    precision = Precision.of(precision, parameters[0].device)
    autocast, scaler, parallel = precision.autocast(), precision.scaler, distributed.world_size() > 1
    at_once = reads_at_once(parameters, on_nonfinite)
    splitting = Splitting.of(micro_batch, model)
    kept = on_nonfinite == "skip" or scaler.is_enabled() or splitting.auto
    buffers = list(model.buffers()) if kept else []
    average = averaging(ema, distributed.unwrap(model)) if ema else None

    for group, count in accumulated(map(objective.unpack, batches), accumulate, objective.count):
        before = [buffer.clone() for buffer in buffers]  # batch norm writes to them in forward, before we can object
        random_before = drawn(parameters[0].device)
        said: list[tuple[Any, Any]] = []

        def gradients() -> Tensor:
            optimizer.zero_grad()  # 1. forget the last gradients
            losses: list[Tensor] = []
            said.clear()
            for inputs, targets, last in splitting.pieces(group, step):
                with distributed.synced(model, now=last) if parallel else nullcontext():
                    with autocast:
                        outputs = objective.forward(model, inputs)  # 2. forward: what does the model say?
                        loss = objective.loss_sum(outputs, targets) / count  # 3. loss: how wrong is it?
                    scaler.scale(loss).backward()  # 4. backward: which way is less wrong?
                losses.append(loss.detach())
                if keep_outputs:
                    said.append((map_tensors(torch.detach, outputs), targets))
            loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
            loss = distributed.all_mean(loss) if parallel else loss
            if isinstance(optimizer, LBFGS) and not math.isfinite(loss):  # L-BFGS would step on it before we could look
                raise failure(loss)
            return loss

        def undo() -> None:
            draw_again(random_before, parameters[0].device)
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)

        def failure(loss: Tensor) -> NonFiniteError:
            bare = distributed.unwrap(model)
            return with_evidence(explain(bare, group, objective, loss, precision), bare, group, random_before, count)

        lr, scale, refused = optimizer.param_groups[0]["lr"], scaler.get_scale(), False
        if isinstance(optimizer, LBFGS):
            loss = optimizer.step(gradients)  # asks for the loss and its gradients several times a step
            grad_norm = total_norm([p.grad for p in parameters if p.grad is not None])
        else:
            loss = splitting.within_memory(gradients, model, group, undo)
            scaler.unscale_(optimizer)
            found = [p.grad for p in parameters if p.grad is not None]
            grad_norm = total_norm(found)
            doubt = loss if scaler.is_enabled() else loss + grad_norm  # the scaler looks at float16 gradients itself
            if at_once:
                refused = not math.isfinite(doubt)
            else:
                leave_out_on_device(optimizer, doubt)
            if refused and (on_nonfinite != "skip" or bad_weights(parameters)):  # these no batch would mend
                scaler.update()  # ends the step for it; who goes back begins another
                raise failure(loss)
            if not refused:
                if max_grad_norm < math.inf:
                    scale_down(found, max_grad_norm, grad_norm)
                if max_grad_value < math.inf:
                    clip_grad_value_(parameters, max_grad_value)
                scaler.step(optimizer)  # 5. step: go there
                if not at_once:
                    leave_out_on_device(optimizer, None)
            scaler.update()

        skipped = refused or scaler.get_scale() < scale  # a lower scale: float16 overflowed, and nothing was applied
        if skipped and on_nonfinite != "skip" and scaler.get_scale() < 1:  # no matter of scale, then
            raise failure(loss)
        if skipped:
            undo()
        else:
            step += 1
            if average:
                average()
            if scheduler and not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
        counted = count * distributed.world_size() if parallel else count
        yield Step(len(group), loss, counted, grad_norm, lr, skipped, said)


@dataclass
class Progress:
    """Where a run is: all of the loop's state that is not in a `state_dict`."""

    epoch: int = 0  # the epoch under way, from 0
    batch: int = 0  # batches of it already consumed
    step: int = 0  # optimizer updates so far
    skipped: int = 0  # updates left out because their numbers were not finite
    seconds: float = 0.0  # of training and evaluation so far
    stopped: str = ""  # why the run ended: "epochs", "patience", "max_steps" or "max_minutes"
    log_size: int = 0  # bytes of metrics.jsonl by then
    rollbacks: int = 0  # to an earlier checkpoint, because numbers were not finite

    @classmethod
    def of(cls, saved: Any) -> Progress:
        """Return what a checkpoint has saved, or raise RefusedError if that is no progress."""
        usual = asdict(cls())
        fits = (
            isinstance(saved, dict)
            and saved.keys() == usual.keys()
            and all(
                type(saved[name]) is type(value) and (name == "stopped" or saved[name] >= 0)
                for name, value in usual.items()
            )
        )
        if not fits:
            raise RefusedError(f"checkpoint: expected to read how far the run is, found {saved}.")
        return cls(**saved)


@dataclass(frozen=True)
class Fitted:
    """What `fit` found; the weights are in the model."""

    progress: Progress
    best: Best
    history: list[dict[str, Any]]  # one row for each epoch of this call, as in metrics.jsonl


def fit(
    model: nn.Module,
    train: Iterable[Any],
    valid: Iterable[Any] | None,
    objective: Objective | Callable[[nn.Module, Any], Tensor],
    optimizer: Optimizer,
    *,
    epochs: int,
    max_steps: float = math.inf,
    max_minutes: float = math.inf,
    scheduler: LRScheduler | None = None,
    accumulate: int = 1,
    max_grad_norm: float = math.inf,
    max_grad_value: float = math.inf,
    precision: Precision | str = "fp32",
    ema_decay: float | None = None,
    monitor: str = "valid_loss",
    patience: int | None = None,
    on_nonfinite: str = "stop",
    micro_batch: int | str | None = None,
    folder: Path | str | None = None,
    resume: bool | str = False,
    save_seconds: float = 30.0,
    save_steps: float = math.inf,
    keep: int = 2,
    log_every: int = 50,
    show: bool = True,
    stop: Callable[[], Interrupted | None] = lambda: None,
    before_epoch: Callable[[int], None] = lambda _: None,
) -> Fitted:
    """Train for `epochs`, or until `patience` epochs bring nothing better, and leave the best weights in `model`.

    Args:
        model: on the device the batches are on; it comes back in evaluation mode.
        train: `Batches`, whose order follows from (seed, epoch), or any iterable of batches.
        valid: evaluated after every epoch; None keeps the last weights instead of the best.
        epochs: passes over `train`; `max_steps` updates or `max_minutes` of this call may end the run earlier.
        ema_decay: keep an average of the weights, decay * average + (1 - decay) * weights; evaluate and return it.
        monitor: the validation metric that is to be best, and that patience and `ReduceLROnPlateau` watch.
        folder: for metrics.jsonl and checkpoints; None writes nothing.
        resume: go on from the newest checkpoint in `folder`, to the same numbers as without the interruption. A loader
            of your own must give the same batches again, which one that shuffles does not; `Batches` does. "auto" begins
            anew where there is no checkpoint yet, so that the same program does both. "anyway" goes on though rows of
            metrics.jsonl are lost; the weights come out the same.
        save_seconds: between checkpoints, which are written beside the training; one always is at the end of the run.
        save_steps: updates between checkpoints, if that is sooner.
        keep: how many checkpoints stay.
        log_every: updates between two "step" lines of the log.
        show: progress on stderr.
        stop: asked after every update, and in evaluation at every batch; what it returns is raised after saving.
        before_epoch: told the number of each epoch, from 0, before its first batch, and of one that is resumed, again.

    The rest is as for `train_steps`.

    Raises:
        InputError: the options contradict each other, a target does not fit the objective, or the last checkpoint can't
            be written. Of an earlier one that can't, a warning tells.
        NonFiniteError: a loss or gradient is NaN or infinite; no checkpoint holds bad weights.
    """
    objective, bare = as_objective(objective), distributed.unwrap(model)
    anyway = resume == "anyway"
    resume = resume is True or anyway or (resume == "auto" and folder is not None and has_any(Path(folder)))
    check_run(
        objective, train, valid, scheduler, monitor=monitor, patience=patience, epochs=epochs, log_every=log_every,
        ema_decay=ema_decay, on_nonfinite=on_nonfinite, folder=folder, resume=resume,
    )  # fmt: skip
    check_steps(
        model, optimizer, precision, accumulate=accumulate,
        max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, on_nonfinite=on_nonfinite,
    )  # fmt: skip
    device = next(model.parameters()).device
    precision = Precision.of(precision, device)
    ema = AveragedModel(bare, multi_avg_fn=get_ema_multi_avg_fn(ema_decay)) if ema_decay else None
    kept = ema.module if ema else bare  # evaluated, compared, and left in `model` at the end
    best, mean, progress, history = Best(monitor, patience), RunningMean(), Progress(), list[dict[str, Any]]()
    hits, has_answers = Hits(objective), type(objective).right is not Objective.right
    recent: list[Step] = []  # steps whose tensors nobody has read yet

    splitting = Splitting.of(micro_batch, model)

    if folder is not None and distributed.is_main():  # only now: what is refused above leaves nothing behind
        (check_writable if resume else make_folder)(Path(folder))
    parts = {"model": bare, "ema": ema, "optimizer": optimizer, "scheduler": scheduler, "scaler": precision.scaler}
    checkpoints = Checkpoints(folder, {**parts, "best": best, "mean": mean, "hits": hits, "splitting": splitting}, keep)
    if resume:
        progress = Progress.of(checkpoints.restore())
        best.check_fits(kept)
        progress.stopped = _reason_to_stop(progress, best, epochs, max_steps)
    started = time.monotonic()
    begun, saved = started - progress.seconds, (progress.step, started)

    def due() -> bool:
        late = progress.step - saved[0] >= save_steps or time.monotonic() - saved[1] >= save_seconds
        return folder is not None and distributed.any_rank(distributed.is_main() and late and not checkpoints.busy)

    def save(*, wait: bool = True) -> None:
        nonlocal saved
        read_losses(recent, mean)
        for name, trained in (("weights", bare), ("average of the weights", ema)):
            if trained is not None and bad_weights(trained.parameters()):  # they reach no checkpoint
                error = NonFiniteError(f"the {name} are not finite, though the losses are. Lower the learning rate.")
                error.batches_ago = accumulate
                raise error
        hits.gather()
        checkpoints.save(asdict(progress) | {"log_size": log.size}, wait=wait, first=log.sync)
        saved = progress.step, time.monotonic()

    def roll_back(error: NonFiniteError) -> None:
        """Go back to the last checkpoint, and on behind the batches that the numbers failed at."""
        nonlocal progress
        failed = progress
        progress = Progress.of(checkpoints.restore())
        progress.rollbacks, progress.seconds = failed.rollbacks + 1, failed.seconds
        log.cut_back(progress.log_size)
        recent.clear()
        if failed.epoch != progress.epoch:
            mean.clear()
            hits.clear()
        late = error.batches_ago > 0
        batch = failed.batch + (0 if late else accumulate)
        log.write({"kind": "rollback", **_at(progress), "to_step": progress.step, "error": str(error)})
        progress.epoch, progress.batch = failed.epoch, min(batch, number_of(train) or batch)
        save()

    if on_nonfinite == "rollback" and not resume:
        checkpoints.save(asdict(progress))  # where to go back to, if the first steps fail

    log = MetricsLog(folder, progress.log_size, anyway=anyway)
    if log.lost:
        lost = f"{log.lost:,} bytes of it, from before update {progress.step}, are lost"
        warnings.warn(f"{log.path}: {lost}. The log goes on without them.", stacklevel=2)
    if distributed.any_rank(log.lost > 0):
        save()  # so that later ones, and going back, count on the log that there is

    with log, Display(epochs, train, enabled=show) as display, checkpoints:
        while not progress.stopped or progress.batch:  # one that was stopped in an epoch is still to be evaluated
            model.train()
            before_epoch(progress.epoch)
            batches = batches_on(device, train, progress.epoch, progress.batch)
            try:
                with located(progress, train, accumulate, bare, objective, precision), closing(batches):
                    for step in train_steps(
                        model, () if progress.stopped else batches, objective, optimizer,
                        scheduler=scheduler, ema=ema, precision=precision, accumulate=accumulate,
                        max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, on_nonfinite=on_nonfinite,
                        micro_batch=splitting, keep_outputs=has_answers, step=progress.step,
                    ):  # fmt: skip
                        progress.batch, progress.seconds = progress.batch + step.batches, time.monotonic() - begun
                        if step.skipped:
                            progress.skipped += 1
                        else:
                            progress.step += 1
                            hits.add(step.outputs)
                            recent.append(step)
                        step.outputs.clear()  # which may be large
                        if progress.step % log_every == 0 and not step.skipped:
                            read_losses(recent, mean)
                            sums = _sums(bare, train)
                            log.write(
                                {
                                    "kind": "step",
                                    **_at(progress),
                                    "loss": float(step.loss),
                                    "lr": float(step.lr),
                                    **sums,
                                }
                            )
                        if progress.seconds > display.due:
                            display.advance(progress)
                        if interruption := stop():
                            save()
                            raise interruption
                        if due():
                            save(wait=False)
                        if progress.step >= max_steps:
                            progress.stopped = "max_steps"
                        elif max_minutes < math.inf and distributed.any_rank(
                            time.monotonic() - started >= 60 * max_minutes
                        ):
                            progress.stopped = "max_minutes"
                        if progress.stopped:
                            break
                    read_losses(recent, mean)
            except NonFiniteError as error:
                if on_nonfinite != "rollback" or progress.rollbacks == ROLLBACKS:
                    if folder and error.evidence and distributed.is_main():
                        at = {"epoch": progress.epoch, "step": progress.step, "error": str(error)}
                        try:
                            write_state(Path(folder) / "nonfinite", error.evidence | at)
                        except OSError as trouble:  # which must not hide what went wrong
                            warnings.warn(f"{folder}/nonfinite: can't be written ({trouble.strerror}).", stacklevel=2)
                    raise
                roll_back(error)
                continue
            distributed.agree_on_buffers(bare, kept)
            if not progress.batch:
                raise InputError(
                    f"train: epoch {progress.epoch + 1} has no batches. A generator can be read only once."
                )

            whole = not progress.stopped or progress.batch == number_of(train)
            if not whole:  # saved before it is evaluated: a resumed run does that once, at the end of the epoch
                save()

            improved = False
            row: dict[str, Any] = {"kind": "epoch", **_at(progress), "train_loss": mean.compute()}
            row |= {f"train_{name}": value for name, value in hits.compute().items()}
            if valid is not None:
                try:
                    metrics = evaluate(
                        kept, _until(stop, valid), objective, precision=precision, keep_rows=best.needs_rows
                    )
                except Interrupted:
                    save()  # as it was before the evaluation, which a resumed run does again
                    raise
                row |= {f"valid_{name}": value for name, value in metrics.items()}
                improved = best.update(row, progress.epoch + 1, kept)
                if isinstance(scheduler, ReduceLROnPlateau):
                    scheduler.step(row[monitor])
            if whole:
                mean.clear()
                hits.clear()
                progress.epoch, progress.batch = progress.epoch + 1, 0
                progress.stopped = progress.stopped or _reason_to_stop(progress, best, epochs, max_steps)
            progress.seconds = time.monotonic() - begun
            row |= {"lr": float(optimizer.param_groups[0]["lr"]), "seconds": progress.seconds}
            history.append(row)
            log.write(row)
            display.epoch(row, improved=improved)
            if whole and (progress.stopped or due()):
                save(wait=bool(progress.stopped))
            if progress.stopped:
                break
        progress.log_size = log.size

    if best.weights:
        kept.load_state_dict(best.weights)
    if ema:
        bare.load_state_dict(ema.module.state_dict())
    model.eval()
    return Fitted(progress, best, history)


def _until(stop: Callable[[], Interrupted | None], batches: Any) -> Iterable[Any]:
    """Return the batches to evaluate on; none more come when a stop is asked for."""
    batches = as_batches(batches)
    if distributed.world_size() > 1:  # all processes would have to agree at each
        return batches

    def heeding() -> Iterator[Any]:
        for batch in batches:
            if interruption := stop():
                raise interruption
            yield batch

    return heeding()


def _sums(model: nn.Module, train: object) -> dict[str, str]:
    """Return what tells this run from another one in the log: sums of the weights' bits and of the epoch's order."""
    sums = {"weights": sum_of_bits(model.parameters()), "order": getattr(train, "order_sum", 0)}
    return {name: f"{value:x}" for name, value in sums.items() if value}


def _at(progress: Progress) -> dict[str, Any]:
    at = {"epoch": progress.epoch + 1, "step": progress.step}
    return at | {"skipped": progress.skipped} if progress.skipped else at


def _reason_to_stop(progress: Progress, best: Best, epochs: int, max_steps: float) -> str:
    if progress.epoch >= epochs:
        return "epochs"
    if best.exhausted:
        return "patience"
    return "max_steps" if progress.step >= max_steps else ""
