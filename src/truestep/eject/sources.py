"""How the data of a run are read in plain Python: which template, and what fills it.

What can't be written shortly is refused here, with the reason; and whatever is written is compared with the run's own
data afterwards (`check.py`), so that a file with a surprise in it is refused too, rather than read a little differently.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import polars as pl
from torch import Tensor

from truestep import keyed
from truestep.code import is_code
from truestep.data import (
    ArrayEncoder,
    Data,
    ImageEncoder,
    PixelEncoder,
    StreamEncoder,
    Table,
    TableEncoder,
    TextEncoder,
)
from truestep.data.augment import STREAM as AUGMENT_STREAM
from truestep.data.bundled import BUNDLED
from truestep.data.image_files import SPLITS as FOLDERS
from truestep.data.loading import deciding_columns
from truestep.data.missing import MISSING
from truestep.data.sources import read_table
from truestep.data.split import STREAM
from truestep.data.tokenizers import WORD, ByteTokenizer, WordTokenizer
from truestep.errors import InputError
from truestep.recipe import Recipe


@dataclass
class Source:
    """Which template reads the data, its constants and what fills it, and what the tensors are called."""

    template: str
    names: list[str]  # of the tensors that `load_data` returns before the rows of the splits
    inputs: str  # the model's arguments for the rows `ROWS`
    constants: dict[str, Any]  # in the order they are shown in
    fills: dict[str, Any]
    copied: Path | None = None  # a file that has to lie beside the script
    lengths: bool = False  # whether batches are made of examples alike in length
    is_flat: bool = True  # whether an example is a vector
    augments: bool = False  # whether images are changed at random while training


def describe(recipe: Recipe, data: Data) -> Source:
    """Return how to read the data, and what happens to them on their way to the model.

    Raises:
        InputError: there is no short way that gives the same.
    """
    source, spec = _describe(recipe, data), data.encoder.spec
    if not recipe.augment.flip and not recipe.augment.shift:
        return source
    if spec["kind"] != "image":
        raise InputError(
            f"augment.flip, augment.shift: expected images to change, found inputs of kind {spec['kind']}."
        )
    if recipe.augment.shift >= min(spec["height"], spec["width"]):
        raise InputError(f"augment.shift: expected fewer pixels than images have, found {recipe.augment.shift}.")
    found = {"SHIFT": recipe.augment.shift, "AUGMENT": started(recipe.run.seed, AUGMENT_STREAM)}
    return replace(source, augments=True, constants=source.constants | found)


def _describe(recipe: Recipe, data: Data) -> Source:
    name = recipe.data.source
    if not name:
        raise InputError("data.source: this run's data came from Python; a script can't tell from where.")
    encoder = data.encoder
    if isinstance(encoder, ArrayEncoder):
        return _arrays(recipe, data, encoder)
    if is_code(name):
        raise InputError(f"data.source: {name} gives a table or datasets; a script can be written for arrays.")
    if isinstance(encoder, ImageEncoder):
        return _images(recipe, data, encoder)
    if isinstance(encoder, StreamEncoder) and Path(name).suffix.lower() == ".txt":
        return _document(recipe, encoder)
    if isinstance(recipe.data.valid, str) or isinstance(recipe.data.test, str):
        raise InputError("data.valid, data.test: files of their own can't be ejected yet. Put the rows in one file.")
    if recipe.data.stratify:
        raise InputError("data.stratify: an exact share of each class takes a page of code; leave it out.")
    table = read_table(name)
    if name in BUNDLED and not recipe.data.valid and not recipe.data.test:
        raise InputError("valid, test: bundled data sets are ejected with a share for at least one of them.")
    if isinstance(encoder, PixelEncoder) and name == "digits" and not recipe.data.drop:
        return Source(
            "digits",
            ["images", "targets"],
            "images[ROWS]",
            _shares(recipe),
            {"split": _hashing(recipe)},
            is_flat=False,
        )
    if name in BUNDLED and BUNDLED[name].sklearn:
        return _sklearn(recipe, data, BUNDLED[name].sklearn or "")
    reading, constants, copied = _reading(recipe, data, table)
    split, of_split = _split(recipe, data, table)
    if isinstance(encoder, PixelEncoder):
        fills = {"height": encoder.height, "width": encoder.width, "split": split, **reading}
        return Source(
            "pixels", ["images", "targets"], "images[ROWS]", constants | of_split, fills, copied, is_flat=False
        )
    if isinstance(encoder, TextEncoder):
        return _text(recipe, encoder, constants | of_split, {"split": split, **reading}, copied)
    if isinstance(encoder, StreamEncoder):
        return _stream(recipe, encoder, table, constants | of_split, reading, copied)
    if isinstance(encoder, TableEncoder):
        return _table(recipe, encoder, table, constants | of_split, {"split": split, **reading}, copied)
    raise InputError(
        "data.window, data.horizon: windows of time series can't be ejected yet: which rows belong to a window, and "
        "which window to a split, takes pages of code."
    )


# How rows are split


@dataclass
class _Split:
    """What `hashing.jinja` and `where.jinja` are filled with."""

    kind: str  # hash, time, named, none or folders
    group: bool = False  # whether the hash is of a group's name
    words: bool = False  # whether words are hashed
    numbers: bool = False
    gaps: bool = False  # whether some of the words are missing
    numbers_of_time: bool = False

    @property
    def hashes_columns(self) -> bool:
        return self.words or self.numbers

    @property
    def bits_of_word(self) -> str:
        return "digest(word)" if not self.gaps else "digest(word) if word else NO_VALUE"


def _hashing(recipe: Recipe, numbers: int = 0, **choices: Any) -> _Split:
    if not recipe.data.valid and not recipe.data.test:
        return _Split("none")
    return _Split("hash", numbers=numbers > 0, **choices)


def started(seed: int, *keys: int) -> int:
    """Return what `keyed.bits` has made of a seed, a stream and maybe an epoch when it comes to the examples."""
    found = keyed.mixed(np.array([seed], dtype=np.uint64))
    for key in keys:
        found = keyed.mixed(found ^ np.uint64(key))
    return int(found[0])


def _shares(recipe: Recipe) -> dict[str, Any]:
    shares = (recipe.data.valid, recipe.data.test)
    return {"VALID, TEST": shares, "SALT": started(recipe.run.seed, STREAM, 0)}


def _split(recipe: Recipe, data: Data, table: Table) -> tuple[_Split, dict[str, Any]]:
    """Return how the rows of a table are split, and the constants for it."""
    encoder = data.encoder
    columns = deciding_columns(table, recipe.data)
    if table.belongs is not None:
        group = table.group or ""
        bundled = BUNDLED[recipe.data.source]
        parts = list(bundled.valid), list(bundled.test)
        return _Split("named"), {"GROUP": group, "VALID_GROUPS": parts[0], "TEST_GROUPS": parts[1]}
    if "time" in columns and "groups" in columns:
        raise InputError("data.group, data.time: a split by both can't be ejected yet. Choose one with data.split.")
    if columns.get("time"):
        return _by_time(data, table, columns["time"] or "")
    if columns.get("groups"):
        group = columns["groups"] or ""
        gaps = table.column(group).null_count() > 0
        split = _Split("hash", group=True, words=True, gaps=gaps)
        return split, {"GROUP": group, **_shares(recipe)} | ({"NO_VALUE": 0x7FF8000000000000} if gaps else {})
    if isinstance(encoder, TableEncoder):
        words = [table.column(column.name) for column in encoder.categorical]
        gaps = any(column.null_count() for column in words)
        split = _hashing(recipe, len(encoder.numeric), words=bool(words), gaps=gaps)
        return split, _shares(recipe) | ({"NO_VALUE": 0x7FF8000000000000} if gaps else {})
    return _hashing(recipe), _shares(recipe)


def _by_time(data: Data, table: Table, column: str) -> tuple[_Split, dict[str, Any]]:
    """Return the first moments of validation and test; a share of none begins after the last."""
    times = table.column(column)
    if data.train.names is not None:  # rows without a target are left out
        times = times.gather(data.train.names.numpy())
    if times.dtype != pl.String:
        raise InputError(f"data.time: column '{column}' is no text; only a CSV file's can be compared plainly yet.")
    is_number = times.cast(pl.Float64, strict=False).null_count() == times.null_count()
    moments = times.cast(pl.Float64) if is_number else times
    if not is_number and times.str.len_chars().n_unique() > 1:
        raise InputError(f"data.time: the moments of '{column}' are not all written in one length, as ISO dates are.")
    firsts = [moments.gather(rows.numpy()).min() for rows in (data.valid.rows, data.test.rows) if len(rows)]
    if len(firsts) < 2:
        raise InputError("data.time: a split by time is ejected with rows for both validation and test.")
    return _Split("time", numbers_of_time=is_number), {"TIME": column, "VALID_FROM": firsts[0], "TEST_FROM": firsts[1]}


# Kinds of sources


def _sklearn(recipe: Recipe, data: Data, function: str) -> Source:
    encoder, target = data.encoder, data.target
    if not isinstance(encoder, TableEncoder) or encoder.categorical or recipe.data.group or recipe.data.time:
        raise InputError(f"{recipe.data.source}: only its columns as numbers, split by row, can be ejected.")
    if target.name != BUNDLED[recipe.data.source].target:
        raise InputError(f"data.target: of {recipe.data.source} only its own target can be ejected.")
    split = _hashing(recipe, len(encoder.numeric))
    constants: dict[str, Any] = {"NUMERIC": [column.name for column in encoder.numeric], **_shares(recipe)}
    constants |= {"CLASSES": list(target.class_names)} if target.class_names else {}
    fills = {"function": function, "drop": bool(recipe.data.drop), "classes": target.has_classes, "split": split}
    return Source("sklearn", ["numeric", "targets"], "numeric[ROWS]", constants, fills)


def _reading(recipe: Recipe, data: Data, table: Table) -> tuple[dict[str, Any], dict[str, Any], Path | None]:
    """Return how a file becomes a frame, the constants for it, and a bundled file to lay beside the script."""
    name, copied = recipe.data.source, None
    if name in BUNDLED:
        from importlib import resources

        file = f"{BUNDLED[name].file or name}.csv.gz"
        with resources.as_file(resources.files("truestep.data") / "files" / file) as path:
            copied = Path(path)
    path = copied or Path(name)
    fills: dict[str, Any] = {"parquet": False, "strips": False, "missing": False, "separator": "", "renames": False}
    constants: dict[str, Any] = {"DATA": path.name if copied else str(path)}
    if path.is_dir():
        raise InputError(
            f"data.source: {name} is a folder of texts, which can't be ejected yet. Put them in a CSV file."
        )
    target = data.target.name
    left_out = data.train.names is not None and not isinstance(data.encoder, StreamEncoder)
    fills |= {"drops_rows": left_out, "classes": data.target.has_classes, "task": data.target.task}
    if not isinstance(data.encoder, StreamEncoder):
        constants["TARGET"] = target
        if data.target.class_names is not None:
            constants["CLASSES"] = list(data.target.class_names)
    if path.suffix.lower() == ".parquet":
        if recipe.data.missing:
            raise InputError("data.missing: words for no value are ejected for CSV files only.")
        return fills | {"parquet": True}, constants, copied
    raw = _raw(path, table.separator or ",")
    words = {word.lower() for word in (*MISSING, *(word.strip().lower() for word in recipe.data.missing))}
    cells = [raw[column].drop_nulls().unique() for column in raw.columns]
    found = {cell for column in cells for cell in column.to_list() if cell.strip().lower() in words}
    constants |= {"MISSING": sorted(found - {""})} if found - {""} else {}
    fills["missing"] = bool(found - {""})
    fills["renames"] = copied is None and raw.columns != table.columns  # spaces in a header, say
    constants |= {"COLUMNS": table.columns} if fills["renames"] else {}
    fills["strips"] = any(bool(column.str.contains(r"^\s|\s$").any()) for column in cells)
    fills["separator"] = "" if table.separator in (None, ",") else "separator=SEPARATOR"
    constants |= {"SEPARATOR": table.separator} if fills["separator"] else {}
    return fills, constants, copied


def _raw(path: Path, separator: str) -> pl.DataFrame:
    try:
        return pl.read_csv(path, infer_schema=False, separator=separator)
    except pl.exceptions.PolarsError as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path}: needs more than polars' own reader, so no plain script reads it ({reason})."
        ) from None


def _table(
    recipe: Recipe,
    encoder: TableEncoder,
    table: Table,
    constants: dict[str, Any],
    fills: dict[str, Any],
    copied: Path | None,
) -> Source:
    if recipe.data.scale != "standard":
        raise InputError("data.scale: ranks of a normal distribution take a page of code; use standard.")
    if forms := [column.name for column in encoder.numeric if column.form is not None]:
        raise InputError(
            f"column '{forms[0]}': its numbers or dates are not plainly written; a script would have to say how."
        )
    numeric = [column.name for column in encoder.numeric]
    categorical = [column.name for column in encoder.categorical]
    kinds = {kind: [c.name for c in encoder.numeric if c.kind == kind] for kind in ("boolean", "date")}
    texts = {name for name in numeric if table.column(name).dtype == pl.String}
    booleans = [name for name in kinds["boolean"] if name in texts]
    gaps = [column.name for column in encoder.numeric if column.indicator]
    if fills["parquet"] and any(table.column(name).dtype == pl.Boolean for name in categorical):
        raise InputError("data.kinds: columns of true and false as categories can't be ejected from Parquet files.")
    if kinds["date"] and len({name in texts for name in kinds["date"]}) > 1:
        raise InputError("data.kinds: dates are ejected all as text, or all as dates.")
    known: dict[str, Any] = {"NUMERIC": numeric, "GAPS": gaps, "BOOLEANS": booleans, "DATES": kinds["date"]}
    if booleans:
        from truestep.data.columns import FALSE, TRUE

        said = {word for name in booleans for word in table.column(name).drop_nulls().str.to_lowercase().unique()}
        known["TRUTH"] = {word: float(word in (*TRUE, "1")) for word in (*FALSE, "0", *TRUE, "1") if word in said}
    known["CATEGORICAL"] = categorical
    known["CARDINALITIES"] = encoder.spec["cardinalities"]
    names = [*(["numeric"] if numeric else []), *(["categories"] if categorical else [])]
    fills |= {
        "numeric": numeric,
        "categorical": categorical,
        "booleans": booleans,
        "dates": kinds["date"],
        "dates_are_text": bool(kinds["date"]) and kinds["date"][0] in texts,
        "gaps": gaps,
        "has_gaps": any(table.column(name).null_count() for name in numeric),
    }
    constants |= {name: value for name, value in known.items() if value}
    inputs = ", ".join(f"{name}[ROWS]" for name in names)
    return Source("table", [*names, "targets"], inputs, constants, fills, copied)


def _text(
    recipe: Recipe,
    encoder: TextEncoder,
    constants: dict[str, Any],
    fills: dict[str, Any],
    copied: Path | None,
) -> Source:
    _check_tokenizer(encoder, (ByteTokenizer, WordTokenizer))
    is_words = isinstance(encoder.tokenizer, WordTokenizer)
    constants |= {"TEXT": encoder.column, "LENGTH": encoder.length}
    constants |= {"WORD": WORD.pattern, "VOCABULARY": recipe.data.vocabulary} if is_words else {}
    fills |= {"tokenizer": "words" if is_words else "bytes"}
    inputs = "padded(texts, ROWS), lengths[ROWS]"
    names = ["texts", "lengths", "targets"]
    return Source("text", names, inputs, constants, fills, copied, lengths=True)


def _stream(
    recipe: Recipe,
    encoder: StreamEncoder,
    table: Table,
    constants: dict[str, Any],
    fills: dict[str, Any],
    copied: Path | None,
) -> Source:
    _check_tokenizer(encoder, (ByteTokenizer,))
    if table.belongs is None:
        raise InputError(
            "data.source: for the next token, one .txt file or a data set that is split already is ejected."
        )
    constants |= {"TEXT": encoder.column, "LENGTH": encoder.length}
    fills |= {"document": False, "joined": recipe.data.source == "speeches-text", "split": _Split("named")}
    return Source("stream", ["tokens", "targets"], "tokens[ROWS]", constants, fills, copied)


def _document(recipe: Recipe, encoder: StreamEncoder) -> Source:
    from truestep.data.texts import cut_document, texts_of

    _check_tokenizer(encoder, (ByteTokenizer,))
    table = read_table(recipe.data.source)
    valid, test = (0.0 if isinstance(share, str) else share for share in (recipe.data.valid, recipe.data.test))
    pieces = cut_document(texts_of(table, "text")[0], valid, test)
    ends = [sum(len(text) for text in pieces.frame["text"][: count + 1]) for count in range(len(pieces))]
    belongs = [int(split) for split in pieces.belongs] if pieces.belongs is not None else []
    constants: dict[str, Any] = {"DATA": recipe.data.source, "ENDS": ends, "BELONGS": belongs, "LENGTH": encoder.length}
    fills: dict[str, Any] = {"document": True, "split": _Split("named")}
    return Source("stream", ["tokens", "targets"], "tokens[ROWS]", constants, fills)


def _check_tokenizer(encoder: TextEncoder | StreamEncoder, known: tuple[type, ...]) -> None:
    if not isinstance(encoder.tokenizer, known):
        which = "bytes" if len(known) == 1 else "words or bytes"
        raise InputError(f"data.tokenizer: this one takes a page of code or more; {which} can be ejected here.")


def _arrays(recipe: Recipe, data: Data, encoder: ArrayEncoder) -> Source:
    from truestep.data.own import INPUTS, TARGETS

    name, fills = recipe.data.source, dict[str, Any]()
    if data.keys is None:
        raise InputError("data.source: datasets that are read example by example can't be ejected; arrays can.")
    if recipe.data.stratify:
        raise InputError("data.stratify: an exact share of each class takes a page of code; leave it out.")
    if "given" in data.split_by or data.split_by.startswith("as the source"):
        raise InputError("data.source: arrays that are split already can't be ejected yet.")
    constants: dict[str, Any] = {}
    if is_code(name):
        fills["function"] = name.rpartition(":")[2]
    elif name.lower().endswith(".npz"):
        with ZipFile(name) as archive:
            keys = {key.lower(): key for key in (member.removesuffix(".npy") for member in archive.namelist())}
        constants = {
            "DATA": name,
            "INPUTS": next(keys[key] for key in INPUTS if key in keys),
            "TARGETS": next(keys[key] for key in TARGETS if key in keys),
        }
    else:
        raise InputError(f"data.source: of files of arrays, .npz can be ejected, found {Path(name).suffix}.")
    classes = tuple(map(str, range(data.target.num_outputs)))
    if data.target.class_names not in (None, classes, ("0", "1")):
        raise InputError("data.source: expected classes as whole numbers 0, 1, 2, ... in an array, to eject it.")
    scaled = "" if not encoder.mean else "columns" if len(encoder.shape) == 1 else "all"
    fills |= {"scaled": scaled, "split": _hashing(recipe), "task": data.target.task}
    if fills["split"].kind == "none":
        raise InputError("valid, test: arrays are ejected with a share for at least one of them.")
    fills.setdefault("function", "")
    names = ["inputs", "targets"]
    return Source("arrays", names, "inputs[ROWS]", constants | _shares(recipe), fills, is_flat=len(encoder.shape) == 1)


def _images(recipe: Recipe, data: Data, encoder: ImageEncoder) -> Source:
    folder = Path(recipe.data.source)
    if not folder.is_dir():
        raise InputError("data.source: images are ejected from folders, one for each class, not from a table of names.")
    if not isinstance(data.train.examples[0], Tensor):
        raise InputError(
            "data.source: these images don't fit into memory, and a script that reads them as needed is long."
        )
    table = read_table(folder)
    given = table.belongs is not None
    from PIL import Image

    sizes: set[tuple[int, int]] = set()
    for name in table.column(encoder.column):
        with Image.open(folder / name) as image:
            sizes.add(image.size)
    names = table.column(encoder.column).to_list()
    constants: dict[str, Any] = {
        "DATA": str(folder),
        "SUFFIXES": tuple(sorted({Path(name).suffix.lower() for name in names})),
        "CLASSES": list(data.target.class_names or ()),
        "MEAN": [[[value]] for value in encoder.mean],
        "STD": [[[value]] for value in encoder.std],
    }
    others = {path.relative_to(folder).as_posix() for path in folder.glob("*/*/*" if given else "*/*")} - set(names)
    if given:
        constants["SPLITS"] = {part: FOLDERS[part.lower()] for part in sorted({name.split("/")[0] for name in names})}
    else:
        constants |= _shares(recipe)
    split = _Split("folders") if given else _hashing(recipe)
    if split.kind == "none":
        raise InputError("valid, test: images are ejected with a share for at least one of them.")
    fills: dict[str, Any] = {
        "height": encoder.height,
        "width": encoder.width,
        "mode": "L" if encoder.channels == 1 else "RGB",
        "resizes": sizes != {(encoder.width, encoder.height)},
        "folders": given,
        "others": bool(others),
        "task": data.target.task,
        "split": split,
    }
    return Source("images", ["images", "targets"], "(images[ROWS] - MEAN) / STD", constants, fills, is_flat=False)
