"""One pass over held-out data, exact for batches of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from truestep import distributed
from truestep.batches import as_batches, batches_on
from truestep.device import FLOAT32, Precision, preserved_rng, widest
from truestep.errors import InputError
from truestep.objectives import Metrics, Objective, as_objective

if TYPE_CHECKING:
    from collections.abc import Generator

CHUNK = 1 << 20  # numbers of outputs kept before they are reduced: 4 MB in float32


def evaluate(
    model: nn.Module,
    batches: Iterable[Any],
    objective: Objective | Callable[[nn.Module, Any], Tensor],
    *,
    precision: Precision | str = FLOAT32,
    keep_rows: bool = True,
) -> dict[str, float]:
    """Return the mean loss and the metrics of the objective over all examples at once, whatever the batches.

    Nothing else changes: every module comes back in the mode it arrived in, and no random number is drawn from the
    generators that training uses.

    Args:
        model: on the device the batches are on.
        batches: `Batches`, a loader, a list of batches; or a tuple of tensors or a dataset, which are cut for you.
        objective: as in training.
        precision: as in training.
        keep_rows: also compute the metrics that need all examples at once (ROC-AUC, average precision, median error),
            which keeps one row of scores for each.
    """
    objective = as_objective(objective)
    loss, metrics = measure(model, batches, objective, precision=precision, keep_rows=keep_rows)
    return objective.from_loss(loss) | (metrics.compute() if metrics else {})


def measure(
    model: nn.Module,
    batches: Iterable[Any],
    objective: Objective | Callable[[nn.Module, Any], Tensor],
    *,
    precision: Precision | str = FLOAT32,
    keep_rows: bool = True,
) -> tuple[float, Metrics | None]:
    """Do what `evaluate` does, and return the mean loss and the tally, which knows details and intervals too."""
    objective = as_objective(objective)
    metrics = objective.metrics(keep_rows=keep_rows)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    precision = Precision.of(precision, device)
    loss_sum = count = torch.zeros((), dtype=widest(device), device=device)
    chunk: list[tuple[Tensor, Tensor]] = []
    kept = seen = 0
    with torch.no_grad(), preserved_rng(), evaluation_mode(model):
        for batch in batches_on(device, as_batches(batches)):
            inputs, targets = objective.unpack(batch)
            with precision.autocast():
                outputs = objective.forward(model, inputs)
                try:
                    loss = objective.loss_sum(outputs, targets)
                except IndexError:
                    objective.check(targets)  # says which target fits no class
                    raise
            loss_sum, count = loss_sum + loss, count + objective.count(targets)
            seen += 1
            if metrics:
                chunk.append((outputs, targets))
                kept += outputs.numel()
                if kept >= CHUNK:
                    _reduce(chunk, objective, metrics)
                    kept = 0
        if metrics:
            _reduce(chunk, objective, metrics)
            metrics.gather()
    if not seen:
        raise InputError("batches: expected at least one to evaluate, found none. A generator can be read only once.")
    loss_sum, count = distributed.all_sum(loss_sum), distributed.all_sum(count)
    return float(loss_sum / count), metrics


def _reduce(chunk: list[tuple[Tensor, Tensor]], objective: Objective, metrics: Metrics) -> None:
    """Move the outputs kept so far into the tally: many batches at once, because each reduction costs the same."""
    while chunk:
        shape = chunk[0][0].shape[1:]
        alike = [pair for pair in chunk if pair[0].shape[1:] == shape]  # sequences differ in length
        chunk[:] = [pair for pair in chunk if pair[0].shape[1:] != shape]
        outputs, targets = (torch.cat(tensors) for tensors in zip(*alike, strict=True))
        metrics.update(*objective.rows(outputs, targets))


@contextmanager
def evaluation_mode(model: nn.Module) -> Generator[None]:
    """Put every module in evaluation mode, and afterwards each back in its own: some are frozen on purpose."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


def known_metrics(objective: Objective) -> list[str]:
    """Return the names that `evaluate` gives for this objective."""
    metrics = objective.metrics(keep_rows=True)
    return [*objective.from_loss(0.0), *(metrics.compute() if metrics else {})]
