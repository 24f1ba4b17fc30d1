"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is a folder of tensors (safetensors), the rest (JSON) and a manifest with the SHA-256 of both. It is written
under another name, flushed to disk, renamed, and read again before an older one goes. Nothing in it is code.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from truestep import distributed
from truestep.errors import InputError, RefusedError
from truestep.folder import open_new

FORMAT = 1
NAME = re.compile(r"step-\d{8}(-\d{4})?")


class Part(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: of the run; None keeps nothing.
        parts: by name, whatever has a `state_dict`; None for those this run has not.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path | str | None, parts: Mapping[str, Part | None], keep: int = 2) -> None:
        self.folder = None if folder is None else Path(folder) / "checkpoints"
        self.parts = {name: part for name, part in parts.items() if part is not None}
        self.keep = keep

    def save(self, progress: Mapping[str, Any]) -> None:
        """Write the state of all parts; a crash at any moment leaves the previous checkpoints whole."""
        if self.folder is None:
            return
        if self.folder.is_symlink():
            raise InputError(f"{self.folder}: expected a folder, found a link, which is not followed.")
        rng = {name: distributed.all_gather(state[None]) for name, state in _rng_state().items()}  # of every rank
        if distributed.is_main():
            self._write(self.folder, progress, rng)
        distributed.wait_for_all()  # nobody may look for it before it is there

    def _write(self, folder: Path, progress: Mapping[str, Any], rng: dict[str, list[Tensor]]) -> None:
        final = self._unused_name(progress["step"])
        content = {name: part.state_dict() for name, part in self.parts.items()}
        tensors: dict[str, Tensor] = {}
        tree = _encode({**content, "progress": dict(progress), "rng": rng}, tensors)
        files = {
            "state.safetensors": tensors_to_bytes(tensors),
            "state.json": json.dumps({"format": FORMAT, "state": tree}).encode(),
        }
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        files["manifest.json"] = json.dumps({"format": FORMAT, "sha256": sums}, indent=2).encode()

        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".tmp-{final.name}-{os.getpid()}-{time.time_ns()}"
        temporary.mkdir(mode=0o755)
        try:
            for name, data in files.items():
                with open_new(temporary / name) as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            _sync_folder(temporary)
            temporary.rename(final)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync_folder(folder)
        _read(final)  # only what can be read again lets an older one go
        self._prune()

    def restore(self) -> dict[str, Any]:
        """Put the newest whole checkpoint back into the parts, and return the progress saved with it.

        Raises:
            InputError: there is no checkpoint.
            RefusedError: there are some, but none is whole, or it is of another run.
        """
        damaged: list[str] = []
        for path in self._newest_first():
            try:
                content = _read(path)
            except RefusedError as error:
                damaged.append(str(error))
                continue
            if damaged:
                warnings.warn(f"{' '.join(damaged)} Going on from {path.name}.", stacklevel=2)
            return self._fill(path, content)
        if damaged:
            raise RefusedError(f"{self.folder}: no checkpoint is whole. {' '.join(damaged)}")
        raise InputError(f"{self.folder}: no checkpoint to resume from.")

    def _fill(self, path: Path, content: dict[str, Any]) -> dict[str, Any]:
        missing = set(self.parts) ^ (set(content) - {"progress", "rng"})
        if missing:
            raise RefusedError(f"{path}: of a run with other parts ({', '.join(sorted(missing))}).")
        try:
            for name, part in self.parts.items():
                part.load_state_dict(content[name])
            _restore_rng_state(content["rng"])
        except (RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise RefusedError(f"{path}: of another run ({' '.join(str(error).split())}).") from None
        return content["progress"]

    def _unused_name(self, step: int) -> Path:
        """Return a name for this step. An epoch may end without a step since the last save, so it may be the second."""
        path, number = cast("Path", self.folder) / f"step-{step:08d}", 2
        while path.exists():
            path, number = path.with_name(f"step-{step:08d}-{number:04d}"), number + 1
        return path

    def _newest_first(self) -> list[Path]:
        if self.folder is None or not self.folder.is_dir():
            return []
        return sorted((path for path in self.folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)

    def _prune(self) -> None:
        for path in self._newest_first()[self.keep :]:
            shutil.rmtree(path)
        for litter in cast("Path", self.folder).glob(".tmp-*"):
            shutil.rmtree(litter, ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    """Return the content of one checkpoint after checking every byte of it."""
    try:
        manifest: dict[str, Any] = json.loads((path / "manifest.json").read_bytes())
        if manifest["format"] != FORMAT:
            raise RefusedError(f"{path}: expected format {FORMAT}, found {manifest['format']!r}. Update truestep.")
        files = {name: (path / name).read_bytes() for name in ("state.safetensors", "state.json")}
        for name, data in files.items():
            if hashlib.sha256(data).hexdigest() != manifest["sha256"][name]:
                raise RefusedError(f"{path / name}: damaged (its SHA-256 is not the manifest's).")
        tree = json.loads(files["state.json"])
        return _decode(tree["state"], tensors_from_bytes(files["state.safetensors"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise RefusedError(f"{path}: damaged ({type(error).__name__}: {error}).") from None


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return `value` as JSON. What JSON would change in silence (int keys, tuples, inf, tensors) carries a tag."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, float):
        return {"float": repr(float(value))}  # NumPy's floats are floats with another repr
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list):
        return [_encode(item, tensors) for item in cast("list[Any]", value)]
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, tensors) for item in cast("tuple[Any, ...]", value)]}
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {"dict": [[_encode(key, tensors), _encode(item, tensors)] for key, item in items]}
    raise TypeError(f"a checkpoint can't hold a {type(value).__name__}")


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    ((tag, content),) = cast("dict[str, Any]", value).items()
    if tag == "tensor":
        return tensors[content]
    if tag == "float":
        return float(content)
    if tag == "tuple":
        return tuple(_decode(item, tensors) for item in content)
    if tag == "dict":
        return {_decode(key, tensors): _decode(item, tensors) for key, item in content}
    raise ValueError(f"unknown tag {tag!r}")


def _sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power loss, not only the bytes of its files."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
