"""A multilayer perceptron: weighted sums with a bend after each, for tables and other data without a spatial order.

Categories enter as embeddings, short vectors that are learnt (Guo and Berkhahn 2016, "Entity embeddings of categorical
variables"); numbers enter as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """Embeddings, then hidden layers of linear, norm, ReLU and dropout, then one linear layer.

    Args:
        num_numeric: numbers per example, all dimensions multiplied.
        cardinalities: how many categories each categorical column has, with category 0 for "missing or never seen".
        num_outputs: classes, labels or values.
        hidden: units of each hidden layer.
        dropout: share of hidden units silenced at random while training, so that none is relied on alone.
        norm: "layer" brings each example's hidden units to mean 0 and deviation 1; "none" leaves them.
    """

    def __init__(
        self,
        num_numeric: int,
        cardinalities: Sequence[int],
        num_outputs: int,
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.3,
        norm: Literal["none", "layer"] = "none",
    ) -> None:
        super().__init__()
        widths = [min(50, (cardinality + 1) // 2) for cardinality in cardinalities]
        self.embeddings = nn.ModuleList(
            nn.Embedding(cardinality, width, padding_idx=0)  # category 0 stays all zeros: it says nothing
            for cardinality, width in zip(cardinalities, widths, strict=True)
        )
        self.hidden = nn.Sequential()
        width = num_numeric + sum(widths)
        for units in hidden:
            self.hidden.append(nn.Linear(width, units))
            if norm == "layer":
                self.hidden.append(nn.LayerNorm(units))
            self.hidden.extend([nn.ReLU(), nn.Dropout(dropout)])
            width = units
        self.output = nn.Linear(width, num_outputs)

    def forward(self, numeric: Tensor | None = None, categories: Tensor | None = None) -> Tensor:
        """Turn (N, ...) floats and (N, ..., columns) int64 categories into (N, num_outputs) logits or values."""
        features = [] if numeric is None else [numeric.flatten(1)]
        if categories is not None:
            columns = zip(self.embeddings, categories.flatten(1).unbind(1), strict=True)
            features += [embedding(column) for embedding, column in columns]
        return self.output(self.hidden(torch.cat(features, 1)))
