"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is a folder of tensors (safetensors), the rest (JSON) and a manifest with the size and SHA-256 of both. It is
written under another name, flushed to disk, renamed, and read again before an older one goes. Nothing in it is code.

While a run trains, this happens in a thread of its own: the run waits only for its state to be copied.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from torch import Tensor, nn
from torch.optim import Optimizer

from truestep import disk, distributed
from truestep.alike import check_alike, check_kept
from truestep.encoding import decode, encode, safetensors
from truestep.errors import InputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BufferedReader

FORMAT = 1
Result = TypeVar("Result")
NAME = re.compile(r"step-\d{8}(-\d{4})?")
PIECE = 1 << 22  # bytes that are read, and hashed, at a time


class Part(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


class DamagedError(RefusedError):
    """A checkpoint is not what was written."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: of the run; None keeps nothing.
        parts: by name, whatever has a `state_dict`; None for those this run has not.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path | str | None, parts: Mapping[str, Part | None], keep: int = 2) -> None:
        if not isinstance(parts, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(f'parts: expected them by name, such as {{"model": model}}, found {type(parts).__name__}.')
        for name, part in parts.items():
            if part is not None and not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
                raise InputError(f"parts: expected what has a state_dict, found {type(part).__name__} as '{name}'.")
        self.folder = None if folder is None else Path(folder) / "checkpoints"
        self.parts = {name: part for name, part in parts.items() if part is not None}
        self.keep = keep
        self._copies: list[Tensor] = []  # what the thread writes, in memory that is used again
        self._writer: threading.Thread | None = None
        self._trouble: OSError | None = None

    @property
    def busy(self) -> bool:
        """Whether the last one is still being written."""
        return self._writer is not None and self._writer.is_alive()

    def save(
        self, progress: Mapping[str, Any], *, wait: bool = True, first: Callable[[], object] = lambda: None
    ) -> None:
        """Write the state of all parts; a crash at any moment leaves the previous checkpoints whole.

        Args:
            progress: where the run is, in numbers and words; "step" names the checkpoint.
            first: called before anything is written, by whoever writes: what the checkpoint counts on goes to the disk.
            wait: until it is on the disk. Otherwise return as soon as the state is copied; if it then can't be written,
                the next call warns, and the run goes on with the checkpoint before.

        Raises:
            InputError: it can't be written, and `wait`.
        """
        if self.folder is None:
            return
        if not isinstance(progress.get("step"), int):
            raise InputError(f"progress: expected a whole number 'step', found {dict(progress)}.")
        if self.folder.is_symlink():
            raise InputError(f"{self.folder}: expected a folder, found a link, which is not followed.")
        self._finish()
        rng = {name: distributed.all_gather(state[None]) for name, state in _rng_state().items()}  # of every rank
        if distributed.is_main():
            name = f"step-{progress['step']:08d}"
            tensors: dict[str, Tensor] = {}
            state = {name: part.state_dict() for name, part in self.parts.items()}
            tree = encode({**state, "progress": dict(progress), "rng": rng}, tensors)
            if wait:
                self._write(name, tree, {key: tensor.cpu().contiguous() for key, tensor in tensors.items()}, first)
            else:
                copies = dict(zip(tensors, self._copied(list(tensors.values())), strict=True))
                self._writer = threading.Thread(target=self._write, args=(name, tree, copies, first), name="checkpoint")
                self._writer.start()
        if wait:
            if self._trouble:
                trouble, self._trouble = self._trouble, None
                raise InputError(
                    f"{self.folder}: can't write a checkpoint ({_reason(trouble)}). {self._newest_words()} "
                    f"{disk.advice(trouble)}"
                )
            distributed.wait_for_all()  # nobody may look for it before it is there

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def _finish(self) -> None:
        """Wait for the thread, and warn if it could not write."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            warnings.warn(
                f"{self.folder}: can't write a checkpoint ({_reason(trouble)}). The run goes on. {self._newest_words()}",
                stacklevel=3,
            )

    def _newest_words(self) -> str:
        newest = self._newest_first()[:1]
        return f"The newest one is {newest[0].name}." if newest else "There is none yet."

    def _copied(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return copies in memory that the next call writes over: fresh memory would take longer to get than to fill."""
        fits = len(self._copies) == len(tensors) and all(
            copy.shape == tensor.shape and copy.dtype == tensor.dtype
            for copy, tensor in zip(self._copies, tensors, strict=True)
        )
        if not fits:
            self._copies = [
                torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda) for tensor in tensors
            ]
        for copy, tensor in zip(self._copies, tensors, strict=True):
            copy.copy_(tensor, non_blocking=True)
        if any(tensor.is_cuda for tensor in tensors):
            torch.cuda.current_stream().synchronize()
        return self._copies

    def _write(self, name: str, tree: Any, tensors: Mapping[str, Tensor], first: Callable[[], object]) -> None:
        try:
            first()
            self._write_folder(name, tree, tensors)
        except OSError as error:  # a full disk, a permission: what is there already stays
            self._trouble = error

    def _write_folder(self, name: str, tree: Any, tensors: Mapping[str, Tensor]) -> None:
        folder = cast("Path", self.folder)
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            disk.make_folder(folder)
            disk.flush_folder(folder.parent)
        _write_whole(folder, tree, tensors, lambda: self._unused(name))
        self._prune()

    def restore(self, start: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Put the newest whole checkpoint back into the parts, and return the progress saved with it.

        Args:
            start: returned if there is no checkpoint yet.

        Raises:
            InputError: there is no checkpoint, and no `start`.
            RefusedError: there are some, but none is whole, or it is of another run or of a newer truestep.
        """
        self._finish()
        damaged: list[str] = []
        for path in self._newest_first():
            try:
                content = _read(path)
            except DamagedError as error:
                damaged.append(str(error))
                continue
            if damaged:
                warnings.warn(f"{' '.join(damaged)} Going on from {path.name}.", stacklevel=2)
            return self._fill(path, content)
        if damaged:
            raise RefusedError(
                f"{self.folder}: no checkpoint is whole. {' '.join(damaged)} Put a copy back, or take {self.folder} away: "
                "the run then begins anew."
            )
        if start is None:
            raise InputError(f"{self.folder}: no checkpoint to resume from.")
        return dict(start)

    def _fill(self, path: Path, content: dict[str, Any]) -> dict[str, Any]:
        missing = {*self.parts, "progress", "rng"} ^ set(content)
        if missing:
            raise RefusedError(f"{path}: of a run with other parts ({', '.join(sorted(map(str, missing)))}).")
        try:
            for name, part in self.parts.items():
                known = isinstance(part, nn.Module) or type(part).__module__.startswith(("torch.", "truestep."))
                check_alike(content[name], part.state_dict(), name, exact=known)
                if isinstance(part, Optimizer):
                    check_kept(content[name], part, name)
                part.load_state_dict(content[name])
                if isinstance(part, Optimizer):
                    _lay_out(part)
            _restore_rng_state(content["rng"])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise RefusedError(f"{path}: of another run ({' '.join(str(error).split())}).") from None
        return content["progress"]

    def _unused(self, name: str) -> Path:
        """Return a path of this name. An epoch may end without a step since the last save, so it may be the second."""
        path, number = cast("Path", self.folder) / name, 2
        while path.exists():
            path, number = path.with_name(f"{name}-{number:04d}"), number + 1
        return path

    def _newest_first(self) -> list[Path]:
        return newest_first(self.folder) if self.folder is not None else []

    def _prune(self) -> None:
        """Take away all but the newest whole ones. A damaged one counts for nothing and stays where it is."""
        folder = cast("Path", self.folder)
        whole = [path for path in self._newest_first() if _looks_whole(path)]
        for path in whole[self.keep :]:
            gone = path.with_name(f".tmp-old-{path.name}")  # by its name a half-deleted one would still count
            disk.rename(path, gone)
            disk.remove_folder(gone)
        for litter in folder.glob(".tmp-*"):
            _remove_if_possible(litter)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state as a checkpoint is written, under a name of its own; an older one of that name goes."""
    tensors: dict[str, Tensor] = {}
    tree = encode(dict(state), tensors)
    if path.is_dir() and not path.is_symlink():
        disk.remove_folder(path)
    _write_whole(path.parent, tree, {key: tensor.cpu().contiguous() for key, tensor in tensors.items()}, lambda: path)


def read_state(path: Path) -> dict[str, Any]:
    """Return what `write_state` wrote, after checking every byte of it.

    Raises:
        RefusedError: it is damaged, or of a newer truestep.
    """
    return _read(path)


def _write_whole(folder: Path, tree: Any, tensors: Mapping[str, Tensor], named: Callable[[], Path]) -> None:
    """Write a folder of state into `folder`: whole and under its name, or not at all."""
    temporary = folder / f".tmp-{os.getpid()}-{time.time_ns()}"
    disk.make_folder(temporary)
    try:
        state = json.dumps({"format": FORMAT, "state": tree}).encode()
        contents = {"state.safetensors": lambda: safetensors(tensors), "state.json": lambda: [state]}
        sums = _beside(lambda: {name: _sum(pieces()) for name, pieces in contents.items()})
        for name, pieces in contents.items():
            _create(temporary / name, pieces())
        files = sums()
        manifest: dict[str, Any] = {"format": FORMAT, "files": files}
        manifest["sha256"] = _sum_of(manifest)
        _create(temporary / "manifest.json", [json.dumps(manifest, indent=2).encode()])
        disk.flush_folder(temporary)
        final = named()
        disk.rename(temporary, final)
    except OSError:
        _remove_if_possible(temporary)
        raise
    disk.flush_folder(folder)
    # Only what can be read again lets an older one go. To compare it is quicker than to sum it up once more.
    if not _looks_whole(final) or not all(_holds(final / name, pieces()) for name, pieces in contents.items()):
        raise OSError(f"{final}: not what was written")


def _holds(path: Path, pieces: Iterable[bytes | memoryview]) -> bool:
    """Whether these are the bytes of a file."""
    buffer = np.empty(PIECE, np.uint8)
    with disk.open_regular(path) as file:
        for piece in pieces:
            expected = np.frombuffer(piece, np.uint8)
            for begin in range(0, len(expected), PIECE):
                part = expected[begin : begin + PIECE]
                found = buffer[: len(part)]
                if not _fill_from(file, found.data) or not np.array_equal(_wide(found), _wide(part)):
                    return False
        return not file.read(1)


def _fill_from(file: BufferedReader, room: memoryview) -> bool:
    """Read as many bytes as there is room for, past the buffer of Python's files, which would copy them once more."""
    while len(room) and (count := file.raw.readinto(room)):
        room = room[count:]
    return not len(room)


def _wide(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return bytes as whole words, which are compared in half the time; an odd number of them as they are."""
    return values if len(values) % 8 else values.view(np.int64)


def step_of(path: Path) -> int:
    """Return the update that a checkpoint stands behind, by its name."""
    return int(path.name.split("-")[1])


def has_any(folder: Path) -> bool:
    """Whether a run's folder has a checkpoint, whole or not."""
    return bool(newest_first(folder / "checkpoints"))


def newest_first(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, whole or not."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)


def _create(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file and have it on the disk."""
    with disk.create(path) as file:
        for piece in pieces:
            disk.write(file, piece)
        disk.flush(file)


def _sum(pieces: Iterable[bytes | memoryview]) -> dict[str, Any]:
    """Return what the manifest says of a file: its size and its SHA-256."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _beside(work: Callable[[], Result]) -> Callable[[], Result]:
    """Begin `work` in a thread, and return what waits for its result: to sum up takes as long as to write."""
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(work()), name="checkpoint's sums")
    try:
        thread.start()
    except RuntimeError:  # no more threads are allowed, or Python is ending
        return work

    def result() -> Result:
        thread.join()
        return results[0]

    return result


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _remove_if_possible(path: Path) -> None:
    with suppress(OSError):  # litter of a dying disk; the next save tries again
        disk.remove_folder(path)


def _sum_of(manifest: Mapping[str, Any]) -> str:
    content = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _looks_whole(path: Path) -> bool:
    """Whether all files are there and as long as they should be; their bytes were checked when they were written."""
    try:
        files = _manifest(path)["files"]
        return all((path / name).stat().st_size == known["bytes"] for name, known in files.items())
    except (OSError, RefusedError):
        return False


def _manifest(path: Path) -> dict[str, Any]:
    try:
        with disk.open_regular(path / "manifest.json") as file:
            manifest: Any = json.loads(file.read(1 << 16))
        written, intact = manifest["format"], manifest["sha256"] == _sum_of(manifest)  # so it is in every format
        complete = {"state.safetensors", "state.json"} == set(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path / 'manifest.json'}: damaged ({type(error).__name__}: {error}).") from None
    if intact and isinstance(written, int) and written > FORMAT:
        raise RefusedError(f"{path}: expected format {FORMAT}, found {written!r}. Update truestep.")
    if not intact or written != FORMAT or not complete:
        raise DamagedError(f"{path / 'manifest.json'}: damaged.")
    return manifest


def _check(path: Path) -> None:
    """Read every byte of a checkpoint and compare it with the manifest.

    Raises:
        DamagedError: something is not as it was written.
        RefusedError: a newer truestep wrote it.
    """
    for name, known in _manifest(path)["files"].items():
        try:
            with disk.open_regular(path / name) as file:
                found = _sum(iter(lambda: file.read(PIECE), b""))
        except OSError as error:
            raise DamagedError(f"{path / name}: damaged ({error.strerror or error}).") from None
        if found["bytes"] != known["bytes"]:
            raise DamagedError(f"{path / name}: damaged ({found['bytes']:,} bytes instead of {known['bytes']:,}).")
        if found["sha256"] != known["sha256"]:
            raise DamagedError(f"{path / name}: damaged (its SHA-256 is not the manifest's).")


def _read(path: Path) -> dict[str, Any]:
    """Return the content of one checkpoint after checking every byte of it."""
    _check(path)
    try:
        tree = json.loads((path / "state.json").read_bytes())
        state = decode(tree["state"], tensors_from_bytes((path / "state.safetensors").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise DamagedError(f"{path}: damaged ({type(error).__name__}: {error}).") from None
    if not isinstance(state, dict):
        raise DamagedError(f"{path}: damaged (no parts).")
    return cast("dict[str, Any]", state)


def _lay_out(optimizer: Optimizer) -> None:
    """Give state the order in memory that its weights have, such as channels last: files keep none, and fused kernels rely on it."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _rng_state() -> dict[str, Tensor]:
    """Return the state of all global generators: torch's for dropout, the others for what a user's dataset draws."""
    _, keys, *rest = cast("tuple[Any, ...]", np.random.get_state())  # noqa: NPY002
    _, words, gauss = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": torch.tensor([*keys.tolist(), *rest], dtype=torch.float64),  # 32-bit words, exact in float64
        "python": torch.tensor([*words, math.nan if gauss is None else gauss], dtype=torch.float64),
    }
    if torch.cuda.is_initialized():
        state |= {f"cuda:{i}": torch.cuda.get_rng_state(i) for i in range(torch.cuda.device_count())}
    return state


def _restore_rng_state(states: dict[str, list[Tensor]]) -> None:
    """Give this process the state it had, which stands at its rank."""
    mine = {name: ranks[distributed.rank()][0] for name, ranks in states.items()}
    torch.set_rng_state(mine.pop("torch"))
    *keys, position, has_gauss, cached = mine.pop("numpy").tolist()
    words32 = np.array(keys, dtype=np.uint32)
    np.random.set_state(("MT19937", words32, int(position), int(has_gauss), float(cached)))  # noqa: NPY002
    *words, gauss = mine.pop("python").tolist()
    random.setstate((3, tuple(int(word) for word in words), None if math.isnan(gauss) else gauss))
    for name, state in mine.items():
        if torch.cuda.is_available():
            torch.cuda.set_rng_state(state, name)
