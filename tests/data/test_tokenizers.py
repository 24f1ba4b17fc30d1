"""Tokenizers: lossless where they promise it, learnt from training texts only, rebuilt from JSON."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truestep.data.tokenizers import (
    END,
    FIRST,
    PADDING,
    TOKENIZERS,
    UNKNOWN,
    BpeTokenizer,
    fit_tokenizer,
    tokenizer_from_json,
)
from truestep.errors import InputError

TEXTS = [
    "The cat sat on the mat; the dog didn't.",
    "The dog sat, too: 2 dogs!  Two  spaces, naïve café\n\ttabs",
    "<pad> <unk> [SEP] the the the",
] * 3
FITTED = {name: fit_tokenizer(name, TEXTS, 300) for name in TOKENIZERS}
TEXT = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.sampled_from("the catsd '\u2019\n.é\0")))


@pytest.mark.parametrize("name", ["bytes", "bpe"])
@given(text=TEXT)
def test_what_is_encoded_is_decoded_without_loss(name, text):
    tokenizer = FITTED[name]
    tokens = tokenizer.encode(text)
    assert tokens.dtype == np.int32
    assert tokenizer.decode(tokens) == text
    assert tokenizer.decode([PADDING, *tokens.tolist(), END, PADDING]) == text


@pytest.mark.parametrize("name", TOKENIZERS)
@given(texts=st.lists(TEXT, max_size=4))
def test_text_makes_no_padding_and_no_end_and_all_at_once_is_the_same_as_one_by_one(name, texts):
    tokenizer = FITTED[name]
    together = tokenizer.encode_all(texts)
    assert len(together) == len(texts)
    for text, tokens in zip(texts, together, strict=True):
        assert np.array_equal(tokens, tokenizer.encode(text))
        assert set(tokens.tolist()) <= {UNKNOWN, *range(FIRST, tokenizer.size)}
        assert name == "words" or UNKNOWN not in tokens


@given(text=TEXT)
def test_bytes_are_those_of_utf8(text):
    assert (FITTED["bytes"].encode(text) - FIRST).astype(np.uint8).tobytes() == text.encode()
    assert FITTED["bytes"].size == FIRST + 256


def test_words_are_cut_as_documented():
    tokenizer = fit_tokenizer("words", ["Don't stop-it, it\u2019s 3.5€! don't STOP - it it\u2019s 3.5€!"] * 2)
    assert set(tokenizer.words) == {"don't", "stop", "-", "it", ",", "it\u2019s", "3", ".", "5", "€", "!"}
    tokens = tokenizer.encode("DON'T  stop, now")
    assert tokenizer.decode(tokens) == "don't stop, <unknown>"
    assert tokens[-1] == UNKNOWN


def test_the_most_frequent_words_are_known_and_ties_go_by_letter():
    texts = ["d c b a", "a b c d x", "x x e", "f"]
    assert fit_tokenizer("words", texts, 100).words == ("x", "a", "b", "c", "d")
    assert fit_tokenizer("words", texts, 3).words == ("x", "a", "b")
    assert fit_tokenizer("words", texts[::-1], 3).words == ("x", "a", "b")


@given(texts=st.lists(st.text(st.sampled_from("abc "), max_size=30), min_size=1, max_size=5), most=st.integers(2, 9))
def test_words_are_counted_as_a_plain_count_does(texts, most):
    counts = Counter(word for text in texts for word in text.split())
    expected = sorted((word for word in counts if counts[word] > 1), key=lambda word: (-counts[word], word))[:most]
    if expected:
        assert list(fit_tokenizer("words", texts, most).words) == expected
    else:
        with pytest.raises(InputError, match="expected words that training texts have at least 2 times, found none"):
            fit_tokenizer("words", texts, most)


def test_byte_pairs_are_merged_as_by_the_library_alone():
    """The library, trained anew without us, gives the same pieces of text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    library.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=300, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    )
    ours = FITTED["bpe"]
    assert ours.size == FIRST + library.get_vocab_size()
    for text in (*TEXTS, "unseen wörds thethe"):
        expected = [library.decode([token]) for token in library.encode(text).ids]
        assert [ours.decode([token]) for token in ours.encode(text)] == expected
    assert len(ours.encode(TEXTS[0])) < len(TEXTS[0])


def test_a_page_of_dashes_is_not_one_token():
    tokenizer = fit_tokenizer("bpe", ["-" * 5000] * 2, 400)
    assert 32 < max(map(len, tokenizer.pieces)) <= 64
    assert tokenizer.decode(tokenizer.encode("-" * 5001)) == "-" * 5001
    assert tokenizer_from_json(tokenizer.to_json()) == tokenizer


@pytest.mark.parametrize("name", ["bytes", "bpe"])
def test_broken_characters_are_shown_as_such(name):
    assert FITTED[name].decode([FIRST + 0xC3]) == "\ufffd"
    assert FITTED[name].decode([UNKNOWN]) == "\ufffd"


@settings(max_examples=20)
@given(texts=st.lists(TEXT, min_size=1, max_size=5))
def test_json_gives_back_the_same_tokenizer_bit_for_bit(texts):
    for name in TOKENIZERS:
        tokenizer = fit_tokenizer(name, [*TEXTS, *texts], 280)
        written = json.dumps(tokenizer.to_json())
        again = tokenizer_from_json(json.loads(written))
        assert again == tokenizer
        assert json.dumps(again.to_json()) == written
        assert again.size == tokenizer.size
        assert all(map(np.array_equal, again.encode_all(texts), tokenizer.encode_all(texts)))


DAMAGED = [
    {},
    None,
    [],
    {"name": []},
    {"name": "byte"},
    {"name": "words"},
    {"name": "words", "words": None},
    {"name": "words", "words": []},
    {"name": "words", "words": ["a", "a"]},
    {"name": "words", "words": ["a", 3]},
    {"name": "words", "words": ["a", "b c"]},
    {"name": "words", "words": ["a", ""]},
    {"name": "bpe"},
    {"name": "bpe", "merges": None},
    {"name": "bpe", "merges": [None]},
    {"name": "bpe", "merges": [[1]]},
    {"name": "bpe", "merges": [[1, 2, 3]]},
    {"name": "bpe", "merges": [[1, 2.5]]},
    {"name": "bpe", "merges": [["a", "b"]]},
    {"name": "bpe", "merges": [[1, 256]]},
    {"name": "bpe", "merges": [[-1, 2]]},
    {"name": "bpe", "merges": [[1, 2], [1, 2]]},
    {"name": "bpe", "merges": [[1, 2], [1, 10**30]]},
    {"name": "bpe", "merges": [[1, 1], [256, 1], [1, 256], [258, 1]]},  # the third makes what the second made
    {"name": "bpe", "merges": [[1, 1], *([n, n] for n in range(256, 400))]},  # 2 to the power of 145 bytes
]


@pytest.mark.parametrize("content", DAMAGED, ids=str)
def test_a_damaged_description_is_refused(content):
    with pytest.raises((ValueError, TypeError, KeyError)):
        tokenizer_from_json(content)


CHOICES = [
    (("word", TEXTS, 300), "tokenizer: expected one of bytes, words, bpe, found 'word'. Did you mean 'words'?"),
    (("words", TEXTS, 1), "vocabulary: expected at least 2, found 1."),
    (("bpe", TEXTS, 255), "vocabulary: expected at least 256 for bpe, one token a byte, found 255."),
    (("words", ["a", "b"], 300), "found none (2 different in 2 texts). Choose the tokenizer 'bytes'."),
]


@pytest.mark.parametrize(("choice", "words"), CHOICES)
def test_a_wrong_choice_is_refused_in_one_line(choice, words):
    with pytest.raises(InputError) as error:
        fit_tokenizer(*choice)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_without_the_library_bpe_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments):
        if name == "tokenizers":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    again = tokenizer_from_json(FITTED["bpe"].to_json())
    for use in (lambda: fit_tokenizer("bpe", TEXTS), lambda: again.encode("x")):
        with pytest.raises(InputError, match=r"pip install 'truestep\[text\]', or choose bytes or words\.$"):
            use()


SCRIPT = """
import json
from truestep.data.tokenizers import TOKENIZERS, fit_tokenizer
texts = [f"{'xyz'[i % 3]}{i % 7} word{i % 11} tie{i}a tie{i}a é" for i in range(300)]
print(json.dumps([fit_tokenizer(name, texts, 400).to_json() for name in TOKENIZERS]))
"""


def test_another_process_with_other_hashes_learns_the_same():
    learnt = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path), "RAYON_NUM_THREADS": threads},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed, threads in (("1", "1"), ("2", "3"))
    ]
    assert learnt[0] == learnt[1]
    assert [content["name"] for content in json.loads(learnt[0])] == list(TOKENIZERS)


def test_the_bpe_tokenizer_is_small_to_save():
    assert isinstance(FITTED["bpe"], BpeTokenizer)
    assert list(FITTED["bpe"].to_json()) == ["name", "merges"]
