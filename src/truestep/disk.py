"""Every change that truestep makes to a disk, a function each, so that a test can have any one of them fail.

What is flushed is still there after a power cut. Of the rest a cut may keep any part: bytes without their name, a name
without its bytes. Planted links are never followed.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Generator
    from io import BufferedReader
    from pathlib import Path


ADVICE = {  # what to do where a disk refuses
    errno.ENOSPC: "Make room there, or choose a place on another disk.",
    errno.EDQUOT: "Make room there, or choose a place with another quota.",
    errno.EROFS: "Choose a folder that can be written; what is there may be copied.",
    errno.EACCES: "Choose a folder that you may write, or have this one given to you.",
    errno.EPERM: "Choose a folder that you may write, or have this one given to you.",
    errno.EIO: "Look after the disk, or choose a place on another one.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EFBIG: "Choose a file system, or a limit, with room for larger files.",
    errno.ENOENT: "Look whether it was taken away.",
    errno.ENOTDIR: "Choose a name that does not go through a file.",
    errno.EEXIST: "Choose another name.",
}


def advice(error: OSError) -> str:
    """Return what to do about what a disk has refused."""
    return ADVICE.get(error.errno or 0, "Choose another place.")


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Have errors say which file it was: writing to one that is open does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


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


def open_regular(path: Path, *, through_links: bool = False) -> BufferedReader:
    """Open a file for reading.

    Raises:
        OSError: there is none, or it is a pipe or a device, which might never end, or a link.
    """
    return os.fdopen(_regular(path, os.O_RDONLY | (0 if through_links else os.O_NOFOLLOW)), "rb")


def open_own(path: Path, flags: int) -> int:
    """Open a file of a run for writing, made if it is not there, and return its descriptor.

    Raises:
        OSError: what is there is a link, a pipe or a device.
    """
    return _regular(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o644)


def _regular(path: Path, flags: int, mode: int = 0) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK, mode)  # a pipe would wait for its other end
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path.name} is no regular file")
    return descriptor
