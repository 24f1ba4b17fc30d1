"""Tokenizers: texts to numbers and back. What one knows of words it learnt from training texts only.

Three numbers mean the same everywhere: 0 is padding, 1 a token that training had not, 2 the end of a document. Text
never makes 0 or 2.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from truestep.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

PADDING, UNKNOWN, END = 0, 1, 2
FIRST = 3  # the lowest number of a token that stands for text

WORD = re.compile(
    r"\w+(?:['\u2019]\w+)*|[^\w\s]"
)  # letters, digits and inner apostrophes; or one other sign, but no space
FEWEST = 2  # times that a word must occur in training: of one seen once, little can be learnt
UNKNOWN_WORD = "<unknown>"
LONGEST_PIECE = 64  # bytes of one token: a page of dashes is not one
AT_ONCE = 1000  # texts given to a library together: its threads share them


class Tokenizer(Protocol):
    """What every tokenizer can do. Its JSON gives back the same tokenizer."""

    @property
    def size(self) -> int:
        """Return the number of tokens, with the three that stand for no text."""
        ...

    def encode(self, text: str) -> np.ndarray:
        """Return the tokens of a text, (T,) int32; none for an empty one."""
        ...

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return what `encode` gives for each, faster."""
        ...

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens; padding and ends of documents have none."""
        ...

    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class ByteTokenizer:
    """The bytes of UTF-8, one a token. Lossless, and nothing to learn."""

    @property
    def size(self) -> int:
        return FIRST + 256

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32) + FIRST

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self.encode(text) for text in texts]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text; bytes that make no character become U+FFFD, and so does an unknown token."""
        parts = (
            bytes([token - FIRST]) if token >= FIRST else b"\xff" for token in tokens if token not in (PADDING, END)
        )
        return b"".join(parts).decode(errors="replace")

    def to_json(self) -> dict[str, Any]:
        return {"name": "bytes"}

    @classmethod
    def fit(cls, texts: Sequence[str], vocabulary: int) -> ByteTokenizer:  # noqa: ARG003 - bytes are known beforehand
        return cls()

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ByteTokenizer:  # noqa: ARG003
        return cls()


@dataclass(frozen=True)
class WordTokenizer:
    """Lower-cased words, and every other sign but spaces, that training texts had at least twice.

    A word is a run of letters, digits and underscores, with apostrophes inside ("don't"). What is decoded has lost its
    capitals and its spacing.
    """

    words: tuple[str, ...]  # numbered from `FIRST`, the most frequent first

    @property
    def size(self) -> int:
        return FIRST + len(self.words)

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, FIRST)}

    def encode(self, text: str) -> np.ndarray:
        number = self.numbers.get
        return np.array([number(word, UNKNOWN) for word in WORD.findall(text.lower())], dtype=np.int32)

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self.encode(text) for text in texts]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the words with a space between them, but none before a sign that ends something."""
        words = [
            self.words[token - FIRST] if token >= FIRST else UNKNOWN_WORD
            for token in tokens
            if token not in (PADDING, END)
        ]
        return re.sub(r" ([.,;:!?)\]}%\u2019])", r"\1", " ".join(words))

    def to_json(self) -> dict[str, Any]:
        return {"name": "words", "words": list(self.words)}

    @classmethod
    def fit(cls, texts: Sequence[str], vocabulary: int) -> WordTokenizer:
        """Learn the most frequent words of texts; of those as frequent as each other, the first by letter."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(WORD.findall(text.lower()))
        often = sorted((-count, word) for word, count in counts.items() if count >= FEWEST)
        if not often:
            raise InputError(
                f"tokenizer: expected words that training texts have at least {FEWEST} times, found none "
                f"({len(counts)} different in {len(texts)} texts). Choose the tokenizer 'bytes'."
            )
        return cls(tuple(word for _, word in often[:vocabulary]))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> WordTokenizer:
        words = tuple(content["words"])
        if not words or len(set(words)) != len(words) or not all(WORD.fullmatch(word) for word in words):
            raise ValueError("words")
        return cls(words)


@dataclass(frozen=True)
class BpeTokenizer:
    """Byte pair encoding of the bytes of UTF-8, as in GPT-2: frequent runs of bytes are one token. Lossless.

    Tokens are numbered from `FIRST`: the 256 bytes, then one for each merge that makes a new one. Learning and encoding
    are the work of the library `tokenizers`; what is saved are the merges alone, from which it is built again.
    """

    merges: tuple[tuple[int, int], ...]  # pairs of tokens, counted from 0, in the order they are joined in

    @property
    def size(self) -> int:
        return FIRST + len(self.pieces)

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes that each token stands for, counted from 0."""
        return _pieces(self.merges)

    @cached_property
    def library(self) -> Library:
        from tokenizers import models

        spelt = [_spelt(piece) for piece in self.pieces]
        merges = [(spelt[left], spelt[right]) for left, right in self.merges]
        return _byte_level(models.BPE(vocab={name: number for number, name in enumerate(spelt)}, merges=merges))

    def encode(self, text: str) -> np.ndarray:
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        _check_library()
        encoded: list[np.ndarray] = []
        for start in range(0, len(texts), AT_ONCE):
            found = self.library.encode_batch_fast(list(texts[start : start + AT_ONCE]))
            encoded += [np.array(text.ids, dtype=np.int32) + FIRST for text in found]
        return encoded

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text; bytes that make no character become U+FFFD, and so does an unknown token."""
        known = (token for token in tokens if token not in (PADDING, END))
        return b"".join(self.pieces[t - FIRST] if t >= FIRST else b"\xff" for t in known).decode(errors="replace")

    def to_json(self) -> dict[str, Any]:
        return {"name": "bpe", "merges": [list(pair) for pair in self.merges]}

    @classmethod
    def fit(cls, texts: Sequence[str], vocabulary: int) -> BpeTokenizer:
        """Learn the merges that make the most of these texts: one token after another, up to `vocabulary`."""
        _check_library()
        import json

        from tokenizers import models, trainers

        if vocabulary < 256:
            raise InputError(f"vocabulary: expected at least 256 for bpe, one token a byte, found {vocabulary}.")
        learner = _byte_level(models.BPE())
        learner.train_from_iterator(
            iter(texts),
            trainers.BpeTrainer(
                vocab_size=vocabulary,
                min_frequency=FEWEST,
                max_token_length=LONGEST_PIECE,
                initial_alphabet=list(BYTE_LETTERS),
                show_progress=False,
            ),
        )
        learnt = json.loads(learner.to_str())["model"]["merges"]
        numbers = {letter: byte for byte, letter in enumerate(BYTE_LETTERS)}
        merges: list[tuple[int, int]] = []
        for merge in learnt:
            left, right = merge.split(" ") if isinstance(merge, str) else merge  # by the version of the library
            merges.append((numbers[left], numbers[right]))
            numbers.setdefault(left + right, len(numbers))
        return cls(tuple(merges))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> BpeTokenizer:
        merges = tuple((index(left), index(right)) for left, right in content["merges"])
        if len(set(merges)) != len(merges):
            raise ValueError("merges")
        _pieces(merges)
        return cls(merges)


def _pieces(merges: Iterable[tuple[int, int]]) -> tuple[bytes, ...]:
    """Return the bytes that each token stands for; raises ValueError for merges of what isn't there, or too long."""
    pieces = [bytes([byte]) for byte in range(256)]
    known = set(pieces)
    for number, (left, right) in enumerate(merges):
        if not (0 <= left < len(pieces) and 0 <= right < len(pieces)):
            raise ValueError(f"merge {number}")
        piece = pieces[left] + pieces[right]
        if len(piece) > LONGEST_PIECE:  # a few dozen damaged merges could make one that fills the memory
            raise ValueError(f"merge {number}")
        if piece not in known:  # two merges may make the same token
            known.add(piece)
            pieces.append(piece)
    return tuple(pieces)


def _letters_of_bytes() -> str:
    """Return the letter by which the library writes each byte: its own if it can be seen, else one from 256 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(256, 512))
    return "".join(chr(byte if byte in seen else next(hidden)) for byte in range(256))


BYTE_LETTERS = _letters_of_bytes()


def _spelt(piece: bytes) -> str:
    return "".join(BYTE_LETTERS[byte] for byte in piece)


def _byte_level(model: Any) -> Library:
    from tokenizers import Tokenizer, decoders, pre_tokenizers

    library = Tokenizer(model)
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    return library


def _check_library() -> None:
    try:
        import tokenizers

        del tokenizers
    except ImportError:
        raise InputError(
            "tokenizer: 'bpe' needs the package tokenizers, which is not installed. "
            "Install it: pip install 'truestep[text]', or choose bytes or words."
        ) from None


TOKENIZERS: dict[str, type[ByteTokenizer | WordTokenizer | BpeTokenizer]] = {
    "bytes": ByteTokenizer,
    "words": WordTokenizer,
    "bpe": BpeTokenizer,
}


def fit_tokenizer(name: str, texts: Sequence[str], vocabulary: int = 8192) -> Tokenizer:
    """Return a tokenizer that has learnt from these texts.

    Args:
        name: bytes, words or bpe.
        texts: of training rows, and no others.
        vocabulary: the most tokens it may know, besides the three that stand for no text.

    Raises:
        InputError: no such tokenizer, too small a vocabulary, no word twice, or `tokenizers` is not installed.
    """
    if name not in TOKENIZERS:
        raise InputError(
            f"tokenizer: expected one of {', '.join(TOKENIZERS)}, found '{name}'.{did_you_mean(name, TOKENIZERS)}"
        )
    if vocabulary < 2:
        raise InputError(f"vocabulary: expected at least 2, found {vocabulary}.")
    return TOKENIZERS[name].fit(texts, vocabulary)


def tokenizer_from_json(content: Mapping[str, Any]) -> Tokenizer:
    """Rebuild what `to_json` gave; raises ValueError, TypeError or KeyError if it is damaged. Runs no code of it."""
    name = content["name"]
    if name not in TOKENIZERS:
        raise ValueError(f"tokenizer {name!r}")
    return TOKENIZERS[name].from_json(content)
