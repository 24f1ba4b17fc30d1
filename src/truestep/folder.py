"""What a run leaves on disk: one folder, every file of it readable without running any code from it.

recipe.toml        every choice, resolved
metrics.jsonl      one JSON object a line
results.json       the final figures
model/             model.safetensors + model.json: all that evaluate and predict need
checkpoints/       what `--resume` continues from
report.html        one self-contained page
environment.json   versions, hardware, git commit, command line
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from truestep import disk, distributed
from truestep.errors import InputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from torch import Tensor, nn

WORDS = {"kind", "error", "weights", "order", "examples"}  # in metrics.jsonl: what is no number
FORMAT = 1  # of model.json; raised when an older reader would misread it


def check_free(path: Path) -> None:
    """Raise InputError unless a run may be written to this folder: it is new or empty, and writable."""
    existing = _existing(path)
    if existing == path and existing.is_dir() and any(not _is_left_over(inside) for inside in path.iterdir()):
        raise InputError(f"{path}: expected a new or empty folder, found files in it. Choose another --out.")
    check_writable(path)


def check_writable(path: Path) -> None:
    """Raise InputError unless this is a folder that can be written in, or one that can be made."""
    existing = _existing(path)
    if link := next((parent for parent in (path, *path.parents) if parent.is_symlink() and not parent.exists()), None):
        raise InputError(
            f"{path}: expected a folder, found a link to nothing at {link}. Take it away, or choose another."
        )
    if not existing.is_dir():
        raise InputError(f"{path}: expected a folder, found a file at {existing}. Choose another folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(
            f"{path}: can't write in {existing} (no permission, or a disk that is only read). Choose another folder."
        )


def _existing(path: Path) -> Path:
    """Return what there is of a path already: itself, or the nearest of its parents."""
    return next(parent for parent in (path, *path.absolute().parents) if parent.exists())


def _is_left_over(path: Path) -> bool:
    """Whether it is of a run that was killed before it had written anything."""
    return path.name == ".lock" or (path.name.startswith(".") and path.name.endswith(".tmp"))


def create(path: Path) -> Path:
    """Make an empty folder for a run, and return it or the first of its parents that had to be made too.

    Raises:
        InputError: it holds something, or can't be made.
    """
    check_free(path)
    made = next((parent for parent in [*reversed(path.parents), path] if not parent.exists()), path)
    make_folder(path)
    return made


def make_folder(path: Path) -> None:
    """Make a folder, and those around it, where there is none yet.

    Raises:
        InputError: it can't be made, or not be written in.
    """
    check_writable(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: can't make this folder ({error.strerror}). Choose another one.") from None


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Have the folder of a run to this process; one that is killed gives it back.

    Raises:
        InputError: another process has it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    file = path / ".lock"
    while True:
        try:
            descriptor = open_own(file, os.O_RDWR)
        except OSError as error:
            raise InputError(f"{path}: can't be written in ({error.strerror}). {disk.advice(error)}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            raise InputError(f"{path}: process {pid} is at work on this run. Wait for it, or stop it.") from None
        except OSError:  # some file systems have no locks
            pass
        if file.exists() and file.stat().st_ino == os.fstat(descriptor).st_ino:
            break
        os.close(descriptor)  # the one who had it took the file away
    with disk.naming(file):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def fresh_name(name: str, root: Path = Path("runs")) -> Path:
    """Return `runs/20261121-1030-digits`, with a number behind it if that is taken."""
    stem = root / f"{datetime.now().astimezone():%Y%m%d-%H%M}-{name}"
    path, number = stem, 2
    while path.exists():
        path, number = stem.with_name(f"{stem.name}-{number}"), number + 1
    return path


def write(path: Path, content: str | bytes) -> None:
    """Write a whole file or nothing: a reader, and a crash, see the old one or the new one.

    Raises:
        InputError: what is there is no file.
    """
    check_regular(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    disk.remove(temporary)  # of a process that was killed and had our number, or a planted link
    try:
        with disk.naming(path), disk.create(temporary) as file:
            disk.write(file, content.encode() if isinstance(content, str) else content)
            disk.flush(file)
        disk.rename(temporary, path)
    finally:
        disk.remove(temporary)


def check_regular(path: Path) -> None:
    """Raise InputError unless this is a file, or nothing yet: others might have planted a link, or a device is in use."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        found = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "a pipe or a device"
        raise InputError(f"{path}: expected a file or nothing, found {found}, which is left as it is. Take it away.")


def open_own(path: Path, flags: int) -> int:
    """Open a file of a run to write into it, made if it is not there, and return its descriptor.

    Raises:
        InputError: it is not the run's alone.
    """
    check_regular(path)
    descriptor = disk.open_own(path, flags)
    if os.fstat(descriptor).st_nlink > 1:  # a hard link: what it is a name of would change elsewhere too
        os.close(descriptor)
        raise InputError(
            f"{path}: expected a file of its own, found a hard link, another name of a file, which is left as it is. Take it "
            "away, or put a copy in its place."
        )
    return descriptor


def check_folder(path: Path) -> None:
    """Raise InputError unless this is a folder, or nothing yet."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        found = "a link" if path.is_symlink() else "a file"
        raise InputError(f"{path}: expected a folder or nothing, found {found}, which is not followed. Take it away.")


def to_json(content: Any, *, indent: int | None = None) -> str:
    """Return strict JSON: NaN and infinities, which JSON has no word for, become the strings "NaN", "Infinity"."""
    return json.dumps(_strict(content), indent=indent, ensure_ascii=False, allow_nan=False)


def _strict(content: Any) -> Any:
    if isinstance(content, float) and not math.isfinite(content):
        return "NaN" if math.isnan(content) else "Infinity" if content > 0 else "-Infinity"
    if isinstance(content, dict):
        return {str(key): _strict(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_strict(value) for value in content]
    return content


def from_json(content: Any) -> Any:
    """Undo `_strict` for numbers."""
    if isinstance(content, str) and content in {"NaN", "Infinity", "-Infinity"}:
        return float(content)
    if isinstance(content, dict):
        return {key: from_json(value) for key, value in content.items()}
    if isinstance(content, list):
        return [from_json(value) for value in content]
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        InputError: there is no such file.
        RefusedError: it is damaged.
    """
    try:
        with disk.open_regular(path, through_links=True) as file:
            content: Any = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file. Expected the folder of a run.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RefusedError(f"{path}: damaged ({error}).") from None
    if not isinstance(content, dict):
        raise RefusedError(f"{path}: damaged (expected a JSON object).")
    return content


class MetricsLog:
    """metrics.jsonl: one JSON object a line, in the order things happened. The file is made with its first line.

    Args:
        folder: of the run; None writes nothing, like every process but the first.
        size: bytes to keep of a log that goes on: what a stopped run wrote after its last checkpoint is cut off.
            None keeps all.
        anyway: go on though some of these bytes are lost, behind the whole lines that are left.

    Raises:
        RefusedError: some are lost, and not `anyway`.
    """

    def __init__(self, folder: Path | str | None, size: int | None = None, *, anyway: bool = False) -> None:
        self.path = None if folder is None or not distributed.is_main() else Path(folder) / "metrics.jsonl"
        self.file: BinaryIO | None = None
        self.size = size or 0  # bytes of the log so far
        self.cut = size is not None
        self.lost = 0  # bytes that it had when the checkpoint was written
        if size and self.path:
            there = self.path.stat().st_size if self.path.is_file() else 0
            if there < size and not anyway:
                raise RefusedError(
                    f"{self.path}: {f'cut to {there:,} of' if there else 'gone, with'} the {size:,} bytes that it had when the "
                    'checkpoint was written. Put it back, or go on without them: --resume-anyway (resume="anyway" of fit).'
                )
            if there < size:
                self.size = _whole_lines(self.path) if there else 0
                self.lost = size - self.size

    def write(self, row: Mapping[str, Any]) -> None:
        if self.path is None:
            return
        if self.file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = os.fdopen(open_own(self.path, os.O_WRONLY | os.O_APPEND), "ab")
            if self.cut:
                self.file.truncate(self.size)
        with disk.naming(self.path):
            disk.write(self.file, (to_json(row) + "\n").encode())
            self.file.flush()
        self.size = self.file.tell()

    def cut_back(self, size: int) -> None:
        """Forget all lines behind the first `size` bytes."""
        if self.file:
            self.file.truncate(size)
        self.size = size

    def sync(self) -> None:
        """Have all lines on the disk, where a checkpoint counts on them."""
        if self.file and self.path:
            disk.flush(self.file)
            disk.flush_folder(self.path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file and self.path:
            with disk.naming(self.path):  # what a full disk did not take is tried once more
                self.file.close()


def _whole_lines(path: Path) -> int:
    """Return how many bytes of a file are lines that were written to their end."""
    check_regular(path)
    with disk.open_regular(path) as file:
        return file.read().rfind(b"\n") + 1


def read_metrics(path: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a metrics.jsonl; a last line that a killed run left half-written is no row.

    Args:
        path: of the file.
        say: called with a sentence about such a line.

    Raises:
        InputError: there is no such file.
        RefusedError: it is damaged.
    """
    try:
        with disk.open_regular(path, through_links=True) as file:
            *lines, unfinished = file.read().split(b"\n")
    except OSError:
        raise InputError(f"{path}: no such file. Expected the folder of a run.") from None
    if unfinished:
        say(f"{path}, line {len(lines) + 1}: not written to its end, and left out")
    for number, line in enumerate(lines, start=1):
        try:
            row: Any = from_json(json.loads(line))
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not all(
            isinstance(value, str if name in WORDS else int | float) for name, value in row.items()
        ):
            raise RefusedError(f"{path}, line {number}: damaged.")
        yield row


def save_model(folder: Path, model: nn.Module, description: Mapping[str, Any]) -> None:
    """Write weights and their description; the description is last, so a folder with one is whole."""
    from safetensors.torch import save

    check_folder(folder)
    folder.mkdir(exist_ok=True)
    weights = save(_storable(model.state_dict()))
    write(folder / "model.safetensors", weights)
    known = {"format": FORMAT, **description, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    write(folder / "model.json", to_json(known, indent=2) + "\n")


def _storable(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors contiguous and apart from each other: safetensors refuses tied ones."""
    seen: set[int] = set()
    storable: dict[str, Tensor] = {}
    for name, tensor in state.items():
        pointer = tensor.untyped_storage().data_ptr()
        storable[name] = tensor.detach().cpu().contiguous().clone() if pointer in seen else tensor.detach().contiguous()
        seen.add(pointer)
    return storable


def read_description(folder: Path) -> dict[str, Any]:
    """Return what model.json says.

    Raises:
        InputError: there is no model in this folder.
        RefusedError: it is damaged or was written by a newer truestep.
    """
    if not folder.parent.is_dir():
        raise InputError(f"{folder.parent}: no such folder. Expected the folder of a run.")
    description = read_json(folder / "model.json")
    if description.get("format") != FORMAT:
        found = description.get("format")
        raise RefusedError(f"{folder / 'model.json'}: expected format {FORMAT}, found {found!r}. Update truestep.")
    return description


def load_weights(folder: Path, model: nn.Module, sha256: str) -> None:
    """Give `model`, which may be on the meta device, the saved weights; every byte, name and shape must fit.

    Raises:
        RefusedError: they are damaged, or those of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / "model.safetensors"
    try:
        with disk.open_regular(path, through_links=True) as file:
            weights = file.read()
        if hashlib.sha256(weights).hexdigest() != sha256:
            raise RefusedError(f"{path}: damaged (its SHA-256 is not the one in model.json).")
        model.load_state_dict(load(weights), assign=True)
    except FileNotFoundError:
        raise RefusedError(f"{path}: missing.") from None
    except (SafetensorError, RuntimeError, OSError) as error:
        first = str(error).strip().splitlines()
        raise RefusedError(f"{path}: damaged or of another model ({' '.join(first[:2])}).") from None


def environment() -> dict[str, Any]:
    """Return what a reader needs to explain a difference: versions, hardware, git commit, command line."""
    import numpy as np
    import polars as pl
    import torch

    from truestep import __version__

    return {
        "versions": {
            "truestep": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "polars": pl.__version__,
        },
        "system": platform.platform(),
        "cpu": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "git_commit": _git_commit(),
        "command": sys.argv,
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _git_commit() -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
