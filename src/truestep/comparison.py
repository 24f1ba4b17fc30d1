"""Where two runs part, and why: read off the files that they left. No data is read, no code is run.

A run's log holds the loss and the learning rate of every so many updates, with a sum of the bits of the weights and of the
order of examples. The first row that differs says when; what differs in it, in the recipe and in the environment says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from truestep import folder
from truestep.errors import InputError
from truestep.recipe import Recipe
from truestep.resumption import HARMLESS, PLACES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

PASSING = {"seconds", "train_seconds"}  # what no two runs share
CIRCUMSTANCES = ("versions", "cpu_capability", "device", "gpus", "threads", "processes", "code_sha256")
NO_CAUSE = ("run.save_seconds", "run.save_steps", "run.keep_checkpoints", "run.log_every")


def compare(one: Path, other: Path, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Return where two runs part.

    Args:
        one: the folder of a run.
        other: that of another one.
        say: called with a sentence about a log that ends within a line.

    Returns:
        "same": whether all that both have logged is equal to the bit; "rows": how many rows that was;
        "step", "epoch", "found": the first row that differs, and {name: [one's, other's]} in it; left out where no row of
        the two logs is of the same update, but the recipes say why;
        "cause": in a sentence; "differences": all there are in recipes and environments, {name: [one's, other's]}.

    Raises:
        InputError: one of them has no log, or no row of their logs is of the same update and nothing says why.
        RefusedError: a file is damaged.
    """
    logs = [list(folder.read_metrics(path / "metrics.jsonl", say)) for path in (one, other)]
    without = [str(path) for path in (one, other) if not (path / "recipe.toml").exists()]  # `fit` writes none
    differences: dict[str, list[Any]] = {}
    if not without:
        differences |= _in_recipes(*(Recipe.from_toml(path / "recipe.toml") for path in (one, other)))
        differences |= _in_environments(*(folder.read_json(path / "environment.json") for path in (one, other)))
    shared, parted = compare_logs(*logs)
    if not shared and not parted and not _explaining(differences) - {*HARMLESS}:
        raise InputError(
            f"{one}, {other}: expected logs with a row of the same epoch and step, found none ({len(logs[0])} and "
            f"{len(logs[1])} rows), so there is nothing to compare. Log both as often, with --run.log-every."
        )
    same = bool(shared) and not parted
    result: dict[str, Any] = {"same": same, "rows": shared, **parted, "differences": differences}
    return result if same else result | {"cause": _cause(parted.get("found", {}), differences, without)}


def compare_logs(one: Iterable[dict[str, Any]], other: Iterable[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    """Return how many rows two logs share to the bit, and where they part.

    Returns:
        the number of rows of the same update that are the same, up to the first that is not; {"step", "epoch", "found"} of
        that, where "found" is {name: [one's, other's]}; empty if there is none.
    """
    logs, rows = [_by_place(one), _by_place(other)], 0
    for place in (place for place in logs[0] if place in logs[1]):
        first, second = (log[place] for log in logs)
        names = [name for name in first if name in second and name not in PASSING]
        found = {name: [first[name], second[name]] for name in names if _differ(first[name], second[name])}
        if found:
            return rows, {"step": first["step"], "epoch": first["epoch"], "found": found}
        rows += 1
    return rows, {}


def _by_place(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, int, int], dict[str, Any]]:
    return {(row["kind"], row["epoch"], row["step"]): row for row in rows if {"kind", "epoch", "step"} <= row.keys()}


def _differ(one: Any, other: Any) -> bool:
    return repr(one) != repr(other)  # to the bit; NaN is as good as NaN here


def _in_recipes(one: Recipe, other: Recipe) -> dict[str, list[Any]]:
    return {name: [one.get(name), other.get(name)] for name in one.names() if one.get(name) != other.get(name)}


def _in_environments(one: dict[str, Any], other: dict[str, Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name in ("data_sha256", *CIRCUMSTANCES):
        first, second = one.get(name), other.get(name)
        if isinstance(first, dict) and isinstance(second, dict):
            found |= {
                f"{name}.{key}": [first.get(key), second.get(key)]
                for key in sorted({*first, *second})
                if first.get(key) != second.get(key)
            }
        elif first != second:
            found[name] = [first, second]
    return found


def _explaining(differences: dict[str, list[Any]]) -> set[str]:
    """Return the differences that make it another run: in the data, the seed, the choices."""
    choices = {name for name in differences if name.partition(".")[0] in RECIPE and name not in NO_CAUSE}
    return choices - {*PLACES} | differences.keys() & {"data_sha256"}  # the same data may lie elsewhere


def _cause(found: dict[str, list[Any]], differences: dict[str, list[Any]], without: list[str]) -> str:
    """Return the first thing that explains the first row that differs, from the data on to the weights.

    Args:
        found: what differs in that row.
        differences: in recipes and environments.
        without: the folders that have no recipe to look it up in.
    """
    if without:
        seen = "the order of examples; " if "order" in found else "the learning rate; " if "lr" in found else ""
        return f"{seen}more can't be looked up: there is no recipe.toml in {' and '.join(without)}"
    if (seeds := differences.get("run.seed")) is not None:
        said = f"run.seed: {seeds[0]} and {seeds[1]}"
        return f"{said}; it sets splits, the weights at the start, the order of examples, and dropout"
    if "data_sha256" in differences:
        return "the data is not the same" + _because(differences, *PLACES)
    if "order" in found:
        return "the order of examples" + _because(differences, "data.", "objective.balance", "train.batch_size")
    choices = _explaining(differences)
    if "lr" in found and not choices:
        return "the learning rate"
    if choices:
        return "; ".join(f"{name}: {differences[name][0]} and {differences[name][1]}" for name in sorted(choices))
    if circumstances := {name: pair for name, pair in differences.items() if name.partition(".")[0] in CIRCUMSTANCES}:
        return "; ".join(f"{name}: {was} and {now}" for name, (was, now) in circumstances.items())
    return (
        "the weights: everything that was written down is the same, so something that is not reproducible was computed"
    )


RECIPE = {"data", "augment", "model", "objective", "optimizer", "schedule", "train", "run"}


def _because(differences: dict[str, list[Any]], *prefixes: str) -> str:
    found = [f"{name}: {was} and {now}" for name, (was, now) in differences.items() if name.startswith(prefixes)]
    return f" ({'; '.join(found)})" if found else ""
