"""Code that a person names in words: `file.py:Name` or `package.module:Name`. All of it is loaded here.

Only what was typed or written into a recipe may come here, never what a saved model says: naming code is running it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
import sys
import traceback
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truestep.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import ModuleType

FROM_WORKER = "Original Traceback (most recent call last)"  # in the message of an error, if it is from a worker

_loaded: dict[Path, tuple[tuple[int, int], ModuleType]] = {}  # by file: its time and size when it was run, and itself


def is_code(name: str) -> bool:
    """Whether a text names code, as `file.py:Name` or `package.module:Name`, and is no path that begins with a drive."""
    place, _, attribute = name.rpartition(":")
    if not place or not _is_dotted(attribute):
        return False
    return place.endswith(".py") or (len(place) > 1 and _is_dotted(place))  # one letter is a drive


def load_code(name: str, what: str = "") -> Any:
    """Return what a text names, after running the file or module it is in.

    Args:
        name: `file.py:Name`, from the current folder, or `package.module:Name`; `Name` may be dotted, for what is
            inside a class. The same file gives the same module again, until it is changed.
        what: it is for, such as "model", for messages.

    Raises:
        InputError: there is no such file, module or name, or running it failed; it says in which line.
    """
    where = f"{what} '{name}'".lstrip()
    if not is_code(name):
        raise InputError(f"{where}: expected file.py:Name or package.module:Name.")
    place, _, attribute = name.rpartition(":")
    module = _file(Path(place), where) if place.endswith(".py") else _package(place, where, attribute)
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            known = [word for word in dir(found) if not word.startswith("_")]
            raise InputError(f"{where}: {place} has no '{part}'.{did_you_mean(part, known)}") from None
        except Exception as error:  # a lazy module runs code here
            raise InputError(f"{where}: {told(error)}") from error
    return found


def files_of(name: str) -> list[Path]:
    """Return the files that code a person named stands in: its own, and those beside it that they import.

    A module is run to know where it is; of one that is installed, this is its own file only.
    """
    place = name.rpartition(":")[0]
    if place.endswith(".py"):
        return _with_imported(Path(place), Path(place).parent)
    load_code(name)
    file = getattr(sys.modules.get(place), "__file__", None)
    if not file or not file.endswith(".py"):
        return []
    path = Path(file)
    is_installed = "site-packages" in path.parts or file.startswith(sys.base_prefix)
    above = place.count(".") + (path.name == "__init__.py")
    return [path] if is_installed else _with_imported(path, path.parents[above])


def _with_imported(first: Path, root: Path) -> list[Path]:
    """Return a file and all below `root` that it and they import, in order of their names; what is computed is not seen."""
    found: set[Path] = set()
    left = [first]
    while left:
        file = left.pop()
        if file in found:
            continue
        found.add(file)
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError, RecursionError):  # its import was tried, and given up
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                left += [path for alias in node.names for path in _modules(root, alias.name)]
            elif isinstance(node, ast.ImportFrom):
                base = file.parents[node.level - 1] if node.level else root
                module = f"{node.module}." if node.module else ""
                left += [path for alias in node.names for path in _modules(base, module + alias.name)]
    return sorted(found)


def _modules(base: Path, dotted: str) -> list[Path]:
    """Return the files that run when this name is imported: of packages on the way to it, and its own."""
    parts = dotted.split(".")
    places = [base.joinpath(*parts[:end]) for end in range(1, len(parts) + 1)]
    return [file for place in places for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()]


def call_code(name: str, what: str = "") -> Any:
    """Return what the function that a text names returns; what is no function is returned itself.

    Raises:
        InputError: as `load_code`, or the function failed; it says in which line.
    """
    found = load_code(name, what)
    if not callable(found):
        return found
    try:
        return found()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{what} '{name}': {told(error)}".lstrip()) from error


def told(error: BaseException) -> str:
    """Return what someone's own code died of, in one line with the place where it did."""
    words, place = " ".join(_last_line(error).split()), place_of(error)
    said = f"{type(error).__name__}: {words}" if words else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename).name}, line {error.lineno})"
    return f"{said} ({place})" if place else said


def place_of(error: BaseException) -> str | None:
    """Return the last line of someone's own code that an error came through, as `file, line 3`; None if it saw none."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if FROM_WORKER in str(error):
        frames += re.findall(r'File "([^"]+)", line (\d+)', str(error))
    ours = str(Path(__file__).parent)
    theirs = [
        (name, line)
        for name, line in frames
        if not name.startswith((ours, "<"))
        and "site-packages" not in Path(name).parts
        and not name.startswith(sys.base_prefix)
    ]
    return f"{Path(theirs[-1][0]).name}, line {theirs[-1][1]}" if theirs else None


def _last_line(error: BaseException) -> str:
    """Return the message of an error; of one from a process of a `DataLoader`, without the traceback in it."""
    if FROM_WORKER not in str(error):
        return str(error)
    return str(error).strip().splitlines()[-1].removeprefix(f"{type(error).__name__}: ")


def _file(path: Path, where: str) -> ModuleType:
    if not path.is_file():
        near = did_you_mean(path.name, [other.name for other in path.parent.glob("*.py")])
        raise InputError(f"{where}: no such file.{near}")
    path = path.resolve()
    state = (path.stat().st_mtime_ns, path.stat().st_size)
    if path in _loaded and _loaded[path][0] == state:
        return _loaded[path][1]
    unique = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = spec_from_file_location(unique, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    before = sys.modules.get(unique)
    sys.modules[unique] = module  # where dataclasses and worker processes look for the classes of a module
    try:
        with _importable(path.parent, first=True):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[unique]
        if before is not None:
            sys.modules[unique] = before
        raise InputError(f"{where}: {told(error)}") from error
    _loaded[path] = (state, module)
    return module


def _package(place: str, where: str, attribute: str) -> ModuleType:
    try:
        with _importable(Path.cwd(), first=False):
            return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise InputError(f"{where}: {told(error)}") from error
        file = Path(*place.split(".")).with_suffix(".py")
        hint = f" Did you mean '{file}:{attribute}'?" if file.is_file() else ""
        raise InputError(f"{where}: no module '{error.name}' is installed.{hint}") from None
    except (Exception, SystemExit) as error:
        raise InputError(f"{where}: {told(error)}") from error


@contextmanager
def _importable(folder: Path, *, first: bool) -> Generator[None]:
    """Let imports find the files of a folder for a while, before or after what is installed.

    Neighbours of a file stay loaded under their own names. Those of another folder make room first: two projects may
    both have a `utils.py`.
    """
    names = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    others = {str(path.parent) for path in _loaded} - {str(folder)}
    for word in names & set(sys.modules) if first else ():
        origin = getattr(sys.modules[word], "__file__", None)
        if origin and str(Path(origin).parent) in others | {str(Path(other, word)) for other in others}:
            for loaded in [known for known in sys.modules if known == word or known.startswith(f"{word}.")]:
                del sys.modules[loaded]
    entry = _Entry(folder)
    sys.path.insert(0 if first else len(sys.path), entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = [path for path in sys.path if path is not entry]  # what the code itself has added stays


class _Entry(str):
    """A place on `sys.path` that is told from an equal one that was there before."""

    __slots__ = ()


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))
