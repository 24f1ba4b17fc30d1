"""What was understood of the data, for people to check: columns, classes, splits, and what could make results wrong."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from truestep.data.columns import ID_NAME, Column
from truestep.data.keys import count_distinct
from truestep.data.table import listed, shorten
from truestep.data.targets import Target

if TYPE_CHECKING:
    from torch import Tensor

MANY_COPIES = 0.1  # share of held-out rows that may have copies in training before it is a problem
MANY_RARE = 5  # more classes with the same fault than this share one note
UNEVEN = 0.1  # a class with fewer rows than this share of an even one is learnt badly by many models

# A column alone. One that says the target nearly always is rarely an honest input: the best single columns of well
# known data reach an accuracy of 0.96 (petal width, iris), 0.92 (breast cancer), 0.82 (wine); R² of 0.34 (diabetes).
ENOUGH_HELD_OUT = 20  # fewer rows show nothing
LEAK = 0.99  # accuracy from which a column is a problem ...
LEAK_SKILL = 0.95  # ... if it also spares this share of the errors of always saying the most frequent class,
LEAK_ERRORS = 20  # of which there must be enough not to be spared by chance
LEAK_R2 = 0.999
STRONG, STRONG_SKILL = 0.95, 0.9  # accuracy or R², and share of errors spared, from which a column is worth a note
SAMPLE = 10_000  # rows of training, and held-out ones, that columns are tried on: accuracies to half a percent
MOST_BINS = 64  # of numbers, with ...
LEAST_IN_BIN = 20  # ... so many training rows in each, so that one odd row doesn't decide
FOLDS = 4  # of training rows, for a second look at what seems a leak
REPEATING = ("numeric", "categorical", "text")  # kinds of columns that may name groups
CHANCE = 1e-4  # a column that matches the target so well with more chance than this may do so by accident


@dataclass
class Facts:
    """Notes say what was done; problems, what would make results wrong."""

    rows: int
    columns: list[Column] = field(default_factory=list[Column])
    classes: dict[str, int] = field(default_factory=dict[str, int])
    splits: dict[str, int] = field(default_factory=dict[str, int])
    imbalance: float | None = None  # rows of the most frequent class for each of the rarest
    copies: dict[str, int] = field(default_factory=dict[str, int])  # see `note_copies`
    alone: dict[str, float] = field(
        default_factory=dict[str, float]
    )  # how well each column predicts; see `note_columns`
    notes: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and dicts, for JSON; what a column has not is left out."""
        columns = [
            {key: copy(value) for key, value in vars(column).items() if value not in (None, [])}
            for column in self.columns
        ]
        return {key: copy(value) for key, value in vars(self).items()} | {"columns": columns}


def examine(
    facts: Facts,
    target: Target,
    targets: Tensor,
    splits: Mapping[str, Tensor],
    *,
    keys: np.ndarray | None = None,
    columns: Iterable[pl.Series] = (),
    used: Mapping[str, str] | None = None,
    split: str = "rows",
) -> None:
    """Look at everything that could make results wrong, and add it to the facts.

    Args:
        facts: get `classes`, `splits`, notes and problems.
        target: what is learnt.
        targets: (N,) classes or numbers, or (N, K).
        splits: row numbers of train, valid and test.
        keys: (N,) uint64, equal for rows with equal inputs; see `keys.py`.
        columns: the inputs, one at a time, as `keys.values_of` yields them.
        used: the kind of each of them.
        split: what decided where a row belongs: rows, groups, time or given.
    """
    facts.classes = count_classes(targets, target)
    facts.splits = {name: len(rows) for name, rows in splits.items()}
    note_gaps(facts, used or {})
    note_balance(facts)
    note_splits(facts, target, targets, splits)
    if keys is not None:
        note_copies(facts, keys, splits, target, targets)
    note_columns(facts, columns, target, targets, splits)
    if split == "rows":
        note_hints(facts, target, targets, splits)


def count_classes(targets: Tensor, target: Target) -> dict[str, int]:
    """Return how many rows each class has."""
    if target.class_names is None:
        return {}
    counts = targets.bincount(minlength=len(target.class_names))
    return {name: int(count) for name, count in zip(target.class_names, counts, strict=True)}


def note_gaps(facts: Facts, used: Mapping[str, str]) -> None:
    """Say which columns have missing values, and what becomes of them."""
    for column in facts.columns:
        if column.missing and column.name in used:
            becomes = "a category of their own" if column.kind == "categorical" else "the mean of training, and marked"
            facts.notes.append(
                f"column '{column.name}': {column.missing} missing of {facts.rows}; they become {becomes}."
            )


def note_balance(facts: Facts) -> None:
    """Say how uneven the classes are, where that makes the rarest hard to learn."""
    present = {name: count for name, count in facts.classes.items() if count}
    if len(present) < 2:
        return
    facts.imbalance = max(present.values()) / min(present.values())
    total, rarest = sum(present.values()), min(present, key=lambda name: present[name])
    if present[rarest] < UNEVEN * total / len(present):
        facts.notes.append(
            f"the rarest class, '{shorten(rarest)}', has {present[rarest]:,} of {total:,} rows; "
            "--balance weights or --balance sampler would count it more."
        )


def note_splits(facts: Facts, target: Target, targets: Tensor, splits: Mapping[str, Tensor]) -> None:
    """Say which classes a split is without, and refuse to call it fine if training has nothing to tell apart."""
    train = targets[splits["train"]]
    held_out = [name for name in ("valid", "test") if len(splits[name])]
    if len(train) and targets.ndim == 1 and bool((train == train[0]).all()):
        value = target.class_names[int(train[0])] if target.class_names else f"{float(train[0]):g}"
        facts.problems.append(f"'{target.name}' is {shorten(value)} in every training row: there is nothing to learn.")
    if target.class_names is None:
        return
    size = len(target.class_names)
    counts = {name: targets[splits[name]].bincount(minlength=size).tolist() for name in ("train", *held_out)}
    untrained: dict[str, str] = {}
    unmeasured: dict[str, str] = {}
    for label, (name, rows) in enumerate(facts.classes.items()):
        if not rows:
            continue
        empty = [split for split in held_out if not counts[split][label]]
        if not counts["train"][label]:
            where = " and ".join(split for split in held_out if counts[split][label])
            untrained[name] = f"class '{shorten(name)}' has {_rows(rows)} in {where} and none in train"
        elif len(empty) == len(held_out) > 0:
            unmeasured[name] = f"class '{shorten(name)}' has {_rows(rows)}: all for training, none to measure by."
        elif empty:
            unmeasured[name] = f"class '{shorten(name)}' has {_rows(rows)}, none of them in {empty[0]}."
    if len(untrained) > MANY_RARE:
        facts.problems.append(
            f"{len(untrained)} classes ({_some(untrained)}) have no row in train: they can't be learnt."
        )
    else:
        facts.problems += [f"{sentence}: it can't be learnt." for sentence in untrained.values()]
    if len(unmeasured) > MANY_RARE:
        facts.notes.append(
            f"{len(unmeasured)} classes ({_some(unmeasured)}) are too rare to be in every split: figures say little of them."
        )
    else:
        facts.notes += unmeasured.values()


def note_copies(
    facts: Facts,
    keys: np.ndarray,
    splits: Mapping[str, Tensor],
    target: Target | None = None,
    targets: Tensor | None = None,
) -> None:
    """Say how many rows have the same inputs as others, in one split, across splits, and with other targets.

    `facts.copies` gets: "rows", with the same inputs as an earlier one; "across", held-out ones with the same inputs as
    one in training; "conflicting", with the same inputs as one with another target.

    Args:
        facts: gets the notes.
        keys: (N,) a number for each row, equal for equal inputs.
        splits: row numbers of train, valid and test.
        target: what is learnt.
        targets: (N,), or None to look at inputs only.
    """
    copies = len(keys) - count_distinct(keys)
    if not copies:  # as in most tables; what follows takes several times their memory
        return
    distinct, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    in_train = np.zeros(len(distinct), dtype=bool)
    in_train[inverse[splits["train"].numpy()]] = True
    held_out = inverse[np.concatenate([splits[name].numpy() for name in ("valid", "test")])]
    across = int(in_train[held_out].sum())
    said = f"{_rows(copies)} ha{'ve' if copies > 1 else 's'} the same inputs as an earlier one; "
    said += f"{across:,} of the {len(held_out):,} held-out rows have duplicate inputs in training."
    facts.notes.append(said)
    conflicting = np.zeros(len(distinct), dtype=bool)
    if target is not None and targets is not None and targets.ndim == 1:
        conflicting = _note_conflicts(facts, inverse, counts, target, targets.numpy())
    facts.copies = {"rows": copies, "across": across, "conflicting": int(counts[conflicting].sum())}
    # Few columns of few values have copies by nature; their targets differ. Copied rows agree in their targets.
    copied = int((in_train & ~conflicting)[held_out].sum())
    if copied > MANY_COPIES * len(held_out):
        facts.problems.append(
            f"{copied:,} of {len(held_out):,} held-out rows have duplicate inputs in training: "
            "metrics show memory as much as learning."
        )


def _note_conflicts(
    facts: Facts, inverse: np.ndarray, counts: np.ndarray, target: Target, values: np.ndarray
) -> np.ndarray:
    """Say how good a model could be at best, as the same inputs have different targets; return which inputs do."""
    rows = np.flatnonzero(counts[inverse] > 1)
    rows = rows[np.lexsort((values[rows], inverse[rows]))]
    unit, sorted_values = inverse[rows], values[rows]
    beside = (unit[1:] == unit[:-1]) & (sorted_values[1:] != sorted_values[:-1])
    conflicting = np.zeros(len(counts), dtype=bool)
    conflicting[unit[1:][beside]] = True
    count = int(counts[conflicting].sum())
    if not count:
        return conflicting
    unit, sorted_values = (part[conflicting[unit]] for part in (unit, sorted_values))
    if target.has_classes:
        pairs, sizes = np.unique(unit * len(target.class_names or ()) + sorted_values, return_counts=True)
        most = np.zeros(len(counts), np.int64)
        np.maximum.at(most, pairs // len(target.class_names or ()), sizes)
        best = f"an accuracy above {_ceiling(1 - (count - most.sum()) / len(values))}"
    else:
        numbers = sorted_values.astype(np.float64)
        means = np.bincount(unit, numbers, minlength=len(counts)) / counts
        unexplained = ((numbers - means[unit]) ** 2).sum() / (len(values) * values.astype(np.float64).var())
        best = f"an R² above {_ceiling(1 - unexplained)}"
    facts.notes.append(
        f"{_rows(count)} have the same inputs as others with another target: no model can reach {best} on all rows."
    )
    return conflicting


def note_columns(
    facts: Facts, columns: Iterable[pl.Series], target: Target, targets: Tensor, splits: Mapping[str, Tensor]
) -> None:
    """Say which columns are the target under another name, or alone tell it, or never change in training.

    `facts.alone` gets, by column, the accuracy (classes) or R² (numbers) with which it alone predicts held-out rows.

    Args:
        facts: gets the notes and problems.
        columns: float64 numbers, or words, taken one at a time.
        target: what is learnt.
        targets: (N,); columns are not tried on others.
        splits: row numbers of train, valid and test.
    """
    if targets.ndim != 1:
        return
    trial = Trial.of(target, targets, splits)
    still: list[str] = []
    problems: list[str] = []  # of leaks; they come first, where nothing hides them
    notes: list[str] = []
    for column in columns:
        if _is_still(column, splits["train"].numpy()):
            still.append(column.name)
            continue
        question = f"is it known before '{target.name}' is? If not: --data.drop {shlex.quote(column.name)}"
        strength = trial.strength(column[trial.rows]) if trial else None
        if strength is not None and math.isfinite(strength.score):
            facts.alone[column.name] = strength.score
        if _is_same(column, target, targets):
            tells = "tells the class in every row" if target.has_classes else f"is '{target.name}' itself in every row"
            problems.append(f"column '{column.name}' {tells}: {question}.")
        elif strength is not None and strength.is_leak:
            problems.append(f"column '{column.name}' alone {_told(strength, target)}: {question}.")
        elif strength is not None and strength.is_strong:
            notes.append(f"column '{column.name}' alone {_told(strength, target)}: {question}.")
        del column  # before the next one is made
    facts.problems[:0], facts.notes[:0] = problems, notes
    if still:
        said = f"columns {listed(still, 3)} are" if len(still) > 1 else f"column '{still[0]}' is"
        facts.notes.append(
            f"{said} the same in every training row, though not in the others: nothing is learnt from it."
        )


def note_hints(facts: Facts, target: Target, targets: Tensor, splits: Mapping[str, Tensor]) -> None:
    """Say what speaks for a split by groups or by time, where rows were split one by one."""
    for column in facts.columns:
        option = shlex.quote(column.name)
        if column.kind == "date":
            facts.notes.append(
                f"column '{column.name}' is a time, and rows were split regardless of it; "
                f"--time {option} would train on the past and test on the future."
            )
        elif column.kind in REPEATING and ID_NAME.fullmatch(column.name) and 2 < column.distinct <= facts.rows / 2:
            facts.notes.append(
                f"column '{column.name}' has {column.distinct:,} different values in {_rows(facts.rows)}; "
                f"if rows with the same one belong together, --group {option} keeps them in one split."
            )
    trial = Trial.of(target, targets, splits)
    if trial is None:
        return
    strength = trial.strength(pl.Series(trial.rows, dtype=pl.Float64))
    if not strength.is_strong:
        return
    steps: np.ndarray = np.diff(targets.numpy())
    if (
        (target.has_classes and np.count_nonzero(steps) == len(facts.classes) - 1)
        or (steps >= 0).all()
        or (steps <= 0).all()
    ):
        facts.notes.append(f"the rows are sorted by '{target.name}': a column that follows their order would tell it.")
    else:
        facts.notes.append(
            f"the row number alone {_told(strength, target)}: rows beside each other seem to belong together. "
            "If they follow time, or come in groups, --time COLUMN or --group COLUMN makes a split to trust."
        )


@dataclass(frozen=True)
class Strength:
    """How well a column alone predicts the target, by rows that it was not fitted on."""

    score: float  # accuracy, or R²
    baseline: float  # accuracy of always saying the most frequent class; 0 for R²
    rows: int  # held out
    is_leak: bool
    is_strong: bool


@dataclass(frozen=True)
class Trial:
    """A sample of rows to fit single columns on, another to try them on, and their targets."""

    rows: np.ndarray  # (n + m,) row numbers: n of training, m held out
    num_fitted: int  # n
    targets: np.ndarray  # (n + m,) int64 classes, or float64 numbers
    num_classes: int  # 0 for numbers

    @classmethod
    def of(cls, target: Target, targets: Tensor, splits: Mapping[str, Tensor]) -> Trial | None:
        """Return None if there are too few rows to try on, or several targets a row."""
        train, held_out = splits["train"].numpy(), np.concatenate([splits[name].numpy() for name in ("valid", "test")])
        if targets.ndim != 1 or min(len(train), len(held_out)) < ENOUGH_HELD_OUT:
            return None
        draw = np.random.default_rng(0).choice
        train, held_out = (
            np.sort(draw(rows, SAMPLE, replace=False)) if len(rows) > SAMPLE else rows for rows in (train, held_out)
        )
        rows = np.concatenate([train, held_out])
        values = targets.numpy()[rows]
        if target.has_classes:
            return cls(rows, len(train), values, len(target.class_names or ()))
        return cls(rows, len(train), values.astype(np.float64), 0)

    @np.errstate(over="ignore", invalid="ignore")  # of numbers near the largest; what becomes NaN is no leak
    def strength(self, column: pl.Series) -> Strength:
        """Return how well these values, (n + m,) numbers or words, predict."""
        values, ordered = _numbered(column), column.dtype != pl.String
        places = np.arange(len(values))
        fitted, held_out = places[: self.num_fitted], places[self.num_fitted :]
        wrong, baseline = self._errors(values, self.targets, fitted, held_out, ordered=ordered)
        if not baseline:
            return Strength(math.nan, 1.0, len(held_out), is_leak=False, is_strong=False)
        skill = 1 - wrong / baseline
        if not self.num_classes:
            is_leak = skill >= STRONG and self._is_leak(values, ordered=ordered)
            return Strength(skill, 0.0, len(held_out), is_leak=is_leak, is_strong=skill >= STRONG)
        score = 1 - wrong / len(held_out)
        is_strong = score >= STRONG and skill >= STRONG_SKILL and baseline >= LEAK_ERRORS / FOLDS
        is_leak = is_strong and self._is_leak(values, ordered=ordered)
        return Strength(score, 1 - baseline / len(held_out), len(held_out), is_leak, is_strong)

    def _is_leak(self, values: np.ndarray, *, ordered: bool) -> bool:
        """Whether predictions are near perfect on held-out rows, and among the training rows by cross-validation.

        Both, because a few dozen held-out rows can be all right by chance. Numbers are near perfect also if their
        ranks are: the squared error of a few extreme rows hides that the target's logarithm gives it away.
        """
        places = np.arange(len(values))
        fitted, held_out = places[: self.num_fitted], places[self.num_fitted :]
        folds = np.random.default_rng(0).permutation(self.num_fitted) % FOLDS
        ranks = [] if self.num_classes else [pl.Series(self.targets).rank().to_numpy()]
        for targets in (self.targets, *ranks):
            outer = self._errors(values, targets, fitted, held_out, ordered=ordered)
            pairs = [
                self._errors(values, targets, fitted[folds != k], fitted[folds == k], ordered=ordered)
                for k in range(FOLDS)
            ]
            inner = (sum(wrong for wrong, _ in pairs), sum(baseline for _, baseline in pairs))
            looks = ((outer, len(held_out)), (inner, self.num_fitted))
            if not self.num_classes:
                near = all(wrong <= (1 - LEAK_R2) * baseline for (wrong, baseline), _ in looks)
            else:
                near = outer[1] + inner[1] >= LEAK_ERRORS and all(
                    wrong <= min((1 - LEAK) * rows, (1 - LEAK_SKILL) * baseline) for (wrong, baseline), rows in looks
                )
            if near:
                return True
        return False

    def _errors(
        self, values: np.ndarray, targets: np.ndarray, fitted: np.ndarray, asked: np.ndarray, *, ordered: bool
    ) -> tuple[float, float]:
        """Return the errors, or the sum of squared ones, of the best way to predict, and of the best single answer.

        Words answer with the most frequent class, or the mean, of the rows that have them. Numbers do so by bins, which
        finds a noisy rule; and as the nearest number does, or on the line between its neighbours, which finds a sharp one.
        """
        known_targets, truth = targets[fitted], targets[asked]
        one = self._answer(known_targets)
        code = values
        if ordered:
            bins = min(MOST_BINS, max(2, len(fitted) // LEAST_IN_BIN))
            code = np.searchsorted(np.quantile(values[fitted], np.arange(1, bins) / bins), values)
        known, answers = self._answers(code[fitted], known_targets)
        at = np.minimum(np.searchsorted(known, code[asked]), len(known) - 1)
        found = [np.where(known[at] == code[asked], answers[at], one)]
        if ordered:
            known, answers = self._answers(values[fitted], known_targets)
            if self.num_classes:
                found.append(answers[np.searchsorted(known[1:] / 2 + known[:-1] / 2, values[asked])])
            else:
                found.append(np.interp(values[asked], known, answers))
        if self.num_classes:
            return float(min(np.count_nonzero(answer != truth) for answer in found)), float(
                len(truth) - np.bincount(truth).max()
            )
        return float(min(((answer - truth) ** 2).sum() for answer in found)), float(((truth - truth.mean()) ** 2).sum())

    def _answer(self, targets: np.ndarray) -> Any:
        """Return the most frequent class, or the mean."""
        if not self.num_classes:
            return np.bincount(np.zeros(len(targets), np.int64), targets)[0] / len(targets)
        counts = np.bincount(targets)
        return len(counts) - 1 - counts[::-1].argmax()

    def _answers(self, codes: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct codes in ascending order, and the most frequent class or the mean of each."""
        known, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
        if not self.num_classes:
            return known, np.bincount(inverse, targets) / counts
        pairs, sizes = np.unique(inverse * self.num_classes + targets, return_counts=True)
        order = np.lexsort((sizes, pairs // self.num_classes))
        last = np.flatnonzero(np.diff(pairs[order] // self.num_classes, append=-1))
        return known, pairs[order][last] % self.num_classes


def _numbered(column: pl.Series) -> np.ndarray:
    """Return words as numbers; what is missing is a value of its own, below all others."""
    if column.dtype == pl.String:
        return column.rank("dense").fill_null(0).to_numpy().astype(np.float64)
    values = column.cast(pl.Float64).to_numpy(writable=True)
    missing = np.isnan(values)
    if missing.any():
        known = values[~missing]
        lowest, highest = (known.min(), known.max()) if len(known) else (0.0, 0.0)
        below = lowest - (highest - lowest) - 1
        values[missing] = below if math.isfinite(below) else np.nextafter(lowest, -np.inf)
    return values


def _is_still(column: pl.Series, train: np.ndarray) -> bool:
    """Whether a column changes, but not in training; one that never does is left out before."""
    if len(train) and _differ(column[int(train[0])], column[int(train[-1])]):
        return False
    few = column.gather(train[:1000])
    return few.n_unique() == 1 and column.gather(train).n_unique() == 1 < column.n_unique()


def _differ(one: Any, other: Any) -> bool:
    """Whether two values are surely different; NaN, and what is missing, may be like another."""
    return one is not None and other is not None and (one < other or one > other)


def _is_same(column: pl.Series, target: Target, targets: Tensor) -> bool:
    """Whether each value goes with one class and each class with one value, by more than chance; or numbers are equal."""
    values = targets.numpy()
    if not target.has_classes:
        if column.dtype == pl.String:
            return False
        numbers = column.cast(pl.Float64).cast(pl.Float32, strict=False).to_numpy()
        return np.array_equal(numbers[:1000], values[:1000]) and np.array_equal(numbers, values)
    for rows in (slice(0, 1000), slice(None)):
        found = column[rows]
        distinct = found.n_unique() if found.dtype == pl.String else len(np.unique(found.to_numpy()))
        if distinct != len(np.unique(values[rows])):  # as is nearly always so, and soon known
            return False
        pairs = pl.DataFrame([column[rows].alias("value"), pl.Series("class", values[rows])])
        distinct = pairs.n_unique()
        if not distinct == pairs["value"].n_unique() == pairs["class"].n_unique():
            return False
    counts = np.bincount(values)
    counts = counts[counts > 0]
    ways = math.lgamma(len(values) + 1) - sum(math.lgamma(count + 1) for count in counts)  # log of
    return len(counts) > 1 and ways > -math.log(CHANCE)


def _told(strength: Strength, target: Target) -> str:
    score = f"{math.floor(strength.score * 1e4) / 1e4:g}"
    if not target.has_classes:
        return f"predicts '{target.name}' of {strength.rows:,} held-out rows with R² {score}"
    return (
        f"predicts '{target.name}' of {strength.rows:,} held-out rows with accuracy {score} "
        f"(one class for all: {strength.baseline:.2g})"
    )


def _ceiling(value: float) -> str:
    return f"{math.ceil(value * 1e4) / 1e4:g}"


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _some(names: Iterable[str]) -> str:
    return ", ".join([*map(shorten, list(names)[:3]), "..."])


def describe_inputs(inputs: np.ndarray) -> Column:
    """Return an array of inputs as one column."""
    shape = "x".join(map(str, inputs.shape[1:]))
    return Column("inputs", "numeric", 0, 0, [f"{inputs.dtype} {shape}"], (float(inputs.min()), float(inputs.max())))
