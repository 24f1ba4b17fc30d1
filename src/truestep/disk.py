"""Every change that truestep makes to a disk, a function each, so that a test can have any one of them fail.

What is flushed is still there after a power cut. Of the rest a cut may keep any part: bytes without their name, a name
without its bytes. Planted links are never followed.
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path


def make_folder(path: Path) -> None:
    path.mkdir(mode=0o755)


def create(path: Path) -> BinaryIO:
    """Open a file for writing that does not exist yet."""
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o644))


def write(file: BinaryIO, data: bytes | memoryview) -> None:
    file.write(data)


def flush(file: BinaryIO) -> None:
    """Have the bytes of a file survive a power cut."""
    file.flush()
    os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Have the names in a folder survive a power cut, and not only the bytes of its files."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(old: Path, new: Path) -> None:
    """Give a file or a folder its name; a file that had it goes."""
    old.replace(new)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    shutil.rmtree(path)


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading.

    Raises:
        OSError: there is none, or it is a link, a pipe or a device, which might never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path.name} is no regular file")
    return os.fdopen(descriptor, "rb")
