"""Arrays and tensors of numbers as the inputs of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from truestep.data.examples import as_array, check_finite, is_pair, read_inputs, read_pair
from truestep.data.own import Arrays, read_own, read_own_inputs
from truestep.data.scale import mean_and_std, to_float32
from truestep.data.targets import Target, encode_array_targets
from truestep.errors import InputError

IMAGE_CHANNELS = (1, 3)  # examples of shape (1, H, W) or (3, H, W) are images


@dataclass(frozen=True)
class ArrayEncoder:
    """Arrays to (N, *shape) float32.

    Vectors, (N, F), are scaled feature by feature; whole numbers of more dimensions, such as the bytes of an image, by
    one mean and one deviation. Floating point numbers of more dimensions, and a dataset's, are taken as they are.
    """

    shape: tuple[int, ...]  # of one example
    mean: tuple[float, ...] = ()  # one a feature, or one for all; none to leave numbers as they are
    std: tuple[float, ...] = ()
    id_column = None  # arrays have no columns

    @classmethod
    def fit(cls, values: np.ndarray) -> ArrayEncoder:
        """Learn from the inputs of training rows, all finite, and no others."""
        shape = values.shape[1:]
        if len(shape) > 1 and values.dtype.kind == "f":
            return cls(shape)
        mean, std = mean_and_std(values if len(shape) == 1 else values.reshape(-1, 1), "inputs")
        return cls(shape, tuple(mean.tolist()), tuple(std.tolist()))

    @property
    def spec(self) -> dict[str, Any]:
        if len(self.shape) == 1:
            return {"kind": "vector", "num_features": self.shape[0]}
        if len(self.shape) == 3 and self.shape[0] in IMAGE_CHANNELS:
            return {"kind": "image", "channels": self.shape[0], "height": self.shape[1], "width": self.shape[2]}
        return {"kind": "array", "shape": list(self.shape)}

    def read(self, source: Any) -> np.ndarray:
        """Return inputs from a file of arrays, an array, a tensor, or a dataset, with targets beside them or not."""
        if isinstance(source, str | Path):
            return read_own_inputs(Path(source))
        if is_pair(source):
            source = source[0]
        return read_inputs(cast("Any", source)) if isinstance(source, Dataset) else as_array(source, "inputs")

    def encode(self, raw: Any) -> Tensor:
        """Return the inputs of the model.

        Raises:
            InputError: of another shape than in training, or not finite.
        """
        values = as_array(raw, "inputs")
        if values.shape[1:] != self.shape:
            expected = ", ".join(map(str, ("N", *self.shape)))
            raise InputError(f"inputs: expected shape ({expected}) as in training, found {values.shape}.")
        check_finite(values)
        if self.mean:
            with np.errstate(over="ignore"):
                values = (values.astype(np.float64) - np.asarray(self.mean)) / np.asarray(self.std)
        return torch.as_tensor(to_float32(values, "inputs, row {}".format))

    def prepare(self, inputs: Tensor) -> Tensor:
        """Return a batch of inputs as the model takes it: as it is."""
        return inputs

    def encode_labelled(self, source: Any, target: Target) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of a file of arrays, a pair of arrays or a dataset."""
        if isinstance(source, str | Path):
            own = cast("Arrays", read_own(source))  # of a file, nothing else can come
            with own.naming():
                return self.encode(own.inputs), encode_array_targets(own.targets, target)
        else:
            inputs, targets = read_pair(source)
        return self.encode(inputs), encode_array_targets(targets, target)

    def ids(self, raw: Any) -> None:  # noqa: ARG002 - arrays have none
        """Return None: nothing identifies the rows of an array but their order."""
        return

    def notes(self, raw: Any) -> list[str]:  # noqa: ARG002 - no array holds gaps or words
        """Return nothing: an array that `encode` takes has neither gaps nor words."""
        return []

    def to_json(self) -> dict[str, Any]:
        return {"kind": "array", "shape": list(self.shape), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ArrayEncoder:
        """Rebuild what `to_json` gave; raises ValueError, TypeError or KeyError if it is damaged."""
        encoder = cls(*(tuple(content[name]) for name in ("shape", "mean", "std")))
        if not encoder.shape or min(map(index, encoder.shape)) < 1:
            raise ValueError("shape")
        if len(encoder.mean) != len(encoder.std) or len(encoder.mean) not in (0, 1, encoder.shape[0]):
            raise ValueError("mean and std")
        if not all(map(math.isfinite, encoder.mean)) or not all(0 < std < math.inf for std in encoder.std):
            raise ValueError("mean and std")
        return encoder
