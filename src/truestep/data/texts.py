"""Text files and folders of them as tables, one row a text.

A text reaches an encoder as it is in the file, in UTF-8, with two exceptions: a byte order mark is dropped, and every
line break becomes a line feed, so that a file means the same whichever system wrote it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from truestep.data.sources import read_table
from truestep.data.table import Table, listed, shorten
from truestep.errors import InputError, did_you_mean

SUFFIX = ".txt"
SPLITS = {"train": 0, "valid": 1, "val": 1, "validation": 1, "dev": 1, "test": 2}  # names of folders that are splits
SHORTEST_PIECE = 100  # characters, of a document that is cut for training and measuring


def read_text_table(path: Path) -> Table:
    """Return the texts of a folder or of one file, in the order of their names.

    A folder with a folder of .txt per class has the columns `file`, `text` and `label`; one of train, valid (val,
    validation, dev) and test folders of those also fills `belongs`. A folder of .txt has `file` and `text`. One .txt is
    one document, `text`. Hidden files are skipped; other files, and deeper folders, are counted in a note.

    Raises:
        InputError: nothing to read, not UTF-8, a NUL byte, an empty file or class, a class that train has none of.
    """
    if not path.is_dir():
        text = _read_file(path, path.name)
        return Table(pl.DataFrame({"text": [text]}), path.name, kinds={"text": "text"})
    name = path.resolve().name
    groups, passed_over = _groups(path)
    _check(groups, name)
    rows = [(group, file) for group in groups for file in group.files]
    files = [_utf8(f"{group.folder}{file}", name) for group, file in rows]
    columns = {"file": files, "text": [_read_file(path / file, f"{name}/{file}") for file in files]}
    if groups[0].label is not None:
        columns["label"] = [group.label or "" for group, _ in rows]
    belongs = None if groups[0].belongs is None else [group.belongs or 0 for group, _ in rows]
    notes = []
    if count := len(passed_over):
        what = f"{count} other file{'s' * (count > 1)}" if count > 1 else "1 other file"
        notes = [f"{name}: {what} passed over ({listed(passed_over, 3)})."]
    target = "label" if "label" in columns else None
    kinds = {"file": "id", "text": "text"}
    return Table(
        pl.DataFrame(columns),
        name,
        target=target,
        kinds=kinds,
        belongs=belongs,
        folder=path,
        notes=notes,
        places=lambda row: f"{name}/{files[row]}",
    )


def is_text_folder(path: Path) -> bool:
    """Whether this is a folder that `read_text_table` reads: most of its files are .txt. Reads names, no file."""
    if not path.is_dir():
        return False
    groups, passed_over = _groups(path)
    return sum(len(group.files) for group in groups) > len(passed_over)


@dataclass
class _Group:
    """The texts of one folder."""

    folder: str  # relative, with a slash behind it, or empty
    files: list[str]
    label: str | None = None
    belongs: int | None = None


@dataclass
class _Names:
    """What a folder holds, in order, without what is hidden."""

    folders: list[str] = field(default_factory=list[str])
    texts: list[str] = field(default_factory=list[str])
    others: list[str] = field(default_factory=list[str])


def _names(folder: Path) -> _Names:
    names = _Names()
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    names.folders.append(entry.name)
                elif entry.name.lower().endswith(SUFFIX) and entry.is_file():
                    names.texts.append(entry.name)
                else:  # a pipe or a device is never opened
                    names.others.append(entry.name)
    except OSError as error:
        raise InputError(f"{shorten(str(folder))}: the folder can't be read ({error.strerror}).") from None
    return names


def _groups(path: Path) -> tuple[list[_Group], list[str]]:
    """Return the folders of texts, and the names of everything else."""
    names = _names(path)
    if "train" not in names.folders or not set(names.folders) <= SPLITS.keys():
        return _classes(path, "", names)
    groups, passed_over = [], [*names.texts, *names.others]
    for split in sorted(names.folders, key=lambda name: (SPLITS[name], name)):
        found, others = _classes(path / split, f"{split}/", _names(path / split))
        groups += [replace(group, belongs=SPLITS[split]) for group in found]
        passed_over += others
    return groups, passed_over


def _classes(path: Path, prefix: str, names: _Names) -> tuple[list[_Group], list[str]]:
    """Return the texts of each class, or those of the folder itself where no folder in it holds any."""
    inside = {folder: _names(path / folder) for folder in names.folders}
    passed_over = [prefix + name for name in names.others]
    for folder, found in inside.items():
        passed_over += [f"{prefix}{folder}/{name}" for name in (*found.others, *found.folders)]
    if any(found.texts for found in inside.values()):
        groups = [_Group(f"{prefix}{folder}/", found.texts, label=folder) for folder, found in inside.items()]
        return groups, [prefix + name for name in names.texts] + passed_over
    return [_Group(prefix, names.texts)], passed_over


def _check(groups: list[_Group], name: str) -> None:
    if not any(group.files for group in groups):
        raise InputError(f"{name}: expected .txt files, or a folder of them for each class, found none.")
    for group in groups:
        if not group.files:
            raise InputError(
                f"{name}/{shorten(group.folder)}: expected .txt files, found none. "
                "Move the folder elsewhere if it is no part of the data."
            )
        _utf8(group.folder, name)
    if len({group.label is None for group in groups}) > 1:
        flat, by_class = (next(g.folder for g in groups if (g.label is None) == is_flat) for is_flat in (True, False))
        raise InputError(
            f"{name}: expected every split to have the same classes, "
            f"found {shorten(by_class)}*.txt but {shorten(flat)}*.txt."
        )
    trained = [group.label for group in groups if not group.belongs]
    for group in groups:
        if group.label not in trained:
            known = [label for label in trained if label]
            raise InputError(
                f"{name}/{shorten(group.folder)}: expected a class that train has too ({listed(known)}), "
                f"found '{shorten(group.label or '')}'.{did_you_mean(group.label or '', known)}"
            )


def _utf8(file: str, name: str) -> str:
    try:
        file.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name}: expected names of files in UTF-8, found {shorten(repr(file))}.") from None
    return file


def _read_file(path: Path, name: str) -> str:
    """Return the text of a file; `name` is for messages."""
    name = shorten(name, 200)
    if not path.name.lower().endswith(SUFFIX):
        raise InputError(f"{name}: expected a .txt file or a folder of them, found '{path.suffix or path.name}'.")
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{name}: expected a regular file, found a pipe or a device; save its content first.")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{name}: the file can't be read ({error.strerror}).") from None
    except ValueError as error:  # a NUL byte in the name
        raise InputError(f"{name!r}: not the name of a file ({error}).") from None
    text = _decode(content, name)
    if not text.strip():
        raise InputError(f"{name}: expected text, found an empty file.")
    return text


def _decode(content: bytes, name: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        raise InputError(f"{name}: expected UTF-8 text, found UTF-16 or UTF-32. Convert it with iconv -t utf-8.")
    content = content.removeprefix(b"\xef\xbb\xbf")
    if (nul := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, nul) + 1
        raise InputError(f"{name}, line {line}: expected text, found a NUL byte; is this really a text file?")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{name}, line {line}: expected UTF-8 text, found the byte 0x{content[error.start]:02x}. "
            "If the file is Latin-1, convert it: iconv -f latin1 -t utf-8."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def cut_document(text: str, valid: float, test: float, *, name: str = "text") -> Table:
    """Return one text as consecutive pieces, the first for training, then for validation, then for the test.

    A piece ends at the line break that is nearest to where its share ends, if one is near; joined, the pieces are the
    text again.

    Args:
        text: the document.
        valid: share of its characters to validate on, 0 for none.
        test: share of its characters to test on, 0 for none.
        name: of the document, for messages.

    Returns:
        Table: `text`, a row for each piece, `belongs` 0 for train, 1 for valid, 2 for test.

    Raises:
        InputError: too short for every piece to have `SHORTEST_PIECE` characters.
    """
    shares = [1 - valid - test, valid, test]
    belongs = [split for split, share in enumerate(shares) if share > 0]
    smallest = min(shares[split] for split in belongs)
    if len(text) * smallest < SHORTEST_PIECE:
        raise InputError(
            f"{name}: expected at least {int(np.ceil(SHORTEST_PIECE / smallest))} characters to be cut into "
            f"{' and '.join(('train', 'valid', 'test')[split] for split in belongs)}, found {len(text)}."
        )
    reach = int(len(text) * smallest / 10)
    cuts = [0, *(_line_break(text, round(len(text) * sum(shares[: split + 1])), reach) for split in belongs[:-1])]
    pieces = [text[start:end] for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]
    return Table(pl.DataFrame({"text": pieces}), name, kinds={"text": "text"}, belongs=belongs)


def _line_break(text: str, place: int, reach: int) -> int:
    """Return the place behind the line break nearest to `place`, or `place` itself if none is within reach."""
    before = text.rfind("\n", place - reach, place) + 1
    after = text.find("\n", place, place + reach) + 1
    return min((found for found in (before, after) if found), key=lambda found: abs(found - place), default=place)


def read_texts(source: Any, column: str) -> Table:
    """Return the texts of whatever the user has, under the name that training knew them by.

    Args:
        source: a folder of .txt, one .txt (one row), a list of texts, or a table that has the column.
        column: their name.

    Raises:
        InputError: it can't be read, or a table has no such column.
    """
    if isinstance(source, list | tuple):
        table = Table(pl.DataFrame({"text": _strings(cast("Sequence[Any]", source))}), "texts")
    elif isinstance(source, str | Path) and (Path(source).suffix.lower() == SUFFIX or _is_folder(Path(source))):
        table = read_text_table(Path(source))
        if "file" not in table.columns:  # one file is known by its name, too, as each of many is
            table = replace(table, frame=pl.DataFrame({"file": [Path(source).name]}).hstack(table.frame))
    else:
        table = read_table(source)
        table.column(column)
        return table
    if column == "text":
        return table
    others = [name for name in table.frame.columns if name != column]
    return replace(table, frame=table.frame.select(others).rename({"text": column}))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except ValueError:  # a NUL byte in the name
        return False


def _strings(texts: Sequence[Any]) -> pl.Series:
    if not texts:
        raise InputError("texts: expected at least one, found an empty list.")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"texts, row {row}: expected a text, found {type(text).__name__}.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(f"texts, row {row}: expected text, found half of a surrogate pair.") from None
    return pl.Series(list(texts), dtype=pl.String)


def texts_of(table: Table, column: str) -> list[str]:
    """Return the texts of a column as an encoder sees them: missing ones empty, line breaks as line feeds.

    Raises:
        InputError: there is no such column, or it holds no texts.
    """
    series = table.column(column)
    if series.dtype.is_nested() or isinstance(series.dtype, pl.Binary | pl.Object):
        raise InputError(f"{table.name}, column '{column}': expected texts, found {series.dtype}.")
    series = series.cast(pl.String).fill_null("")
    return series.str.replace_all("\r\n", "\n", literal=True).str.replace_all("\r", "\n", literal=True).to_list()


def text_keys(table: Table, column: str) -> np.ndarray:
    """Return a number for each text, (N,) uint64, that tells it from any other and is the same everywhere.

    The first eight bytes of BLAKE2b of the text in UTF-8, as `texts_of` gives it.
    """
    digests = [hashlib.blake2b(text.encode()).digest()[:8] for text in texts_of(table, column)]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
