"""The best weights so far, and when to stop looking for better ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from truestep.errors import InputError, RefusedError
from truestep.metrics import NEED_ROWS, higher_is_better

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


@dataclass
class Best:
    """Keeps a copy of the weights with the best value of one metric.

    Args:
        monitor: for example "valid_loss" or "valid_accuracy".
        patience: epochs without a better value before `exhausted`; None never is.
        higher: whether a higher value is better; of truestep's own metrics the name tells.
    """

    monitor: str = "valid_loss"
    patience: int | None = None
    higher: bool | None = None
    value: float = math.nan
    epoch: int = 0
    epochs_since: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict[str, "Tensor"])

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise InputError(f"patience: expected at least 1 epoch, found {self.patience}.")
        if self.higher is None:
            self.higher = higher_is_better(self.monitor)

    def update(self, metrics: Mapping[str, float], epoch: int, model: nn.Module) -> bool:
        """Look at the metrics of an epoch; return whether they are the best so far. NaN never is."""
        if self.monitor not in metrics:
            raise InputError(f"monitor: expected one of {', '.join(metrics)}, found '{self.monitor}'.")
        value = metrics[self.monitor]
        improved = not math.isnan(value) and (
            math.isnan(self.value) or (value > self.value if self.higher else value < self.value)
        )
        self.epochs_since = 0 if improved else self.epochs_since + 1
        if improved:
            self.value, self.epoch = value, epoch
            # A copy: what `state_dict` returns goes on changing with the model.
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return improved

    def check_fits(self, model: nn.Module) -> None:
        """Raise RefusedError unless the best weights, if there are any yet, are of this model."""
        own = {name: (tensor.shape, tensor.dtype) for name, tensor in model.state_dict().items()}
        if self.weights and own != {name: (tensor.shape, tensor.dtype) for name, tensor in self.weights.items()}:
            raise RefusedError("checkpoint: expected the best weights of this model, found those of another.")

    @property
    def needs_rows(self) -> bool:
        """Whether the metric can only be computed from all examples at once."""
        return self.monitor.removeprefix("valid_") in NEED_ROWS

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.epochs_since >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "epoch": self.epoch, "epochs_since": self.epochs_since, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.value, self.epoch = state["value"], state["epoch"]
        self.epochs_since = state["epochs_since"]
        self.weights = {name: tensor.detach() for name, tensor in state["weights"].items()}
