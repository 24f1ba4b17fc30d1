"""The simplest model: each output is a weighted sum of the inputs.

Train it first. A larger model that is not better than this one has learnt nothing that needs its size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Module):
    """A weight for each number and for each category.

    Args:
        num_numeric: numbers per example, all dimensions multiplied.
        cardinalities: how many categories each categorical column has, with category 0 for "missing or never seen".
        num_outputs: classes, labels or values.
    """

    def __init__(self, num_numeric: int, cardinalities: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        self.cardinalities = tuple(cardinalities)
        self.output = nn.Linear(num_numeric + sum(cardinalities) - len(cardinalities), num_outputs)
        nn.init.zeros_(self.output.weight)  # unlike a deeper model, it needs no random start,
        nn.init.zeros_(self.output.bias)  # which on small data takes longer to unlearn than the answer to learn

    def forward(self, numeric: Tensor | None = None, categories: Tensor | None = None) -> Tensor:
        """Turn (N, ...) floats and (N, ..., columns) int64 categories into (N, num_outputs) logits or values."""
        features = [] if numeric is None else [numeric.flatten(1)]
        if categories is not None:
            for column, cardinality in zip(categories.flatten(1).unbind(1), self.cardinalities, strict=True):
                one_hot = F.one_hot(column, cardinality)[:, 1:]  # category 0 is all zeros: it says nothing
                features.append(one_hot.to(self.output.weight.dtype))
        return self.output(torch.cat(features, 1))
