"""Whether a run that was stopped can go on, and what is no longer as it was.

To the same bits it goes on only with the same data, code, choices, versions, threads and device. What changes the bits but
not what is learnt is said; what makes it another run is refused, unless `--resume-anyway`.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truestep import checkpoint, distributed, folder
from truestep.code import files_of, is_code
from truestep.data import SequenceEncoder, TableEncoder
from truestep.errors import InputError, RefusedError
from truestep.recipe import Recipe, short_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from truestep.data import Data

PROLONGING = ("train.epochs", "train.max_steps", "train.max_minutes")  # what a resumed run may change
PLANNED_ANEW = ": the schedule was planned anew, so that this recipe, run from its start, may give other weights"
HARMLESS = (  # what changes no bit, or only as another device does
    "run.device",
    "run.threads",
    "run.log_every",
    "run.save_seconds",
    "run.save_steps",
    "run.keep_checkpoints",
    "data.workers",
)
PLACES = ("data.source", "data.valid", "data.test")  # of files, which may have been moved: their content tells
NAMES_OF_CODE = ("data.source", "augment.transform", "model.name", "optimizer.name")
CONTENT = ("data_sha256", *(f"code_sha256.{full}" for full in NAMES_OF_CODE))  # another one makes it another run
CIRCUMSTANCES = (  # others change the bits, and not what is learnt
    *(f"versions.{name}" for name in ("truestep", "python", "torch", "numpy", "polars")),
    *("cpu", "cpu_capability", "device", "gpus", "threads", "processes"),
)


def begun(path: Path) -> bool:
    """Whether a run was begun in a folder and has not come to its end."""
    if not (path / "recipe.toml").is_file():
        return False
    try:
        return folder.read_json(path / "results.json")["stopped"] == "max_minutes"
    except (InputError, KeyError):
        return True


def recipe_of(path: Path) -> Recipe:
    """Return the recipe that a run last went on with, whatever has been edited into its recipe.toml since."""
    try:
        known = folder.read_json(path / "environment.json").get("recipe")
    except InputError:  # killed before it was written
        known = None
    return Recipe.parse(known, "recipe") if isinstance(known, str) else Recipe.from_toml(path / "recipe.toml")


def is_same(path: Path, asked: Recipe) -> bool:
    """Whether the run in a folder was asked for with the same words."""
    try:
        return folder.read_json(path / "environment.json").get("asked_sha256") == sum_of(asked)
    except InputError:
        return False


def differing(was: Recipe, asked: Recipe) -> str:
    """Return in words which choices that were asked for are not the run's: ", with run.seed = 0 instead of 3"."""
    found = [
        f"{full} = {was.get(full)} instead of {asked.get(full)}"
        for full in asked.names()
        if asked.get(full) not in (Recipe().get(full), was.get(full))
    ]
    return f", with {', '.join(found)}" if found else ""


def missing_data(recipe: Recipe) -> str:
    """Return the file or folder that a run's data came from, if it is no longer there; empty if it is."""
    source = recipe.data.source
    is_gone = not is_code(source) and Path(source).is_absolute() and not _exists(source)
    return source if is_gone else ""


def going_on(path: Path, recipe: Recipe, source: Any) -> str:
    """Return the words that go on with a run, and with them the new place of its data if they are no longer at the old."""
    if not missing_data(recipe):
        return f"--resume {path}"
    place = source if isinstance(source, str | Path) and _exists(source) else "NEWPLACE"
    return f"truestep train {place} --resume {path}"


def _exists(place: Path | str) -> bool:
    return os.path.exists(place)  # noqa: PTH110 - of a folder that can't be looked into, Path raises


def sum_of(asked: Recipe) -> str:
    """Return the SHA-256 of the choices as they were asked for, before anything was chosen for the user."""
    return hashlib.sha256(asked.to_toml().encode()).hexdigest()


def check_code_is_said(recipe: Recipe, said: Mapping[str, Any], path: Path | str | None) -> None:
    """Refuse to run code that only a file names: whoever starts a run says what code it may run."""
    named = {full: value for full in NAMES_OF_CODE if is_code(value := recipe.get(full) or "")}
    given = {short_names().get(name.replace("-", "_"), name): value for name, value in said.items()}
    for full, value in named.items():
        if full not in given:
            option = "as the source" if full == "data.source" else f"with --{full} {value}"
            raise RefusedError(
                f"{path}: {full} names code, {value}. A file's word is not enough to run it: say it {option}."
            )


def check_choices(before: Recipe, now: Recipe, *, anyway: bool, say: Callable[[str], None]) -> None:
    """Raise InputError for a choice that makes it another run; with `anyway`, say it.

    Args:
        before: the recipe that the run has.
        now: the one that it would go on with.
    """
    told: list[str] = []  # when nothing is refused
    for full in now.names():
        was, value = before.get(full), now.get(full)
        if value == was or full in HARMLESS or (full in PLACES and _are_files(was, value)):
            continue
        if full in PROLONGING:
            if full != "train.max_minutes":
                told.append(f"{full} is {value} now and was {was}{PLANNED_ANEW}")
            continue
        if full.startswith(("optimizer.", "schedule.")):  # their state would bring the old value back
            raise InputError(
                f"{full}: a checkpoint keeps it at {was}, found {value}. Begin a new run with --init and the folder of this one."
            )
        if not anyway:
            raise InputError(
                f"{full}: a resumed run keeps it at {was}, found {value}. It may change {', '.join(PROLONGING)}, and what changes no bit; "
                "--resume-anyway goes on with what is no longer the same run."
            )
        told.append(f"{full} is {value} now and was {was}: this is no longer the same run")
    for sentence in told:
        say(sentence)


def _are_files(was: Any, value: Any) -> bool:
    return all(isinstance(place, str) and not is_code(place) for place in (was, value))


def circumstances(recipe: Recipe, data: Data, device: torch.device) -> dict[str, Any]:
    """Return all that the bits of a run depend on besides its recipe, beside what else explains a difference."""
    files = {full: files_of(name) for full in NAMES_OF_CODE if is_code(name := recipe.get(full) or "")}
    return folder.environment() | {
        "device": device.type,
        "threads": recipe.run.threads,
        "processes": distributed.world_size(),
        "data_sha256": fingerprint(data),
        "code_sha256": {
            full: hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
            for full, paths in files.items()
            if paths
        },
        "recipe": recipe.to_toml(),
    }


def changes(path: Path, now: dict[str, Any]) -> dict[str, list[Any]]:
    """Return what is no longer as it was when the run last went on: {"threads": [2, 4]}; data and code come first.

    Raises:
        RefusedError: what was known of it is damaged.
    """
    before = folder.read_json(path / "environment.json")
    try:
        for change in before.get("resumed", ()):
            for name, (_, became) in change["changed"].items():
                _put(before, name, became)
        damaged = not all(isinstance(before[name], dict) for name in ("versions", "code_sha256"))
    except (KeyError, TypeError, ValueError, AttributeError):
        damaged = True
    if damaged:
        raise RefusedError(f"{path / 'environment.json'}: damaged. Start a new run.")
    changed: dict[str, list[Any]] = {}
    for name in (*CONTENT, *CIRCUMSTANCES):
        was, found = _get(before, name), _get(now, name)
        if was != found and (was is not None or name in CONTENT):
            changed[name] = [was, found]
    return changed


def check_circumstances(
    path: Path, now: dict[str, Any], *, anyway: bool, say: Callable[[str], None]
) -> dict[str, list[Any]]:
    """Say what is no longer as it was, and return it.

    Raises:
        RefusedError: the data or the code is another, and not `anyway`.
    """
    changed = changes(path, now)
    for name, (was, found) in changed.items():
        if name not in CONTENT:
            say(f"{name.removeprefix('versions.')} {found}, was {was}: the run goes on, but not to the same bits")
        elif anyway:
            say(f"{what_is(name)} no longer what this run began with")
        else:
            raise RefusedError(
                f"{path}: {what_is(name)} no longer what this run began with. Start a new run, or say --resume-anyway."
            )
    return changed


def what_is(name: str) -> str:
    """Say in words which content it is: "the data is"."""
    return "the data is" if name == "data_sha256" else f"the code of {name.removeprefix('code_sha256.')} is"


def note(path: Path, now: dict[str, Any], changed: dict[str, list[Any]]) -> None:
    """Write into environment.json that the run went on, and with what changed."""
    known = folder.read_json(path / "environment.json")
    before, after = recipe_of(path), Recipe.parse(now["recipe"], "recipe")
    choices = {
        full: [before.get(full), after.get(full)] for full in after.names() if before.get(full) != after.get(full)
    }
    newest = next(iter(checkpoint.newest_first(path / "checkpoints")), None)
    step = 0 if newest is None else checkpoint.step_of(newest)
    again = {"time": now["time"], "command": now["command"], "step": step, "changed": changed, "choices": choices}
    write_environment(path, known | {"recipe": now["recipe"], "resumed": [*known.get("resumed", ()), again]})


def write_environment(path: Path, known: dict[str, Any]) -> None:
    folder.write(path / "environment.json", folder.to_json(known, indent=2) + "\n")


def check_not_back(path: Path, recipe: Recipe) -> None:
    """Refuse to end a resumed run before where it is already."""
    before = recipe_of(path)
    for option, count, full in (("epochs", "epoch", "train.epochs"), ("max-steps", "step", "train.max_steps")):
        was, wanted = before.get(full), recipe.get(full)
        if wanted is None or wanted == was or (was is not None and wanted > was):
            continue
        progress = _progress(path)
        done = progress["step"] if count == "step" else progress["epoch"] + (progress["batch"] > 0)
        if wanted < done:
            raise InputError(
                f"--{option} {wanted}: expected at least {done}, because {path} is that far already; a run can go on, not back."
            )


def _progress(path: Path) -> dict[str, Any]:
    """Return how far a run is by its newest whole checkpoint: nowhere without one, which is said when it goes on."""
    for place in checkpoint.newest_first(path / "checkpoints"):
        with suppress(RefusedError):
            return checkpoint.read_state(place)["progress"]
    return {"step": 0, "epoch": 0, "batch": 0}


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write recipe.toml; a run that was prolonged, or shortened, says in it that its recipe alone does not repeat it."""
    file, notes = path / "recipe.toml", ""
    if file.exists():
        notes = "".join(f"{line}\n" for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
        notes += _changes(recipe_of(path), recipe)
    folder.write(file, notes + recipe.to_toml())


def _changes(before: Recipe, now: Recipe) -> str:
    """Return a comment on what a resumed run has changed; nothing if nothing."""
    changed = {full: (before.get(full), now.get(full)) for full in now.names() if before.get(full) != now.get(full)}
    if not changed:
        return ""
    longer = all(
        full in PROLONGING and was is not None and (value is None or value > was)
        for full, (was, value) in changed.items()
    )
    parts = [
        f"{full.removeprefix('train.')} = {'none' if was is None else was} to {'none' if value is None else value}"
        for full, (was, value) in changed.items()
    ]
    said = f"# {'Prolonged' if longer else 'Changed'} from {', '.join(parts)}"
    if {"train.epochs", "train.max_steps"} & changed.keys():
        said += PLANNED_ANEW
    return f"{' '.join(said.split())}.\n"


def fingerprint(data: Data) -> str:
    """Return the SHA-256 of what is learnt from, and of what belongs where."""
    digest = hashlib.sha256()
    if data.keys is not None:
        digest.update(data.keys.data)
    for split in data.splits.values():
        digest.update(split.rows.numpy().tobytes())
    digest.update(data.train.known.contiguous().numpy().data)
    table = data.encoder.table if isinstance(data.encoder, SequenceEncoder) else data.encoder
    columns = [c.name for c in (*table.numeric, *table.categorical)] if isinstance(table, TableEncoder) else []
    digest.update(json.dumps([data.encoder.spec, columns]).encode())  # keys are the same in any order of columns
    return digest.hexdigest()


def _get(content: dict[str, Any], name: str) -> Any:
    first, _, rest = name.partition(".")
    value = content.get(first)
    return value.get(rest) if rest and isinstance(value, dict) else None if rest else value


def _put(content: dict[str, Any], name: str, value: Any) -> None:
    first, _, rest = name.partition(".")
    if rest:
        content.setdefault(first, {})[rest] = value
    else:
        content[first] = value
