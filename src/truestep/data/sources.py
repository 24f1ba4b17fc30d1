"""From whatever the user has - a name, a path, a frame - to a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from truestep.data.bundled import BUNDLED, read_bundled
from truestep.data.table import Table, shown, table_of_file, table_of_frame
from truestep.errors import InputError, did_you_mean


def read_table(source: Any) -> Table:
    """Return the rows of a bundled data set, a table, image or text file, a folder of such files, or a frame.

    Raises:
        InputError: it is none of these, or damaged.
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, str) and source in BUNDLED:
        return read_bundled(source)
    if isinstance(source, str) and source.replace("-", "").isalnum() and not Path(source).exists():
        raise InputError(
            f"{source}: expected a file or one of {', '.join(BUNDLED)}, found neither.{did_you_mean(source, BUNDLED)}"
        )
    if isinstance(source, str | Path):
        return _read_path(Path(source))
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    elif type(source).__module__.startswith("pandas"):
        source = _from_pandas(source)
    if isinstance(source, pl.DataFrame):
        return table_of_frame(source)
    raise InputError(
        f"data: expected the name of a data set, a file, a polars or pandas frame, a tuple (inputs, targets) of arrays "
        f"or a PyTorch dataset with a length, found {type(source).__name__}."
    )


def _read_path(path: Path) -> Table:
    # Here, because these two read tables as well: of texts, and of the names of images.
    from truestep.data.image_files import IMAGE_SUFFIXES, is_image_folder, read_image_table
    from truestep.data.texts import is_text_folder, read_text_table

    name = path.name.lower()
    if _is_folder(path):
        if is_image_folder(path):
            return read_image_table(path)
        if is_text_folder(path):
            return read_text_table(path)
        raise InputError(
            f"{path}: expected a folder of images or of .txt files, or of folders of them, one for each class; "
            "found a folder without."
        )
    if name.endswith(IMAGE_SUFFIXES):
        return read_image_table(path)
    if name.endswith(".txt"):
        return read_text_table(path)
    return replace(table_of_file(path), folder=path.absolute().parent)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except ValueError:  # a NUL byte in the name
        return False


def _from_pandas(frame: Any) -> Any:
    names = [str(name) for name in getattr(frame, "columns", ())]  # numbers become words, as they are on the way
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(
            f"table: expected every column to have its own name, found more than one {', '.join(map(shown, twice[:20]))}"
            f"{f' and {len(twice) - 20} more' if len(twice) > 20 else ''}."
        )
    try:
        return pl.from_pandas(frame)
    except (ImportError, ValueError, TypeError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"table: can't be taken over from pandas ({reason}). Try: frame.to_parquet(...)") from None
