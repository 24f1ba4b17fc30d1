"""A bag of words: the average of what each token says, whatever their order.

After Joulin et al. 2017, "Bag of tricks for efficient text classification" (fastText). On a few thousand texts it is hard
to beat, and it trains in seconds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Bag(nn.Module):
    """Embeddings, their average over the tokens of a text, and one linear layer.

    Args:
        vocabulary: how many tokens there are, 0 being padding.
        num_outputs: classes, labels or values.
        width: numbers that a token becomes.
        dropout: share of tokens left out at random while training.
    """

    def __init__(self, vocabulary: int, num_outputs: int, width: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        self.dropout = dropout
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        # Small, as in fastText: a rare word hardly moves from where it began, and should then say next to nothing.
        nn.init.uniform_(self.embedding.weight, -1 / width, 1 / width)
        nn.init.zeros_(self.embedding.weight[0])
        self.output = nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Turn texts into (N, num_outputs) logits or values.

        Args:
            tokens: (N, T) int64, padded at the end with 0.
            lengths: (N,) int64, of the texts without padding; None: none is padded.
        """
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        weights = torch.ones_like(tokens) if lengths is None else steps < lengths.unsqueeze(1)
        weights = weights.to(self.output.weight.dtype)
        if self.training and self.dropout:
            weights = weights * (torch.rand_like(weights) >= self.dropout)
        total = weights.unsqueeze(1) @ self.embedding(tokens)  # (N, 1, width)
        return self.output(total.squeeze(1) / weights.sum(1, keepdim=True).clamp(min=1))
