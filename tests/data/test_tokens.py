"""Texts as inputs: padded batches that lose nothing, windows that count every token once, encoders fitted on training."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truestep.batches import Batches
from truestep.data.table import Table
from truestep.data.targets import choose_target
from truestep.data.texts import read_text_table
from truestep.data.tokenizers import END, FIRST, PADDING, TOKENIZERS, UNKNOWN
from truestep.data.tokens import IGNORED, StreamEncoder, TextEncoder, TokenRows, TokenWindows
from truestep.errors import InputError
from truestep.nest import Store, take

TOKENS = st.lists(st.integers(FIRST, 300), max_size=40).map(lambda row: np.array(row, dtype=np.int32))
DOCUMENTS = st.lists(TOKENS, min_size=1, max_size=8)
TEXTS = ["the cat sat on the mat", "the dog sat", "a cat and a dog, and a mat", "on the mat the cat", "nothing of it"]


def table(texts=None, **columns):
    return Table(pl.DataFrame({"text": texts or TEXTS, **columns}), "texts.csv")


# Batches of whole texts


@given(rows=DOCUMENTS, data=st.data())
def test_padding_changes_neither_tokens_nor_lengths(rows, data):
    store = TokenRows(rows)
    assert isinstance(store, Store)
    assert store.lengths.tolist() == [len(row) for row in rows]
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=10))
    batch = store.batch_of(torch.tensor(indices))
    tokens, lengths = batch["tokens"], batch["lengths"]
    assert (tokens.dtype, lengths.dtype) == (torch.int64, torch.int64)
    assert tokens.shape == (len(indices), max(len(rows[index]) for index in indices))
    for place, index in enumerate(indices):
        assert int(lengths[place]) == len(rows[index])
        assert tokens[place, : lengths[place]].tolist() == rows[index].tolist() == store[index]
        assert (tokens[place, lengths[place] :] == PADDING).all()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_take_texts_with_their_targets_with_any_number_of_workers(num_workers):
    _, inputs = TextEncoder.fit_encode(table(TEXTS * 5), torch.arange(20))
    targets = torch.arange(25)
    seen = []
    for batch, labels in Batches((inputs, targets), 4, shuffle=True, lengths=inputs.lengths, num_workers=num_workers):
        assert torch.equal(batch["lengths"], inputs.lengths[labels])
        assert batch["tokens"].shape[1] == batch["lengths"].max()
        seen += labels.tolist()
    assert sorted(seen) == list(range(25))


# Windows


@given(documents=DOCUMENTS, length=st.integers(1, 50))
def test_every_token_of_a_document_but_its_first_is_a_target_once(documents, length):
    windows = TokenWindows(documents, length)
    (inputs, targets), count = windows.batch_of(torch.arange(len(windows))), len(windows)
    tokens = inputs["tokens"]
    assert tokens.shape == targets.shape == (count, length)
    assert tokens.dtype == targets.dtype == torch.int64
    for number, document in enumerate(documents):
        mine = windows.document == number
        whole = [*document.tolist(), END]
        counted = targets[mine] != IGNORED
        assert targets[mine][counted].tolist() == whole[1:]
        assert tokens[mine][counted].tolist() == whole[:-1]
        assert (tokens[mine][~counted] == PADDING).all()
        assert not (counted[:, 1:] & ~counted[:, :-1]).any()  # padding is at the end
        assert counted.any(1).all()  # no window without a target
    assert windows.document.tolist() == sorted(windows.document.tolist())


@given(documents=DOCUMENTS, length=st.integers(1, 50), data=st.data())
def test_windows_are_the_same_in_any_batch_and_after_a_pickle(documents, length, data):
    windows = pickle.loads(pickle.dumps(TokenWindows(documents, length)))
    if not len(windows):
        return
    all_inputs, all_targets = TokenWindows(documents, length).batch_of(torch.arange(len(windows)))
    indices = torch.tensor(data.draw(st.lists(st.integers(0, len(windows) - 1), min_size=1, max_size=9)))
    inputs, targets = take(windows, indices)
    assert torch.equal(inputs["tokens"], all_inputs["tokens"][indices])
    assert torch.equal(targets, all_targets[indices])


def test_memory_stays_near_the_number_of_tokens():
    windows = TokenWindows([np.arange(FIRST, 100_000, dtype=np.int32)], 128)
    assert windows.tokens.dtype == torch.int32
    kept = sum(part.nbytes for part in vars(windows).values() if isinstance(part, torch.Tensor))
    assert kept < 1.1 * 4 * 100_000


# The encoder of whole texts


def test_a_text_is_encoded_to_its_words():
    encoder, inputs = TextEncoder.fit_encode(table(), torch.tensor([0, 1, 3]))
    assert encoder.spec == {"kind": "tokens", "vocabulary": encoder.tokenizer.size, "length": 8, "causal": False}
    assert encoder.tokenizer.decode(inputs[0]) == "the cat sat on the mat"
    assert (
        encoder.tokenizer.decode(inputs[2])
        == "<unknown> cat <unknown> <unknown> <unknown> <unknown> <unknown> <unknown>"
    )
    assert encoder.prepare(inputs) is inputs


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("kind", [TextEncoder, StreamEncoder])
def test_only_training_rows_are_learnt_from(kind, name):
    rows = np.array([0, 1, 3])
    choices = {"tokenizer": name, "vocabulary": 300}
    first, _ = kind.fit_encode(table(), rows, **choices)
    others = [text if row in rows else "entirely other other words words " * 50 for row, text in enumerate(TEXTS)]
    second, _ = kind.fit_encode(table(others), rows, **choices)
    assert json.dumps(first.to_json()) == json.dumps(second.to_json())
    third, _ = kind.fit_encode(table(others), np.array([0, 1, 2]), **choices)
    assert name == "bytes" or third != first


@given(counts=st.lists(st.integers(1, 700), min_size=1, max_size=60))
def test_the_length_holds_95_of_100_training_texts_in_steps_of_8(counts):
    texts = ["a " * count for count in counts] + ["a " * 900]
    encoder, inputs = TextEncoder.fit_encode(table(texts), np.arange(len(counts)), tokenizer="bytes")
    sizes = sorted(2 * count for count in counts)
    needed = next(size for size in sizes if sum(s <= size for s in sizes) >= 0.95 * len(sizes))
    assert 8 <= encoder.length <= 512
    assert encoder.length % 8 == 0
    assert encoder.length >= min(needed, 512)
    assert encoder.length < max(sizes) + 8
    assert inputs.lengths.tolist() == [min(2 * count, encoder.length) for count in [*counts, 900]]


def test_notes_say_what_is_cut_empty_and_unknown():
    encoder, inputs = TextEncoder.fit_encode(table(), np.arange(4), length=5)
    raw = encoder.read(["the cat sat on the mat", "", "  ", "the cat"])
    assert encoder.notes(raw) == [
        "column 'text': 2 of 4 texts are empty; they count as one unknown token.",
        "column 'text': 1 of 4 texts is cut to the first 5 tokens.",
    ]
    assert [encoder.encode(raw)[row] for row in (1, 2)] == [[UNKNOWN], [UNKNOWN]]
    assert encoder.notes(["foreign words here the"]) == [
        "column 'text': 75% of the tokens are unknown: training texts have them too seldom, or not at all. bytes and bpe know all text."
    ]
    assert encoder.notes(["the cat sat"]) == []
    assert "column 'text': 3 of 5 texts are cut to the first 5 tokens." not in inputs.notes  # two are
    assert "column 'text': 2 of 5 texts are cut to the first 5 tokens." in inputs.notes
    assert encoder.encode(pl.DataFrame({"text": [None, "the"]}))[0] == [UNKNOWN]


def test_a_length_that_no_text_comes_near_is_said_once_with_one_that_would_do():
    few = table([f"{text} {number}" for number, text in enumerate(TEXTS * 3)])
    for length, is_said in ((0, False), (8, False), (16, False), (64, True)):
        encoder, inputs = TextEncoder.fit_encode(few, torch.arange(15), length=length)
        expected = (
            "column 'text': no text has more than 10 tokens; the model is made for 64 all the same. --data.length 16"
        )
        assert sum(note.startswith(expected) for note in inputs.notes) == is_said
        assert not any("made for" in note for note in encoder.encode(few).notes), "there is nothing left to choose"
    _, windows = StreamEncoder.fit_encode(few, torch.arange(15), length=1000)
    longest = max(map(len, few.frame["text"].to_list()))
    assert f"no text has more than {longest} tokens, so that windows of 1000 are 98% padding" in windows.notes[0]
    assert not StreamEncoder.fit_encode(few, torch.arange(15), length=32)[1].notes


def test_texts_to_predict_come_from_anything_and_keep_their_names(tmp_path):
    names = ["neg/1", "neg/2", "pos/1", "pos/2"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.txt").write_text(f"the cat {name}")
    learnt = read_text_table(tmp_path)
    encoder, inputs = TextEncoder.fit_encode(learnt, np.arange(4))
    raw = encoder.read(tmp_path)
    assert encoder.ids(raw).to_dict(as_series=False) == {"file": [f"{name}.txt" for name in names]}
    assert [encoder.encode(raw)[row] for row in range(4)] == [inputs[row] for row in range(4)]
    assert encoder.ids(["the cat"]) is None
    again, targets = encoder.encode_labelled(tmp_path, choose_target(learnt, "label"))
    assert targets.tolist() == [0, 0, 1, 1]
    assert again[1] == inputs[1]
    named = Table(pl.DataFrame({"id": ["x", "y"], "review": ["the cat"] * 2}), "new")
    encoder, _ = TextEncoder.fit_encode(named, np.arange(2), column="review", id_column="id")
    assert encoder.ids(named).to_dict(as_series=False) == {"id": ["x", "y"]}
    assert encoder.ids(pl.DataFrame({"review": ["z"]})) is None


# The encoder of streams


def test_a_stream_knows_which_windows_are_of_which_row():
    texts = ["a" * 300, "b" * 5, "", "c" * 129]
    encoder, windows = StreamEncoder.fit_encode(table(texts), np.arange(2))
    assert encoder.spec == {"kind": "tokens", "vocabulary": 259, "length": 128, "causal": True}
    assert windows.document.tolist() == [0, 0, 0, 1, 3, 3]
    assert windows.notes == ("column 'text': 1 of 4 documents is empty and left out.",)
    inputs, targets = windows.batch_of(torch.arange(6))
    assert int((targets != IGNORED).sum()) == 300 + 5 + 129
    again, same = encoder.encode_labelled(table(texts), None).batch_of(torch.arange(6))
    assert torch.equal(again["tokens"], inputs["tokens"])
    assert torch.equal(same, targets)
    batches = list(Batches(windows, 4, rows=torch.tensor([0, 3, 5])))
    assert torch.equal(batches[0][1], targets[[0, 3, 5]])


def test_texts_to_continue_are_whole_and_not_empty(tmp_path):
    encoder, _ = StreamEncoder.fit_encode(table(), np.arange(4), length=4)
    (tmp_path / "prompt.txt").write_text("the cat sat on")
    tokens = encoder.encode(encoder.read(tmp_path / "prompt.txt"))
    assert encoder.tokenizer.decode(tokens[0]) == "the cat sat on"
    assert encoder.encode(["a", "b"])[1] == [FIRST + ord("b")]
    assert encoder.notes(["a"]) == []
    with pytest.raises(InputError, match=r"^texts, row 1: expected the beginning of a text, found none\.$"):
        encoder.encode(["a", ""])


# JSON


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("kind", [TextEncoder, StreamEncoder])
def test_json_gives_back_the_same_encoder_bit_for_bit(kind, name):
    encoder, inputs = kind.fit_encode(
        table(id=list("abcde")), np.arange(4), tokenizer=name, vocabulary=270, id_column="id"
    )
    written = json.dumps(encoder.to_json())
    again = kind.from_json(json.loads(written))
    assert again == encoder
    assert json.dumps(again.to_json()) == written
    assert again.spec == encoder.spec
    assert torch.equal(again.encode(table()).tokens, encoder.encode(table()).tokens)
    if kind is TextEncoder:
        assert torch.equal(again.encode(table()).tokens, inputs.tokens)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("kind", [TextEncoder, StreamEncoder])
def test_a_damaged_description_is_refused(kind, name):
    encoder, _ = kind.fit_encode(table(), np.arange(4), tokenizer=name, vocabulary=270)
    content = encoder.to_json()
    for key in content.keys() - {"kind"}:
        damaged = copy.deepcopy(content)
        del damaged[key]
        with pytest.raises(KeyError):
            kind.from_json(damaged)
        damaged[key] = [None]
        with pytest.raises((ValueError, TypeError, KeyError)):
            kind.from_json(damaged)
    for wrong in ({"length": 0}, {"length": -1}, {"length": 8.5}, {"length": None}, {"column": None}, {"id_column": 3}):
        with pytest.raises((ValueError, TypeError, KeyError)):
            kind.from_json(content | wrong)


CHOICES = [
    ({"column": "txt"}, "texts.csv: expected a column 'txt', found text. Did you mean 'text'?"),
    ({"length": -1}, "length: expected at least 1, or 0 to choose by the texts, found -1."),
    ({"tokenizer": "bit"}, "tokenizer: expected one of bytes, words, bpe, found 'bit'."),
    ({"vocabulary": 0}, "vocabulary: expected at least 2, found 0."),
    ({"rows": []}, "texts.csv, column 'text': expected texts to learn from, found none in training rows."),
    (
        {"table": table(["", None, "x"])},
        "texts.csv, column 'text': expected texts to learn from, found none in training rows.",
    ),
]


@pytest.mark.parametrize(("wrong", "words"), CHOICES)
@pytest.mark.parametrize("kind", [TextEncoder, StreamEncoder])
def test_a_wrong_choice_is_refused_in_one_line(kind, wrong, words):
    choices = {"table": table(), "rows": np.array([0, 1], dtype=np.int64)} | wrong
    choices["rows"] = np.array(choices["rows"], dtype=np.int64)
    with pytest.raises(InputError) as error:
        kind.fit_encode(**choices)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


SCRIPT = """
import hashlib, json
import numpy as np, polars as pl, torch
from truestep.data.table import Table
from truestep.data.texts import text_keys
from truestep.data.tokens import StreamEncoder, TextEncoder
table = Table(pl.DataFrame({"text": [f"w{i % 7} w{i % 5} tie{i} tie{i} é" for i in range(60)]}), "t")
text, rows = TextEncoder.fit_encode(table, np.arange(40))
stream, windows = StreamEncoder.fit_encode(table, np.arange(40), length=7)
inputs, targets = windows.batch_of(torch.arange(len(windows)))
print(json.dumps([text.to_json(), stream.to_json(), text_keys(table, "text").tolist()]))
for tensor in (rows.tokens, inputs["tokens"], targets):
    print(hashlib.sha256(tensor.numpy().tobytes()).hexdigest())
"""


def test_another_process_with_other_hashes_encodes_the_same():
    printed = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in "12"
    ]
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) == 4


@settings(max_examples=30)
@given(texts=st.lists(st.text(max_size=30), min_size=2, max_size=6), name=st.sampled_from(["bytes", "bpe"]))
def test_lossless_tokenizers_keep_whole_texts(texts, name):
    texts = [*texts, "some text"]
    encoder, inputs = TextEncoder.fit_encode(table(texts), np.array([len(texts) - 1]), tokenizer=name, length=200)
    for row, text in enumerate(texts):
        expected = text.replace("\r\n", "\n").replace("\r", "\n")
        assert encoder.tokenizer.decode(inputs[row]) == (expected or "\ufffd")  # an empty one is an unknown token
