"""A recurrent network: reads a text or a time series step by step and keeps in mind what matters.

The cell is an LSTM (Hochreiter and Schmidhuber 1997) or a GRU (Cho et al. 2014). Both directions are networks of their
own that read forwards: the second is given each text turned around, without its padding. So padding, which comes last,
is never read before a real token, and no lengths need to be known to the CPU, as packed sequences would ask: that would
wait for a GPU in every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """Embeddings, layers of an LSTM or GRU, and one linear layer on what each direction knows at its end.

    With `causal`, the linear layer answers at every step from the steps up to it, as to guess the next token.

    Args:
        num_outputs: classes, labels, values or tokens.
        vocabulary: how many tokens there are, 0 being padding; 0 if the steps are rows of a table.
        num_numeric: numbers per step.
        cardinalities: how many categories each categorical column has, with category 0 for "missing or never seen".
        causal: whether to answer at every step.
        cell: "lstm" or "gru".
        width: numbers that a token becomes, and that each direction keeps in mind.
        layers: each reads what the one before it said at every step.
        bidirectional: whether a second network reads from the end to the beginning.
        dropout: share of numbers silenced at random, before each layer and the outputs, while training.
    """

    def __init__(
        self,
        num_outputs: int,
        vocabulary: int = 0,
        num_numeric: int = 0,
        cardinalities: Sequence[int] = (),
        causal: bool = False,
        cell: Literal["lstm", "gru"] = "lstm",
        width: int = 128,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if causal and bidirectional:
            raise ValueError("bidirectional: a network that reads the end first can't be causal")
        self.causal = causal
        cardinalities = [vocabulary] if vocabulary else cardinalities
        widths = [width if vocabulary else min(50, (cardinality + 1) // 2) for cardinality in cardinalities]
        self.embeddings = nn.ModuleList(
            nn.Embedding(cardinality, units, padding_idx=0)  # category 0 stays all zeros: it says nothing
            for cardinality, units in zip(cardinalities, widths, strict=True)
        )
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        directions = 2 if bidirectional else 1
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList()
        units = num_numeric + sum(widths)
        for _ in range(layers):
            self.layers.append(nn.ModuleList(kind(units, width, batch_first=True) for _ in range(directions)))
            units = directions * width
        self.output = nn.Linear(units, num_outputs)

    def forward(
        self,
        tokens: Tensor | None = None,
        lengths: Tensor | None = None,
        numeric: Tensor | None = None,
        categories: Tensor | None = None,
    ) -> Tensor:
        """Turn steps into (N, num_outputs) logits or values, or with `causal` into (N, T, num_outputs).

        Args:
            tokens: (N, T) int64, padded at the end with 0.
            lengths: (N,) int64, of the texts without padding; None: none is padded.
            numeric: (N, T, num_numeric) float.
            categories: (N, T, columns) int64.
        """
        columns = tokens.unsqueeze(2) if tokens is not None else categories
        features = [] if numeric is None else [numeric]
        if columns is not None:
            features += [embed(column) for embed, column in zip(self.embeddings, columns.unbind(2), strict=True)]
        states = torch.cat(features, 2)
        count, steps = states.shape[:2]
        if lengths is None:
            lengths = torch.full((count,), steps, device=states.device)
        last = lengths.clamp(1, steps).unsqueeze(1) - 1  # (N, 1); of a text without tokens, the first padding
        backwards = (last - torch.arange(steps, device=states.device)) % steps  # (N, T): last, ..., 1, 0, then padding

        said: list[Tensor] = []
        for layer in self.layers:
            states, said = self.dropout(states), []
            for direction, network in enumerate(layer):  # pyright: ignore[reportArgumentType]  # a list of one or two
                read = _at(states, backwards) if direction else states
                read, _ = network(read)
                said.append(_at(read, backwards) if direction else read)
            states = torch.cat(said, 2)
        if self.causal:
            return self.output(self.dropout(states))
        forwards, *others = said  # of the last layer; the first ends at the last token, the second at token 0
        ends = [_at(forwards, last)[:, 0], *(other[:, 0] for other in others)]
        return self.output(self.dropout(torch.cat(ends, 1)))


def _at(states: Tensor, places: Tensor) -> Tensor:
    """Return (N, T, width) states at (N, S) places: (N, S, width)."""
    return states.gather(1, places.unsqueeze(2).expand(-1, -1, states.shape[2]))
