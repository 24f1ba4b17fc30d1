"""One self-contained HTML page about a run, made from the files that the run left and from nothing else.

The template beside this file has the words and the looks; here the files are read and checked, and curves become paths.
Every text passes Jinja's autoescape and `printable` on its way out, so a class named `<script>` is only a class.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, StrictUndefined, Template

from truestep import folder as run_folder
from truestep import listing
from truestep.errors import InputError, RefusedError
from truestep.metrics import higher_is_better
from truestep.recipe import Recipe, section_fields

LARGEST_MATRIX = 50  # classes; a larger table can't be read
LONGEST_LIST = 20  # confusions shown in its place
MOST_HOVERED = 120  # places of a chart that answer the mouse; more would be narrower than it
CURVES_A_CHART = 3
HEADLINES = 4  # figures at the top
LOG_RATIO = 50  # largest to smallest value from which a loss is drawn on a logarithmic axis
ERRORS = ("rmse", "mae", "median_absolute_error")  # in the units of the target, so they share an axis
FIRST = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "rmse", "mae", "r2")  # of the metrics, what to look at first
OWN_AXIS = ("r2", "perplexity")
NOT_DRAWN = ("loss", "log_loss", "calibration_error")  # unless monitored; the loss has its own chart
WORDS = {"f1": "F1", "roc": "ROC", "auc": "AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²", "lr": "learning rate"}
STOPPED = {
    "epochs": "trained for all its epochs",
    "patience": "stopped early, because {monitor} no longer got better",
    "max_steps": "stopped at the largest number of steps",
    "max_minutes": "stopped when its time was up",
}
PICTURE = re.compile("data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
FEW_COLUMNS, FEW_CLASSES = 12, 20  # more are folded away
NOTHING = "\N{EN DASH}"
# Control characters, lone surrogates, and the marks that turn the direction of the text after them.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def write_report(folder: Path) -> Path:
    """Write report.html about the run in `folder`, finished or not, and return its path.

    Raises:
        InputError: this is not the folder of a run.
        RefusedError: a file of it is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Expected the folder of a run.")
    recipe = Recipe.from_toml(folder / "recipe.toml")
    epochs, steps = _read_log(folder / "metrics.jsonl")
    results = _read_results(folder / "results.json") if (folder / "results.json").exists() else None
    monitored = [row for row in epochs if recipe.train.monitor in row]
    best = (results.best_epoch if results else _best(recipe.train.monitor, monitored)) if monitored else None
    page = _template().render(
        name=folder.resolve().name,
        folder=shlex.quote(str(folder)),
        recipe_file=shlex.quote(str(folder / "recipe.toml")),
        recipe=recipe,
        sections=_sections(recipe),
        results=results,
        epochs=epochs,
        best=best,
        skipped=max((row.get("skipped", 0) for row in (*epochs, *steps)), default=0),
        stopped=STOPPED.get(results.facts["stopped"], "ended").format(monitor=recipe.train.monitor) if results else "",
        headlines=_headlines(recipe.train.monitor, results.metrics) if results else [],
        charts=_charts(recipe, epochs, steps, best),
        environment=_flat(run_folder.read_json(folder / "environment.json")),
        longest_list=LONGEST_LIST,
        few_columns=FEW_COLUMNS,
        few_classes=FEW_CLASSES,
    )
    path = folder / "report.html"
    run_folder.write(path, page)
    return path


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=printable, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=number, duration=duration, words=words)
    return environment.from_string(files("truestep").joinpath("report.html.j2").read_text(encoding="utf-8"))


# Texts and numbers


def printable(content: Any) -> Any:
    """Return a text without control characters; anything else as it is."""
    if isinstance(content, str) and UNPRINTABLE.search(content):
        return type(content)(UNPRINTABLE.sub("", content))
    return content


def number(value: float) -> str:
    """Return a number with the digits a reader needs: 0.9852, 54.32, 1,257, 3e-05, NaN."""
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "\N{MINUS SIGN}Infinity"
    size = abs(value)
    if size == 0:
        text = "0"
    elif size < 0.01 or size >= 1e7:
        text = f"{value:.3g}"
    else:
        text = f"{value:,.{4 if size < 10 else 2 if size < 1000 else 1}f}"
    return text.replace("-", "\N{MINUS SIGN}", 1) if value < 0 else text


def duration(seconds: float) -> str:
    if not math.isfinite(seconds) or seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def words(name: str) -> str:
    """Return the name of a metric as a reader says it: "valid_roc_auc" is "valid ROC AUC"."""
    return " ".join(WORDS.get(word, word) for word in name.split("_"))


# The files of the folder


@dataclass(frozen=True)
class Metric:
    """A figure of the test split (of the valid split, where there is no test split), and what belongs to it."""

    name: str
    values: dict[str, float]  # by split, "test" first
    interval: tuple[float, float] | None

    @property
    def value(self) -> float:
        return next(iter(self.values.values()))


@dataclass(frozen=True)
class Cell:
    count: int
    share: float  # of the row's examples
    shade: int  # percent of the full colour; the root of the share, because one mistake in fifty should be seen
    right: bool
    title: str


@dataclass(frozen=True)
class Confusion:
    true: str
    predicted: str
    count: int
    of: int


@dataclass(frozen=True)
class Details:
    """What is known about the classes of one split."""

    split: str
    names: list[str]  # of the classes
    matrix: list[list[Cell]] | None  # rows: true classes; None: there is none, or it is too large to be read
    worst: list[Confusion]  # in its place when it is too large
    per_class: list[tuple[str, dict[str, float]]]


@dataclass(frozen=True)
class DataColumn:
    name: str
    kind: str
    missing: int
    distinct: int
    alone: float | None  # how well it alone predicts held-out rows: accuracy, or R²
    values: str


@dataclass(frozen=True)
class DataFacts:
    """What was understood of the data."""

    rows: int
    splits: list[tuple[str, int, float]]  # name, examples, share
    words: list[tuple[str, str]]  # what is to be learnt, from what, and what decided the splits
    classes: list[tuple[str, int, float, float]]  # name, rows, share, percent of the most frequent one's
    columns: list[DataColumn]
    notes: list[str]
    problems: list[str]
    left_out: dict[str, int]  # of lists that were too long to be kept


@dataclass(frozen=True)
class Doubt:
    """A row whose label the model doubts."""

    place: str
    split: str
    given: str
    predicted: str
    sure: str
    text: str
    image: str  # a data URI, or empty


@dataclass(frozen=True)
class Mistake:
    """What the doctor thinks is wrong with the run."""

    severity: str
    rule: str
    place: str
    message: str
    fix: str


@dataclass(frozen=True)
class Results:
    metrics: list[Metric]
    splits: list[str]
    details: list[Details]
    best_epoch: int
    examples: dict[str, int]
    data: DataFacts | None  # none in the folders of older runs
    doubts: list[Doubt] | None
    mistakes: list[Mistake]
    sample: tuple[str, str] | None  # the beginning of a text, and how the model goes on with it
    facts: dict[str, Any]  # the rest of results.json, as it is


def _read_results(path: Path) -> Results:
    raw = run_folder.read_json(path)
    try:
        classes = [str(name) for name in raw["classes"] or ()]  # as it was written: a class may be called "NaN"
        content = run_folder.from_json(raw)
        by_split = {
            split: _numbers(content["metrics"][split]) for split in ("test", "valid") if split in content["metrics"]
        }
        intervals = content["intervals_95"].get("test", {})
        facts: dict[str, Any] = {name: str(content[name]) for name in ("objective", "model", "stopped", "monitor")}
        facts |= {
            name: _number(content[name])
            for name in ("parameters", "epochs", "steps", "skipped", "seconds", "examples_per_second", "seed")
        }
        return Results(
            metrics=[
                Metric(
                    name,
                    {split: metrics[name] for split, metrics in by_split.items() if name in metrics},
                    _interval(intervals.get(name)),
                )
                for name in dict.fromkeys(name for metrics in by_split.values() for name in metrics)
            ],
            splits=list(by_split),
            details=[
                details
                for split in by_split
                if (details := _details(split, content["details"].get(split, {}), classes))
            ],
            best_epoch=int(_number(content["best_epoch"])),
            examples={name: int(_number(count)) for name, count in content["examples"].items()},
            data=_data_facts(raw["data"]) if raw.get("data") is not None else None,
            doubts=[_doubt(doubt) for doubt in raw["suspects"]] if raw.get("suspects") is not None else None,
            mistakes=[_mistake(one) for one in (raw.get("doctor") or {"findings": []})["findings"]],
            sample=(str(raw["sample"]["prompt"]), str(raw["sample"]["continuation"])) if raw.get("sample") else None,
            facts=facts,
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise RefusedError(f"{path}: damaged ({type(error).__name__}: {error}).") from None


def _details(split: str, content: Mapping[str, Any], classes: Sequence[str]) -> Details | None:
    counts = [[int(_number(count)) for count in row] for row in content.get("confusion_matrix", ())]
    rows = [_numbers(row) for row in content.get("per_class", ())]
    if not counts and not rows:
        return None
    names = [*classes, *(str(i) for i in range(len(classes), max(len(counts), len(rows))))]
    if any(len(row) != len(counts) for row in counts):
        raise ValueError("the confusion matrix is not square")
    cells, confusions = list[list[Cell]](), list[Confusion]()
    for i, row in enumerate(counts):
        total = sum(row)
        cells.append([])
        for j, count in enumerate(row):
            share = count / total if total else 0.0
            title = f"{names[i]}, predicted as {names[j]}: {count:,} of {total:,} ({share:.1%})"
            cells[-1].append(Cell(count, share, round(100 * math.sqrt(share)), i == j, title if count else ""))
            if i != j and count:
                confusions.append(Confusion(names[i], names[j], count, total))
    confusions.sort(key=lambda confusion: -confusion.count)
    large = len(counts) > LARGEST_MATRIX
    return Details(
        split,
        names,
        None if large or not counts else cells,
        confusions[:LONGEST_LIST] if large else [],
        list(zip(names, rows, strict=False)),
    )


def _data_facts(content: Mapping[str, Any]) -> DataFacts:
    splits = {str(name): int(_number(size)) for name, size in content["splits"].items()}
    classes = {str(name): int(_number(count)) for name, count in content["classes"].items()}
    examples, rows = sum(splits.values()) or 1, sum(classes.values()) or 1
    most = max([*classes.values(), 1])
    target = content["target"]
    words = {"target": f"{target['name']}, {target['task']}: {target['reason']}", **content["summary"]}
    alone = _numbers(run_folder.from_json(content["alone"]))
    return DataFacts(
        rows=int(_number(content["rows"])),
        splits=[(name, size, size / examples) for name, size in splits.items()],
        words=[(str(name), str(said)) for name, said in (words | {"splits": content["split_by"]}).items() if said],
        classes=[(name, count, count / rows, 100 * count / most) for name, count in classes.items()],
        columns=[
            DataColumn(
                str(column["name"]),
                str(column["kind"]),
                int(_number(column["missing"])),
                int(_number(column["distinct"])),
                alone.get(column["name"]),
                listing.values_of(column),
            )
            for column in content["columns"]
        ],
        notes=[str(note) for note in content["notes"]],
        problems=[str(problem) for problem in content["problems"]],
        left_out={str(name): int(_number(count)) for name, count in content["left_out"].items()},
    )


def _doubt(content: Mapping[str, Any]) -> Doubt:
    image = str(content.get("image", ""))
    return Doubt(
        place=str(content["place"]),
        split=str(content["split"]),
        given=listing.value(content["given"]),
        predicted=listing.value(content["predicted"]),
        sure=listing.sure(content),
        text=str(content.get("text", "")),
        image=image if PICTURE.fullmatch(image) else "",
    )


def _mistake(content: Mapping[str, Any]) -> Mistake:
    place = f"{content['file']}:{int(_number(content['line']))}" if content["file"] else ""
    return Mistake(
        str(content["severity"]), str(content["rule"]), place, str(content["message"]), str(content["fix"] or "")
    )


def _interval(ends: Any) -> tuple[float, float] | None:
    if ends is None:
        return None
    low, high = ends
    return _number(low), _number(high)


def _read_log(path: Path) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Return the rows of kind "epoch" and those of kind "step"."""
    rows: dict[str, list[dict[str, float]]] = {"epoch": [], "step": [], "final": [], "rollback": [], "skipped": []}
    try:
        for row in run_folder.read_metrics(path):
            rows[row["kind"]].append(
                _numbers({name: value for name, value in row.items() if name not in run_folder.WORDS})
            )
        for row in (*rows["epoch"], *rows["step"]):
            for name in ("epoch", "step", *({"skipped"} & row.keys())):
                row[name] = int(row[name])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise RefusedError(f"{path}: damaged ({type(error).__name__}: {error}).") from None
    return rows["epoch"], rows["step"]


def _numbers(content: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): _number(value) for name, value in content.items()}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, found {value!r:.40}")
    float(value)  # an integer that no float can hold is no figure of a run
    return value


def _best(monitor: str, rows: Sequence[Mapping[str, float]]) -> int | None:
    """Return the best epoch so far of a run that did not finish, chosen as the run would have."""
    known = [row for row in rows if not math.isnan(row[monitor])]
    if not known:
        return None
    sign = -1 if higher_is_better(monitor) else 1
    return int(min(known, key=lambda row: sign * row[monitor])["epoch"])


def _sections(recipe: Recipe) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """Return each section's choices as (name, value, whether it is the default)."""
    usual, sections = Recipe(), list[tuple[str, list[tuple[str, str, bool]]]]()
    for section in (field.name for field in fields(Recipe)):
        rows: list[tuple[str, str, bool]] = []
        for option in section_fields(section):
            value, default = (getattr(getattr(r, section), option.name) for r in (recipe, usual))
            rows += [
                (name, shown, value == default)
                for name, shown in _flat({option.name: value if value != "" else NOTHING})
            ]
        sections.append((section, rows))
    return sections


def _flat(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return nested names and values as ("versions.torch", "2.13.0"), in the order they came in."""
    rows: list[tuple[str, str]] = []
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            nested = cast("Mapping[str, Any]", value)
            rows += _flat({f"{name}.{inner}": part for inner, part in nested.items()})
        else:
            rows.append((name, _shown(name, value)))
    return rows


def _shown(name: str, value: Any) -> str:
    if isinstance(value, list | tuple):
        parts = [str(part) for part in cast("Sequence[Any]", value)]
        return (shlex.join(parts) if name == "command" else ", ".join(parts)) or NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return NOTHING if value is None or value == {} else str(value)


# Curves: positions are thousandths of the width and height of the plot, from its upper left corner


@dataclass(frozen=True)
class Curve:
    label: str
    colour: str  # a name of the style sheet
    points: list[tuple[float, float]]  # as measured; y may be NaN
    path: str = ""  # of an SVG path element
    thin: bool = False


@dataclass(frozen=True)
class Hover:
    """What is shown where the mouse is."""

    left: float
    width: float
    x: float
    title: str
    figures: list[tuple[str, str, float, float | None]]  # label, colour, value, height in the plot


@dataclass(frozen=True)
class Chart:
    title: str
    axis: str  # "epoch" or "step"
    curves: list[Curve]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    hovers: list[Hover]
    best: float | None
    best_dots: list[tuple[float, str]]  # heights and colours
    holes: list[float]  # where a curve is not finite
    logarithmic: bool


def _charts(
    recipe: Recipe, epochs: list[dict[str, float]], steps: list[dict[str, float]], best: int | None
) -> list[Chart]:
    """Return the learning curves: loss, the first metrics of the valid split, learning rate."""
    axis = "epoch" if len(epochs) > 1 else "step"
    if axis == "epoch":
        positions = {row["epoch"]: row["step"] for row in epochs}
        at = _position_in_epochs(positions)
    else:
        at = _step
    finer = len(steps) > len(epochs)  # one update in fifty may be more, or less, than one point an epoch

    def curve(label: str, name: str, colour: str, rows: Iterable[dict[str, float]], *, thin: bool = False) -> Curve:
        place = at if thin or axis == "step" else _epoch
        return Curve(label, colour, [(place(row), row[name]) for row in rows if name in row], thin=thin)

    loss = [curve("single updates", "loss", "s1", steps, thin=True)] if finer else []
    loss += [curve("train", "train_loss", "s1", epochs), curve("valid", "valid_loss", "s2", epochs)]
    drawn: list[tuple[str, list[Curve]]] = [("Loss", loss)]
    for title, names in _groups(recipe.train.monitor, epochs):
        drawn.append((
            title,
            [curve(words(n), f"valid_{n}", f"s{i}", epochs) for i, n in enumerate(names, start=3)],
        ))  # fmt: skip
    rate = curve("single updates", "lr", "s1", steps, thin=True) if finer else curve("", "lr", "s1", epochs)
    drawn.append(("Learning rate", [Curve("learning rate", "s6", rate.points)]))

    last = next((row for row in epochs if row["epoch"] == best), None)
    mark = None if last is None else float(_epoch(last) if axis == "epoch" else _step(last))
    charts: list[Chart] = []
    for title, curves in drawn:
        kept = [c for c in curves if c.points]
        if kept:
            charts.append(_chart(title, axis, kept, None if title == "Learning rate" else mark))
    return charts


def _epoch(row: Mapping[str, float]) -> float:
    return row["epoch"]


def _step(row: Mapping[str, float]) -> float:
    return row["step"]


def _position_in_epochs(ends: Mapping[float, float]) -> Any:
    """Return the function that says at which part of which epoch a step was; `ends` has the last step of each."""

    def position(row: Mapping[str, float]) -> float:
        epoch, step = row["epoch"], row["step"]
        begin = ends.get(epoch - 1, 0)
        usual = ends.get(1, 0) or 1  # for an epoch that did not end
        length = ends.get(epoch, begin + usual) - begin
        return epoch - 1 + min(1.0, (step - begin) / max(length, 1))

    return position


def _groups(monitor: str, epochs: Sequence[Mapping[str, float]]) -> list[tuple[str, list[str]]]:
    """Return the metrics to draw, those that share an axis together: what is monitored first, then in their order."""
    watched = monitor.removeprefix("valid_")
    names = dict.fromkeys(name.removeprefix("valid_") for row in epochs for name in row if name.startswith("valid_"))
    wanted = [name for name in names if name not in NOT_DRAWN or name == watched != "loss"]
    wanted.sort(key=lambda name: _rank(name, watched))
    groups: dict[str, list[str]] = {}
    for name in wanted:
        words_of = words(name)
        title = (
            words_of[0].upper() + words_of[1:]
            if name in (*OWN_AXIS, *NOT_DRAWN)
            else "Errors"
            if name in ERRORS
            else "Scores"
        )
        groups.setdefault(f"{title} on valid", []).append(name)
    return [(title, group[:CURVES_A_CHART]) for title, group in groups.items()]


def _rank(name: str, watched: str) -> int:
    """Return where a metric stands: what is monitored, those of `FIRST`, the rest in the order they came in."""
    return -1 if name == watched else FIRST.index(name) if name in FIRST else len(FIRST)


def _headlines(monitor: str, metrics: Sequence[Metric]) -> list[Metric]:
    wanted = [metric for metric in metrics if metric.name != "loss"] or list(metrics)
    return sorted(wanted, key=lambda metric: _rank(metric.name, monitor.removeprefix("valid_")))[:HEADLINES]


def _chart(title: str, axis: str, curves: list[Curve], best: float | None) -> Chart:
    places = [x for curve in curves for x, _ in curve.points]
    values = [y for curve in curves for _, y in curve.points if _drawable(y)]
    logarithmic = title == "Loss" and bool(values) and min(values) > 0 and max(values) / min(values) > LOG_RATIO
    left, right = min(places), max(places)
    if left == right:
        left, right = left - 0.5, right + 0.5
    lowest, highest = min(values, default=0.0), max(values, default=1.0)
    ticks = _log_ticks(lowest, highest) if logarithmic else _ticks(lowest, highest)
    scale = math.log if logarithmic else float
    low, high = scale(min(ticks[0], lowest)), scale(max(ticks[-1], highest))

    def across(x: float) -> float:
        return round(1000 * (x - left) / (right - left), 1)

    def down(y: float) -> float:
        return round(1000 * (high - scale(y)) / (high - low), 1)

    by_curve = [(curve, dict(curve.points)) for curve in curves]
    solid = sorted({x for curve, _ in by_curve if not curve.thin for x, _ in curve.points}) or sorted(set(places))
    asked = solid[:: -(-len(solid) // MOST_HOVERED)]
    if best is not None and best not in asked:
        asked = sorted([*asked, best])
    edges = [left, *((a + b) / 2 for a, b in pairwise(asked)), right]
    hovers = [
        Hover(
            left=across(begin),
            width=round(across(end) - across(begin), 1),
            x=across(x),
            title=f"{axis} {_place(x)}",
            figures=[
                (curve.label, curve.colour, at[x], down(at[x]) if _drawable(at[x]) else None)
                for curve, at in by_curve
                if x in at
            ],
        )
        for x, begin, end in zip(asked, edges, edges[1:], strict=False)
    ]
    return Chart(
        title=title,
        axis=axis,
        curves=[Curve(c.label, c.colour, c.points, _path(c.points, across, down), c.thin) for c in curves],
        x_ticks=[(across(x), _place(x)) for x in _ticks(left, right, about=7, whole=True) if left <= x <= right],
        y_ticks=[(down(y), text) for y, text in zip(ticks, _labels(ticks, alike=not logarithmic), strict=True)],
        hovers=hovers,
        best=None if best is None else across(best),
        best_dots=[
            (down(at[best]), curve.colour)
            for curve, at in by_curve
            if best is not None and not curve.thin and best in at and _drawable(at[best])
        ],
        holes=sorted({across(x) for curve in curves for x, y in curve.points if not _drawable(y)}),
        logarithmic=logarithmic,
    )


def _drawable(y: float) -> bool:
    return abs(y) < 1e300  # False for NaN too; beyond, differences overflow


def _path(points: Sequence[tuple[float, float]], across: Any, down: Any) -> str:
    """Return an SVG path with a gap wherever a value is not finite; a point alone between two gaps is a dot."""
    parts: list[str] = []
    for (x, y), (_, before), (_, after) in zip(
        points, [(0, math.nan), *points], [*points[1:], (0, math.nan)], strict=False
    ):
        if _drawable(y):
            begins = not _drawable(before)
            parts.append(f"{'M' if begins else 'L'}{across(x):g} {down(y):g}")
            if begins and not _drawable(after):
                parts.append("h0")
    return "".join(parts)


def _ticks(low: float, high: float, about: int = 5, *, whole: bool = False) -> list[float]:
    """Return round numbers from at most `low` to at least `high`."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a constant is shown by its distance from 0
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-290:  # all are 0, or as good as that
        high = low + 1
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.9)
    size = max(size, 1.0) if whole else size
    first, last = math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9)
    return [float(f"{i * size:.12g}") for i in range(first, last + 1)]


def _place(x: float) -> str:
    return f"{x:,.2f}".rstrip("0").rstrip(".")


def _labels(ticks: Sequence[float], *, alike: bool) -> list[str]:
    """Return what stands beside the ticks; `alike` gives all of them the same number of decimals."""
    shown = [f"{tick:.12g}" for tick in ticks]
    decimals = max(len(text.partition(".")[2]) for text in shown)
    if alike and not any("e" in text for text in shown):
        shown = [f"{tick:,.{decimals}f}" if tick else "0" for tick in ticks]
    return [text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text for text in shown]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten between `low` and `high`, which lie far enough apart to hold at least one."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    return [10.0**power for power in range(first, last + 1, -(-(last - first) // 6) or 1)]
