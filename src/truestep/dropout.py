"""Dropout whose masks are a function of (seed, update, layer, example), not of what was drawn before.

However an update's examples are cut into batches, micro-batches or processes, each example meets the same masks.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from truestep import distributed, keyed

if TYPE_CHECKING:
    from collections.abc import Generator

STREAM = 1_000  # of keyed random numbers, for the first layer; the others and their calls follow
CALLS = 1_000  # of one layer in a forward pass that are told apart
DROPOUTS = {nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d}


@dataclass
class Place:
    """Which examples of which update go through the model."""

    step: int
    first: int  # how many of this process are ahead of them in the update
    count: int
    calls: Counter[int] = field(default_factory=Counter[int])  # of each layer so far

    @property
    def examples(self) -> np.ndarray:
        """Their numbers in the update, over all processes: (n,) int64."""
        mine = np.arange(self.first, self.first + self.count)
        return mine * distributed.world_size() + distributed.rank()


_place: Place | None = None


@contextmanager
def at(step: int, first: int, count: int) -> Generator[None]:
    """Say which examples of which update go through the model in the block."""
    global _place  # noqa: PLW0603  modules are called by the user's forward, which can't hand it on
    _place = Place(step, first, count)
    try:
        yield
    finally:
        _place = None


class KeyedDropout(nn.Dropout):
    """`nn.Dropout` of inputs whose first dimension is the example: (n, ...) to (n, ...)."""

    seed: int
    layer: int
    whole_channels: bool

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  its name in torch
        if not self.training or self.p == 0:
            return input
        if _place is None or _place.count != len(input):
            return super().forward(input)  # in a loop of one's own, or on something that is no batch
        call = _place.calls[self.layer]
        _place.calls[self.layer] += 1
        stream = STREAM + self.layer * CALLS + call % CALLS
        shape = input.shape[:2] if self.whole_channels else input.shape
        keys = torch.from_numpy(keyed.bits(self.seed, _place.step, _place.examples, stream).view(np.int64))
        kept = _uniform(keys.to(input.device, non_blocking=True), shape) >= self.p
        kept = kept.reshape(*kept.shape, *[1] * (input.ndim - kept.ndim))
        return input * kept / (1 - self.p) if self.p < 1 else input * 0


def key_dropout(model: nn.Module, seed: int) -> None:
    """Have the dropout layers of a model draw by key; those inside of other layers (RNNs, attention) stay as they are."""
    layers: list[Any] = [module for module in model.modules() if type(module) in DROPOUTS]
    for number, layer in enumerate(layers):
        whole_channels = type(layer) is not nn.Dropout
        layer.__class__ = KeyedDropout  # in place, so that the model's own attributes and names stay
        layer.seed, layer.layer, layer.whole_channels = seed, number, whole_channels


def _uniform(keys: Tensor, shape: torch.Size) -> Tensor:
    """Return numbers in [0, 1) from 64 bits for each example: (n,) int64 to (n, ...) float32.

    SplitMix64 as in `truestep.keyed`, in signed integers, which wrap around in the same way.
    """
    count = shape[1:].numel()
    golden, first, second = -7046029254386353131, -4658895280553007687, -7723592293110705685
    values = keys[:, None] + golden * torch.arange(1, count + 1, device=keys.device)
    values = (values ^ _shifted(values, 30)) * first
    values = (values ^ _shifted(values, 27)) * second
    return (_shifted(values ^ _shifted(values, 31), 40).float() * 2**-24).reshape(shape)


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Shift to the right and fill with zeros; torch fills with the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)
