"""Data sets that need no download: some come with truestep, some with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from importlib.util import find_spec
from typing import Any

import polars as pl

from truestep.data.table import Table, table_of_file, table_of_frame
from truestep.errors import InputError


@dataclass(frozen=True)
class Bundled:
    """What is known about a data set before it is read."""

    name: str
    rows: int
    task: str
    about: str
    target: str | None  # none for next-token, which learns the text itself
    sklearn: str | None = None  # the function of scikit-learn that has it
    file: str | None = None  # in `files`, where its name is not that of the data set
    kinds: Mapping[str, str] = field(default_factory=dict[str, str])  # of columns whose values don't tell them
    group: str | None = None  # the column whose equal values belong in one split
    time: str | None = None  # the column by which the past is trained on, and the future tested on
    valid: tuple[str, ...] = ()  # those of its values that do in this one
    test: tuple[str, ...] = ()

    @property
    def available(self) -> bool:
        return self.sklearn is None or find_spec("sklearn") is not None


# The speaker and the year give era and party away; they are there to be read and to split by, not to learn from. There are
# so few presidents that those held out are named, one of each era, and with both parties: chance would leave an era out.
SPEECH_KINDS = {"text": "text", "president": "id", "year": "id", "party": "ignored", "era": "ignored"}
SPEAKERS: dict[str, Any] = {
    "group": "president",
    "valid": ("Herbert Hoover", "Gerald R Ford", "William J Clinton"),
    "test": ("Woodrow Wilson", "John F Kennedy", "Donald J Trump"),
}
SPEECHES, ADDRESSES = 2375, 60  # passages, and the addresses that they are cut from

BUNDLED = {
    data.name: data
    for data in (
        Bundled("digits", 1797, "multiclass", "handwritten digits, 8 x 8 pixels", "digit"),
        Bundled(
            "iris", 150, "multiclass", "three species of iris by the size of their flowers", "species", "load_iris"
        ),
        Bundled("wine", 178, "multiclass", "three cultivars of wine by chemical analysis", "cultivar", "load_wine"),
        Bundled(
            "breast-cancer", 569, "binary", "tumours by the shape of their cells", "diagnosis", "load_breast_cancer"
        ),
        Bundled("diabetes", 442, "regression", "progress of diabetes after one year", "progression", "load_diabetes"),
        Bundled("penguins", 344, "multiclass", "three species of penguins, with missing values", "species"),
        Bundled(
            "flights",
            5000,
            "regression",
            "delay at arrival by what is known at departure",
            "arr_delay",
            time="departure",
        ),
        Bundled(
            "speeches",
            SPEECHES,
            "multiclass",
            "passages of State of the Union addresses by era",
            "era",
            kinds=SPEECH_KINDS,
            **SPEAKERS,
        ),
        Bundled(
            "speeches-text",
            ADDRESSES,
            "next-token",
            "State of the Union addresses as running text",
            None,
            file="speeches",
            kinds=SPEECH_KINDS,
            **SPEAKERS,
        ),
    )
}


def names() -> list[tuple[str, int, str, str, bool]]:
    """Return (name, rows, task, what it is, whether it can be loaded here) of each."""
    return [(data.name, data.rows, data.task, data.about, data.available) for data in BUNDLED.values()]


def read_bundled(name: str) -> Table:
    """Return a bundled data set as a table that knows its target.

    Raises:
        InputError: it comes with scikit-learn, which is not installed.
    """
    data = BUNDLED[name]
    if data.sklearn:
        return replace(_from_sklearn(data, data.sklearn), target=data.target)
    with resources.as_file(resources.files("truestep.data") / "files" / f"{data.file or name}.csv.gz") as path:
        table = replace(
            table_of_file(path), name=name, target=data.target, kinds=data.kinds, group=data.group, time=data.time
        )
    table = _as_running_text(table) if data.task == "next-token" else table
    if data.group is None:
        return table
    names = table.column(data.group)
    belongs = names.is_in(data.valid).cast(pl.Int64) + 2 * names.is_in(data.test).cast(pl.Int64)
    return replace(table, belongs=belongs.to_numpy())


def _as_running_text(table: Table) -> Table:
    """Return one row for each address, its passages put together again in their order."""
    by_address = table.frame.group_by("president", "year", maintain_order=True)
    frame = by_address.agg(pl.col("text").str.join(" ")).select("text", "president", "year")
    return replace(table, frame=frame, lines=None)


def _from_sklearn(data: Bundled, function: str) -> Table:
    if not data.available:
        raise InputError(f"{data.name}: this data set comes with scikit-learn. Install it: pip install scikit-learn")
    from sklearn import datasets

    found: Any = getattr(datasets, function)()
    columns = {_plain(str(name)): found.data[:, index] for index, name in enumerate(found.feature_names)}
    classes = getattr(found, "target_names", None)
    assert data.target is not None
    columns[data.target] = found.target if classes is None else [str(classes[index]) for index in found.target]
    return table_of_frame(pl.DataFrame(columns), data.name)


def _plain(name: str) -> str:
    """Return 'sepal length (cm)' as 'sepal_length_cm', which a shell takes without quotes."""
    return "_".join("".join(letter if letter.isalnum() else " " for letter in name).split())
