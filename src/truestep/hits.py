"""How many answers were right while training: counted exactly, from outputs that are kept and compared many batches at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from truestep import distributed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from truestep.objectives import Objective

CHUNK = 1 << 18  # numbers of outputs that are kept before they are compared: 1 MB in float32


class Hits:
    """The accuracy of an epoch of training: of the model as it was in each step, with dropout, and on its way."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.clear()

    def add(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Add (outputs, targets) of batches; what is no pair of tensors has no right answers."""
        for outputs, targets in pairs:
            if isinstance(outputs, Tensor) and isinstance(targets, Tensor):
                self._kept.append((outputs, targets))
                self._size += outputs.numel()
        if self._size >= CHUNK:
            self._count()

    def clear(self) -> None:
        """Forget what was added."""
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._size = 0
        self._right: Tensor | int = 0  # on the device of the answers, once there are any
        self._total = 0

    def state_dict(self) -> dict[str, Tensor]:
        return {"sums": self._sums()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.clear()
        if distributed.is_main():
            self._right, self._total = state["sums"].tolist()

    def gather(self) -> None:
        """Have the first process hold what all of them added."""
        sums = distributed.all_sum(self._sums())
        self._right, self._total = sums.tolist() if distributed.is_main() else (0, 0)

    def compute(self) -> dict[str, float]:
        """Return {"accuracy": share of right answers} among all processes, waiting for the device; empty without any."""
        right, total = distributed.all_sum(self._sums()).tolist()
        return {"accuracy": right / total} if total else {}

    def _sums(self) -> Tensor:
        """(2,) int64, on the CPU: right answers, and all."""
        self._count()
        return torch.tensor([int(self._right), self._total])

    def _count(self) -> None:
        """Add what is kept, without waiting for the device."""
        alike: dict[Any, list[tuple[Tensor, Tensor]]] = {}
        for outputs, targets in self._kept:
            alike.setdefault((outputs.shape[1:], targets.shape[1:], targets.dtype), []).append((outputs, targets))
        self._kept, self._size = [], 0
        for pairs in alike.values():
            right = self.objective.right(*(torch.cat(tensors) for tensors in zip(*pairs, strict=True)))
            if right is not None:
                self._right, self._total = right.sum() + self._right, self._total + right.numel()
