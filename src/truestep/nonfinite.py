"""Numbers that are no longer numbers: noticed before they reach the weights, and traced to where they began.

On the CPU a loss can be read in every step for nothing, so a bad step is refused on the spot. Elsewhere reading would
wait for the device: there a fused optimizer is told, on the device, not to apply a bad step, and the losses are read
together at every log interval and before every checkpoint.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from truestep.batches import Batches, batches_on
from truestep.device import widest
from truestep.errors import NonFiniteError
from truestep.nest import tensors_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from torch.optim import Optimizer

    from truestep.device import Precision
    from truestep.metrics import RunningMean
    from truestep.objectives import Objective

POLICIES = {
    "stop": "end the run before the bad step is applied",
    "skip": "leave the bad step out and count it",
    "rollback": "go back to the last checkpoint, and leave out the batches from there on; to stop is left to `fit`",
}
ROLLBACKS = 3  # of one run; then it stops


class Step(Protocol):
    @property
    def batches(self) -> int: ...
    @property
    def loss(self) -> Tensor: ...
    @property
    def count(self) -> float | Tensor: ...
    @property
    def grad_norm(self) -> Tensor: ...


StepT = TypeVar("StepT", bound=Step)


class Progress(Protocol):
    epoch: int
    batch: int
    step: int


def reads_at_once(parameters: Sequence[nn.Parameter], policy: str) -> bool:
    """Whether each step's loss is read before the step is applied. To skip one, it has to be."""
    return policy == "skip" or parameters[0].device.type == "cpu"


def bad_weights(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether one that is trained is not finite; read from the device once."""
    finite = [parameter.detach().isfinite().all() for parameter in parameters if parameter.requires_grad]
    return bool(finite) and not bool(torch.stack(finite).all())


def leave_out_on_device(optimizer: Optimizer, doubt: Tensor | None) -> None:
    """Tell a fused optimizer, without reading it here, to change nothing if this number is not finite; None takes it back.

    This is what GradScaler tells fused optimizers. Others apply the bad step; their weights reach no checkpoint.
    """
    if optimizer.defaults.get("fused"):
        optimizer.found_inf = None if doubt is None else (~doubt.isfinite()).float()  # pyright: ignore[reportAttributeAccessIssue]


def read_losses(recent: list[StepT], mean: RunningMean) -> None:
    """Read the tensors of the last steps all at once, add their losses to the mean, and forget them.

    Raises:
        NonFiniteError: one of them is not finite; it says how many steps and batches ago.
    """
    if not recent:
        return
    losses = torch.stack([step.loss for step in recent])
    finite = (losses + torch.stack([step.grad_norm for step in recent])).isfinite()
    if not bool(finite.all()):
        first = int(finite.int().argmin())
        error = NonFiniteError(f"the loss is {float(recent[first].loss):g}")
        error.steps_ago, error.batches_ago = len(recent) - first, sum(step.batches for step in recent[first:])
        raise error
    losses, counts = losses.to(widest(losses.device)), [step.count for step in recent]
    tensors = [count for count in counts if isinstance(count, Tensor)]
    weights = torch.stack(tensors).to(losses) if tensors else losses.new_tensor(counts)
    mean.add_each(losses, weights)
    recent.clear()


@contextmanager
def located(
    progress: Progress,
    train: Iterable[Any],
    accumulate: int,
    model: nn.Module,
    objective: Objective,
    precision: Precision,
) -> Generator[None]:
    """Say in a NonFiniteError from within which step it was, and of which examples, or which of them is to blame."""
    try:
        yield
    except NonFiniteError as error:
        step, first = progress.step + 1 - error.steps_ago, progress.batch - error.batches_ago
        where = f"epoch {progress.epoch + 1}, step {step}"
        if isinstance(train, Batches):
            if error.steps_ago:  # read too late to have its batches at hand
                again = islice(batches_on(next(model.parameters()).device, train, progress.epoch, first), accumulate)
                error = explain(model, [objective.unpack(batch) for batch in again], objective, None, precision)
                error.batches_ago = progress.batch - first
            where += f", {_examples(train, progress.epoch, first, accumulate, error)}"
        told = NonFiniteError(f"{where}: {error}")
        told.batches_ago, told.evidence = error.batches_ago, error.evidence
        raise told from None


def _examples(train: Batches, epoch: int, first: int, accumulate: int, error: NonFiniteError) -> str:
    """Return the number of the example that is to blame, or else the first ones of the step."""
    if error.place:
        batch, row, rows = error.place
        numbers = train.numbers(epoch, first + batch)
        if len(numbers) == rows:  # and not something else that a batch holds beside its examples
            return f"example {numbers[row]}"
    return f"examples {train.name(epoch, first, accumulate)}"


def with_evidence(
    error: NonFiniteError, model: nn.Module, pairs: Sequence[tuple[Any, Any]], drawn: list[Tensor], count: Any
) -> NonFiniteError:
    """Return the error with all that its step was computed from, for a file that shows it again."""
    error.evidence = {
        "model": dict(model.state_dict()), "batches": [list(pair) for pair in pairs], "drawn": drawn,
        "count": count,
    }  # fmt: skip
    return error


def explain(
    model: nn.Module,
    pairs: Sequence[tuple[Any, Any]],
    objective: Objective,
    loss: Tensor | None,
    precision: Precision,
) -> NonFiniteError:
    """Return the error for a step whose loss or gradient is not finite, naming the first thing that went wrong.

    Args:
        model: with the gradients of that step, unless it must be run again.
        pairs: the (inputs, targets) of the step.
        loss: of the step; None when it must be run again.
    """
    if error := _bad_before(model, pairs):
        return error
    if module := _first_bad_module(model, pairs, objective, precision):
        fp32 = "" if precision.dtype is torch.float32 else ", or use --precision fp32"
        advice = f"Lower the learning rate, or clip (--max-grad-norm 1){fp32}."
        return NonFiniteError(f"the outputs of module '{module}' are not finite. {advice}")
    value = math.nan if loss is None else float(loss)
    if loss is None:
        value = _run_again(model, pairs, objective, precision)
    if not math.isfinite(value):
        return NonFiniteError(f"the loss is {value:g} on finite outputs. Look for log(0) or a division by 0 in it.")
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            advice = "Look for sqrt, norm or log at 0 in the model or the loss; clipping can't help."
            return NonFiniteError(f"the gradient of '{name}' is not finite, though the loss is {value:g}. {advice}")
    return NonFiniteError(f"the gradients overflow together, though the loss is {value:g}. Lower the learning rate.")


def _bad_before(model: nn.Module, pairs: Sequence[tuple[Any, Any]]) -> NonFiniteError | None:
    """Return the error for what was not finite before the model ran: its inputs, its targets, its weights."""
    for batch, pair in enumerate(pairs):
        for nests, what in zip(pair, ("inputs", "targets"), strict=True):
            for tensor in tensors_of(nests):
                if not tensor.is_floating_point() or bool(tensor.isfinite().all()):
                    continue
                row = int((~tensor.isfinite()).reshape(len(tensor), -1).any(1).int().argmax())
                found = f"{tensor[row][~tensor[row].isfinite()][0]:g}"
                error = NonFiniteError(f"the {what} hold {found} in row {row} of a batch. Mend the data.")
                error.place = batch, row, len(tensor)
                return error
    for name, parameter in model.named_parameters():
        if not bool(parameter.detach().isfinite().all()):
            return NonFiniteError(f"the weights '{name}' are not finite before the step. Lower the learning rate.")
    return None


@torch.no_grad()
def _first_bad_module(
    model: nn.Module, pairs: Sequence[tuple[Any, Any]], objective: Objective, precision: Precision
) -> str | None:
    """Run the batches again and return the first module, in order of running, with an output that is not finite."""
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
            if any(t.is_floating_point() and not bool(t.isfinite().all()) for t in tensors_of(outputs)):
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(look(name or "(model)")) for name, module in model.named_modules()]
    try:
        for inputs, _ in pairs:
            with precision.autocast():
                objective.forward(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _run_again(model: nn.Module, pairs: Sequence[tuple[Any, Any]], objective: Objective, precision: Precision) -> float:
    """Leave the gradients of these batches in the model, and return their loss."""
    model.zero_grad()
    count, total = sum(objective.count(targets) for _, targets in pairs), 0.0
    for inputs, targets in pairs:
        with precision.autocast():
            loss = objective.loss_sum(objective.forward(model, inputs), targets) / count
        loss.backward()
        total += float(loss)
    return total
