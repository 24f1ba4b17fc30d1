"""CSV and TSV files into columns of text, with the line each row came from.

Every cell stays text here: what it means is decided for whole columns, in `columns.py`. Rows of the wrong length,
stray quotes and foreign encodings are refused with their line, where most readers fill in or guess.

A file is read in blocks of whole rows. Separators and quotes are counted on the bytes of a block, and if all is well
polars cuts it into cells; where quotes are not as the format has them, Python's own reader goes through the rest, cell
by cell. The columns of a large file are kept on the disk.
"""

from __future__ import annotations

import csv
import gzip
import re
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import polars as pl

from truestep.data.missing import LONGEST_MISSING, MISSING, read_as_missing
from truestep.data.parquet_file import ParquetFrame, TemporaryFolder
from truestep.errors import InputError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}

BLOCK = 16 * 2**20  # bytes read at once
IN_MEMORY = 128 * 2**20  # bytes of text from which on columns are kept on the disk
LONGEST_ROW = 256 * 2**20  # bytes
MOST_COLUMNS = 20_000
ROWS_AT_ONCE = 50_000  # of those cut by Python: bounds the memory that cells take as objects


class Csv(NamedTuple):
    """What a file holds."""

    frame: pl.DataFrame  # of text, missing values as null; or a `ParquetFrame` of the same
    lines: Sequence[int] | np.ndarray  # of each row, counted from 1
    notes: list[str]  # what to tell the user
    separator: str


def read_csv(path: Path) -> Csv:
    """Return the cells as text, missing ones as null, and where each row stands.

    Raises:
        InputError: empty, not UTF-8, a column without a name of its own, a row too short or too long, a stray quote.
    """
    with _Source(path) as source:
        return _Reader(source, path.name).read()


class _Source:
    """The bytes of a file, unpacked and without a byte order mark, in blocks that end where a line does."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.ended = False
        self._rest = b""
        try:
            self._stream = gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # noqa: SIM115
        except OSError as error:
            raise self._unreadable(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def block(self) -> bytes:
        """Return what was given back and the next lines; nothing at the end."""
        parts = [self._rest]
        while True:
            try:
                more = self._stream.read(BLOCK)
            except (OSError, EOFError, zlib.error) as error:  # a damaged gzip file is one of these
                raise self._unreadable(error) from None
            if not more:
                self.ended, self._rest = True, b""
                return b"".join(parts)
            # A carriage return that is the last byte may be half of a line end.
            cut = max(more.rfind(b"\n"), more.rfind(b"\r", 0, len(more) - 1)) + 1
            if cut:
                self._rest = more[cut:]
                return b"".join([*parts, more[:cut]])
            parts.append(more)
            if sum(map(len, parts)) > LONGEST_ROW:
                raise InputError(f"{self.name}: expected rows, found {LONGEST_ROW // 2**20} MB without a line end.")

    def give_back(self, block: bytes) -> None:
        """Put a part of a block in front of what comes next."""
        self._rest, self.ended = block + self._rest, False

    def _unreadable(self, error: Exception) -> InputError:
        return InputError(f"{self.name}: can't be read ({getattr(error, 'strerror', None) or error}).")


class _Reader:
    """The state of reading one file: its header, and the columns so far."""

    def __init__(self, source: _Source, name: str) -> None:
        self.source, self.name = source, name
        self.separator = ""
        self.header: list[str] = []
        self.columns = _Columns(name)
        self.notes: list[str] = []

    def read(self) -> Csv:
        first = self.source.block().removeprefix(b"\xef\xbb\xbf")
        if first.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError(
                f"{self.name}: expected UTF-8 text, found UTF-16. Convert it: iconv -f utf-16 -t utf-8 {self.name}"
            )
        while not first.strip():
            if not (more := self.source.block()):
                raise InputError(f"{self.name}: expected a header and rows, found an empty file.")
            first += more
        check_text(first, self.name, 1)
        line, used = self._read_header(first)
        block = first[used:]
        while block or (block := self.source.block()):
            used = self._read_rows(block, line)
            if used is None:  # quotes that only a reader of single cells understands, or refuses
                self.source.give_back(block)
                self._read_cells(line)
                break
            line += _count_lines(block[:used])
            self.source.give_back(block[used:])
            block = b""
        if not self.columns.lines:
            raise InputError(f"{self.name}: expected rows below the header, found none.")
        frame, lines = self.columns.finish()
        return Csv(frame, lines, self.notes + self.columns.notes(self.header), self.separator)

    def _read_header(self, block: bytes) -> tuple[int, int]:
        """Find the separator and the names of columns; return the line and the byte where rows begin."""
        skipped: list[tuple[int, int, str]] = []  # lines that begin with #, which may be comments
        number, start, head = 1, 0, ""
        for text, end in _lines(block):
            if match := re.fullmatch(r"sep=(.)\s*", text):  # what spreadsheets write for each other
                self.separator = match[1]
            elif text.startswith("#"):
                skipped.append((number, start, text))
            elif text.strip("\r\n"):
                head = text
                break
            number, start = number + 1, end
        if skipped and (not head or _is_header(skipped[-1][2], head)):
            number, start, head = skipped.pop()
        if skipped:
            numbers = ", ".join(str(line) for line, _, _ in skipped)
            self.notes.append(f"{self.name}, line{'s' * (len(skipped) > 1)} {numbers}: a comment, left out.")
        if self.name.lower().removesuffix(".gz").endswith(".tsv"):
            self.separator = "\t"
        elif not self.separator:
            self.separator = _separator(head)
        rest = block[start:]
        taken = 0

        def counted() -> Iterator[str]:
            nonlocal taken
            for text, end in _lines(rest):
                taken = end
                yield text

        rows = csv.reader(counted(), delimiter=self.separator, strict=True)
        try:
            with _large_cells():
                cells = next(rows)
        except (csv.Error, StopIteration) as error:
            raise self._quotes(number, error) from None
        self.header = self._names(cells, number)
        return number + rows.line_num, start + taken

    def _names(self, cells: list[str], line: int) -> list[str]:
        if len(cells) > MOST_COLUMNS:
            raise InputError(
                f"{self.name}, line {line}: expected at most {MOST_COLUMNS:,} columns, found {len(cells):,}. "
                "Give the numbers as an array: a .npz file, or (inputs, targets)."
            )
        header = [" ".join(cell.split()) or f"column_{number}" for number, cell in enumerate(cells, 1)]
        if twice := sorted(column for column, count in Counter(header).items() if count > 1):
            more = f" and {len(twice) - 20} more" if len(twice) > 20 else ""
            raise InputError(
                f"{self.name}, line {line}: expected every column to have its own name, "
                f"found more than one {', '.join(map(repr, twice[:20]))}{more}."
            )
        return header

    def _read_rows(self, block: bytes, line: int) -> int | None:
        """Take the whole rows of a block; return how many bytes they have, None if its quotes are beyond counting."""
        used = len(block)
        check_text(block, self.name, line)
        quoted = b'"' in block
        if quoted:
            if len(self.header) == 1 or block.count(b"\r") != block.count(b"\r\n"):
                return None
            if self.source.ended and not block.endswith(b"\n"):
                block += b"\n"
        else:
            if b"\r" in block:
                block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            if not block.endswith(b"\n"):
                block += b"\n"
        rows = cut_rows(block, self.separator)
        if rows is None or (not len(rows.ends) and (self.source.ended or len(block) > 4 * BLOCK)):
            return None
        if not len(rows.ends):
            return 0
        kept = np.flatnonzero(~rows.blank) if len(self.header) > 1 else np.arange(len(rows.ends))
        wrong = rows.cells[kept] != len(self.header)
        lines = line + rows.first_lines[kept]
        if wrong.any():
            at = int(wrong.argmax())
            raise self._wrong_length(int(lines[at]), int(rows.cells[kept][at]))
        size = int(rows.ends[-1]) + 1
        if len(kept):
            frame = self._cut(block[:size] if len(kept) == len(rows.ends) else rows.without_blank(block), len(kept))
            if frame is None:
                return None
            bare = block.replace(self.separator.encode(), b",")
            trimmed = not quoted and re.search(rb"[^\x21-\x7e\r\n]", bare) is None  # a line break in quotes is a space
            self.columns.add(frame, lines, size, trimmed=trimmed)
        return min(used, size) if quoted else used

    def _cut(self, text: bytes, num_rows: int) -> pl.DataFrame | None:
        if len(self.header) == 1:
            return pl.DataFrame({self.header[0]: text.decode().split("\n")[:-1]})
        try:
            frame = pl.read_csv(
                text,
                has_header=False,
                new_columns=self.header,
                separator=self.separator,
                infer_schema=False,
                raise_if_empty=False,
            )
        except pl.exceptions.PolarsError:
            return None
        return frame if frame.shape == (num_rows, len(self.header)) else None

    def _read_cells(self, line: int) -> None:
        """Take the rest of the file with Python's own reader."""
        reader = csv.reader(self._texts(line), delimiter=self.separator, strict=True)
        with _large_cells():
            rows = self._rows(reader, line)
            while chunk := list(islice(rows, ROWS_AT_ONCE)):
                columns = zip(*(cells for _, cells in chunk), strict=True)
                cells = dict(zip(self.header, columns, strict=True))
                size = sum(len(cell) for _, row in chunk for cell in row)
                lines = np.array([number for number, _ in chunk])
                self.columns.add(pl.DataFrame(cells, schema=dict.fromkeys(self.header, pl.String)), lines, size)

    def _texts(self, line: int) -> Iterator[str]:
        while block := self.source.block():
            check_text(block, self.name, line)
            for part in block.splitlines(keepends=True):
                yield part.decode()
                line += 1

    def _rows(self, reader: Iterator[list[str]], start: int) -> Iterator[tuple[int, list[str]]]:
        """Yield (line, cells) of each row that is not blank."""
        while True:
            line = start + reader.line_num  # pyright: ignore[reportAttributeAccessIssue]  # by its first line
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise self._quotes(line, error) from None
            if not cells and len(self.header) == 1:
                cells = [""]  # in a file of one column a blank line is a missing value
            if cells:
                if len(cells) != len(self.header):
                    raise self._wrong_length(line, len(cells))
                yield line, cells

    def _wrong_length(self, line: int, found: int) -> InputError:
        return InputError(
            f"{self.name}, line {line}: expected {len(self.header)} cells as in the header, found {found} "
            f"(separated by {SEPARATORS.get(self.separator, repr(self.separator))})."
        )

    def _quotes(self, line: int, error: Exception) -> InputError:
        return InputError(
            f"{self.name}, line {line}: the quotes of this row don't pair up ({error}). "
            'Expected a cell to begin and end with ", and a " inside it to be doubled.'
        )


class CutRows(NamedTuple):
    """Where the whole rows of a block are."""

    ends: np.ndarray  # (n,) int64, the line feed that ends each
    cells: np.ndarray  # (n,) int64
    blank: np.ndarray  # (n,) bool
    first_lines: np.ndarray  # (n,) int64, lines of the block before each

    def without_blank(self, block: bytes) -> bytes:
        starts = np.concatenate([[0], self.ends[:-1] + 1])
        parts = [block[start : end + 1] for start, end in zip(starts[~self.blank], self.ends[~self.blank], strict=True)]
        return b"".join(parts)


def cut_rows(block: bytes, separator: str) -> CutRows | None:
    """Find rows and count their cells on the bytes of a block; None if a quote stands where the format has none.

    Args:
        block: lines that end in a line feed, or in a carriage return and a line feed. The last may lie in quotes.
        separator: of cells, one ASCII character.
    """
    content = np.frombuffer(block, dtype=np.uint8)
    feeds = np.flatnonzero(content == ord("\n"))
    separators = np.flatnonzero(content == ord(separator))
    quotes = np.flatnonzero(content == ord('"')) if b'"' in block else np.empty(0, dtype=np.int64)
    ends = feeds
    if len(quotes):  # between an odd number of them and the next, everything belongs to a cell
        ends = feeds[np.searchsorted(quotes, feeds) % 2 == 0]
        separators = separators[np.searchsorted(quotes, separators) % 2 == 0]
        whole = quotes[: np.searchsorted(quotes, ends[-1])] if len(ends) else quotes[:0]
        opening, closing = whole[0::2], whole[1::2]
        before = np.where(opening > 0, content[opening - 1], ord("\n"))
        behind = content[closing + 1]
        if not (
            np.isin(before, [ord(separator), ord("\n"), ord('"')]).all()
            and np.isin(behind, [ord(separator), ord("\n"), ord("\r"), ord('"')]).all()
        ):
            return None
    cells = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
    lengths = np.diff(ends, prepend=-1) - 1
    blank = lengths == 0
    if b"\r" in block:
        blank |= (lengths == 1) & (content[ends - 1] == ord("\r"))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    first_lines = np.searchsorted(feeds, starts) if len(ends) < len(feeds) else np.arange(len(ends))
    return CutRows(ends, cells, blank, first_lines)


def check_text(block: bytes, name: str, line: int) -> None:
    """Refuse bytes that are no UTF-8 text, with the line of the first.

    Args:
        block: some lines.
        name: of the file.
        line: number of the first of these lines.
    """
    if (nul := block.find(b"\0")) >= 0:
        line += _count_lines(block[:nul])
        raise InputError(f"{name}, line {line}: expected text, found a NUL byte; is this really a CSV file?")
    if block.isascii():
        return
    try:
        block.decode()
    except UnicodeDecodeError as error:
        line += _count_lines(block[: error.start])
        raise InputError(
            f"{name}, line {line}: expected UTF-8 text, found the byte 0x{block[error.start]:02x}. "
            f"If the file is Latin-1, convert it: iconv -f latin1 -t utf-8 {name}"
        ) from None


class _Columns:
    """Rows put together, in memory while they are few, else in files of a temporary folder."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[np.ndarray] = []
        self._frames: list[pl.DataFrame] = []
        self._size = 0
        self._files: list[Path] = []
        self._folder: TemporaryFolder | None = None
        self._missing: dict[str, Counter[str]] = {}

    def add(self, frame: pl.DataFrame, lines: np.ndarray, size: int, *, trimmed: bool = False) -> None:
        """Take rows; `size` is how many bytes of text they were, `trimmed` says that there is no space in it."""
        self._frames.append(self._cleaned(frame, trimmed))
        self.lines.append(lines)
        self._size += size
        if self._size > IN_MEMORY:
            self._write()

    def finish(self) -> tuple[pl.DataFrame, Sequence[int] | np.ndarray]:
        first, last = int(self.lines[0][0]), int(self.lines[-1][-1])
        num_rows = sum(map(len, self.lines))
        lines = range(first, last + 1) if last - first + 1 == num_rows else np.concatenate(self.lines)
        if not self._files:
            return pl.concat(self._frames), lines
        self._write()
        frame: pl.DataFrame = ParquetFrame(self._files, self.name, held=self._folder)  # pyright: ignore[reportAssignmentType]  # as good as one
        return frame, lines

    def notes(self, header: list[str]) -> list[str]:
        """Say which words were taken for missing values; 'NA' may have been a country."""
        return [read_as_missing(name, words) for name in header if (words := self._missing.get(name))]

    def _cleaned(self, frame: pl.DataFrame, trimmed: bool) -> pl.DataFrame:
        """Return cells without outer spaces, and null for those that say that a value is missing."""
        frame = frame.cast(pl.String)
        # All columns are looked at at once, because there may be thousands; few of them have anything to clean.
        if not trimmed:
            padded = frame.select(pl.all().str.contains(r"^\s|\s$").any()).row(0)
            names = [name for name, has_some in zip(frame.columns, padded, strict=True) if has_some]
            frame = frame.with_columns(pl.col(names).str.strip_chars())
        short = pl.all().filter(pl.all().str.len_bytes() <= LONGEST_MISSING).unique().str.to_lowercase()
        found = frame.select(short.is_in(MISSING).any()).row(0)
        columns = zip(frame, found, strict=True)
        return pl.DataFrame([self._without_missing(column) if has_some else column for column, has_some in columns])

    def _without_missing(self, column: pl.Series) -> pl.Series:
        """Return null for cells that say that a value is missing, and count them."""
        short = column.filter(column.str.len_bytes() <= LONGEST_MISSING).unique()
        words = short.filter(short.str.to_lowercase().is_in(MISSING))
        is_missing = column.is_in(words.implode())
        if len(words) > 1 or words[0]:
            counts = column.filter(is_missing).value_counts().filter(pl.col(column.name) != "").rows()
            self._missing.setdefault(column.name, Counter()).update(dict(counts))
        return column.set(is_missing, None)

    def _write(self) -> None:
        if not self._frames:
            return
        try:
            self._folder = self._folder or TemporaryFolder(tempfile.mkdtemp(prefix="truestep-"))
            path = self._folder.path / f"{len(self._files):06d}.parquet"
            pl.concat(self._frames).write_parquet(path, compression="lz4", statistics=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(
                f"{self.name}: too large for memory, and can't be kept in {tempfile.gettempdir()} "
                f"({' '.join(str(error).split())}). Set TMPDIR to a folder with more space."
            ) from None
        self._files.append(path)
        self._frames.clear()


class _large_cells:  # noqa: N801 - used as a function is
    """Let cells be long while this lasts; the limit belongs to the whole process."""

    def __enter__(self) -> None:
        self._limit = csv.field_size_limit(LONGEST_ROW)

    def __exit__(self, *_: object) -> None:
        csv.field_size_limit(self._limit)


def _lines(block: bytes) -> Iterator[tuple[str, int]]:
    """Yield each line with its end, and where the next one begins."""
    for match in re.finditer(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", block):
        yield match[0].decode(), match.end()


def _count_lines(block: bytes) -> int:
    return block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")


def _separator(head: str) -> str:
    """Return the separator that the header has most of; a file of one column has none, which reads as a comma."""
    outside_quotes = "".join(head.split('"')[::2])
    return max(SEPARATORS, key=outside_quotes.count)


def _is_header(line: str, following: str) -> bool:
    """Whether a line that begins with # names columns: it has as many cells as the next."""
    separator = _separator(following)
    count = line.count(separator)
    return count == following.count(separator) and (count > 0 or " " not in line.strip())
