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
        self._sums = torch.zeros(2, dtype=torch.int64)  # right answers, and all

    def state_dict(self) -> dict[str, Tensor]:
        self._count()
        return {"sums": self._sums}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.clear()
        if distributed.is_main():
            self._sums = state["sums"]

    def gather(self) -> None:
        """Have the first process hold what all of them added."""
        self._count()
        total = distributed.all_sum(self._sums.cpu())
        self._sums = total if distributed.is_main() else torch.zeros_like(total)

    def compute(self) -> dict[str, float]:
        """Return {"accuracy": share of right answers} among all processes, waiting for the device; empty without any."""
        self._count()
        right, total = distributed.all_sum(self._sums.cpu()).tolist()
        return {"accuracy": right / total} if total else {}

    def _count(self) -> None:
        alike: dict[Any, list[tuple[Tensor, Tensor]]] = {}
        for outputs, targets in self._kept:
            alike.setdefault((outputs.shape[1:], targets.shape[1:], targets.dtype), []).append((outputs, targets))
        self._kept, self._size = [], 0
        for pairs in alike.values():
            right = self.objective.right(*(torch.cat(tensors) for tensors in zip(*pairs, strict=True)))
            if right is not None:
                found = torch.stack([right.sum(), right.new_tensor(right.numel(), dtype=torch.int64)])
                self._sums = self._sums.to(found.device) + found
