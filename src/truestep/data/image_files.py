"""Image files: which a folder holds, what is in each of them, and which are the same.

Files are opened as one of six formats and no other, because some of Pillow's run programs or fetch what a file names.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from io import BufferedReader
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image, UnidentifiedImageError
from PIL.Image import Resampling, Transpose
from torch import Tensor

from truestep.data.table import Table, listed, shorten, shown
from truestep.errors import InputError

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
SPLITS = {"train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}
LEFT_BEHIND = ("__macosx", "thumbs.db", "desktop.ini")  # by other programs; never meant as data, nor are hidden files
LAYOUT = "Expected images alone, a folder of them for each class, or train, valid and test folders of such."

MOST_PIXELS = 100_000_000  # a header may promise any number of them, and decoding would fill the memory
GREY_MODES = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
TOO_LARGE = f"expected at most {MOST_PIXELS:,} pixels, found"
FILES_A_TASK = 16  # of a thread
ENTRIES_LOOKED_AT = 100  # of a folder, to tell what it holds

Progress = Callable[[int, int], None]  # is called with how many are done, of how many


# Which files there are


@dataclass(frozen=True)
class Listing:
    folders: list[str]
    images: list[str]
    others: list[str]


def read_image_table(path: Path | str) -> Table:
    """Return the images of a folder, or one image file, as a table that is sorted by name.

    Its columns are `image`, names relative to `folder` with forward slashes, and `label`, the name of the class's
    folder, unless images lie in the folder itself. Train, valid and test folders of classes fill `belongs`.

    Raises:
        InputError: there is no image, or folders are laid out in a way that leaves open what they mean.
    """
    path = Path(path)
    if path.is_file():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise InputError(
                f"{path}: expected one of {', '.join(IMAGE_SUFFIXES)}, found '{path.suffix or path.name}'."
            )
        return _table(path.parent, path.name, [path.name], [], [])
    name = path.name or path.resolve().name
    root = _list(path)
    if root.images and root.folders:
        raise InputError(f"{path}: found images ({root.images[0]}) beside folders ({root.folders[0]}). {LAYOUT}")
    if root.images or not root.folders:
        return _table(path, name, sorted(root.images), [], root.others)
    inside = {folder: _list(path / folder) for folder in root.folders}
    split = [folder for folder in root.folders if folder.lower() in SPLITS and inside[folder].folders]
    if not split and any(folder.lower() not in SPLITS for folder in root.folders):
        return _labelled(path, name, inside, root.others)
    if len(split) < len(root.folders):
        odd = next(folder for folder in root.folders if folder not in split)
        raise InputError(f"{path}: expected a folder for each class in every split, found none in '{odd}'. {LAYOUT}")
    if all(SPLITS[folder.lower()] for folder in split):
        raise InputError(f"{path}: expected a train folder, found {listed(sorted(split))} only.")
    classes: dict[str, Listing] = {}
    others = list(root.others)
    for folder in split:
        if inside[folder].images:
            raise InputError(
                f"{path / folder}: found images ({inside[folder].images[0]}) beside folders "
                f"({inside[folder].folders[0]}). {LAYOUT}"
            )
        others += [f"{folder}/{other}" for other in inside[folder].others]
        classes |= {f"{folder}/{label}": _list(path / folder / label) for label in inside[folder].folders}
    return _labelled(path, name, classes, others, is_split=True)


def _labelled(
    root: Path, name: str, folders: dict[str, Listing], others: list[str], *, is_split: bool = False
) -> Table:
    """Return the table of folders that each hold the images of one class."""
    notes: list[str] = []
    for folder, listing in sorted(folders.items()):
        if listing.folders:
            instead = f" Is {root / folder} the one to give?" if len(folders) == 1 else ""
            raise InputError(
                f"{root / folder}: expected the images of one class, found a folder '{listing.folders[0]}'. {LAYOUT}{instead}"
            )
        if not listing.images:
            notes.append(f"folder '{folder}' holds no image; its class is left out there.")
        others += [f"{folder}/{other}" for other in listing.others]
    images = sorted(f"{folder}/{image}" for folder, listing in folders.items() for image in listing.images)
    return _table(root, name, images, notes, others, has_labels=True, is_split=is_split)


def _table(
    root: Path,
    name: str,
    images: list[str],
    notes: list[str],
    others: list[str],
    *,
    has_labels: bool = False,
    is_split: bool = False,
) -> Table:
    if others:
        plural = "s are no images and were" if len(others) > 1 else " is no image and was"
        notes.append(f"{len(others)} file{plural} left out ({shown(min(others))}).")
    if not images:
        found = f"{len(others)} other file{'s' * (len(others) > 1)} ({shown(min(others))})" if others else "none"
        raise InputError(f"{root}: expected images ({', '.join(IMAGE_SUFFIXES)}), found {found}.")
    try:
        "/".join(images).encode()
    except UnicodeEncodeError:
        wrong = next(image for image in images if not image.isprintable())
        raise InputError(f"{root}: expected names of files in UTF-8, found {wrong!r}. Rename it.") from None
    columns = {"image": images}
    if has_labels:
        columns["label"] = [image.split("/")[-2] for image in images]
    return Table(
        pl.DataFrame(columns),
        name,
        target="label" if has_labels else None,
        kinds={"image": "image"},
        belongs=[SPLITS[image.split("/")[0].lower()] for image in images] if is_split else None,
        folder=root,
        notes=notes,
        places=lambda row: f"{name}/{images[row]}",
    )


def _list(folder: Path) -> Listing:
    """Return what lies in a folder, itself and no deeper: links that lead around in circles end nowhere."""
    listing = Listing([], [], [])
    odd: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in LEFT_BEHIND:
                    continue
                if entry.is_dir():
                    listing.folders.append(entry.name)
                elif not entry.name.lower().endswith(IMAGE_SUFFIXES):
                    listing.others.append(entry.name)
                elif entry.is_file():
                    listing.images.append(entry.name)
                else:
                    odd.append(entry.name)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder of images, but it can't be read ({error.strerror}).") from None
    except ValueError as error:  # a NUL byte in the name
        raise InputError(f"{str(folder)!r}: not the name of a folder ({error}).") from None
    if odd:
        raise InputError(f"{folder / min(odd)}: expected an image file, found a broken link, a pipe or a device.")
    listing.folders.sort()
    return listing


def is_image_folder(path: Path | str) -> bool:
    """Whether a folder, or those in it, seem to hold images: a look at the first files, without opening any."""
    images, texts = _look(str(path), depth=2)
    return images > texts


def _look(folder: str, depth: int) -> tuple[int, int]:
    """Return how many images and how many texts are among the first entries."""
    images = texts = 0
    try:
        with os.scandir(folder) as entries:
            for entry, _ in zip(entries, range(ENTRIES_LOOKED_AT), strict=False):
                if entry.name.startswith(".") or entry.name.lower() in LEFT_BEHIND:
                    continue
                if entry.is_dir() and depth:
                    found = _look(entry.path, depth - 1)
                    images, texts = images + found[0], texts + found[1]
                images += entry.name.lower().endswith(IMAGE_SUFFIXES)
                texts += entry.name.lower().endswith(".txt")
                if images + texts > ENTRIES_LOOKED_AT:
                    break
    except (OSError, ValueError):
        pass
    return images, texts


def looks_like_images(values: pl.Series) -> bool:
    """Whether nearly all cells are names of image files."""
    if values.dtype != pl.String or not len(values := values.drop_nulls()):
        return False
    endings = "|".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
    return int(values.str.contains(rf"(?i)\.({endings})$").sum()) >= 0.95 * len(values)


def image_paths(table: Table, column: str) -> list[str]:
    """Return the paths of the files that a column names, relative to the table's folder.

    Raises:
        InputError: a cell is empty or no text.
    """
    cells = table.column(column)
    if cells.dtype != pl.String:
        raise InputError(f"{table.name}, column '{column}': expected names of image files, found {cells.dtype}.")
    if cells.null_count():
        row = int(cells.is_null().arg_max() or 0)
        raise InputError(f"{table.place(row)}, column '{column}': expected the name of an image file, found none.")
    folder = table.folder or Path()
    return [os.path.join(folder, cell) for cell in cells]  # noqa: PTH118 - a Path for each of a million is slow


# What is in them


@dataclass(frozen=True)
class Header:
    height: int  # as the image is looked at, whichever way the camera was held
    width: int
    is_grey: bool


def read_header(path: Path | str) -> Header:
    """Return the size of an image and whether it has colours, without decoding it.

    Raises:
        InputError: as `decode`.
    """
    with quiet():
        return _read_header(path)


def decode(path: Path | str, size: tuple[int, int] | None = None, channels: int = 3) -> Tensor:
    """Return an image, turned as its EXIF says, on white where it is transparent, the first of several frames.

    Values of 16 bits, and floats of 0 to 1, are scaled to 8 bits by the range of their type, not of the image.

    Args:
        path: of a BMP, GIF, JPEG, PNG, TIFF or WebP file, whatever its suffix.
        size: (height, width) to scale to so that the image covers them, cut to its centre; None for its own.
        channels: 3, or 1 for grey (ITU-R 601 luma).

    Returns:
        (channels, height, width) uint8.

    Raises:
        InputError: missing, damaged, no image, or too large; it names the file.
    """
    with quiet():
        return _decode(path, size, channels)


def decode_all(paths: Sequence[str], size: tuple[int, int], channels: int, progress: Progress | None = None) -> Tensor:
    """Return images as (N, channels, height, width) uint8, decoded in threads; arguments as for `decode`."""
    images = torch.empty(len(paths), channels, *size, dtype=torch.uint8)

    def work(number: int) -> None:
        images[number] = _decode(paths[number], size, channels)

    in_threads(work, len(paths), progress)
    return images


def read_headers(paths: Sequence[str], progress: Progress | None = None) -> list[Header]:
    """Return the header of each file, read in threads."""
    headers: list[Header] = [Header(0, 0, is_grey=False)] * len(paths)

    def work(number: int) -> None:
        headers[number] = _read_header(paths[number])

    in_threads(work, len(paths), progress)
    return headers


def _read_header(path: Path | str) -> Header:
    with opened(path) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            width, height = height, width
        return Header(height, width, image.mode in GREY_MODES)


def _decode(path: Path | str, size: tuple[int, int] | None, channels: int) -> Tensor:
    with opened(path) as image:
        if image.format == "JPEG" and size:
            # JPEG can be decoded at an 8th, a 4th or half of its size; twice what is needed leaves no trace of it.
            height, width = size if _orientation(image) < 5 else size[::-1]
            cover = max(height / image.height, width / image.width)
            image.draft(None, (round(2 * image.width * cover), round(2 * image.height * cover)))
        return to_tensor(image, size, channels)


def to_tensor(image: Image.Image, size: tuple[int, int] | None, channels: int) -> Tensor:
    """Return an opened image as `decode` does."""
    mode = "L" if channels == 1 else "RGB"
    image = _turned(image, _orientation(image))
    plain = _plain(image).convert(mode)
    if size:
        height, width = size
        cover = max(height / plain.height, width / plain.width)
        left, top = (plain.width - width / cover) / 2, (plain.height - height / cover) / 2
        box = (max(left, 0), max(top, 0), min(plain.width - left, plain.width), min(plain.height - top, plain.height))
        plain = plain.resize((width, height), Resampling.BILINEAR, box, reducing_gap=2.0)
    values = np.array(plain)
    return torch.from_numpy(values).reshape(*values.shape[:2], channels).permute(2, 0, 1).contiguous()


def _plain(image: Image.Image) -> Image.Image:
    """Return an image of any mode as one of 8 bits without transparency."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image)
        most = 1.0 if image.mode == "F" else 65535
        if not (values.min() >= 0 and values.max() <= most):  # NaN is neither
            found = f"{values.min():g} to {values.max():g}"
            raise InputError(f"expected values of 0 to {most:g}, found {found}. Convert it to 8 bits.")
        return Image.fromarray(np.round(values.astype(np.float64) * (255 / most)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image


def _orientation(image: Image.Image) -> int:
    """Return how the camera was held, 1 to 8; 1 if nothing says so."""
    if image.format == "TIFF":
        return 1  # Pillow turns it while decoding
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1  # Pillow would decode the whole image to see whether EXIF comes after it
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - EXIF is often damaged where the image is not
        return 1
    return found if found in range(1, 9) else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


@contextmanager
def opened(path: Path | str) -> Generator[Image.Image]:
    """Open an image; whatever turns out to be wrong with it, now or later, becomes one line that names the file."""
    with open_regular(path) as file:
        try:
            with Image.open(file, formats=FORMATS) as image:
                _check_pixels(image)
                yield image
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except UnidentifiedImageError:
            file.seek(0)
            start = file.read(16)
            found = f"other or damaged content (it begins with {start!r})" if start else "an empty file"
            raise InputError(f"{path}: expected a {', '.join(FORMATS[:-1])} or WebP image, found {found}.") from None
        except Image.DecompressionBombError:
            raise InputError(
                f"{path}: {TOO_LARGE} more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,}. Scale it down."
            ) from None
        except Exception as error:  # noqa: BLE001 - a damaged file may trip a decoder in any way
            reason = shorten(str(error) or type(error).__name__, 100).rstrip(".")
            raise InputError(f"{path}: expected an image, but it can't be decoded ({reason}).") from None


def _check_pixels(image: Image.Image) -> None:
    if (pixels := image.width * image.height) > MOST_PIXELS:
        raise InputError(f"{TOO_LARGE} {pixels:,}. Scale it down.")


def open_regular(path: Path | str) -> BufferedReader:
    """Open a file for reading bytes; a pipe or a device, which might never end, is refused.

    Raises:
        InputError: it is not there, can't be read, or is no regular file.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: expected an image file, but it can't be read ({error.strerror}).") from None
    except ValueError as error:  # a NUL byte in the name
        raise InputError(f"{str(path)!r}: not the name of a file ({error}).") from None
    found = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
    raise InputError(f"{path}: expected an image file, found {found}.")


@contextmanager
def quiet() -> Generator[None]:
    """Keep Pillow's warnings from the user: what matters is an error here, the rest (odd EXIF, sizes) is handled.

    This stands around whole calls, not around single files, because catch_warnings changes all threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# Many at once, and which are the same


def in_threads(work: Callable[[int], None], count: int, progress: Progress | None = None) -> None:
    """Call `work` with 0 to count - 1. Pillow and hashing let other threads run while they work.

    The error of the lowest number that fails is raised, and what has not begun by then never does.
    """
    Image.init()  # here, because its plugins are imported once and threads would race
    threads = 1 if parent_process() else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4
    starts = range(0, count, FILES_A_TASK)

    def task(start: int) -> int:
        stop = min(start + FILES_A_TASK, count)
        for number in range(start, stop):
            work(number)
        return stop

    with quiet():
        if threads == 1 or len(starts) < 2:  # a worker process is one of several already
            for start in starts:
                done = task(start)
                if progress:
                    progress(done, count)
            return
        pool = ThreadPoolExecutor(threads)
        try:
            for done in pool.map(task, starts):
                if progress:
                    progress(done, count)
        finally:
            pool.shutdown(cancel_futures=True)


def image_keys(table: Table, column: str = "image", progress: Progress | None = None) -> np.ndarray:
    """Return a number for each file, equal for files of equal bytes: (N,) uint64, the first of their BLAKE2b.

    Raises:
        InputError: a file can't be read.
    """
    paths = image_paths(table, column)
    keys = np.zeros(len(paths), np.uint64)

    def work(number: int) -> None:
        with open_regular(paths[number]) as file:
            keys[number] = _key(file_digest(file, _blake).digest())

    in_threads(work, len(paths), progress)
    return keys


def pixel_keys(images: Tensor) -> np.ndarray:
    """Return a number for each image of (N, C, H, W) uint8, equal for equal pixels: (N,) uint64."""
    rows = images.cpu().contiguous().numpy()
    keys = np.zeros(len(rows), np.uint64)

    def work(number: int) -> None:
        keys[number] = _key(blake2b(rows[number], digest_size=8).digest())

    in_threads(work, len(rows))
    return keys


def _blake() -> blake2b:
    return blake2b(digest_size=8)


def _key(digest: bytes) -> int:
    return int.from_bytes(digest, "little")
