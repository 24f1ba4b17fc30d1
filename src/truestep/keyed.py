"""Random numbers that are a function of where they are used: (seed, epoch, example), not of what was drawn before.

Whoever computes an example's numbers, this process or a worker, before or after an interruption, gets the same ones.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Keys:
    """Where in a run a batch is."""

    seed: int
    epoch: int
    indices: Tensor  # (n,) int64, of its examples


def mixed(values: np.ndarray) -> np.ndarray:
    """Return 64 bits, each of which depends on every bit of the values: (...) uint64 to (...) uint64.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
    """
    values = values + GOLDEN
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def bits(seed: int, epoch: int, examples: Tensor | np.ndarray, stream: int = 0) -> np.ndarray:
    """Return 64 random bits for each example: (n,) uint64.

    Args:
        seed: of the run.
        epoch: its number.
        examples: (n,) integers that tell the examples apart.
        stream: another one for each purpose, so that no two use the same numbers.
    """
    found = mixed(np.array([seed], dtype=np.uint64))
    for key in (stream, epoch):
        found = mixed(found ^ np.uint64(key))
    return mixed(found ^ np.asarray(examples).astype(np.uint64))


def uniform(seed: int, epoch: int, examples: Tensor | np.ndarray, draws: int, stream: int = 0) -> Tensor:
    """Return `draws` random numbers in [0, 1) for each example: (n, draws) float32. Arguments as for `bits`."""
    keys = bits(seed, epoch, examples, stream)[:, None]
    words = mixed(keys + GOLDEN * np.arange(1, draws + 1, dtype=np.uint64))
    return torch.from_numpy((words >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))


class Generators:
    """The global generators of torch, numpy and random as one reader has them: in a `with`, they go on where it left."""

    def __init__(self, key: int) -> None:
        self.key, self.states = key, cast("tuple[Any, ...] | None", None)

    def __enter__(self) -> None:
        if self.states is None:
            seed_generators(self.key)
            return
        torch.set_rng_state(self.states[0])
        np.random.set_state(self.states[1])  # noqa: NPY002
        random.setstate(self.states[2])

    def __exit__(self, *_: object) -> None:
        self.states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002


def seed_generators(key: int) -> None:
    """Start the global generators of torch, numpy and random anew, from 64 bits of `bits`."""
    torch.default_generator.manual_seed(key >> 32)  # as torch.manual_seed, in a hundredth of the time
    np.random.seed(key & 0xFFFFFFFF)  # noqa: NPY002 - the one that people's transforms draw from
    random.seed(key)
