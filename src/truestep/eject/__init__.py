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
from truestep.device import choose, choose_threads, reproducible
from truestep.eject import check, options, sources
from truestep.eject.check import check_trains
from truestep.eject.writing import script_of
from truestep.errors import InputError, RefusedError
from truestep.preconditions import check_heeded
from truestep.recipe import Recipe
from truestep.resumption import NAMES_OF_CODE

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
    check_heeded(chosen, chosen.objective.name)
    if not chosen.data.source:
        raise InputError("data.source: this run's data came from Python; a script can't tell from where.")
    _check_code_is_said(before, said or {}, file)
    if path is not None and resumption.recipe_of(Path(path)) != before:
        raise RefusedError(f"{file}: no longer what the run was made with. Eject it as a recipe: --recipe {file}")
    if path is not None:
        _check_repeats(Path(path), before, chosen)
    device = choose(chosen.run.device)
    data = (
        assembly.same_data(Path(path), chosen) if path is not None else assembly.load_data(chosen, chosen.data.source)
    )
    check_heeded(chosen, data.target.task)
    objective = assembly.choose_objective(chosen, data)
    resolved = assembly.resolve(chosen, data, device)
    size = assembly.count_weights(resolved)
    resolved = resolved.changed({"run.threads": choose_threads(size, resolved.run.threads)[0]})
    options.check(resolved, data.target.task)
    check_trains(resolved)
    source = sources.describe(resolved, data)
    text = script_of(resolved, data, objective, source, out.name)
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


def _check_code_is_said(recipe: Recipe, said: Mapping[str, Any], file: Path | None) -> None:
    """Refuse to run code that only a file names: whoever ejects says what code it may run."""
    for full in NAMES_OF_CODE if file is not None else ():
        value = recipe.get(full) or ""
        if is_code(value) and said.get(full) != value:
            option = "source" if full == "data.source" else full
            raise RefusedError(
                f"{file}: {full} names code, {value}. A file's word is not enough to run it: add --{option} {value}"
            )


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
            check.check_data(out, data)
            if is_code(recipe.model.name):
                check.check_own_model(recipe, data)
    except BaseException:
        out.unlink(missing_ok=True)
        if new and beside:
            beside.unlink(missing_ok=True)
        raise
