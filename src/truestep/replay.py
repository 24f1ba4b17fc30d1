"""A piece of a run once more, to see whether it comes out as it was written down, to the bit.

Updates are done again from the checkpoint before them, in a folder that goes away; that of the run is only read. A run that
ended because numbers were not finite left what its last update was computed from: that is done again.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truestep import folder, resumption
from truestep.assembly import Assembled, Plan, assemble, plan
from truestep.checkpoint import newest_first, read_state, write_state
from truestep.comparison import compare_logs
from truestep.device import Precision, choose, draw_again, reproducible
from truestep.errors import InputError, NonFiniteError, RefusedError
from truestep.loop import train_steps
from truestep.recipe import Recipe
from truestep.run import learn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Row = dict[str, Any]


def replay(
    path: Path | str,
    step: int | None = None,
    *,
    said: Mapping[str, Any] | None = None,
    show: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Do updates of a run again, and compare them with its log; or the one that it ended at, not being finite.

    Args:
        path: the folder of a run.
        step: the update to come to. The first row of the log at or behind it is what is compared last.
        said: by full name, the code that the run's recipe names: a folder's word is not enough to run it.
        show: progress on stderr.
        say: called with a sentence for each checkpoint that is damaged, and about a log that ends within a line.

    Returns:
        "same": whether all is as it was written down; "circumstances": {name: [then, now]} of what changes bits.
        Of a step: "from", "to": updates; "rows": of the log that are the same, up to the first that is not, of which "step",
        "epoch" and "found" ({name: [then, now]}) are given; "updates": the rows of all updates that were done again.
        Of a failed update: "error", "again": what was said then and now; the same words if the same is wrong.

    Raises:
        InputError: there is no such step, or nothing to begin from.
        RefusedError: a file is damaged, or data or code are no longer the run's.
    """
    path, said = Path(path), said or {}
    recipe = resumption.recipe_of(path)  # and not what may have been edited into its recipe.toml since
    for full, value in said.items():
        if value != recipe.get(full):
            raise InputError(f"{full}: this run has {recipe.get(full) or 'none'}, found {value}.")
    resumption.check_code_is_said(recipe, said, path / "recipe.toml")
    if not recipe.data.source:
        raise InputError(f"{path}: this run's data came from Python, so it can't be read again.")
    failed = path / "nonfinite"
    if step is None and not failed.is_dir():
        raise InputError("step: expected an update to come to, found none. Say --step N.")
    begin, start, log = (0, None, []) if step is None else _place(path, step, say)
    recipe = _recipe_then(path, recipe, begin, max((row["step"] for row in log), default=begin))

    planned = plan(recipe, recipe.data.source, choose(recipe.run.device), show=show)
    now = resumption.circumstances(planned.recipe, planned.data, planned.device)
    changed = resumption.changes(path, now)
    for name in changed:
        if name in resumption.CONTENT:
            raise RefusedError(f"{path}: {resumption.what_is(name)} no longer what this run learnt from.")
    with reproducible(recipe.run.seed, planned.recipe.run.threads):
        made = assemble(planned, fresh=begin == 0 and step is not None)
        found = _failed_again(planned, made, failed) if step is None else _again(planned, made, start, log, show)
    return {"from": begin, **found, "circumstances": changed}


def _place(path: Path, step: int, say: Callable[[str], None]) -> tuple[int, Path | None, list[Row]]:
    """Return the update to begin after, its checkpoint (none: from the start), and the rows of the log to come to."""
    log = path / "metrics.jsonl"
    rows = (
        [row for row in folder.read_metrics(log, say) if row.get("kind") in ("step", "epoch", "rollback")]
        if log.exists()
        else []
    )
    if not rows:
        raise InputError(f"{path}: its log has no rows to compare with.")
    end = min((row["step"] for row in rows if row["step"] >= max(step, 1) and row["kind"] != "rollback"), default=0)
    if step < 1 or not end:
        last = max((row["step"] for row in rows), default=0)
        raise InputError(f"step: expected one from 1 to {last}, which the log of {path} ends at, found {step}.")
    begin, start = 0, None
    for candidate in newest_first(path / "checkpoints"):
        try:
            at = read_state(candidate)["progress"]["step"]
        except RefusedError as error:
            say(f"{error} Beginning from one before it")
            continue
        if at < step:
            begin, start = at, candidate
            break
    for row in rows:
        if row["kind"] == "rollback" and begin < row["step"] <= end and row["to_step"] != begin:
            raise InputError(
                f"step: after {begin}, where this would begin, the run went back from behind update {row['step']}, to a checkpoint "
                "that is gone. Choose one of other updates."
            )
    return begin, start, [row for row in rows if begin < row["step"] <= end]


def _recipe_then(path: Path, recipe: Recipe, begin: int, end: int) -> Recipe:
    """Return the recipe as it was for these updates: a run that was prolonged had planned its schedule otherwise before."""
    for change in reversed(folder.read_json(path / "environment.json").get("resumed", [])):
        changed = {full: was for full, (was, _) in change["choices"].items() if full not in resumption.HARMLESS}
        if begin < change["step"] < end and changed:
            raise InputError(
                f"step: the run went on with other choices behind update {change['step']} ({', '.join(changed)}), and this would "
                f"begin at {begin}. Choose a step up to {change['step']}, or one that has a checkpoint between."
            )
        if end <= change["step"]:
            recipe = recipe.changed(changed)
    return recipe


def _again(planned: Plan, made: Assembled, start: Path | None, log: list[Row], show: bool) -> dict[str, Any]:
    """Train on from a copy of a checkpoint to the last of these rows, and compare all of them."""
    end = max(row["step"] for row in log)
    with tempfile.TemporaryDirectory(prefix="truestep-replay-") as place:
        own = Path(place)
        if start is not None:
            state = read_state(start)
            state["progress"]["log_size"] = 0  # the log begins here
            (own / "checkpoints").mkdir()
            write_state(own / "checkpoints" / start.name, state)
        learn(
            planned, made, own, resume=start is not None, show=show, max_steps=end, max_minutes=math.inf,
            save_seconds=math.inf, save_steps=math.inf, log_every=1,
        )  # fmt: skip
        written = list(folder.read_metrics(own / "metrics.jsonl"))
    first = min(row["step"] for row in log)
    updates = [row for row in written if row["kind"] == "step" and row["step"] > first - planned.recipe.run.log_every]
    rows, parted = compare_logs(log, written)
    return {"to": end, "same": not parted, "rows": rows, **parted, "updates": updates}


def _failed_again(planned: Plan, made: Assembled, evidence: Path) -> dict[str, Any]:
    """Do the update again at which numbers were not finite, from what it was computed from."""
    found, train = read_state(evidence), planned.recipe.train
    precision = Precision.of(train.precision, planned.device)
    if precision.scaler.is_enabled():  # it had been lowered as far as it goes
        precision = replace(precision)
        precision.scaler = type(precision.scaler)(precision.device, enabled=False)
    for epoch in range(found["epoch"] + 1):
        made.before_epoch(epoch)
    made.model.load_state_dict(found["model"])
    made.model.train()
    batches, again = [tuple(pair) for pair in found["batches"]], "all numbers are finite"
    draw_again(found["drawn"], planned.device)
    try:
        for _ in train_steps(
            made.model, batches, planned.objective, made.optimizer, precision=precision, accumulate=len(batches),
            micro_batch=train.micro_batch, step=found["step"],
        ):  # fmt: skip
            pass
    except NonFiniteError as error:
        again = str(error)
    same = found["error"].endswith(again)  # ahead of it, it says where that was: the update, the example
    return {"to": found["step"] + 1, "same": same, "error": found["error"], "again": found["error"] if same else again}
