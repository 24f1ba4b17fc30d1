"""A transformer: every token looks at the others and takes from each as much as it finds it relevant.

After Vaswani et al. 2017, "Attention is all you need", with norms before each part (Xiong et al. 2020), the initial
weights of GPT-2 (Radford et al. 2019), and positions as rotations (Su et al. 2021, "RoFormer"): they need no weights and
no longest length, and what one token sees of another depends on how far apart they are, not on where the text begins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Transformer(nn.Module):
    """Embeddings, blocks of attention and a small network each, and one linear layer.

    The linear layer answers from the average over a text's tokens, or from the last step of a time series. With
    `causal`, a token sees only those before it and the linear layer answers at each, as to guess the next token; its
    weights are then those of the embedding (Press and Wolf 2017).

    Args:
        num_outputs: classes, labels, values or tokens.
        vocabulary: how many tokens there are, 0 being padding; 0 if the steps are rows of a table.
        num_numeric: numbers per step.
        cardinalities: how many categories each categorical column has, with category 0 for "missing or never seen".
        causal: whether to answer at every step, from the steps up to it.
        width: numbers that describe a token; a multiple of twice the heads.
        layers: blocks.
        heads: that look at different things.
        dropout: share of numbers silenced at random while training.
    """

    def __init__(
        self,
        num_outputs: int,
        vocabulary: int = 0,
        num_numeric: int = 0,
        cardinalities: Sequence[int] = (),
        causal: bool = False,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width: expected a multiple of twice the heads, {2 * heads}, found {width}")
        self.causal = causal
        cardinalities = [vocabulary] if vocabulary else cardinalities
        self.embeddings = nn.ModuleList(nn.Embedding(cardinality, width) for cardinality in cardinalities)
        self.project = nn.Linear(num_numeric, width) if num_numeric else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout, causal=causal) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        tied = causal and num_outputs == vocabulary
        self.output = nn.Linear(width, num_outputs, bias=not tied)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:  # what is added to the stream of each token starts smaller the more there is of it
                added = name.endswith(("attention.output.weight", "mlp.2.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if added else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        if tied:
            self.output.weight = self.embeddings[0].weight  # pyright: ignore[reportAttributeAccessIssue]

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
        features = [] if numeric is None or self.project is None else [self.project(numeric)]
        if columns is not None:
            features += [embed(column) for embed, column in zip(self.embeddings, columns.unbind(2), strict=True)]
        states = torch.stack(features).sum(0)  # (N, T, width)
        steps = torch.arange(states.shape[1], device=states.device)
        is_token = None if lengths is None else steps < lengths.clamp(min=1).unsqueeze(1)  # (N, T)
        mask = None if is_token is None or self.causal else is_token[:, None, None, :]  # causal never looks ahead

        states = self.dropout(states)
        for block in self.blocks:
            states = block(states, mask)
        states = self.norm(states)
        if not self.causal and tokens is None:
            states = states[:, -1]
        elif not self.causal and is_token is None:
            states = states.mean(1)
        elif not self.causal and is_token is not None:
            weights = is_token.to(states.dtype).unsqueeze(2)
            states = (states * weights).sum(1) / weights.sum(1)
        return self.output(states)


class Block(nn.Module):
    """Attention, then a small network for each token alone; both add to what the token already is."""

    def __init__(self, width: int, heads: int, dropout: float, *, causal: bool) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(width), Attention(width, heads, dropout, causal=causal)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        states = states + self.dropout(self.attention(self.attention_norm(states), mask))
        return states + self.dropout(self.mlp(self.mlp_norm(states)))


class Attention(nn.Module):
    """Each head asks (query), is answered where a key fits, and takes the values there: softmax(q k / sqrt(d)) v."""

    def __init__(self, width: int, heads: int, dropout: float, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Turn (N, T, width) into the same shape; `mask`, (N, 1, 1, T), is true where there is something to see."""
        count, steps, width = states.shape
        parts = self.query_key_value(states).view(count, steps, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (N, heads, T, width / heads)
        seen = F.scaled_dot_product_attention(
            rotated(query),
            rotated(key),
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=self.causal,
        )
        return self.output(seen.transpose(1, 2).flatten(2))


def rotated(vectors: Tensor) -> Tensor:
    """Turn each pair of numbers by an angle that grows with the position, fast for the first pair, slowly for the last.

    Args:
        vectors: (..., T, D) with D even; a product of two of them then depends on their distance only.
    """
    steps, pairs = vectors.shape[-2], vectors.shape[-1] // 2
    speeds = 10000 ** -(torch.arange(pairs, device=vectors.device) / pairs)
    angles = torch.arange(steps, device=vectors.device).unsqueeze(1) * speeds  # (T, D / 2)
    cos, sin = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    x, y = vectors.chunk(2, -1)
    return torch.cat([x * cos - y * sin, x * sin + y * cos], -1)
