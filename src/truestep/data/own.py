"""Users' own data: files of arrays, what a function of theirs returns, and data sets of the library `datasets`.

    read_own(source) ─> Arrays     .npz, .pt, .safetensors; pairs and dicts of arrays or tensors; TensorDatasets
                     ─> Datasets   map-style PyTorch datasets, whose examples are read when they are needed
                     ─> Table      frames, and data sets of the library `datasets`

Nothing in a file is run: arrays of Python objects and pickles that need code are refused.
"""

from __future__ import annotations

import lzma
import math
import os
import re
import stat
import warnings
import zipfile
import zlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from truestep import keyed
from truestep.data.examples import check_example, is_pair, read_pair, same_example
from truestep.data.sources import read_table
from truestep.data.table import Table, listed, shorten, table_of_frame
from truestep.device import preserved_rng
from truestep.errors import InputError, did_you_mean

ARRAY_FORMATS = (".npz", ".pt", ".pth", ".safetensors")
INPUTS = ("inputs", "x", "features", "images", "data")  # names of arrays, in any case, the first that is there
TARGETS = ("targets", "target", "y", "labels", "label")
# What a damaged or strange archive raises; NotImplementedError is zipfile's for a compression that it doesn't know.
UNREADABLE = (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, lzma.LZMAError, zlib.error)
SPLITS = {"train": 0, "valid": 1, "val": 1, "validation": 1, "dev": 1, "test": 2}
TORCH_MAGIC = torch.serialization.MAGIC_NUMBER.to_bytes(10, "little")  # the first thing in torch.save's older format
PICKLE = b"\x80"  # which a pickle begins with, and so does the older format
LONGEST_MAGIC = 64  # bytes, within which it comes
FIRST_EXAMPLES = 4  # of a stream, to see what it gives and whether it gives the same again
READ_AT_ONCE = 1 << 24  # bytes
SPLIT_NAMES = ("train", "valid", "test")


@dataclass(frozen=True)
class Arrays:
    """Inputs (N, ...) of numbers, and targets (N,) or (N, K)."""

    inputs: np.ndarray
    targets: np.ndarray
    belongs: np.ndarray | None = None  # (N,) int64: 0 train, 1 valid, 2 test, where the source itself is split
    notes: list[str] = field(default_factory=list[str])
    called: tuple[str, str] = ("inputs", "targets")  # as in messages: file and array where they are of a file

    @contextmanager
    def naming(self) -> Generator[None]:
        """Let messages about inputs and targets say which arrays these are; arrays have no columns."""
        try:
            yield
        except InputError as error:
            raise InputError(_about_arrays(str(error), self.called)) from None


@dataclass(frozen=True)
class Datasets:
    """The user's datasets. `valid` and `test` are None if train is to be split, or if there is no such part."""

    train: Dataset[Any]
    valid: Dataset[Any] | None = None
    test: Dataset[Any] | None = None


def is_own(source: Any) -> bool:
    """Whether `read_own` is the one to read this: a file of arrays, arrays, datasets, or parts of any of these."""
    if isinstance(source, str | Path):
        return str(source).lower().endswith(ARRAY_FORMATS)
    return isinstance(source, tuple | list | Mapping | Dataset | DataLoader) or is_hugging_face(source)


def read_own(source: Any, name: str = "data") -> Arrays | Datasets | Table:
    """Return a user's own data in the form that fits it.

    Args:
        source: a path (`ARRAY_FORMATS`); a pair (inputs, targets) of arrays or tensors, or a dict that names them;
            a map-style PyTorch dataset; a data set of the library `datasets`; a frame; or a tuple
            (train, valid[, test]) or a dict of such parts, named train, valid (val, validation, dev) and test.
        name: of the source, for messages.

    Raises:
        InputError: none of these, damaged, or parts that don't fit each other.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        return _arrays(_parts(_read_file(path), path.name), path.name, is_file=True)
    parts = _parts(source, name)
    forms = {split: _form(part, f"{name}, {split}" if len(parts) > 1 else name) for split, part in parts.items()}
    if "dataset" in forms.values():
        return _datasets(parts, name)
    if "table" in forms.values():
        return _table(parts, name)
    return _arrays(parts, name)


def _form(part: Any, where: str) -> str:
    """Return whether a part is of arrays, a dataset or a table."""
    if isinstance(part, DataLoader):
        raise InputError(
            f"{where}: expected datasets, found a DataLoader. Return its dataset: batches, their order and the processes "
            "that read them are chosen by the run, so that it can be resumed and repeated."
        )
    if _is_table(part):
        return "table"
    is_examples = isinstance(part, Dataset) and not (isinstance(part, TensorDataset) and len(part.tensors) == 2)
    return "dataset" if is_examples else "arrays"


def _is_table(part: Any) -> bool:
    is_frame = isinstance(part, Table | pl.DataFrame | pl.LazyFrame) or type(part).__module__.startswith("pandas")
    return is_frame or is_hugging_face(part)


def read_own_inputs(path: Path) -> np.ndarray:
    """Return the inputs of a file of arrays, (N, ...), with or without targets; .npy is read, too."""
    content = _read_file(path)
    if isinstance(content, Mapping):
        found = _find(cast("Mapping[str, Any]", content), INPUTS)
        if found is None and len(content) == 1:
            found = next(iter(content))
        if found is None:
            raise InputError(f"{path.name}: expected an array of inputs ({', '.join(INPUTS)}), {_held(content)}.")
        content = content[found]
    elif is_pair(content):
        content = content[0]
    return _numbers(content, path.name)


# Files


def _read_file(path: Path) -> Any:
    """Return what a file of arrays holds: a dict of arrays, or what was given to torch.save."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{path}: expected a file, found none ({error.strerror}).") from None
    except ValueError as error:  # a NUL byte in the name
        raise InputError(f"{str(path)!r}: not the name of a file ({error}).") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device; save its content first"
        raise InputError(f"{path}: expected a file ({', '.join(ARRAY_FORMATS)}), found {what}.")
    suffix = path.suffix.lower()
    readers = {
        ".npz": _read_npz,
        ".npy": _read_npy,
        ".safetensors": _read_safetensors,
        ".pt": _read_pt,
        ".pth": _read_pt,
    }
    if suffix not in readers:
        raise InputError(f"{path.name}: expected one of {', '.join(ARRAY_FORMATS)}, found '{suffix}'.")
    try:
        return readers[suffix](path)
    except MemoryError:
        raise InputError(f"{path.name}: expected arrays that fit in memory, but it has no room for them.") from None
    except OSError as error:
        raise InputError(f"{path.name}: can't be read ({error.strerror or _first_line(error)}).") from None


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            _check_room(sum(member.file_size for member in members), path.name)
            for member in members:
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as file:
                    arrays[name] = _read_array(file, member.file_size, f"{path.name}, array '{shorten(name)}'")
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path.name}: expected a .npz file, but it can't be read ({_first_line(error)}).") from None
    return arrays


def _read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return _read_array(file, path.stat().st_size, path.name)


def _read_array(file: Any, size: int, where: str) -> np.ndarray:
    """Read one array of a file, after comparing its header with the `size` bytes there are: it may claim any shape."""
    try:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
    except (OSError, MemoryError, zlib.error, zipfile.BadZipFile):
        raise
    except Exception as error:  # noqa: BLE001 - a damaged header can raise anything
        raise InputError(f"{where}: not a NumPy array ({_first_line(error)}).") from None
    if dtype.hasobject:
        raise InputError(
            f"{where}: expected numbers or words, found Python objects, which only code could read. "
            "Save it with a plain type: array.astype(...)."
        )
    count, rest = math.prod(map(int, shape)), size - file.tell()
    if count * dtype.itemsize != rest or not all(length >= 0 for length in shape):
        raise InputError(
            f"{where}: damaged: its header says {count * dtype.itemsize} bytes ({dtype}, {shape}), found {rest}."
        )
    _check_room(rest, where)
    values = np.empty(count, dtype)
    room = cast("Any", values.view(np.uint8) if rest else np.empty(0, np.uint8))
    while len(room) and (some := file.read(min(len(room), READ_AT_ONCE))):
        room[: len(some)] = np.frombuffer(some, np.uint8)
        room = room[len(some) :]
    if len(room):
        raise InputError(f"{where}: damaged: {len(room)} bytes are missing at its end.")
    values = values.reshape(shape, order="F" if fortran_order else "C")
    return values if dtype.isnative else values.astype(dtype.newbyteorder("="))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_room(path.stat().st_size, path.name)
    try:
        return load_file(path)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path.name}: expected a .safetensors file, but it can't be read ({_first_line(error)})."
        ) from None


def _read_pt(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except UNREADABLE:  # of the older format, or damaged, which torch finds out
        size = path.stat().st_size
    _check_room(size, path.name)
    with path.open("rb") as file:
        begin = file.read(LONGEST_MAGIC)
    if begin[:1] == PICKLE and TORCH_MAGIC not in begin:
        raise InputError(
            f"{path.name}: expected a file of torch.save, found a plain pickle, which can only be read by running what "
            "it says; nothing was run. Save the tensors: torch.save({'inputs': ..., 'targets': ...}, ...)."
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # what is wrong is said below, in one line
            # The one format here that is a pickle: weights_only reads tensors and plain containers, and runs nothing.
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a damaged pickle can raise anything
        if "GLOBAL" in str(error) or "TorchScript" in str(error):
            raise InputError(
                f"{path.name}: expected only tensors, in a dict or a tuple, found objects that need code to be read, "
                "which could do anything. Save the tensors: torch.save({'inputs': ..., 'targets': ...}, ...)."
            ) from None
        raise InputError(
            f"{path.name}: expected a file of torch.save, but it can't be read as one: it is something else, or damaged. "
            "Nothing in it was run."
        ) from None


def _check_room(size: int, where: str) -> None:
    """Refuse what can't be unpacked in memory, before trying to."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**63
    if size > memory:
        raise InputError(
            f"{where}: expected arrays that fit in the {memory / 1e9:.1f} GB of memory here, found {size / 1e9:.1f} GB."
        )


# Parts, and the arrays in them


def _parts(source: Any, name: str) -> dict[str, Any]:
    """Return {"train": ..., "valid": ..., "test": ...} of a source that is given in parts, else {"train": source}."""
    if isinstance(source, Mapping):
        mapping = _nested(cast("Mapping[Any, Any]", source), name)
        if not mapping:
            raise InputError(f"{name}: expected datasets or arrays, found an empty dict.")
        words = [str(key).lower() for key in mapping]
        if any(word in SPLITS for word in words) or any(map(_holds_examples, mapping.values())):
            return _named_parts(dict(zip(words, mapping.values(), strict=True)), name)
        return {"train": mapping}
    if isinstance(source, tuple | list) and not _is_arrays(source):
        sequence = cast("Sequence[Any]", source)
        if not 1 <= len(sequence) <= len(SPLIT_NAMES) or sequence[0] is None:
            raise InputError(f"{name}: expected (train, valid) or (train, valid, test), found {len(sequence)} parts.")
        return {split: part for split, part in zip(SPLIT_NAMES, sequence, strict=False) if part is not None}
    return {"train": source}


def _holds_examples(part: Any) -> bool:
    return isinstance(part, Dataset | DataLoader) or _is_table(part)


def _named_parts(parts: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word, part in parts.items():
        if word not in SPLITS:
            raise InputError(
                f"{name}: expected only train, valid and test beside each other, found '{shorten(word)}'."
                f"{did_you_mean(word, SPLITS)}"
            )
        split = SPLIT_NAMES[SPLITS[word]]
        if split in found:
            raise InputError(f"{name}: expected each split once, found '{split}' under two names ({', '.join(parts)}).")
        if part is not None:
            found[split] = part
    if "train" not in found:
        raise InputError(f"{name}: expected a part 'train', found {', '.join(found) or 'none'}.")
    return found


def _is_arrays(value: Any) -> bool:
    """Whether this is (inputs, targets) rather than (train, valid): arrays, not things that hold examples."""
    return is_pair(value) and all(isinstance(part, np.ndarray | Tensor) for part in cast("Sequence[Any]", value))


def _arrays(parts: dict[str, Any], name: str, *, is_file: bool = False) -> Arrays:
    """Return the arrays of all parts, each a pair or a dict that names them."""
    called = _called(parts["train"], name) if is_file and len(parts) == 1 else Arrays.called
    pairs = {split: _pair(part, name, called) for split, part in parts.items()}
    for split, (inputs, targets) in pairs.items():
        first_inputs, first_targets = pairs["train"]
        expected, found = ((a.shape[1:], b.shape[1:]) for a, b in ((first_inputs, first_targets), (inputs, targets)))
        if expected != found or (first_targets.dtype.kind in "US") != (targets.dtype.kind in "US"):
            raise InputError(
                f"{name}, {split}: expected inputs and targets of shape {_rows(*expected)} as in train, "
                f"found {_rows(*found)}."
            )
        if first_inputs.dtype.kind != inputs.dtype.kind:
            raise InputError(
                f"{name}, {split}: expected inputs of type {first_inputs.dtype} as in train, found {inputs.dtype}."
            )
    if len(pairs) == 1:
        return Arrays(*pairs["train"], called=called)
    belongs = [np.full(len(pair[0]), SPLITS[split], dtype=np.int64) for split, pair in pairs.items()]
    inputs, targets = (np.concatenate([pair[place] for pair in pairs.values()]) for place in (0, 1))
    return Arrays(inputs, targets, np.concatenate(belongs))


def _nested(mapping: Mapping[Any, Any], name: str) -> Mapping[Any, Any]:
    """Return {"x_train": ..., "y_train": ...} as {"train": {"x": ..., "y": ...}}; other dicts as they are."""
    nested: dict[str, dict[str, Any]] = {}
    for key, value in mapping.items():
        first, _, last = str(key).lower().rpartition("_")
        split, kind = (first, last) if first in SPLITS else (last, first)
        if split in SPLITS and kind in (*INPUTS, *TARGETS):
            part = nested.setdefault(split, {})
            if kind in part:
                raise InputError(
                    f"{name}: expected each array once, found two for {split} that differ only in case or order."
                )
            part[kind] = value
    return nested or mapping


def _called(part: Any, name: str) -> tuple[str, str]:
    """Return what the arrays of a file are called in messages."""
    keys = [_find(cast("Mapping[Any, Any]", part), names) for names in (INPUTS, TARGETS)] if _is_dict(part) else []
    inputs, targets = (f"{name}, array '{shorten(str(key))}'" for key in keys or Arrays.called)
    return inputs, targets


def _is_dict(part: Any) -> bool:
    return isinstance(part, Mapping)


def _about_arrays(message: str, called: tuple[str, str]) -> str:
    """Return a message that begins with "inputs" or "targets" with what these are called instead."""
    found = re.match(r"(?:data: )?(inputs|targets)((?:, row \d+)?)(?:, column 'target')?(?=[:,])", message)
    return message if found is None else called[found[1] == "targets"] + found[2] + message[found.end() :]


def _pair(part: Any, name: str, called: tuple[str, str] = Arrays.called) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(part, Mapping):
        mapping = cast("Mapping[Any, Any]", part)
        inputs, targets = _find(mapping, INPUTS), _find(mapping, TARGETS)
        if inputs is None or targets is None:
            what = "inputs" if inputs is None else "targets"
            names = INPUTS if inputs is None else TARGETS
            raise InputError(
                f"{name}: expected an array of {what} named {', '.join(names[:-1])} or {names[-1]}, {_held(mapping)}."
            )
        part = (mapping[inputs], mapping[targets])
    if not isinstance(part, Dataset):
        if not is_pair(part):
            raise InputError(
                f"{name}: expected arrays of inputs and targets, in a dict or a pair, found {type(part).__name__}."
            )
        part = tuple(_numbers(values, name) for values in part)
    try:
        return read_pair(part)
    except InputError as error:
        if called != Arrays.called and (said := _about_arrays(str(error), called)) != str(error):
            raise InputError(said) from None
        raise InputError(f"{name}: {str(error).removeprefix('data: ')}" if name != "data" else str(error)) from None


def _numbers(values: Any, name: str) -> np.ndarray:
    """Return an array as it is in memory; a tensor only if all its numbers are there."""
    if isinstance(values, Tensor):
        if values.layout != torch.strided or values.is_quantized or values.device.type == "meta" or values.is_complex():
            raise InputError(f"{name}: expected a tensor of plain numbers, found {values.layout} {values.dtype}.")
        _check_room(values.numel() * values.element_size(), name)
        values = values.detach().cpu()
        return (values.float() if values.dtype.itemsize < 4 and values.is_floating_point() else values).numpy()
    if isinstance(values, np.ndarray):
        return values
    raise InputError(f"{name}: expected arrays or tensors, found {type(values).__name__}.")


def _find(mapping: Mapping[Any, Any], names: Iterable[str]) -> Any | None:
    keys = {str(key).lower(): key for key in mapping}
    return next((keys[name] for name in names if name in keys), None)


def _held(mapping: Mapping[Any, Any]) -> str:
    shapes = [f"{key} {tuple(getattr(value, 'shape', ()))}" for key, value in mapping.items()]
    return f"found {listed(shapes)}" if shapes else "found no array"


def _rows(inputs: tuple[int, ...], targets: tuple[int, ...]) -> str:
    return " and ".join("(" + ", ".join(map(str, ("N", *shape))) + ")" for shape in (inputs, targets))


# PyTorch datasets, frames and the library `datasets`


def _datasets(parts: dict[str, Any], name: str) -> Datasets:
    for split, part in parts.items():
        if not isinstance(part, Dataset):
            raise InputError(
                f"{name}, {split}: expected a PyTorch dataset like the others, found {type(part).__name__}."
            )
        if isinstance(part, IterableDataset):
            continue
        if not hasattr(part, "__len__"):
            raise InputError(f"{name}, {split}: expected a dataset with a length, found {type(part).__name__} without.")
        if not len(cast("Any", part)):
            raise InputError(f"{name}, {split}: expected examples, found none.")
    return Datasets(parts["train"], parts.get("valid"), parts.get("test"))


def _table(parts: dict[str, Any], name: str) -> Table:
    """Return frames, or splits of the library `datasets`, as one table that says which rows belong where.

    Classes get their names. Numbers and words are taken over from Arrow without a copy where polars can. Images are
    files: a column of paths stays one, images that are kept as bytes are refused.
    """
    if len(parts) == 1 and not is_hugging_face(parts["train"]):
        return read_table(parts["train"])
    frames: dict[str, pl.DataFrame] = {}
    kinds: dict[str, str] = {}
    notes: list[str] = []
    classes: list[str] = []
    for split, part in parts.items():
        where = f"{name}, {split}" if len(parts) > 1 else name
        if not is_hugging_face(part):
            frames[split] = read_table(part).frame
            continue
        if not hasattr(part, "__len__"):
            raise InputError(
                f"{where}: expected a data set with a length, found {type(part).__name__}, which is read as a stream. "
                "Load it without streaming=True, or give it to truestep.fit in a DataLoader."
            )
        frame = _frame_of(part, where)
        kinds |= dict.fromkeys(_of_kind(part, "Image"), "image")
        classes = _of_kind(part, "ClassLabel")
        unlabelled = [column for column in classes if len(frame) and frame[column].is_null().all()]
        if unlabelled and split != "train":
            notes.append(f"split '{split}' left out: its column '{unlabelled[0]}' says of no row which class it is.")
            continue
        frames[split] = frame
    return _joined(frames, name, classes[0] if len(classes) == 1 else None, kinds, notes)


def _joined(
    frames: dict[str, pl.DataFrame], name: str, target: str | None, kinds: dict[str, str], notes: list[str]
) -> Table:
    columns = frames["train"].columns
    for split, frame in frames.items():
        if frame.columns != columns:
            found = listed(frame.columns)
            raise InputError(f"{name}, {split}: expected the columns {listed(columns)} as in train, found {found}.")
    try:
        table = table_of_frame(pl.concat(list(frames.values()), how="vertical_relaxed"), name)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{name}: expected parts with columns of the same types ({_first_line(error)}).") from None
    if table.frame.is_empty():
        raise InputError(f"{name}: expected rows, found none.")
    belongs = [SPLITS[split] for split, frame in frames.items() for _ in range(len(frame))] if len(frames) > 1 else None
    return replace(table, target=target, kinds=kinds, belongs=belongs, notes=notes)


@dataclass(frozen=True)
class Stream:
    """What is known of an `IterableDataset` after its first examples."""

    inputs: Any  # those of the first example: a tensor, or a nest of tensors
    target: np.ndarray  # its target, () or (K,)
    repeats: bool  # whether a second pass began with the same examples, without which no run can be resumed exactly


def check_iterable(
    dataset: IterableDataset[Any],
    *,
    valid: object,
    shuffled: bool = False,
    num_workers: int = 0,
    world_size: int = 1,
    max_steps: int | None = None,
) -> Stream:
    """Refuse what can't be promised of a dataset that is only read from its beginning, and look at its start.

    What is promised:
    - The order is the dataset's own. It is not shuffled, sorted by length or drawn by weights; one pass is an epoch.
    - Nothing in it is split: rows have no numbers to split by. Validation data are given beside it.
    - Nothing is fitted to it: inputs go to the model as they are.
    - One process reads it, in the main process or in one worker: a second one would read the same examples again.
    - A run is resumed by reading the epoch's first batches once more and passing over them. That is exact only if every
      pass gives the same examples; whether the first few are the same is tested (`Stream.repeats`), no more than that.
    - Without a length nobody knows where an epoch ends before it does: the schedule needs max_steps.

    Args:
        dataset: yields pairs (input, target).
        valid: what is validated on; None is refused.
        shuffled: whether an order other than its own is asked for: shuffling, groups, weights.
        num_workers: that read it.
        world_size: processes that train.
        max_steps: updates after which the run stops, None if it is told in epochs.

    Raises:
        InputError: one of these is asked for all the same, or there is no example, or no pair.
    """
    name = type(dataset).__name__
    if valid is None:
        raise InputError(
            f"{name}: expected validation data beside a dataset that can't be split (it has no example numbers), found "
            "none. Return (train, valid)."
        )
    if shuffled:
        raise InputError(
            f"{name}: its order is its own: it can't be shuffled, drawn by weights or grouped. Do it inside."
        )
    if num_workers > 1 or world_size > 1:
        found = f"{num_workers} workers" if num_workers > 1 else f"{world_size} processes"
        raise InputError(f"{name}: expected one reader, found {found}: each of them would read every example.")
    if max_steps is None and not hasattr(dataset, "__len__"):
        raise InputError(f"{name}: expected max_steps for a dataset without a length, found none. Give --max-steps.")
    passes: list[list[Any]] = []
    for key in range(2):  # other random numbers in the second pass, as in a second epoch
        with preserved_rng():
            keyed.seed_generators(int(keyed.bits(0, key, np.zeros(1))[0]))
            passes.append(list(islice(iter(dataset), FIRST_EXAMPLES)))
    if not passes[0]:
        raise InputError(f"{name}: expected examples, found none.")
    inputs, target = check_example(passes[0][0], f"{name}, example 0")
    return Stream(inputs, target, len(passes[0]) == len(passes[1]) and all(map(same_example, *passes)))


def is_hugging_face(source: Any) -> bool:
    """Whether this is a data set of the library `datasets`; does not import it."""
    return type(source).__module__.split(".")[0] == "datasets" and hasattr(source, "features")


def _of_kind(part: Any, kind: str) -> list[str]:
    return [column for column, feature in part.features.items() if type(feature).__name__ == kind]


def _frame_of(part: Any, where: str) -> pl.DataFrame:
    frame = pl.DataFrame(part.with_format("arrow")[:])
    for column, feature in part.features.items():
        kind = type(feature).__name__
        if kind == "ClassLabel":
            names = dict(enumerate(map(str, feature.names)))  # -1 is for rows whose class nobody says
            frame = frame.with_columns(
                pl.col(column).replace_strict(names, default=None, return_dtype=pl.String).alias(column)
            )
        elif kind == "Image":
            frame = frame.with_columns(_paths_of(frame[column], f"{where}, column '{column}'"))
        elif kind in ("Audio", "Video", "Pdf", "Nifti"):
            raise InputError(f"{where}, column '{column}': expected numbers, words or images, found {kind.lower()}.")
    return frame


def _paths_of(images: pl.Series, where: str) -> pl.Series:
    fields = images.struct.unnest() if isinstance(images.dtype, pl.Struct) else pl.DataFrame({"path": images})
    paths = fields["path"] if "path" in fields.columns else pl.Series([None] * len(images), dtype=pl.String)
    in_files = "bytes" not in fields.columns or fields["bytes"].null_count() == len(fields)
    if not in_files or paths.null_count():
        raise InputError(
            f"{where}: expected paths of image files, found images kept as bytes. Save them in a folder for each class, "
            "or give a PyTorch dataset that returns (image, class) as tensors: file.py:function."
        )
    return paths.alias(images.name)


def _first_line(error: BaseException) -> str:
    return shorten((str(error).splitlines() or [type(error).__name__])[0], 120)
