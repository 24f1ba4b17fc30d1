"""A run as one plain PyTorch script: what it did, bit for bit, without a line of ours.

The script is put together from templates (`templates/`), of which only what the run uses is kept. Before it is handed
out, its data are compared with the run's. What can't be written plainly is refused, with the reason (`options.py`).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truestep import assembly, folder, resumption
from truestep.code import is_code
from truestep.device import choose, reproducible
from truestep.eject import check, options, sources
from truestep.eject.check import check_trains
from truestep.eject.writing import script_of
from truestep.errors import InputError, RefusedError
from truestep.recipe import Recipe

if TYPE_CHECKING:
    from truestep.data import Data

__all__ = ["eject"]

IMPORTED = {"torch", "numpy", "polars", "PIL", "sklearn", "safetensors"}  # by scripts


def eject(
    path: Path | str | None = None,
    *,
    recipe: Recipe | Path | str | None = None,
    out: Path | str = "train.py",
    said: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run as one plain PyTorch script, and return where.

    Args:
        path: the folder of a finished run.
        recipe: or a recipe, or the file of one.
        out: the script to write, a new file. A bundled data set that comes with no library is laid beside it.
        said: choices by full name; beside the folder of a run, only the code that it names, which has to be said again.

    Raises:
        InputError: something can't be ejected; it says what and why.
        RefusedError: the recipe names code that nobody has said to run, or the data are not the run's any more.
    """
    out = Path(out)
    _check_out(out)
    if (path is None) == (recipe is None):
        raise InputError("eject: expected the folder of a run, or --recipe FILE.")
    file = Path(path) / "recipe.toml" if path is not None else None if isinstance(recipe, Recipe) else Path(str(recipe))
    before = recipe if isinstance(recipe, Recipe) else Recipe.from_toml(file or "")
    chosen = before.changed(said or {})
    options.check(chosen)
    if not chosen.data.source:
        raise InputError("data.source: this run's data came from Python; a script can't tell from where.")
    if file is not None:
        resumption.check_code_is_said(before, said or {}, file)
    folder_of_run = None if path is None else Path(path)
    if folder_of_run is not None and resumption.recipe_of(folder_of_run) != before:
        raise RefusedError(f"{file}: no longer what the run was made with. Eject it as a recipe: --recipe {file}")
    if folder_of_run is not None:
        _check_repeats(folder_of_run, before, chosen)
    planned = assembly.plan(chosen, chosen.data.source, choose(chosen.run.device), of=folder_of_run)
    resolved, data = planned.recipe, planned.data
    options.check(resolved, data.target.task)
    check_trains(resolved)
    source = sources.describe(resolved, data)
    text = script_of(resolved, data, planned.objective, source, out.name)
    _check_neighbours(resolved, out)
    _write(out, text, source, resolved, data)
    return out


def _check_out(out: Path) -> None:
    if out.suffix != ".py" or not out.stem.isidentifier():
        raise InputError(f"{out}: expected the name of a new Python file, such as train.py.")
    if out.stem in sys.stdlib_module_names or out.stem in IMPORTED:
        raise InputError(
            f"{out}: expected another name, because the script imports '{out.stem}', which would be itself."
        )
    if out.exists() or out.is_symlink():
        raise InputError(f"{out}: expected a new file, found one that is there. Choose another -o.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: expected a folder that exists.")


def _check_repeats(path: Path, before: Recipe, chosen: Recipe) -> None:
    """Refuse choices that are not the run's, and a run that its recipe alone does not repeat."""
    if chosen != before:
        raise InputError(f"{path}: expected no choices beside the folder of a run, which has its own.")
    if "may give other weights" in (path / "recipe.toml").read_text(encoding="utf-8"):
        raise InputError(f"{path}: this run was prolonged, so no script that begins at its start gives its weights.")
    results = folder.read_json(path / "results.json")
    if results.get("skipped") or results.get("rollbacks"):
        raise InputError(f"{path}: this run left updates out; eject its recipe (--recipe {path / 'recipe.toml'}).")


def _check_neighbours(recipe: Recipe, out: Path) -> None:
    """Refuse a place from which the user's own files can't be imported."""
    for name in (recipe.model.name, recipe.data.source):
        place = name.rpartition(":")[0]
        if is_code(name) and place.endswith(".py") and Path(place).resolve().parent != out.resolve().parent:
            raise InputError(
                f"{out}: expected a place beside {place}, from which the script imports. Choose another -o."
            )
        if is_code(name) and (
            (place.endswith(".py") and not Path(place).stem.isidentifier()) or "." in name.rpartition(":")[2]
        ):
            raise InputError(f"{name}: expected a name that Python can import, to eject a script that does.")


def _write(out: Path, text: str, source: sources.Source, recipe: Recipe, data: Data) -> None:
    """Write the script, and take it away again if its data are not the run's."""
    beside = out.parent / source.copied.name if source.copied else None
    if beside and beside.exists() and source.copied and beside.read_bytes() != source.copied.read_bytes():
        raise InputError(
            f"{beside}: expected room for the data set of that name, found another file. Move it elsewhere."
        )
    new = beside is not None and not beside.exists()
    if new and beside:
        folder.check_regular(beside)
    try:
        if new and beside and source.copied:
            shutil.copyfile(source.copied, beside)
        out.write_text(text, encoding="utf-8")
        with reproducible(recipe.run.seed, recipe.run.threads):
            check.check_data(out, data, source.constants.get("GROUP"))
            if is_code(recipe.model.name):
                check.check_own_model(recipe, data)
    except BaseException:
        out.unlink(missing_ok=True)
        if new and beside:
            beside.unlink(missing_ok=True)
        raise
