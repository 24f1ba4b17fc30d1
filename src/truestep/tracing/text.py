"""A trace, and a mistake beside the right way, as lines for a terminal of any width."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from truestep.listing import NARROWEST, cells, cut, padded, wrapped
from truestep.progress import digits

MOST_ROWS = 40  # of a table; --json has all
NAME, SHORT_NAME = 32, 14  # cells of the longest name in a table, and of one that columns are left out for
WIDE = 68  # cells, from which on what the five lines mean stands beside them, in a column
STEPS_SHOWN = (1, 2, 3, 4, 5, 10, 15, 20)
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
COLOURS = {"ok": "\x1b[32m", "wrong": "\x1b[1;31m", "note": "\x1b[33m", "skipped": "\x1b[2m"}
CLASSES = ("multiclass", "binary", "multilabel", "next-token")


def lines(content: Mapping[str, Any], width: int = 80) -> Iterator[str]:
    """Yield a trace, as `Trace.to_json` gives it."""
    width = max(width, NARROWEST)
    yield from _head(content, width)
    yield ""
    yield from _batch([*content["inputs"], *content["targets"]], width)
    yield from _line("1  optimizer.zero_grad()", "forget the last gradients", width)
    held = content["gradients"]["left_over"]
    yield from _said(
        f"{held} parameters held gradients of before: without this line, backward would add to them"
        if held
        else "nothing to forget: no parameter holds a gradient yet",
        width,
    )
    yield from _line("2  outputs = model(inputs)", "forward: what does the model say?", width)
    yield from _modules(content["modules"], width)
    yield from _line("3  loss = objective(outputs, targets)", "how wrong is it?", width)
    yield from _loss(content, width)
    yield from _line("4  loss.backward()", "which way is less wrong?", width)
    yield from _backward(content, width)
    yield from _line("5  optimizer.step()", "go there", width)
    yield from _step(content, width)
    yield from _line("1  optimizer.zero_grad()", "and the next batch begins", width)
    yield ""
    yield from _checks(content["checks"], width)


def _head(content: Mapping[str, Any], width: int) -> Iterator[str]:
    model, optimizer = content["model"], content["optimizer"]
    head = dict(content["head"])
    if "data" in head:
        yield from wrapped("data", head.pop("data"), width)
    frozen = model["parameters"] - model["trainable"]
    aside = f", {frozen:,} of them frozen" if frozen else ""
    trained = ", trained" if model["trained"] else ""
    name = head.pop("model", model["name"])
    yield from wrapped("model", f"{name}: {model['parameters']:,} weights{aside}, on {model['device']}{trained}", width)
    objective = content["objective"]
    shown = objective["name"] if objective["name"] in (*CLASSES, "regression") else "of one's own"
    yield from wrapped("objective", head.pop("objective", shown), width)
    if optimizer:
        decay = f", weight decay {optimizer['weight_decay']:g}" if optimizer["weight_decay"] else ""
        yield from wrapped("optimizer", f"{optimizer['name']}, lr {optimizer['lr']:g}{decay}", width)
    for label, words in head.items():
        yield from wrapped(label, words, width)


def _line(code: str, meaning: str, width: int) -> Iterator[str]:
    yield ""
    line = f"{code:<40}  # {meaning}" if width >= WIDE else f"{code}  # {meaning}"
    yield from [line] if cells(line) <= width else [cut(code, width), cut(f"   # {meaning}", width)]


def _said(words: str, width: int) -> Iterator[str]:
    yield from (f"   {line[3:]}" for line in wrapped_at(3, words, width))


def wrapped_at(indent: int, words: str, width: int) -> Iterator[str]:
    """Yield a paragraph that stands so many cells in."""
    line = ""
    for word in words.split():
        if line and cells(line) + 1 + cells(word) > width - indent:
            yield " " * indent + line
            line = ""
        line = f"{line} {word}" if line else word
    yield " " * indent + line


def _batch(tensors: Sequence[Mapping[str, Any]], width: int) -> Iterator[str]:
    rows = [(t["name"], _shape(t["shape"]), t["dtype"], t["device"], _range(t)) for t in tensors]
    head = ("batch", "shape", "type", "on", "numbers")
    room = width - 3 - sum(size + 2 for size in _sizes(head, rows)[:4])
    if room >= max(len(words) for row in rows for words in row[4].split(", ")):
        rows = [part for row in rows for part in _in_lines(row, room)]
        yield from table(head, rows, width, left=5)
        return
    yield from table(head[:4], [row[:4] for row in rows], width, left=4)
    for row in rows:
        yield from _said(f"{row[0]}: {row[4]}", width)


def _in_lines(row: tuple[str, ...], room: int) -> Iterator[tuple[str, ...]]:
    """Yield a row whose last cell, of parts with commas between, goes on below in lines of its own."""
    *others, words = row
    line = ""
    for part in words.split(", "):
        if line and cells(line) + 2 + cells(part) + 1 > room:
            yield *others, f"{line},"
            others, line = [""] * len(others), ""
        line = f"{line}, {part}" if line else part
    yield *others, line


def _range(tensor: Mapping[str, Any]) -> str:
    words = "" if tensor["min"] is None else f"{_end(tensor['min'])} to {_end(tensor['max'])}"
    if tensor["mean"] is not None:
        words += f", mean {number(tensor['mean'])}, std {number(tensor['std'])}"
    if tensor["nonfinite"]:
        words += f"; {tensor['nonfinite']:,} NaN or infinite"
    return words.removeprefix("; ")


def _end(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def _modules(rows: Sequence[Mapping[str, Any]], width: int) -> Iterator[str]:
    shown: list[tuple[str, ...]] = []
    for row in rows[:MOST_ROWS]:
        name = row["name"] or "(outputs)"
        times = f" x{row['calls']}" if row["calls"] > 1 else ""
        first = f" 1st of {row['tensors']}" if row["tensors"] > 1 else ""
        dead = row["dead"]
        shown.append(
            (
                name,
                f"{row['type']}{times}",
                f"{_shape(row['shape'])}{first}" if row["calls"] else "not called",
                f"{row['parameters']:,}" if row["parameters"] else "",
                number(row["mean"]),
                number(row["std"]),
                "" if dead is None else f"{dead:.0%}",
            )
        )
    head = ("module", "", "outputs", "weights", "mean", "std", "dead")
    kept = _fitting(head, shown, width, spare=(4, 3, 5, 1))
    yield from table(
        [head[i] for i in kept], [[row[i] for i in kept] for row in shown], width, left=3 - (1 not in kept)
    )
    yield from _left_out(head, kept, width)
    if len(rows) > MOST_ROWS:
        yield from _said(f"and {len(rows) - MOST_ROWS} more modules; --json has all", width)
    if any(row["dead"] is not None for row in rows):
        yield from _said("dead: the share of units that are 0 for every example of this batch", width)


def _loss(content: Mapping[str, Any], width: int) -> Iterator[str]:
    loss, objective = content["loss"], content["objective"]
    counted = {"next-token": "tokens", "multilabel": "labels"}.get(objective["name"], "examples")
    values = [(digits(loss["value"]), f"the mean over {_count(loss['count'])} {counted}")]
    of = "all training targets" if loss["guess_of"] == "training data" else "the targets of this batch"
    if objective["name"] == "regression":
        even = "for outputs of 0, which is the mean that targets are scaled by; a fresh model has about this"
        kind = {"mse": ": their variance", "mae": ": their mean distance from the median"}.get(objective["loss"], "")
        guess = f"for the best blind guess, one value for {of}{kind}"
    else:
        even = "for outputs of 0, every answer as likely; a fresh model has about this"
        guess = f"for the best blind guess, one answer for {of}: the entropy of their frequencies"
    values += [
        (digits(value), words) for value, words in ((loss["even"], even), (loss["guess"], guess)) if value is not None
    ]
    size = max(len(value) for value, _ in values)
    for value, meaning in values:
        first, *rest = wrapped_at(size + 5, meaning, width)
        yield f"   {value:>{size}}  {first.strip()}"
        yield from rest


def _count(count: float) -> str:
    return f"{count:,.0f}" if count == int(count) else f"{count:,.4g}"


def _backward(content: Mapping[str, Any], width: int) -> Iterator[str]:
    rows = content["parameters"]
    given = [row for row in rows if row["gradient_norm"] is not None]
    if not given:
        yield from _said("no parameter gets a gradient: the loss depends on none of them", width)
        return
    clipped = ", clipped before the step" if content["gradients"]["clipped"] else ""
    yield from _said(
        f"{len(given)} of {len(rows)} parameters have a gradient now; all together it has the norm "
        f"{number(content['gradients']['norm'])}{clipped}",
        width,
    )


def _step(content: Mapping[str, Any], width: int) -> Iterator[str]:
    rows, step = content["parameters"], content["step"]
    shown = [
        (
            row["name"] + (f" = {row['also'][0]}" if row["also"] else ""),
            _shape(row["shape"]),
            number(row["weight_norm"]),
            "frozen"
            if not row["trainable"]
            else "none"
            if row["gradient_norm"] is None
            else number(row["gradient_norm"]),
            number(row["update_norm"]),
            "" if row["update_ratio"] is None else f"{row['update_ratio']:.1e}",
        )
        for row in rows[:MOST_ROWS]
    ]
    if shown:
        head = ("parameter", "shape", "weights", "gradient", "update", "update/weights")
        kept = _fitting(head, shown, width, spare=(1, 4, 2))
        yield from table(
            [head[i] for i in kept], [[row[i] for i in kept] for row in shown], width, left=2 - (1 not in kept)
        )
        yield from _left_out(head, kept, width)
    if len(rows) > MOST_ROWS:
        yield from _said(f"and {len(rows) - MOST_ROWS} more parameters; --json has all", width)
    if not step["taken"]:
        yield from _said("no step was taken", width)
        return
    yield from _said(
        "L2 norms, the update's of what the step added; update/weights is often about 1e-3, more in Adam's first steps",
        width,
    )
    yield from _said(
        f"{step['weights_moved']:,} of {content['model']['trainable']:,} weights moved; the loss of this batch is {digits(step['loss_after'])} now, "
        f"from {digits(content['loss']['value'])}",
        width,
    )


def _checks(found: Sequence[Mapping[str, Any]], width: int) -> Iterator[str]:
    yield "checks"
    size = max(len(check["name"]) for check in found)
    for check in found:
        first, *rest = wrapped_at(12 + size, check["found"], width)
        yield f"  {check['status']:<8} {check['name']:<{size}} {first.strip()}"
        yield from rest
        if check["advice"]:
            yield from wrapped_at(12 + size, check["advice"], width)
    wrong = sum(check["status"] == "wrong" for check in found)
    yield ""
    yield f"{wrong} of {len(found)} checks found something wrong" if wrong else "no check found anything wrong"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, left: int) -> Iterator[str]:
    """Yield a table whose first `left` columns are words and whose others are numbers; the first column gives way."""
    sizes = _sizes(head, rows)
    over = 3 + sum(sizes) + 2 * (len(sizes) - 1) - width
    if over > 0:
        sizes[0] = min(sizes[0], max(sizes[0] - over, 10))
    for row in [head, *rows]:
        parts = [_first(row[0], sizes[0])]
        parts += [
            padded(value, size) if place < left else f"{value:>{size}}"
            for place, (value, size) in enumerate(zip(row[1:], sizes[1:], strict=True), start=1)
        ]
        yield cut(("   " + "  ".join(parts)).rstrip(), width)


def _sizes(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    sizes = [max(cells(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    return [min(sizes[0], NAME), *sizes[1:]]


def _fitting(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, spare: Sequence[int]) -> list[int]:
    """Return which columns there is room for, beside a first one that still tells names apart.

    Args:
        spare: those that may be left out, first this, then that.
    """
    first, *sizes = _sizes(head, rows)
    kept = list(range(len(head)))
    for column in spare:
        if 3 + min(first, SHORT_NAME) + sum(sizes[i - 1] + 2 for i in kept[1:]) <= width:
            break
        kept.remove(column)
    return kept


def _left_out(head: Sequence[str], kept: Sequence[int], width: int) -> Iterator[str]:
    missing = [head[i] or "types" for i in range(len(head)) if i not in kept]
    if missing:
        yield from _said(f"left out, for want of room: {', '.join(missing)}; --json has all", width)


def _first(name: str, size: int) -> str:
    """Return a name in so many cells; of a longer one the end, which tells modules apart."""
    if cells(name) <= size:
        return padded(name, size)
    return padded("..." + name[len(name) - size + 3 :].lstrip("."), size)


def _shape(shape: Sequence[int] | None) -> str:
    return "" if shape is None else "x".join(map(str, shape)) or "()"


def number(value: float | None, precision: int = 3) -> str:
    """Return a number with this many digits that matter."""
    return "" if value is None else f"{value:.{precision}g}"


def coloured(line: str) -> str:
    """Return a line as a terminal shows it in colour: what a check found, and the five lines."""
    line = re.sub(r"^  (ok|wrong|note|skipped)\b", lambda found: f"  {COLOURS[found[1]]}{found[1]}{PLAIN}", line)
    return re.sub(r"^(\d  \w.*?)(?=  +#|$)", rf"{BOLD}\1{PLAIN}", line)


TITLES = {"right": "right", "broken": "broken", "own": "of the batch", "low": "too low"}
QUANTITIES = {"loss": "loss", "gradient_norm": "gradient norm", "update_ratio": "update/weights", "bytes": "bytes kept"}


def lesson(content: Mapping[str, Any], width: int = 80) -> Iterator[str]:
    """Yield a mistake beside the right way, as `Lesson.to_json` gives it."""
    width = max(width, NARROWEST)
    for label, words in content["head"].items():
        yield from wrapped(label, words, width)
    yield from wrapped("mistake", content["title"], width)
    yield ""
    half = max(len(line["right"]) for line in content["code"])
    if 5 + half + max(len(line["broken"]) for line in content["code"]) <= width:
        for left, right in [("right", "broken"), *((line["right"], line["broken"]) for line in content["code"])]:
            yield cut(f"   {padded(left, half)}  {right or '-'}", width)
    else:  # one below the other
        for way in ("right", "broken"):
            yield way
            yield from (cut(f"   {line[way] or '-'}", width) for line in content["code"])
    yield ""
    yield from wrapped_at(0, content["measured"], width)
    yield ""
    yield from _measured(content["rows"], width)
    for label, words in (
        *(("seen" if place == 0 else "", sentence) for place, sentence in enumerate(content["seen"])),
        ("known by", content["known_by"]),
        ("write", content["remedy"]),
        ("doctor", f"truestep doctor SCRIPT.py finds it: truestep doctor --explain {content['rule']}"),
    ):
        if label:
            yield ""
        yield from wrapped(label, words, width)


def _measured(rows: Sequence[Mapping[str, Any]], width: int) -> Iterator[str]:
    """Yield the rows as a table with two lines of heads: the quantity, and whether it is that of the right way."""
    names = list(rows[0])
    ways = [name.rpartition("_") for name in names[1:]]
    high = any(way == "low" for _, _, way in ways)
    shown = [row for row in rows if len(rows) <= 8 or row[names[0]] in STEPS_SHOWN]
    titles = [names[0], *("too high" if high and way == "broken" else TITLES[way] for _, _, way in ways)]
    cells_of = [
        [
            str(row[names[0]]),
            *(_figure(quantity, row[name]) for name, (quantity, _, _) in zip(names[1:], ways, strict=True)),
        ]
        for row in shown
    ]
    sizes = [max(len(line[i]) for line in [titles, *cells_of]) for i in range(len(titles))]
    quantities = list(dict.fromkeys(quantity for quantity, _, _ in ways))
    if len(quantities) > 1 and 3 + sum(sizes) + 2 * (len(sizes) - 1) > width:  # one below the other
        for quantity in quantities:
            mine = [names[0], *(name for name, (other, _, _) in zip(names[1:], ways, strict=True) if other == quantity)]
            yield from _measured([{name: row[name] for name in mine} for row in rows], width)
        return
    first = " " * (3 + sizes[0])
    for quantity in quantities:
        columns = [i for i, (other, _, _) in enumerate(ways, start=1) if other == quantity]
        room = max(sum(sizes[i] + 2 for i in columns), len(QUANTITIES[quantity]) + 2)
        sizes[columns[-1]] += room - sum(sizes[i] + 2 for i in columns)
        first += f"{QUANTITIES[quantity]:>{room}}"
    yield cut(first, width)
    for line in [titles, *cells_of]:
        yield cut("   " + "  ".join(f"{value:>{size}}" for value, size in zip(line, sizes, strict=True)), width)


def _figure(quantity: str, value: float) -> str:
    return f"{value:,}" if quantity == "bytes" else f"{value:.2g}" if quantity == "update_ratio" else number(value, 4)
