"""Images as the inputs of a model: all of one size, scaled by the mean and deviation of each channel.

They are kept as bytes, in memory if they fit and else in their files, and become numbers batch by batch (`prepare`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from operator import index
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor

from truestep.data.image_files import (
    IMAGE_SUFFIXES,
    Header,
    Progress,
    decode_all,
    image_paths,
    in_threads,
    read_headers,
    read_image_table,
    to_tensor,
)
from truestep.data.sources import read_table
from truestep.data.table import Table
from truestep.data.targets import Target, encode_targets
from truestep.errors import InputError

LARGEST = 224  # pixels of a side that is chosen for the user
STEP = 32  # what a chosen side is a multiple of: networks halve it up to five times
STATISTICS_IMAGES = 2000  # of the training images, evenly spaced, tell mean and deviation


@dataclass(frozen=True)
class ImageFiles:
    """Images that are decoded when they are taken: (n, channels, height, width) uint8, the same bits each time."""

    paths: tuple[str, ...]
    channels: int
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Tensor) -> Tensor:
        """Return these images, (n,) int64, in this order.

        Raises:
            InputError: a file is damaged; it names it.
        """
        paths = [self.paths[number] for number in indices.tolist()]
        return decode_all(paths, (self.height, self.width), self.channels)


@dataclass(frozen=True)
class ImageEncoder:
    """Images to (N, channels, height, width), bytes first and scaled float32 from `prepare`."""

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]  # of each channel, in 0 to 255
    std: tuple[float, ...]
    column: str = "image"
    id_column = None  # `ids` gives the names of the files

    @classmethod
    def fit_encode(
        cls,
        table: Table,
        rows: Tensor | np.ndarray,
        *,
        column: str = "image",
        size: int = 0,
        memory: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[ImageEncoder, Tensor | ImageFiles]:
        """Learn from training images, and return the encoder and the inputs of all images.

        Mean and deviation come from at most 2,000 training images whatever the memory is, so that a run repeated on a
        smaller machine is the same. What was chosen is added to the notes of the table.

        Args:
            table: all the images.
            rows: (n,) int64, the training rows.
            column: with the names of the files.
            size: height and width; 0 keeps the size of the training images if they share one of at most 224 pixels,
                and else takes the median of their shorter sides, a multiple of 32 of at most 224.
            memory: bytes that decoded images may take, by default a quarter of what is available; more are decoded
                when they are needed.
            progress: is called with how many images are read, of how many.

        Raises:
            InputError: a file is missing, damaged or no image; it names the file.
        """
        if size < 0:
            raise InputError(f"image_size: expected pixels of height and width, or 0 to choose, found {size}.")
        paths = image_paths(table, column)
        rows = np.asarray(rows)
        if not len(rows):
            raise InputError(f"{table.name}: expected images to learn from, found none.")
        headers = read_headers([paths[row] for row in rows], progress)
        channels = 1 if all(header.is_grey for header in headers) else 3
        height, width = (size, size) if size else choose_size(headers)
        inputs = load_images(paths, channels, height, width, memory, progress)
        chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), STATISTICS_IMAGES)).round().astype(np.int64)]
        mean, std = _mean_and_std(inputs, torch.from_numpy(chosen))
        table.notes.extend(_notes(headers, height, width, len(chosen), inputs))
        return cls(channels, height, width, mean, std, column), inputs

    @property
    def spec(self) -> dict[str, Any]:
        return {"kind": "image", "channels": self.channels, "height": self.height, "width": self.width}

    def read(self, source: Any) -> Table | np.ndarray:
        """Return images to predict, in the order in which they are given.

        Args:
            source: a folder, an image file, a list of such files, a table that names them, or an array of bytes
                (N, H, W), (N, H, W, 3) or (N, H, W, 4).
        """
        if isinstance(source, Tensor):
            source = source.cpu().numpy()
        if isinstance(source, np.ndarray):
            if source.dtype != np.uint8 or not (source.ndim == 3 or (source.ndim == 4 and source.shape[3] in (3, 4))):
                raise InputError(
                    f"images: expected uint8 of shape (N, H, W), (N, H, W, 3) or (N, H, W, 4), "
                    f"found {source.dtype} of shape {source.shape}."
                )
            return source
        if isinstance(source, str | Path):
            path = Path(source)
            if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
                table = read_image_table(path)
                return replace(table, frame=table.frame.rename({"image": self.column}))
            table = read_table(source)
            return table if table.folder else replace(table, folder=path.parent)
        if isinstance(source, list | tuple):
            names = [str(name) for name in cast("Sequence[Any]", source)]
            return Table(pl.DataFrame({self.column: names}, schema={self.column: pl.String}), "images")
        return read_table(source)

    def encode(self, raw: Any, memory: int | None = None) -> Tensor | ImageFiles:
        """Return the inputs: (N, channels, height, width) uint8, or files to take them from if they are too many.

        Raises:
            InputError: a file is missing, damaged or no image; it names the file.
        """
        raw = self.read(raw)
        if isinstance(raw, Table):
            return load_images(image_paths(raw, self.column), self.channels, self.height, self.width, memory)
        images = torch.empty(len(raw), self.channels, self.height, self.width, dtype=torch.uint8)

        def work(number: int) -> None:
            images[number] = to_tensor(Image.fromarray(raw[number]), (self.height, self.width), self.channels)

        in_threads(work, len(raw))
        return images

    def prepare(self, inputs: Tensor) -> Tensor:
        """Return what the model sees: bytes, or float32 in 0 to 255, minus the mean, divided by the deviation."""
        mean, std = _constants(self.mean, self.std, inputs.device)
        return (inputs - mean).div_(std)

    def encode_labelled(self, source: Any, target: Target) -> tuple[Tensor | ImageFiles, Tensor]:
        """Return inputs and targets of images whose table has the target column."""
        table = self.read(source)
        if not isinstance(table, Table):
            raise InputError("images: expected a folder or table with targets, found an array of images alone.")
        targets = encode_targets(table, target)
        return self.encode(table), targets

    def ids(self, raw: Any) -> pl.DataFrame | None:
        """Return the names of the files, one a row; arrays have none."""
        raw = self.read(raw)
        return raw.frame.select(self.column) if isinstance(raw, Table) else None

    def notes(self, raw: Any) -> list[str]:
        """Say how many images are in colour if training images were grey: they become grey, too."""
        raw = self.read(raw)
        if self.channels == 3 or not isinstance(raw, Table):
            return []
        headers = read_headers(image_paths(raw, self.column))
        coloured = sum(not header.is_grey for header in headers)
        if not coloured:
            return []
        return [f"{coloured} of {len(headers)} images are in colour; they become grey, as training images were."]

    def to_json(self) -> dict[str, Any]:
        return {"kind": "image", **asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ImageEncoder:
        """Rebuild what `to_json` gave; raises ValueError, TypeError or KeyError if it is damaged."""
        encoder = cls(
            content["channels"],
            content["height"],
            content["width"],
            tuple(content["mean"]),
            tuple(content["std"]),
            content["column"],
        )
        if min(index(encoder.height), index(encoder.width)) < 1:
            raise ValueError("height and width")
        if encoder.channels not in (1, 3) or not isinstance(encoder.column, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # JSON may hold anything
            raise ValueError("channels and column")
        if not len(encoder.mean) == len(encoder.std) == encoder.channels:
            raise ValueError("mean and std")
        if not all(map(math.isfinite, encoder.mean)) or not all(0 < std < math.inf for std in encoder.std):
            raise ValueError("mean and std")
        return encoder


def choose_size(headers: Sequence[Header]) -> tuple[int, int]:
    """Return the (height, width) that suits images."""
    sizes = {(header.height, header.width) for header in headers}
    if len(sizes) == 1 and max(size := sizes.pop()) <= LARGEST:
        return size
    shorter = float(np.median([min(header.height, header.width) for header in headers]))
    side = min(LARGEST, max(STEP, int(shorter) // STEP * STEP))
    return side, side


def load_images(
    paths: Sequence[str],
    channels: int,
    height: int,
    width: int,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Tensor | ImageFiles:
    """Return images decoded, if they fit into so many bytes of memory, or to be decoded when they are taken."""
    if len(paths) * channels * height * width > (available_memory() // 4 if memory is None else memory):
        return ImageFiles(tuple(paths), channels, height, width)
    return decode_all(paths, (height, width), channels, progress)


def available_memory() -> int:
    """Return the bytes that this process may still take; of several on this machine, its share."""
    found = 4 * 2**30  # where nothing tells
    try:
        words = Path("/proc/meminfo").read_text().split()
        found = int(words[words.index("MemAvailable:") + 1]) * 1024
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text().strip()
        if most != "max":
            found = min(found, int(most) - int((group / "memory.current").read_text()))
    except (OSError, ValueError, IndexError):
        pass
    return max(found, 0) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # as torchrun says


def _mean_and_std(images: Tensor | ImageFiles, rows: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each channel; the deviation of one that never changes is 1.

    Sums of whole numbers are exact, in whatever order they are added up.
    """
    count, total, squares = 0, 0, 0
    for part in rows.split(64):
        values = images.take(part) if isinstance(images, ImageFiles) else images[part]
        values = values.transpose(0, 1).flatten(1).double()
        count += values.shape[1]
        total = total + values.sum(1)
        squares = squares + values.square().sum(1)
    pairs = [(int(t), int(s)) for t, s in zip(cast("Any", total), cast("Any", squares), strict=True)]
    mean = tuple(t / count for t, _ in pairs)
    return mean, tuple(math.sqrt(count * s - t * t) / count or 1.0 for t, s in pairs)


def _notes(headers: Sequence[Header], height: int, width: int, counted: int, inputs: Tensor | ImageFiles) -> list[str]:
    notes: list[str] = []
    sizes = {(header.height, header.width) for header in headers}
    if sizes != {(height, width)}:
        found = f"{len(sizes)} sizes" if len(sizes) > 1 else "{1} x {0} pixels".format(*sizes.pop())
        notes.append(f"images are of {found}; each is scaled to cover {width} x {height} pixels and cut to its centre.")
    if counted < len(headers):
        notes.append(f"mean and deviation of pixels are those of {counted} of the {len(headers)} training images.")
    if isinstance(inputs, ImageFiles):
        notes.append(f"{len(inputs)} images take more memory than they may; they are decoded when they are needed.")
    return notes


@cache
def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and deviation as (C, 1, 1) on a device, where they stay: a copy for each batch would wait for it."""
    with torch.inference_mode(mode=False):  # prediction may ask first, and training uses them, too
        mean_there, std_there = (torch.tensor(values, device=device)[:, None, None] for values in (mean, std))
    return mean_there, std_there
