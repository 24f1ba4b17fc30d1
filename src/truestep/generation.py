"""A text continued, token by token, by a model that has learnt the next one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from truestep import keyed
from truestep.data.tokenizers import END, PADDING, UNKNOWN
from truestep.device import preserved_rng
from truestep.errors import InputError, NonFiniteError

TOKEN_STREAM = 20  # of keyed random numbers: those that choose a token


def continue_text(
    model: nn.Module,
    tokens: Sequence[int],
    num_tokens: int,
    *,
    length: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[int]:
    """Return the tokens that follow: the most likely ones, or some drawn by their chances.

    Stops early where the model ends the document. The model comes back in the mode it arrived in, and no random number
    is drawn from the global generators.

    Args:
        model: called as `model(tokens=(1, T) int64)`, gives (1, T, V) logits of the next token at each place.
        tokens: to continue, at least one.
        num_tokens: the most to add.
        length: tokens that the model can look at; of a longer text it sees the last ones.
        temperature: 0 takes the most likely token; else one is drawn by softmax(logits / temperature).
        seed: of that draw.

    Returns:
        list[int]: the new tokens alone, without the end of the document, never padding nor unknown.

    Raises:
        InputError: no token to begin with, or a number that makes no sense.
        NonFiniteError: the model answers with NaN or infinity.
    """
    if not len(tokens):
        raise InputError("tokens: expected at least one to continue, found none.")
    if num_tokens < 0 or length < 1:
        raise InputError(f"num_tokens, length: expected at least 0 and at least 1, found {num_tokens} and {length}.")
    if not 0 <= temperature < math.inf:
        raise InputError(f"temperature: expected a number of at least 0, found {temperature}.")
    draws = keyed.uniform(seed, 0, torch.arange(num_tokens), 1, TOKEN_STREAM)[:, 0].double().numpy()
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    text = list(tokens)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), preserved_rng():
            for draw in draws:
                seen = torch.tensor([text[-length:]], dtype=torch.int64, device=device)
                token = _next(model(tokens=seen)[0, -1], temperature, float(draw))
                if token == END:
                    break
                text.append(token)
    finally:
        for module, was_training in modes:
            module.training = was_training
    return text[len(tokens) :]


def _next(logits: Tensor, temperature: float, draw: float) -> int:
    """Return a token by its logits, (V,), and a random number in [0, 1)."""
    scores = logits.double().cpu().numpy()
    scores[[PADDING, UNKNOWN]] = -np.inf
    if not math.isfinite(best := scores.max()):  # NaN comes through, too; a token may well be ruled out by -inf
        raise NonFiniteError("model: expected finite logits, found NaN or infinity. Are its weights damaged?")
    if temperature == 0:
        return int(scores.argmax())
    with np.errstate(over="ignore"):
        chances = np.exp((scores - best) / temperature).cumsum()
    return int(np.searchsorted(chances, draw * chances[-1], side="right"))
