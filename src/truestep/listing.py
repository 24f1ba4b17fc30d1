"""What was understood of data, as lines for a terminal of any width. Names come from files, and may hold anything."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

LABEL = 11  # cells of what stands at the left
LISTED = 40  # columns in a table; of more, the first of each kind
FIRST = 5  # columns of a kind, where there are too many
LONGEST_NAME = 32  # cells
CLASSES, RAREST = 20, 5  # shown, and how many of them from the end where there are more
NOTES = 15
SUSPECTS = 20
BAR = 24  # cells of the longest bar
PARTS = " \u258f\u258e\u258d\u258c\u258b\u258a\u2589\u2588"  # of a cell, in eighths
NARROWEST = 40  # cells; a terminal of fewer gets as many


def lines(content: Mapping[str, Any], width: int = 100) -> Iterator[str]:
    """Yield a description of data, as `overview.describe` gives it, and the "suspects" in it if there are any.

    Args:
        content: from this or from an older run: what is not there is not shown.
        width: cells of a line; nothing is longer.
    """
    width = max(width, NARROWEST)
    yield from _head(content, width)
    yield from _columns(content, width)
    yield from _classes(content, width)
    for kind in ("notes", "problems"):
        said = content.get(kind, ())
        if said:
            yield ""
        for sentence in said[:NOTES]:
            yield from wrapped(kind[:-1], sentence, width)
        if more := len(said) - NOTES + content.get("left_out", {}).get(kind, 0) if len(said) > NOTES else 0:
            yield from wrapped("", f"and {more:,} more {kind}; --json has all", width)
    if content.get("suspects") is not None:
        yield from _suspects(content["suspects"], width)


def _head(content: Mapping[str, Any], width: int) -> Iterator[str]:
    target, inputs = content["target"], content.get("inputs", {})
    rows = f"{content['rows']:,} row{'s' * (content['rows'] != 1)}"
    if "windows" in inputs:
        rows += f", {inputs['windows']:,} windows"
    yield from wrapped("data", f"{content['name']}: {rows}", width)
    splits = ", ".join(f"{name} {size:,}" for name, size in content["splits"].items())
    by = content.get("split_by")
    yield from wrapped("splits", f"{splits} ({by})" if by else splits, width)
    yield from wrapped("target", f"{target['name']}, {target['task']}: {target['reason']}", width)
    for label, words in content.get("summary", {}).items():
        yield from wrapped(label, words, width)


def _columns(content: Mapping[str, Any], width: int) -> Iterator[str]:
    columns: Sequence[Mapping[str, Any]] = content["columns"]
    if not columns:
        return
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for column in columns:
        kinds.setdefault(column["kind"], []).append(column)
    every = len(columns) <= LISTED
    shown = list(columns) if every else [column for group in kinds.values() for column in group[:FIRST]]
    alone = content.get("alone", {})
    longest = max(cells(harmless(column["name"])) for column in shown)
    name_width = max(6, min(longest, LONGEST_NAME, width // 3))
    kind_width = max(len(kind) for kind in kinds)
    scored = any(column["name"] in alone for column in shown)
    counts = ", ".join(f"{len(group):,} {kind}" for kind, group in kinds.items())
    yield ""
    yield from wrapped("columns", f"{len(columns) + content.get('left_out', {}).get('columns', 0):,}: {counts}", width)
    yield cut(
        f"  {padded('name', name_width)}  {'kind':<{kind_width}} {'missing':>8} {'distinct':>9}"
        f"{'  alone' if scored else ''}  values",
        width,
    )
    for column in shown:
        score = f"{alone[column['name']]:7.2f}" if column["name"] in alone else " " * 7
        yield cut(
            f"  {padded(column['name'], name_width)}  {column['kind']:<{kind_width}} {column['missing']:>8,} "
            f"{column['distinct']:>9,}{score if scored else ''}  {values_of(column)}",
            width,
        )
        group = kinds[column["kind"]]
        if not every and column is group[:FIRST][-1] and len(group) > FIRST:
            yield from wrapped("", f"  and {len(group) - FIRST:,} more {column['kind']}; --json has all", width)
    if scored:
        metric = "accuracy" if content["target"]["task"] in ("binary", "multiclass") else "R²"
        yield from wrapped("", f"alone: {metric} on held-out rows, predicting from that column alone", width)


def values_of(column: Mapping[str, Any]) -> str:
    """Return the range or the first values of a column, on one line."""
    if column.get("range"):
        low, high = column["range"]
        return f"{low:g} to {high:g}"
    return ", ".join(harmless(value, 60) for value in column.get("examples", ()))


def _classes(content: Mapping[str, Any], width: int) -> Iterator[str]:
    classes: Mapping[str, int] = content.get("classes", {})
    if not classes:
        return
    total, most = max(sum(classes.values()), 1), max(classes.values())
    names = list(classes)
    if len(names) > CLASSES:
        names.sort(key=lambda name: -classes[name])
        names = [*names[: CLASSES - RAREST], *names[-RAREST:]]
    uneven = content.get("imbalance") or 1
    said = f"the most frequent has {uneven:,.3g} times the rows of the rarest" if uneven > 1.005 else "all as frequent"
    name_width = max(6, min(max(cells(harmless(name)) for name in names), LONGEST_NAME, width // 3))
    yield ""
    yield from wrapped("classes", f"{len(classes) + content.get('left_out', {}).get('classes', 0):,}: {said}", width)
    for place, name in enumerate(names):
        if len(classes) > len(names) and place == CLASSES - RAREST:
            yield from wrapped("", f"  and {len(classes) - CLASSES:,} more; --json has all", width)
        count = classes[name]
        room = min(BAR, width - name_width - 25)
        line = f"  {padded(name, name_width)}  {count:>9,} {count / total:>7.1%}  {bar(count / max(most, 1), room)}"
        yield line.rstrip()


def _suspects(found: Sequence[Mapping[str, Any]], width: int) -> Iterator[str]:
    yield ""
    if not found:
        yield from wrapped("labels", "the model doubts none of those held out", width)
        return
    yield from wrapped("labels", f"{len(found):,} of those held out are doubtful, most doubtful first", width)
    rows = [(doubt["place"], value(doubt["given"]), value(doubt["predicted"]), sure(doubt)) for doubt in found]
    rows = [("row", "given", "predicted", "how sure"), *rows[:SUSPECTS]]
    room = width - 2 - 3 * 2 - max(len(row[3]) for row in rows)
    names = [min(max(cells(harmless(row[column])) for row in rows), max(room // 4, 8)) for column in (1, 2)]
    widths = [min(max(cells(harmless(row[0])) for row in rows), room - sum(names)), *names]
    for number, row in enumerate(rows):
        line = "  ".join(padded(cell, size) for cell, size in zip(row, widths, strict=False))
        yield cut(f"  {line}  {row[3]}", width)
        if number and found[number - 1].get("text"):
            yield cut(f"      {found[number - 1]['text']}", width)
    if len(found) > SUSPECTS:
        yield from wrapped("", f"and {len(found) - SUSPECTS:,} more; --json has all", width)


def value(given: Any) -> str:
    """Return a class or a number as it is read."""
    return f"{given:.6g}" if isinstance(given, float) else str(given)


def sure(doubt: Mapping[str, Any]) -> str:
    """Return how sure the model is that a label is wrong."""
    if "probability" in doubt:
        return f"{doubt['probability']:.1%}"
    return f"{doubt['deviations']:+.1f} deviations"


# Cells of a terminal


def harmless(text: object, most: int = 1000) -> str:
    """Return text on one line without anything that a terminal would obey, such as an escape or a turn of direction."""
    text = str(text)
    text = text if len(text) <= most else f"{text[:most]}..."
    return "".join(
        letter if letter.isprintable() else " " if letter in "\t\n\r" else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )


def cells(text: str) -> int:
    """Return how wide a text is: letters of East Asia take two cells, marks above others none."""
    return sum(_cells(letter) for letter in text) if not text.isascii() else len(text)


def _cells(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Me", "Mn"):
        return 0
    return 1 + (unicodedata.east_asian_width(letter) in "WF")


def cut(text: object, width: int) -> str:
    """Return text in at most so many cells; three dots say that there was more."""
    line = harmless(text)
    if cells(line) <= width:
        return line.rstrip()
    kept, room = "", width - 3
    for letter in line:
        room -= _cells(letter)
        if room < 0:
            break
        kept += letter
    return f"{kept.rstrip('. ')}..."


def padded(text: object, width: int) -> str:
    """Return text in exactly so many cells."""
    line = cut(text, width)
    return line + " " * (width - cells(line))


def wrapped(label: str, text: str, width: int) -> Iterator[str]:
    """Yield a paragraph, with a label before its first line."""
    begin, line = f"{label:<{LABEL}}", ""
    room = width - LABEL
    for word in _words(harmless(text, 10_000), room):
        if line and cells(line) + 1 + cells(word) > room:
            yield f"{begin}{line}".rstrip()
            begin, line = " " * LABEL, ""
        line = f"{line} {word}" if line else word
    yield f"{begin}{line}".rstrip()


def _words(text: str, room: int) -> Iterable[str]:
    """Yield words, those that fit no line in pieces."""
    for word in text.split():
        piece, size = "", 0
        for letter in word:
            size += _cells(letter)
            if size > room:
                yield piece
                piece, size = "", _cells(letter)
            piece += letter
        yield piece


def bar(share: float, width: int) -> str:
    """Return a bar of this share of so many cells, in eighths of a cell; never nothing where there is something."""
    eighths = max(round(share * width * 8), 1) if share > 0 else 0
    return PARTS[8] * (eighths // 8) + (PARTS[eighths % 8] if eighths % 8 else "")


def plain(text: str, encoding: str) -> str:
    """Return text as a stream of this encoding can print it; bars become ASCII where blocks are unknown."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "".join("#" if letter in PARTS[1:] else letter for letter in text).encode("ascii", "replace").decode()
    return text
