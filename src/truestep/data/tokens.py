"""Texts as the inputs of a model: tokens, either all of a text to classify it, or windows of it to learn what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from truestep.data.missing import plain_words
from truestep.data.table import Table
from truestep.data.targets import Target, encode_targets
from truestep.data.texts import read_texts, texts_of
from truestep.data.tokenizers import END, PADDING, UNKNOWN, Tokenizer, fit_tokenizer, tokenizer_from_json
from truestep.errors import InputError

if TYPE_CHECKING:
    import polars as pl

USUAL_SHARE = 95  # per cent of training texts that the length chosen for them holds whole
LONGEST = 512  # tokens that are chosen unasked
WINDOW = 128  # tokens of a window, unless it is asked for
IGNORED = -100  # a target that isn't counted, as in PyTorch
FAR = 0.5  # of the length, below which all texts have to lie for a note
MANY_UNKNOWN = 0.1  # share of unknown tokens that is worth a note


class TokenRows:
    """Texts as tokens, each as long as it is; a batch is padded to its longest.

    Args:
        rows: of each text its tokens, (T,) integers.
        notes: what to tell the user of these texts.
    """

    def __init__(self, rows: Sequence[np.ndarray], notes: Sequence[str] = ()) -> None:
        self.lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)  # (N,)
        self.offsets = torch.cat([torch.zeros(1, dtype=torch.int64), self.lengths.cumsum(0)])  # (N + 1,)
        self.tokens = torch.from_numpy(_joined(rows))  # (tokens of all texts,) int32
        self.notes = tuple(notes)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> list[int]:
        """Return the tokens of one text."""
        return self.tokens[self.offsets[row] : self.offsets[row + 1]].tolist()

    def batch_of(self, indices: Tensor) -> dict[str, Tensor]:
        """Return `{"tokens": (n, longest) int64 padded with 0, "lengths": (n,) int64}`."""
        lengths = self.lengths[indices]
        longest = int(lengths.max()) if len(lengths) else 0
        tokens = _cut_out(self.tokens, self.offsets[indices], lengths, longest, PADDING)
        return {"tokens": tokens, "lengths": lengths}


class TokenWindows:
    """Documents as windows to learn the next token from: every token but a document's first is a target, once.

    A document is followed by the token that ends it, and is cut into windows of `length`. The last is filled up with
    padding, and with targets that aren't counted.

    Args:
        documents: of each its tokens, (T,) integers.
        length: tokens of a window.
        notes: what to tell the user of these documents.
    """

    def __init__(self, documents: Sequence[np.ndarray], length: int, notes: Sequence[str] = ()) -> None:
        end = np.array([END], dtype=np.int32)
        self.tokens = torch.from_numpy(_joined([part for document in documents for part in (document, end)]))
        self.length = length
        self.notes = tuple(notes)
        targets = np.array([len(document) for document in documents], dtype=np.int64)
        windows = -(-targets // length)
        self.document = torch.from_numpy(np.repeat(np.arange(len(documents)), windows))  # (W,) its row in the table
        number = np.arange(len(self.document)) - np.repeat(windows.cumsum() - windows, windows)  # within its document
        first = (targets + 1).cumsum() - (targets + 1)
        self.starts = torch.from_numpy(np.repeat(first, windows) + number * length)  # (W,)
        self.counts = torch.from_numpy(
            np.minimum(np.repeat(targets, windows) - number * length, length)
        )  # (W,) of targets

    def __len__(self) -> int:
        return len(self.document)

    def batch_of(self, indices: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return `{"tokens": (n, length) int64}` and the targets, (n, length) int64, -100 where none is counted."""
        starts, counts = self.starts[indices], self.counts[indices]
        inputs = _cut_out(self.tokens, starts, counts, self.length, PADDING)
        targets = _cut_out(self.tokens, starts + 1, counts, self.length, IGNORED)
        return {"tokens": inputs}, targets


def _joined(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([*rows, np.zeros(0, dtype=np.int32)]).astype(np.int32, copy=False)


def _cut_out(tokens: Tensor, starts: Tensor, counts: Tensor, length: int, filling: int) -> Tensor:
    """Return (n, length) int64: from each start `counts` tokens, then `filling`."""
    steps = torch.arange(length)
    outside = steps >= counts[:, None]
    places = (starts[:, None] + steps).masked_fill(outside, 0)
    if not len(tokens):
        return torch.full(places.shape, filling)
    return tokens[places].long().masked_fill(outside, filling)


@dataclass(frozen=True)
class TextEncoder:
    """Texts of a column to `TokenRows`, for models that read a text as a whole.

    A longer text is cut to the first `length` tokens; one without any is one unknown token.
    """

    column: str
    tokenizer: Tokenizer
    length: int
    id_column: str | None = None
    missing: tuple[str, ...] = ()  # words that stand for no text, besides those that do everywhere

    @classmethod
    def fit_encode(
        cls,
        table: Table,
        rows: Tensor | np.ndarray,
        *,
        column: str = "text",
        tokenizer: str = "auto",
        vocabulary: int = 8192,
        length: int = 0,
        id_column: str | None = None,
    ) -> tuple[TextEncoder, TokenRows]:
        """Learn from training rows, and return the encoder with the inputs of all rows.

        Args:
            table: all the rows.
            rows: (n,) int64, those for training.
            column: of the texts.
            tokenizer: bytes, words or bpe; auto is words.
            vocabulary: the most tokens to tell apart.
            length: the most tokens of a text; 0 for enough to hold 95 % of the training texts whole, up to 512.
            id_column: kept for who reads the predictions.

        Raises:
            InputError: no such column, or nothing to learn from its texts.
        """
        texts, trained = _texts_and_training(table, rows, column)
        fitted = fit_tokenizer("words" if tokenizer == "auto" else tokenizer, trained, vocabulary)
        tokens = fitted.encode_all(texts)
        _check_length(length)
        length = length or _usual_length([len(tokens[row]) for row in np.asarray(rows)])
        encoder = cls(column, fitted, length, id_column, table.missing)
        found = encoder._rows(tokens)
        longest = max(map(len, tokens))
        if _is_far(length, longest):
            note = f"column '{column}': no text has more than {longest} tokens; the model is made for {length} all the same."
            found.notes += (f"{note} --data.length {_rounded(longest)} would do.",)
        return encoder, found

    @property
    def spec(self) -> dict[str, Any]:
        return {"kind": "tokens", "vocabulary": self.tokenizer.size, "length": self.length, "causal": False}

    def read(self, source: Any) -> Table:
        """Read texts: a table that has the column, a folder of .txt, one .txt, or a list of texts."""
        return read_texts(source, self.column).with_missing(self.missing)

    def encode(self, raw: Any) -> TokenRows:
        """Return the inputs of the model.

        Raises:
            InputError: the column is missing, or holds no texts.
        """
        return self._rows(self.tokenizer.encode_all(texts_of(self.read(raw), self.column)))

    def prepare(self, inputs: Any) -> Any:
        """Return a batch of inputs as it is."""
        return inputs

    def encode_labelled(self, source: Any, target: Target) -> tuple[TokenRows, Tensor]:
        """Return inputs and targets of texts whose table has the target column."""
        table = self.read(source)
        return self.encode(table), encode_targets(table, target)

    def ids(self, raw: Any) -> pl.DataFrame | None:
        """Return the names of the files, or the column that identifies the rows, if there is one."""
        return _ids(self.read(raw), self.id_column)

    def notes(self, raw: Any) -> list[str]:
        """Say how many texts are empty or cut, and whether many of their words are unknown."""
        return list(self.encode(raw).notes)

    def _rows(self, tokens: list[np.ndarray]) -> TokenRows:
        empty = sum(not len(row) for row in tokens)
        longer = sum(len(row) > self.length for row in tokens)
        notes: list[str] = []
        where = f"column '{self.column}'"
        if empty:
            are, count = ("are", "they count") if empty > 1 else ("is", "it counts")
            notes.append(f"{where}: {empty} of {len(tokens)} texts {are} empty; {count} as one unknown token.")
        if longer:
            are = "are" if longer > 1 else "is"
            notes.append(f"{where}: {longer} of {len(tokens)} texts {are} cut to the first {self.length} tokens.")
        notes += _unknown_notes(where, tokens)
        unknown = np.array([UNKNOWN], dtype=np.int32)
        return TokenRows([row[: self.length] if len(row) else unknown for row in tokens], notes)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "text",
            "column": self.column,
            "tokenizer": self.tokenizer.to_json(),
            "length": self.length,
            "id_column": self.id_column,
            **({"missing": list(self.missing)} if self.missing else {}),  # as models from before it had none
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> TextEncoder:
        """Rebuild what `to_json` gave; raises ValueError, TypeError or KeyError if it is damaged."""
        return cls(*_fields(content))


@dataclass(frozen=True)
class StreamEncoder:
    """Texts of a column to `TokenWindows`, for models that learn the next token; a text to continue to its tokens.

    Each window is read without what stands before it.
    """

    column: str
    tokenizer: Tokenizer
    length: int
    id_column: str | None = None
    missing: tuple[str, ...] = ()  # words that stand for no text, besides those that do everywhere

    @classmethod
    def fit_encode(
        cls,
        table: Table,
        rows: Tensor | np.ndarray,
        *,
        column: str = "text",
        tokenizer: str = "auto",
        vocabulary: int = 8192,
        length: int = 0,
        id_column: str | None = None,
    ) -> tuple[StreamEncoder, TokenWindows]:
        """Learn from training rows, and return the encoder with the windows of all rows.

        Args:
            table: all the rows, a document each.
            rows: (n,) int64, those for training.
            column: of the documents.
            tokenizer: bytes, words or bpe; auto is bytes.
            vocabulary: the most tokens to tell apart.
            length: tokens of a window, 0 for 128.
            id_column: kept for who reads what is written.

        Raises:
            InputError: no such column, or nothing to learn from its texts.
        """
        _check_length(length)
        _, trained = _texts_and_training(table, rows, column)
        fitted = fit_tokenizer("bytes" if tokenizer == "auto" else tokenizer, trained, vocabulary)
        encoder = cls(column, fitted, length or WINDOW, id_column, table.missing)
        windows = encoder.windows(table)
        longest = int(windows.counts.max()) if len(windows) else 0
        if _is_far(encoder.length, longest):
            padding = 1 - int(windows.counts.sum()) / max(len(windows) * encoder.length, 1)
            note = f"column '{column}': no text has more than {longest} tokens, so that windows of {encoder.length} are"
            windows.notes += (f"{note} {padding:.0%} padding; --data.length {_rounded(longest)} would do.",)
        return encoder, windows

    @property
    def spec(self) -> dict[str, Any]:
        return {"kind": "tokens", "vocabulary": self.tokenizer.size, "length": self.length, "causal": True}

    def read(self, source: Any) -> Table:
        """Read texts: a table that has the column, a folder of .txt, one .txt, or a list of texts."""
        return read_texts(source, self.column).with_missing(self.missing)

    def windows(self, source: Any) -> TokenWindows:
        """Return the windows of documents, to learn from or to measure by."""
        tokens = self.tokenizer.encode_all(texts_of(self.read(source), self.column))
        where = f"column '{self.column}'"
        notes = _unknown_notes(where, tokens)
        if empty := sum(not len(row) for row in tokens):
            notes.insert(
                0, f"{where}: {empty} of {len(tokens)} documents {'are' if empty > 1 else 'is'} empty and left out."
            )
        return TokenWindows(tokens, self.length, notes)

    def encode(self, raw: Any) -> TokenRows:
        """Return the tokens of texts to continue, whole.

        Raises:
            InputError: the column is missing, or a text has no token to begin with.
        """
        table = self.read(raw)
        tokens = self.tokenizer.encode_all(texts_of(table, self.column))
        for row, found in enumerate(tokens):
            if not len(found):
                raise InputError(f"{table.place(row)}: expected the beginning of a text, found none.")
        return TokenRows(tokens, _unknown_notes(f"column '{self.column}'", tokens))

    def prepare(self, inputs: Any) -> Any:
        """Return a batch of inputs as it is."""
        return inputs

    def encode_labelled(self, source: Any, target: Target) -> TokenWindows:  # noqa: ARG002 - texts are their own
        """Return all windows of documents."""
        return self.windows(source)

    def ids(self, raw: Any) -> pl.DataFrame | None:
        """Return the names of the files, or the column that identifies the rows, if there is one."""
        return _ids(self.read(raw), self.id_column)

    def notes(self, raw: Any) -> list[str]:
        """Say whether many words are unknown."""
        tokens = self.tokenizer.encode_all(texts_of(self.read(raw), self.column))
        return _unknown_notes(f"column '{self.column}'", tokens)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "stream",
            "column": self.column,
            "tokenizer": self.tokenizer.to_json(),
            "length": self.length,
            "id_column": self.id_column,
            **({"missing": list(self.missing)} if self.missing else {}),  # as models from before it had none
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> StreamEncoder:
        """Rebuild what `to_json` gave; raises ValueError, TypeError or KeyError if it is damaged."""
        return cls(*_fields(content))


def _texts_and_training(table: Table, rows: Tensor | np.ndarray, column: str) -> tuple[list[str], list[str]]:
    texts = texts_of(table, column)
    trained = [texts[row] for row in np.asarray(rows)]
    if not any(text.strip() for text in trained):
        raise InputError(f"{table.name}, column '{column}': expected texts to learn from, found none in training rows.")
    return texts, trained


def _check_length(length: int) -> None:
    if length < 0:
        raise InputError(f"length: expected at least 1, or 0 to choose by the texts, found {length}.")


def _usual_length(counts: list[int]) -> int:
    usual = int(np.percentile(counts, USUAL_SHARE, method="higher"))
    return min(_rounded(usual), LONGEST)


def _is_far(length: int, longest: int) -> bool:
    return longest < FAR * length and _rounded(longest) < length


def _rounded(tokens: int) -> int:
    return max(-(-tokens // 8) * 8, 8)


def _unknown_notes(where: str, tokens: Sequence[np.ndarray]) -> list[str]:
    total = sum(map(len, tokens))
    unknown = int((_joined(tokens) == UNKNOWN).sum())
    if unknown <= MANY_UNKNOWN * total:
        return []
    share = f"{unknown / total:.0%} of the tokens are unknown"
    return [f"{where}: {share}: training texts have them too seldom, or not at all. bytes and bpe know all text."]


def _ids(table: Table, id_column: str | None) -> pl.DataFrame | None:
    name = next((name for name in (id_column, "file") if name in table.frame.columns), None)
    return None if name is None else table.frame.select(name)


def _fields(content: dict[str, Any]) -> tuple[str, Tokenizer, int, str | None, tuple[str, ...]]:
    column, length, id_column = content["column"], index(content["length"]), content["id_column"]
    if not isinstance(column, str) or not isinstance(id_column, str | None) or length < 1:
        raise ValueError("column, id_column and length")
    return column, tokenizer_from_json(content["tokenizer"]), length, id_column, plain_words(content.get("missing", ()))
