"""From whatever the user has - a name, a path, a frame - to a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from truestep.data.bundled import BUNDLED, read_bundled
from truestep.data.image_files import IMAGE_SUFFIXES, is_image_folder, read_image_table
from truestep.data.table import Table, table_of_file, table_of_frame
from truestep.data.texts import is_text_folder, read_text_table
from truestep.errors import InputError, did_you_mean


def read_table(source: Any) -> Table:
    """Return the rows of a bundled data set, a .csv, .tsv or .parquet file, or a polars or pandas frame.

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
        return table_of_file(Path(source))
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


def _from_pandas(frame: Any) -> Any:
    try:
        return pl.from_pandas(frame)
    except (ImportError, ValueError, TypeError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"table: can't be taken over from pandas ({reason}). Try: frame.to_parquet(...)") from None
