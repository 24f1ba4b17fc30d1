"""CSV and TSV files into columns of text, with the line each row came from.

Every cell stays text here: what it means is decided for whole columns, in `columns.py`. Rows of the wrong length,
stray quotes and foreign encodings are refused with their line, where most readers fill in or guess.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from truestep.errors import InputError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")  # spellings of a missing value, in any case
ROWS_AT_ONCE = 50_000  # bounds the memory that cells take as Python strings


def read_csv(path: Path) -> tuple[pl.DataFrame, list[int], list[str]]:
    """Return the cells as text, missing ones as null; the line of each row, counted from 1; and what to tell the user.

    Raises:
        InputError: empty, not UTF-8, a column without a name of its own, a row too short or too long, a stray quote.
    """
    name = path.name
    text = _decode(_content(path), name)
    if not text.strip():
        raise InputError(f"{name}: expected a header and rows, found an empty file.")
    separator = "\t" if name.removesuffix(".gz").endswith(".tsv") else _separator(text)
    rows = _rows(text, separator, name)
    header_line, header = next(rows)
    header = _header(header, name, header_line)

    lines: list[int] = []
    frames: list[pl.DataFrame] = []
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        for line, cells in chunk:
            if len(cells) != len(header):
                raise InputError(
                    f"{name}, line {line}: expected {len(header)} cells as in the header, found {len(cells)} "
                    f"(separated by {SEPARATORS[separator]})."
                )
            lines.append(line)
        columns = zip(*(cells for _, cells in chunk), strict=True)
        frames.append(pl.DataFrame(dict(zip(header, columns, strict=True)), schema=dict.fromkeys(header, pl.String)))
    if not frames:
        raise InputError(f"{name}: expected rows below the header, found none.")
    frame = pl.concat(frames).select(pl.all().str.strip_chars())
    is_missing = pl.all().str.to_lowercase().is_in(MISSING)
    return frame.select(pl.when(~is_missing).then(pl.all())), lines, _missing_notes(frame)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:  # a damaged gzip file is one of these
        raise InputError(f"{path.name}: can't be read ({getattr(error, 'strerror', None) or error}).") from None


def _decode(content: bytes, name: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{name}: expected UTF-8 text, found UTF-16. Convert it: iconv -f utf-16 -t utf-8 {name}")
    if (nul := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, nul) + 1
        raise InputError(f"{name}, line {line}: expected text, found a NUL byte; is this really a CSV file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The codec counts from behind a byte order mark if there is one; that mark is no line.
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise InputError(
            f"{name}, line {line}: expected UTF-8 text, found the byte 0x{byte:02x}. "
            f"If the file is Latin-1, convert it: iconv -f latin1 -t utf-8 {name}"
        ) from None


def _separator(text: str) -> str:
    """Return the separator that the header has most of; a file of one column has none, which reads as a comma."""
    header = text.lstrip("\r\n").split("\n", 1)[0]
    outside_quotes = "".join(header.split('"')[::2])
    return max(SEPARATORS, key=outside_quotes.count)


def _rows(text: str, separator: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of each row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    is_header = True
    num_columns = 0
    while True:
        line = reader.line_num + 1  # a row with line breaks in quotes is known by its first line
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{name}, line {line}: the quotes of this row don't pair up ({error}). "
                'Expected a cell to begin and end with ", and a " inside it to be doubled.'
            ) from None
        if is_header and cells:
            is_header, num_columns = False, len(cells)
        if not cells and num_columns == 1:
            cells = [""]  # in a file of one column a blank line is a missing value
        if cells:
            yield line, cells


def _header(cells: list[str], name: str, line: int) -> list[str]:
    header = [" ".join(cell.split()) or f"column_{number}" for number, cell in enumerate(cells, 1)]
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise InputError(
            f"{name}, line {line}: expected every column to have its own name, "
            f"found more than one {', '.join(map(repr, twice))}."
        )
    return header


def _missing_notes(frame: pl.DataFrame) -> list[str]:
    """Say which words were taken for missing values; 'NA' may have been a country."""
    notes: list[str] = []
    for column in frame:
        words = column.filter(column.str.to_lowercase().is_in(MISSING[1:])).value_counts(sort=True)
        for word, count in words.rows():
            notes.append(f"column '{column.name}': {count} cell{'s' * (count > 1)} '{word}' read as missing.")
    return notes
