"""Data of many kinds as three splits, an encoder that was fitted on the training rows only, and the facts.

load(source) ─> Table, arrays or datasets ─> target ─> split ─> encoder ─> Data
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, IterableDataset

from truestep.data import facts
from truestep.data.arrays import ArrayEncoder
from truestep.data.columns import (
    NUMERIC_KINDS,
    Column,
    as_text,
    check_kinds,
    describe,
    form_of,
    numbers_of,
    parse_numbers,
)
from truestep.data.examples import scan_dataset
from truestep.data.facts import Facts
from truestep.data.image_files import image_keys, looks_like_images, pixel_keys
from truestep.data.images import ImageEncoder
from truestep.data.keys import array_keys, row_keys, split_keys, values_of
from truestep.data.own import Arrays, Datasets, check_iterable, is_own, read_own
from truestep.data.pixels import PIXEL, PixelEncoder, pixel_grid, pixel_values
from truestep.data.sequences import SequenceEncoder, split_windows, window_rows
from truestep.data.sources import read_table
from truestep.data.split import check_fractions, split_rows
from truestep.data.table import Table, listed
from truestep.data.tabular import TableEncoder
from truestep.data.targets import (
    Target,
    check_task,
    choose_array_target,
    choose_target,
    encode_array_targets,
    encode_targets,
    token_target,
    with_targets,
)
from truestep.data.texts import cut_document, text_keys, texts_of
from truestep.data.tokens import StreamEncoder, TextEncoder
from truestep.errors import InputError, did_you_mean
from truestep.nest import take
from truestep.recipe import DataChoices, Recipe

if TYPE_CHECKING:
    from truestep.data.encoder import Encoder

FEWEST_ROWS = 10  # no split of fewer says anything
SPLITS = ("train", "valid", "test")
APPLIES = {  # choices that are for some kinds of data only
    "missing": ("table", "sequence", "text", "image", "pixels"),
    "scale": ("table",),
    "window": ("sequence",),
    "horizon": ("sequence",),
    "image_size": ("image",),
    "tokenizer": ("text",),
    "vocabulary": ("text",),
    "length": ("text",),
}
GIVEN, BY_CONTENT, BY_NUMBER = "as the source is split", "by the content of each row", "by the number of each example"


@dataclass(frozen=True)
class Split:
    """Some of a source's examples, which its splits share, so that none is copied."""

    examples: Any  # of the whole source, as `Batches` takes them: most often (inputs, targets)
    known: Tensor  # targets of the whole source, as below; none for next-token, where texts are their own targets
    rows: Tensor  # (n,) int64, the indices of those that belong here
    lengths: Tensor | None = None  # of the whole source's examples, where they differ
    names: Tensor | None = None  # of the whole source's examples: their row numbers there, where these are others

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def inputs(self) -> Any:
        """Copies of the inputs: a tensor or a dict of tensors, (n, ...)."""
        return take(self.examples[0], self.rows)

    @property
    def targets(self) -> Tensor:
        """A copy of the targets: (n,) int64 classes; float32 (n,) or (n, K) numbers in their own units; (n, L) labels."""
        return self.known[self.rows] if len(self.known) else self.known


@dataclass(frozen=True, repr=False)
class Data:
    """All a run needs to know about its data."""

    name: str
    encoder: Encoder
    target: Target
    train: Split
    valid: Split  # may be empty, as may be
    test: Split
    facts: Facts
    keys: np.ndarray | None  # (N,) uint64, equal for equal inputs, whatever the machine; None if nobody has read them
    table: Table | None = None  # its rows as people know them: where each stands, its image's name or its text, no more
    split_by: str = ""  # what decided where a row belongs, in words

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        return f"Data({self.name}: {sizes}; {self.target.name}, {self.target.task}; inputs {self.encoder.spec})"

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "valid": self.valid, "test": self.test}


def load(
    source: Any,
    choices: DataChoices | None = None,
    *,
    task: str = "auto",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **named: Any,
) -> Data:
    """Read data, split it, and fit its encoder on the training rows.

    Args:
        source: a bundled data set (`bundled.names()`); a .csv, .tsv or .parquet file; a folder of images or texts, with
            a folder for each class; a .txt file; a .npz, .pt or .safetensors file of arrays; a polars or pandas frame; a
            pair (inputs, targets) of arrays or tensors; a map-style PyTorch dataset of such pairs, or up to three of
            them, for the splits; a Hugging Face dataset.
        choices: all choices about data; or give some of them by name, such as `target="price"` or `valid=0.2`.
        task: what to learn: auto, multiclass, binary, multilabel, regression or next-token.
        seed: of the split.
        progress: called with (done, total) while files are read.

    Raises:
        InputError: the data can't be read, or can't be learnt from.
    """
    if choices is None:
        choices = Recipe().changed({f"data.{name}": value for name, value in named.items()}).data
    check_task(task)
    own = read_own(source, _name(source)) if is_own(source) else _table(source, choices)
    if isinstance(own, Table):
        own = _with_targets(own.with_missing(choices.missing), choices)
        data = _load_table(own, _name(source), choices, task, seed, progress)
        return replace(data, table=_known_by(own, data.encoder), split_by=_split_by(own, choices, data.target))
    if choices.target is not None or choices.drop or choices.kinds or choices.group or choices.time:
        raise InputError(
            "data.target, data.drop, data.kinds, data.group, data.time: expected none of them for arrays and datasets, which "
            "have no columns."
        )
    if choices.split not in ("auto", "rows"):
        raise InputError(
            f"--data.split {choices.split}: expected rows for arrays and datasets, which have no columns to go by."
        )
    _check_applies(choices, "arrays")
    if isinstance(own, Arrays):
        data = _load_arrays(own, _name(source), choices, task, seed)
        given = own.belongs is not None
    else:
        data = _load_datasets(own, _name(source), choices, task, seed, progress)
        given = own.valid is not None or own.test is not None
    return replace(data, split_by=GIVEN if given else BY_NUMBER if isinstance(own, Datasets) else BY_CONTENT)


def _known_by(table: Table, encoder: Encoder) -> Table:
    """Return the rows with what people know them by and nothing else, which would fill the memory during a run."""
    shown = [name for name in (getattr(encoder, "column", None), "file") if name in table.columns]
    return replace(table, frame=pl.DataFrame([table.column(name) for name in shown]))


def deciding_columns(table: Table, choices: DataChoices) -> dict[str, str | None]:
    """Return what decides where a row belongs, groups or time, and the column of each; nothing if that is its content.

    Rows of a series are in order, whether or not a column says so: time without a column is the order of the rows.
    """
    columns = {"groups": choices.group or table.group, "time": choices.time or table.time}
    if choices.split != "auto":
        return {name: column for name, column in columns.items() if name == choices.split}
    if choices.window:
        return {"groups": columns["groups"]} if columns["groups"] else {"time": columns["time"]}
    return {name: column for name, column in columns.items() if column}


def _is_drawn(table: Table, choices: DataChoices) -> bool:
    """Whether a split is left that the source, or a file, does not give the rows of."""
    given: set[int] = set() if table.belongs is None else set(np.unique(np.asarray(table.belongs)).tolist())
    shares = enumerate((choices.valid, choices.test), 1)
    return any(share and not isinstance(share, str) and split not in given for split, share in shares)


def _check_split(table: Table, choices: DataChoices) -> None:
    """Refuse choices about the split that contradict each other, of which one would go unheeded."""
    deciding, wanted = deciding_columns(table, choices), choices.split
    for name, column in deciding.items():
        if column is None and not choices.window:
            raise InputError(
                f"data.split: '{name}' expected a column to go by, found none. Give --{name.rstrip('s')} COLUMN."
            )
    if choices.window and wanted == "rows":
        raise InputError(
            "--data.split rows: expected groups or time for windows, which would share rows with those of other splits. "
            "Leave it out."
        )
    for name, option, column in (("groups", "group", choices.group), ("time", "time", choices.time)):
        if column is None or choices.window:  # where it keeps windows apart, or orders them, in any case
            continue
        if name not in deciding:
            raise InputError(
                f"--{option} {shlex.quote(column)}: expected a split that goes by it, found --data.split {wanted}, "
                f"which does not. Leave one of them out; --data.drop {shlex.quote(column)} keeps a column from being "
                "learnt from."
            )
        if table.belongs is not None and not _is_drawn(table, choices):
            raise InputError(
                f"--{option} {shlex.quote(column)}: expected a split to make, found all rows in splits already "
                f"({_given_by(choices)}). Leave it out; --data.drop {shlex.quote(column)} keeps a column from being "
                "learnt from."
            )
    if choices.stratify and (deciding or (table.belongs is not None and not _is_drawn(table, choices))):
        by = f"a split by {' and '.join(deciding)}" if deciding else f"splits that are given ({_given_by(choices)})"
        raise InputError(
            f"--data.stratify: expected rows to be drawn one by one, found {by}, "
            "in which classes can't have exactly their shares. Leave it out."
        )


def _given_by(choices: DataChoices) -> str:
    files = [part for part in (choices.valid, choices.test) if isinstance(part, str)]
    return f"by the files given: {listed(files)}" if files else GIVEN


def _split_by(table: Table, choices: DataChoices, target: Target) -> str:
    """Return what decided where a row of a table belongs, in words."""
    if table.belongs is not None:
        return _given_by(choices)
    if target.task == "next-token" and len(table) == 1:
        return "by place: the text is cut into consecutive pieces"
    deciding = deciding_columns(table, choices)
    parts = [f"by groups of '{deciding['groups']}'"] if "groups" in deciding else []
    if "time" in deciding:
        parts.append(f"by time, of '{deciding['time']}'" if deciding["time"] else "by time, as the rows stand")
    if parts:
        return " and ".join(parts)
    return f"{BY_CONTENT}; every class at exactly its share" if choices.stratify else BY_CONTENT


def _name(source: Any) -> str:
    """Return a short name for the source, for messages and for the folder of its runs."""
    if isinstance(source, str | Path):
        return Path(source).name.split(".")[0] or Path(source).resolve().name
    return "dataset" if isinstance(source, Dataset) else "data"


def _table(source: Any, choices: DataChoices) -> Table:
    """Return the source as one table, with the rows of other files for validation and testing behind its own."""
    files = {split: part for split, part in enumerate((choices.valid, choices.test), 1) if isinstance(part, str)}
    table = read_table(source)
    if not files:
        return table
    if table.belongs is not None:
        raise InputError(
            f"valid, test: expected shares, because {table.name} is split already, found {listed([*files.values()])}."
        )
    return joined({0: table} | {split: read_table(file) for split, file in files.items()})


def joined(tables: Mapping[int, Table]) -> Table:
    """Return tables as one whose rows belong to the splits that are the keys; each row keeps the place it is known by.

    Raises:
        InputError: another has not the columns of the first.
    """
    first = tables[0]
    frames: list[pl.DataFrame] = []
    for table in tables.values():
        if missing := [column for column in first.columns if column not in table.columns]:
            raise InputError(
                f"{table.name}: expected the columns of {first.name}, found no '{missing[0]}'."
                f"{did_you_mean(missing[0], table.columns)}"
            )
        if table.belongs is not None:
            raise InputError(f"{table.name}: expected rows for one split, found a folder that is split already.")
        frame = table.frame.select(first.columns)
        if table.folder != first.folder:  # names of images are told from where their own table lies
            images = [c.name for c in frame if c.dtype == pl.String and looks_like_images(c.drop_nulls())]
            frame = frame.with_columns(pl.lit(f"{table.folder}/") + pl.col(name) for name in images)
        frames.append(frame)
    try:
        frame = pl.concat(frames)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{first.name}: the other files have columns of other types ({reason}).") from None
    parts, sizes = list(tables.values()), [len(table) for table in tables.values()]
    starts = np.cumsum([0, *sizes])

    def place(row: int) -> str:
        part = int(np.searchsorted(starts, row, side="right")) - 1
        return parts[part].place(row - int(starts[part]))

    notes = [note for part in parts for note in part.notes]
    belongs = np.repeat(list(tables), sizes)
    return replace(first, frame=frame, lines=None, rows=None, belongs=belongs, notes=notes, places=place)


def _load_table(
    table: Table,
    name: str,
    choices: DataChoices,
    task: str,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Data:
    target_name = choices.target or table.target
    _check_columns(table, choices, target_name)
    _check_split(table, choices)
    if task == "next-token" or (target_name is None and "text" in table.kinds.values()):
        return _load_stream(table, name, choices, seed)
    if target_name is None and "image" in table.kinds.values():
        found = f"{len(table):,} images" if len(table) > 1 else f"one image, {table.column(table.columns[0])[0]},"
        raise InputError(
            f"{table.name}: expected a folder for each class, found {found} without classes. Put the images of each "
            "class in a folder of its name, or give a table with a column of file names and one of classes."
        )
    if target_name is None:
        raise InputError(
            f"{table.name}: expected the name of the column to learn, found no target. "
            f"Give --target COLUMN, one of: {listed(table.columns)}."
        )
    _check_rows(len(table), table.name)
    is_folder = target_name == table.target and {"image", "text"} & set(table.kinds.values())
    target = choose_target(table, target_name, task, is_class=bool(is_folder))
    targets = encode_targets(table, target)

    pixels = [column for column in table.columns if PIXEL.fullmatch(column) and column not in choices.drop]
    grid = pixel_grid(pixels)  # a corner that never changes is still a pixel
    kinds = {
        **table.kinds,
        **(dict.fromkeys(pixels, "numeric") if grid else {}),
        **choices.kinds,
        target_name: "target",
    }
    described = [describe(table, column, kinds.get(column)) for column in table.columns if column not in choices.drop]
    group, time = choices.group or table.group, choices.time or table.time
    deciding = deciding_columns(table, choices)
    heeded = deciding.values() if _is_drawn(table, choices) else ()
    how, used, left_out = _features(described, choices, grid, (group, time), heeded)
    _check_applies(choices, how)
    notes = [*(column.note for column in described if column.note), *left_out]
    if how == "sequence":
        return _load_series(
            table,
            name,
            choices,
            seed,
            target,
            targets,
            used,
            Facts(len(table), described, notes=[*table.notes, *notes]),
        )
    if not used:
        raise InputError(
            f"{table.name}: expected a column to learn from besides '{target_name}', found none. "
            f"{' '.join([*table.notes, *notes])}".strip()
        )
    keys = _keys(table, how, used, grid)
    rows = _split(table, keys, targets if target.has_classes else None, choices, seed)
    split_by = "given" if table.belongs is not None else "time" if "time" in deciding else next(iter(deciding), "rows")
    split_by = split_by if how == "table" else "given"  # the order of files says nothing
    id_column = next((column.name for column in described if column.kind == "id"), None)
    column = next(iter(used))
    if how == "image":
        encoder, inputs = ImageEncoder.fit_encode(
            table, rows[0], column=column, size=choices.image_size, progress=progress
        )
        if isinstance(inputs, Tensor):  # copies in another format or under another name show only now
            keys = pixel_keys(inputs)
    elif how == "text":
        encoder, inputs = TextEncoder.fit_encode(
            table, rows[0], column=column, tokenizer=choices.tokenizer, vocabulary=choices.vocabulary,
            length=choices.length, id_column=id_column,
        )  # fmt: skip
    elif how == "pixels" and grid:
        encoder = PixelEncoder.fit(table.take(rows[0].numpy()), grid, id_column)
        inputs = encoder.encode(table)
    else:
        encoder, inputs = TableEncoder.fit_encode(table, rows[0], used, id_column=id_column, scale=choices.scale)
    remarks = (*getattr(encoder, "remarks", ()), *getattr(inputs, "notes", ()))
    found = Facts(len(table), described, notes=[*table.notes, *notes, *remarks])
    columns = values_of(table, used) if how == "table" else ()
    names = None if table.rows is None else torch.as_tensor(np.asarray(table.rows))
    return _data(name, encoder, target, (inputs, targets), targets, rows, found, keys, columns, used, split_by, names)


def _with_targets(table: Table, choices: DataChoices) -> Table:
    """Return the rows that have a target; without one a row teaches nothing, and says nothing about a model."""
    name = choices.target or table.target
    if name is None or name not in table.columns or choices.window:  # windows need every row
        return table
    return with_targets(table, name)


def _features(
    described: Sequence[Column],
    choices: DataChoices,
    grid: tuple[int, int] | None,
    apart: tuple[str | None, ...],
    deciding: Collection[str | None],
) -> tuple[str, dict[str, str], list[str]]:
    """Return how to learn (image, text, pixels, table or sequence), from which columns, and what is left out and why.

    One image or one text is a model's whole input; a text beside other columns is left out unless it is asked for.
    """
    kinds = {column.name: column.kind for column in described if column.name not in apart}
    images, texts = ([name for name, kind in kinds.items() if kind == what] for what in ("image", "text"))
    plain = {name: kind for name, kind in kinds.items() if kind in (*NUMERIC_KINDS, "categorical")}
    asked = [name for name in texts if name in choices.kinds]
    window = "orders the windows or keeps them apart" if choices.window else ""
    roles = {name: window or ("decides the split" if name in deciding else "") for name in apart if name}
    notes = [f"column '{name}' {f'{role}; it ' if role else ''}is not learnt from." for name, role in roles.items()]
    if images and not choices.window:
        how, used = "image", {images[0]: "image"}
    elif texts and not choices.window and (asked or not plain):
        how, used = "text", {(asked or texts)[0]: "text"}
    else:
        how = "sequence" if choices.window else "pixels" if grid and all(map(PIXEL.fullmatch, plain)) else "table"
        used = plain
        notes += [
            f"column '{name}' left out: a text beside other columns. To learn from it alone: "
            f"{shlex.quote(f'--data.kinds.{name}')} text"
            for name in texts
        ]
    if others := [name for name in (*images, *texts, *plain) if name not in used and how in ("image", "text")]:
        notes.append(f"columns left out beside the {how} '{next(iter(used))}': {listed(others)}.")
    return how, used, notes


def _keys(table: Table, how: str, used: dict[str, str], grid: tuple[int, int] | None) -> np.ndarray:
    column = next(iter(used))
    if how == "image":
        return image_keys(table, column)
    if how == "pixels" and grid:
        return array_keys(pixel_values(table, *grid))
    return text_keys(table, column) if how == "text" else row_keys(values_of(table, used))


def _split(
    table: Table,
    keys: np.ndarray,
    classes: Tensor | None,
    choices: DataChoices,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows of each split, by what the source says or else the choices."""
    deciding = deciding_columns(table, choices)
    group, time = deciding.get("groups"), deciding.get("time")
    return split_rows(
        split_keys(keys),
        **_shares(choices, seed),
        classes=classes,
        stratify=choices.stratify,
        groups=None if group is None else row_keys([as_text(table.column(group))]),
        times=None if time is None else times_of(table, time, choices.kinds.get(time)),
        belongs=table.belongs,
        columns=deciding,
        place=table.place,
    )


def _load_series(
    table: Table,
    name: str,
    choices: DataChoices,
    seed: int,
    target: Target,
    targets: Tensor,
    used: dict[str, str],
    found: Facts,
) -> Data:
    """Return the rows of time series as windows; a window belongs where the row that it is asked about does."""
    group, time = choices.group or table.group, choices.time or table.time
    by_time = "time" in deciding_columns(table, choices)
    keys = row_keys([as_text(table.column(target.name)), *values_of(table, used)])
    if by_time and time is None:  # rows without a time are in order as they stand
        rows = split_rows(
            keys, times=np.arange(len(table), dtype=np.float64), place=table.place, **_shares(choices, seed)
        )
    else:
        rows = _split(table, keys, None, choices, seed)
    encoder, windows = SequenceEncoder.fit_encode(
        table, rows[0], used, target=target, window=choices.window, horizon=choices.horizon, group=group, time=time
    )
    belongs = torch.zeros(len(table), dtype=torch.int64)
    for split, part in enumerate(rows):
        belongs[part] = split
    parts, asked = split_windows(windows, belongs), window_rows(windows)
    for split, part, share in zip(SPLITS, parts, (1, choices.valid, choices.test), strict=True):
        if share and not len(part):
            raise InputError(
                f"{split}: expected at least one window of {choices.window} rows and a horizon of {choices.horizon}, "
                "found none. Give a shorter --window, or a larger share."
            )
    known = targets[asked]
    found.notes += windows.notes
    facts.examine(found, target, known, dict(zip(SPLITS, parts, strict=True)), split="time" if by_time else "groups")
    train, valid, test = (Split((windows, known), known, part, names=asked) for part in parts)
    return Data(name, encoder, target, train, valid, test, found, keys)


def _shares(choices: DataChoices, seed: int) -> dict[str, Any]:
    """Return the shares to draw; a split that has a file of its own needs none."""
    valid, test = (0.0 if isinstance(share, str) else share for share in (choices.valid, choices.test))
    return {"valid": valid, "test": test, "seed": seed}


def times_of(table: Table, column: str, kind: str | None = None) -> np.ndarray:
    """Return (N,) float64 times: of dates and of numbers alike, written as in columns to learn from; NaN where missing.

    Args:
        table: all its rows.
        column: of times.
        kind: of the column, as the user says; None looks at the values.

    Raises:
        InputError: the column holds neither, or a value is not of its kind.
    """
    found = describe(table, column, kind)
    if found.kind not in ("date", "numeric", "id"):  # a time that no row shares looks like an id
        taken = f"column '{column}' taken for words: "
        why = (found.note or "").partition(f" column '{column}' ignored")[0]  # being ignored says nothing here
        why = f" {why.removeprefix(taken)}" if why.startswith(taken) else ""
        raise InputError(
            f"{table.name}, column '{column}': expected dates or numbers to order by, found "
            f"{'words' if found.kind in ('ignored', 'text', 'categorical') else f'{found.kind} values'}.{why}"
        )
    series = table.column(column)
    is_date = found.kind == "date" or (found.kind == "id" and bool(parse_numbers(series).is_null().all()))
    as_kind = "date" if is_date else "numeric"
    return numbers_of(table, column, as_kind, form_of(table, column, as_kind))


def _load_stream(table: Table, name: str, choices: DataChoices, seed: int) -> Data:
    """Return texts as windows of tokens, each predicting the next ones; whole texts belong to one split."""
    _check_applies(choices, "text")
    column = _text_column(table, choices)
    notes = list(table.notes)
    valid, test = (0.0 if isinstance(share, str) else share for share in (choices.valid, choices.test))
    if len(table) == 1 and table.belongs is None:
        if choices.stratify:
            raise InputError(
                "--data.stratify: expected rows to be drawn one by one, found one text, which is cut into pieces. Leave it out."
            )
        check_fractions(valid, test)
        table = cut_document(texts_of(table, column)[0], valid, test, name=table.name)
        column = "text"
    keys = text_keys(table, column)
    rows = _split(table, keys, None, choices, seed)
    encoder, windows = StreamEncoder.fit_encode(
        table, rows[0], column=column, tokenizer=choices.tokenizer, vocabulary=choices.vocabulary, length=choices.length
    )
    where = torch.zeros(len(table), dtype=torch.int64)
    for split, part in enumerate(rows):
        where[part] = split
    of_windows = [(where[windows.document] == split).nonzero()[:, 0] for split in range(3)]
    found = Facts(len(table), [describe(table, column, "text")], notes=[*notes, *windows.notes])
    found.splits = {split: len(part) for split, part in zip(SPLITS, of_windows, strict=True)}
    for split, part, share in zip(SPLITS, of_windows, (1, valid, test), strict=True):
        if share and not len(part):
            raise InputError(
                f"{split}: expected at least {encoder.length} tokens, found none; the text is too short to be split."
            )
    target = token_target(
        column, encoder.tokenizer.size, f"{len(table):,} texts as {len(windows):,} windows of {encoder.length} tokens"
    )
    train, valid_part, test_part = (Split(windows, torch.empty(0), part, names=windows.document) for part in of_windows)
    return Data(name, encoder, target, train, valid_part, test_part, found, keys)


def _text_column(table: Table, choices: DataChoices) -> str:
    """Return the column of texts to learn token by token."""
    described = [describe(table, column, ({**table.kinds, **choices.kinds}).get(column)) for column in table.columns]
    texts = [column.name for column in described if column.kind == "text" and column.name not in choices.drop]
    if len(texts) != 1:
        found = f"{len(texts)} ({listed(texts)})" if texts else "none"
        raise InputError(
            f"{table.name}: expected one column of texts to learn the next token of, found {found}. "
            "Say which: --data.kinds.COLUMN text, and --data.drop for others."
        )
    return texts[0]


def _load_arrays(own: Arrays, name: str, choices: DataChoices, task: str, seed: int) -> Data:
    inputs, targets = own.inputs, own.targets
    _check_rows(len(targets), "inputs")
    with own.naming():
        target = choose_array_target(targets, task)
        encoded = encode_array_targets(targets, target)
    keys = array_keys(inputs)
    rows = _split_arrays(keys, encoded if target.has_classes else None, choices, own.belongs, seed)
    encoder = ArrayEncoder.fit(inputs[rows[0].numpy()])
    found = Facts(len(targets), [facts.describe_inputs(inputs)], notes=list(own.notes))
    return _data(name, encoder, target, (encoder.encode(inputs), encoded), encoded, rows, found, keys)


def _load_datasets(
    own: Datasets,
    name: str,
    choices: DataChoices,
    task: str,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Data:
    """Split a dataset whose examples are read when they are needed; nothing in them is changed."""
    parts = {split: part for split, part in enumerate((own.train, own.valid, own.test)) if part is not None}
    stream: IterableDataset[Any] | None = None
    repeats = True
    if isinstance(own.train, IterableDataset):
        stream = cast("IterableDataset[Any]", parts.pop(0))
        repeats = check_iterable(stream, valid=own.valid, num_workers=choices.workers, max_steps=1).repeats
    dataset: Dataset[Any] = ConcatDataset(parts.values()) if len(parts) > 1 else next(iter(parts.values()))
    belongs = np.repeat(list(parts), [len(cast("Any", part)) for part in parts.values()]) if len(parts) > 1 else None
    scan = scan_dataset(dataset, progress)
    if not isinstance(scan.inputs, Tensor) or scan.inputs.dtype != torch.float32:
        found = str(scan.inputs.dtype) if isinstance(scan.inputs, Tensor) else type(scan.inputs).__name__
        raise InputError(
            f"{name}: expected inputs that are one tensor in float32, found {found}. Convert them in your dataset, "
            "or train with truestep.fit, which takes any."
        )
    _check_rows(len(scan.targets), name)
    if task == "auto" and scan.targets.dtype.kind == "f":
        task = (
            "regression"  # a class is a whole number of an integer type: nothing is converted on the way to the model
        )
    target = choose_array_target(scan.targets, task)
    if target.class_names not in (None, tuple(map(str, range(len(target.class_names or ()))))) or (
        target.has_classes and scan.targets.dtype.kind not in "iu"
    ):
        raise InputError(
            f"dataset: expected classes as whole numbers 0, 1, 2, ... without a gap, found {scan.targets.dtype} of "
            f"{listed(list(target.class_names or ()), 5)}. Number them in your dataset."
        )
    encoded = encode_array_targets(scan.targets, target)
    encoder, found = ArrayEncoder(tuple(scan.inputs.shape)), Facts(len(encoded), [])
    if stream is not None:
        return _beside_stream(name, stream, repeats, encoder, target, dataset, encoded, belongs, found)
    keys = array_keys(np.arange(len(encoded))[:, None])  # contents are not read: an example is known by its number
    rows = _split_arrays(keys, encoded if target.has_classes else None, choices, belongs, seed)
    return _data(name, encoder, target, dataset, encoded, rows, found, None)


def _beside_stream(
    name: str,
    stream: IterableDataset[Any],
    repeats: bool,
    encoder: ArrayEncoder,
    target: Target,
    held_out: Dataset[Any],
    known: Tensor,
    belongs: np.ndarray | None,
    found: Facts,
) -> Data:
    """Return a dataset that is only read from its beginning, beside those that it is validated and tested on."""
    where = np.ones(len(known), dtype=np.int64) if belongs is None else belongs
    none, valid, test = (torch.from_numpy(np.flatnonzero(where == split)) for split in range(3))
    found.classes, found.splits = facts.count_classes(known, target), {"valid": len(valid), "test": len(test)}
    exact = (
        "resuming gives the same numbers, as far as the first examples tell"
        if repeats
        else "its passes differ, so a run that is stopped can't be resumed to the same numbers"
    )
    found.notes.append(f"training data are read from their beginning in every epoch, in their own order; {exact}.")
    train_part, valid_part, test_part = (
        Split(examples, known, rows) for examples, rows in ((stream, none), (held_out, valid), (held_out, test))
    )
    return Data(name, encoder, target, train_part, valid_part, test_part, found, None)


def _split_arrays(
    keys: np.ndarray, classes: Tensor | None, choices: DataChoices, belongs: np.ndarray | None, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    if isinstance(choices.valid, str) or isinstance(choices.test, str):
        raise InputError("valid, test: expected shares for arrays and datasets, found the name of a file.")
    return split_rows(
        split_keys(keys),
        valid=choices.valid,
        test=choices.test,
        seed=seed,
        classes=classes,
        stratify=choices.stratify,
        belongs=belongs,
    )


def _data(
    name: str,
    encoder: Encoder,
    target: Target,
    examples: Any,
    known: Tensor,
    rows: tuple[Tensor, Tensor, Tensor],
    found: Facts,
    keys: np.ndarray | None,
    columns: Iterable[pl.Series] = (),
    used: Mapping[str, str] | None = None,
    split: str = "rows",
    names: Tensor | None = None,
) -> Data:
    """Look at everything once more, and put it together."""
    splits: dict[str, Tensor] = dict(zip(SPLITS, rows, strict=True))
    facts.examine(found, target, known, splits, keys=keys, columns=columns, used=used, split=split)
    lengths = getattr(examples[0], "lengths", None) if isinstance(examples, tuple) else None  # of texts
    train, valid, test = (Split(examples, known, part, lengths, names) for part in rows)
    return Data(name, encoder, target, train, valid, test, found, keys)


def _check_applies(choices: DataChoices, how: str) -> None:
    """Refuse choices that are for other data than these: a choice that nobody heeds is a wrong belief."""
    for name, kinds in APPLIES.items():
        if getattr(choices, name) != getattr(DataChoices(), name) and how not in kinds:
            raise InputError(f"data.{name}: expected data of kind {' or '.join(kinds)} for this choice, found {how}.")


def _check_columns(table: Table, choices: DataChoices, target: str | None) -> None:
    """Refuse choices for columns that don't exist, and for the target what is meant for inputs."""
    if target is not None:
        table.column(target)
    for column in choices.drop:
        if column not in table.columns:
            raise InputError(
                f"data.drop: expected names of columns ({listed(table.columns)}), found '{column}'."
                f"{did_you_mean(column, table.columns)}"
            )
    for option, column in (("group", choices.group), ("time", choices.time)):
        if column is not None and (column not in table.columns or column == target):
            what = "the target" if column == target else "no column"
            raise InputError(
                f"{option}: expected one of the columns {listed(table.columns)}, found '{column}', {what}."
                f"{'' if column == target else did_you_mean(column, table.columns)}"
            )
    if target in choices.drop or target in choices.kinds:
        raise InputError(f"data.drop, data.kinds: expected columns to learn from, found the target '{target}'.")
    check_kinds(choices.kinds, table.columns)


def _check_rows(count: int, where: str) -> None:
    if count < FEWEST_ROWS:
        raise InputError(f"{where}: expected at least {FEWEST_ROWS} rows to learn from, found {count}.")
