from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from truestep.listing import bar, cells, cut, harmless, lines, padded, plain, wrapped

ANY = st.text(st.characters(exclude_categories=[]), max_size=300)
SEEN = st.text(st.sampled_from("aZ \xe9\u0436\u05d0\u0e01\u0301\u4e00\u732b\ud55c\uff57\uff8a\u2588\u2026\U0001f600"))


def content(name="x", *, columns=3, classes=3, suspects=None):
    column = {"name": name, "kind": "numeric", "missing": 1, "distinct": 9, "range": [0.0, 1e9]}
    word = {"name": name, "kind": "categorical", "missing": 0, "distinct": 2, "examples": [name, name]}
    return {
        "name": name,
        "rows": 1234,
        "target": {"name": name, "task": "multiclass", "reason": name},
        "split_by": name,
        "summary": {"inputs": name},
        "splits": {"train": 800, "valid": 434},
        "columns": [word, *[column] * (columns - 1)],
        "alone": {name: 0.5},
        "classes": {f"{name}{number}": number * number + 1 for number in range(classes)},
        "imbalance": 3.0,
        "notes": [name] * 30,
        "problems": [name],
        "suspects": suspects,
    }


def doubt(name):
    return {"place": name, "given": name, "predicted": name, "probability": 0.5, "text": name}


@given(ANY, st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_whatever_names_are_every_line_fits_and_none_is_obeyed(name, width):
    shown = list(lines(content(name, columns=50, classes=40, suspects=[doubt(name)] * 30), width))
    for line in shown:
        assert cells(line) <= max(width, 40)
        assert all(letter.isprintable() for letter in line)
        assert not any(
            unicodedata.bidirectional(letter) in {"RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "PDF"} for letter in line
        )


@given(SEEN)
def test_widths_are_those_that_terminals_use(text):
    assert cells(text) == cell_len(text)


def test_the_oldest_run_and_no_columns_at_all_are_shown():
    shown = {
        "name": "d",
        "rows": 1,
        "target": {"name": "y", "task": "regression", "reason": "r"},
        "splits": {},
        "columns": [],
    }
    assert next(iter(lines(shown))) == "data       d: 1 row"


def test_what_is_too_much_is_counted():
    text = "\n".join(lines(content(columns=50, classes=40), 100))
    assert "and 44 more numeric; --json has all" in text
    assert "and 20 more; --json has all" in text
    assert "and 15 more notes; --json has all" in text
    counts = [int(found) for found in re.findall(r"x\d+ +([\d,]+) +\d+\.\d%", text.replace(",", ""))]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 1, "the rarest is there"
    assert len(counts) == 20


def test_nothing_is_lost_in_wrapping():
    words = [f"word{number}" * (1 + number % 9) for number in range(50)]
    joined = " ".join(line[11:] for line in wrapped("note", " ".join(words), 60))
    assert joined.replace(" ", "") == "".join(words)


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, ""), (1e-9, "\u258f"), (0.5, "\u2588\u2588"), (0.53125, "\u2588\u2588\u258f"), (1, "\u2588" * 4)],
)
def test_bars_are_as_long_as_their_shares(share, shown):
    assert bar(share, 4) == shown


def test_texts_are_cut_and_padded_by_cells():
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abc..."
    assert cut("\u732b" * 5, 8) == "\u732b\u732b..."
    assert padded("\u732b", 4) == "\u732b  "
    assert harmless("a\tb\nc\x1b[0m\u202e") == "a b c\N{REPLACEMENT CHARACTER}[0m\N{REPLACEMENT CHARACTER}"


def test_a_terminal_without_blocks_gets_ascii():
    assert plain("  caf\xe9  \u2588\u258c", "ascii") == "  caf?  ##"
    assert plain("  caf\xe9  \u2588\u258c", "utf-8") == "  caf\xe9  \u2588\u258c"
