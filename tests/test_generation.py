"""Continued texts: what the model finds most likely, or drawn by its chances, and nothing else is touched."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from truestep.data.tokenizers import END, FIRST, PADDING, UNKNOWN
from truestep.errors import InputError, NonFiniteError
from truestep.generation import continue_text

V = 12


class Fixed(nn.Module):
    """Logits of the next token from a table by the last one; remembers what it was shown."""

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(torch.as_tensor(table, dtype=torch.float32))
        self.dropout = nn.Dropout(0.5)
        self.seen = []

    def forward(self, tokens):
        assert not torch.is_grad_enabled()
        assert not self.training
        self.seen.append(tokens[0].tolist())
        torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002 - a model that draws even now
        return self.dropout(self.table[tokens])


def successors():
    """Each token is followed by the next one, the last by the first, and padding is always the most likely."""
    table = torch.zeros(V, V)
    for token in range(FIRST, V):
        table[token, token + 1 if token + 1 < V else FIRST] = 5.0
    table[:, PADDING], table[:, UNKNOWN] = 100.0, 99.0
    return table


def test_the_most_likely_token_follows_and_never_padding_or_unknown():
    model = Fixed(successors())
    assert continue_text(model, [FIRST], 11, length=4) == [4, 5, 6, 7, 8, 9, 10, 11, 3, 4, 5]
    assert model.seen[0] == [3]
    assert model.seen[-1] == [10, 11, 3, 4]  # the last `length` tokens
    assert continue_text(model, [3, 4], 0, length=4) == []


def test_the_end_of_the_document_ends_the_text_and_is_not_part_of_it():
    table = successors()
    table[6, END] = 50.0
    assert continue_text(Fixed(table), [FIRST], 100, length=4) == [4, 5, 6]


def test_greedy_is_the_argmax_of_a_plain_loop():
    torch.manual_seed(0)
    lstm = Recurrent()
    text = [5, 3]
    for _ in range(20):
        logits = lstm(torch.tensor([text[-6:]]))[0, -1]
        text.append(int(logits[FIRST:].argmax()) + FIRST)
    assert continue_text(lstm, [5, 3], 20, length=6) == text[2:]


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm, self.head = nn.Embedding(V, 8), nn.LSTM(8, 16, batch_first=True), nn.Linear(16, V)
        with torch.no_grad():
            self.head.bias[END] = -100.0

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0])


def test_drawn_tokens_are_as_frequent_as_their_chances():
    torch.manual_seed(0)
    logits = torch.randn(V)
    logits[END] = -torch.inf  # a model may rule tokens out
    tokens = continue_text(Fixed(logits.expand(V, V)), [FIRST], 4000, length=1, temperature=0.7, seed=3)
    chances = F.softmax(logits[FIRST:] / 0.7, 0)
    found = torch.bincount(torch.tensor(tokens), minlength=V)[FIRST:] / 4000
    assert (found - chances).abs().max() < 0.025
    assert len(tokens) == 4000


def test_draws_depend_on_the_seed_alone():
    model = Fixed(torch.zeros(V, V))
    model.table.data[:, END] = -torch.inf
    first = continue_text(model, [3], 30, length=3, temperature=1.0, seed=1)
    torch.manual_seed(99)
    assert continue_text(model, [3], 30, length=3, temperature=1.0, seed=1) == first
    assert continue_text(model, [3], 30, length=3, temperature=1.0, seed=2) != first
    assert continue_text(model, [3], 10, length=3, temperature=1.0, seed=1) == first[:10]
    cold = continue_text(Fixed(successors()), [3], 20, length=3, temperature=1e-300, seed=1)
    assert cold == continue_text(Fixed(successors()), [3], 20, length=3)


def generators():
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002


def test_the_mode_and_the_generators_are_left_as_they_were():
    model = Fixed(successors())
    model.train()
    model.dropout.eval()  # frozen on purpose
    before = generators()
    continue_text(model, [3], 5, length=3, temperature=1.0)
    assert (model.training, model.dropout.training) == (True, False)
    assert generators() == before
    model.table.data.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="expected finite logits"):
        continue_text(model, [3], 5, length=3)
    assert (model.training, model.dropout.training) == (True, False)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tokens": []}, "tokens: expected at least one to continue, found none."),
        ({"num_tokens": -1}, "num_tokens, length: expected at least 0 and at least 1, found -1 and 3."),
        ({"length": 0}, "num_tokens, length: expected at least 0 and at least 1, found 5 and 0."),
        ({"temperature": -1.0}, "temperature: expected a number of at least 0, found -1.0."),
        ({"temperature": float("nan")}, "temperature: expected a number of at least 0, found nan."),
        ({"temperature": float("inf")}, "temperature: expected a number of at least 0, found inf."),
    ],
)
def test_a_wrong_choice_is_refused_in_one_line(wrong, words):
    with pytest.raises(InputError) as error:
        continue_text(Fixed(successors()), **{"tokens": [3], "num_tokens": 5, "length": 3} | wrong)
    assert str(error.value) == words
