"""Inputs made to hang a reader, to fill its memory, or to lead it elsewhere: one line, soon, and nothing is left."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shlex
import shutil
import socket
import struct
import zlib

import pytest

pytestmark = pytest.mark.fault
TABLE = "train X --target label --epochs 1 --max-steps 1 --no-doctor --out new --model linear"
RECIPE = "train d.csv --recipe X --out new"


def rows(extra=""):
    draw = random.Random(0)
    return "x,label\n" + "".join(f"{draw.random()},{draw.choice('ab')}\n" for _ in range(40)) + extra


def png(width, height) -> bytes:
    """Return a picture of one colour, which is small until it is unpacked."""

    def piece(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = zlib.compressobj(9)
    line = bytes(width + 1)
    data = b"".join(packed.compress(line) for _ in range(height)) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + piece(b"IHDR", header) + piece(b"IDAT", data) + piece(b"IEND", b"")


def gif() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("P", (8, 8)).save(file, "GIF")
    content = bytearray(file.getvalue())
    content[6:10] = struct.pack("<HH", 65_535, 65_535)
    return bytes(content)


def tiff() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "TIFF")
    content = file.getvalue()
    for tag in (256, 257):  # width and height
        content = content.replace(struct.pack("<HHII", tag, 4, 1, 8), struct.pack("<HHII", tag, 4, 1, 60_000))
        content = content.replace(struct.pack("<HHIHH", tag, 3, 1, 8, 0), struct.pack("<HHII", tag, 4, 1, 60_000))
    return content


def pipe(path):
    os.mkfifo(path)


def loop(path):
    path.symlink_to(path.name)


def listener(path):
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as opened:  # names of sockets are short
        opened.bind(path.name)


FILES = {  # name: command with X for the file, its name, its content or what makes it, words of the message
    "a hundred thousand columns": (TABLE, "d2.csv", ",".join(map(str, range(100_000))) + ",label\n" + "1,2\n" * 20, "20,000 columns"),
    "a cell of ten megabytes": (TABLE, "d2.csv", rows(f'1,"{"x" * 10_000_000}\n'), ""),
    "a whole number that is too long": (TABLE, "d2.csv", rows(f"{'9' * 5_000},a\n"), "x"),
    "nothing but quotes": (TABLE, "d2.csv", '"' * 100_001, "quote"),
    "twenty thousand dots": (RECIPE, "d2.toml", f"{'a.' * 20_000}b = 1", ""),
    "a recipe that is too long": (RECIPE, "d2.toml", "# x\n" * 50_000, "64 kB"),
    "brackets in a recipe": (RECIPE, "d2.toml", f"x = {'[' * 5_000}{']' * 5_000}", ""),
    "brackets in a model": ("predict run d.csv", "run/model/model.json", "[" * 100_000, "damaged"),
    "brackets in a log": ("diff run run", "run/metrics.jsonl", "[" * 100_000 + "\n", "line 1"),
    "a list of names in tensors": ("predict run d.csv", "run/model/model.safetensors", struct.pack("<Q", 1 << 60) + b"{}", ""),
    "a picture of a billion pixels": ("data images", "images/a/x.png", png(30_000, 30_000), "x.png"),
    "a GIF of four billion": ("data images", "images/a/x.gif", gif(), "x.gif"),
    "a TIFF of four billion": ("data images", "images/a/x.tiff", tiff(), "x.tiff"),
    **{f"{kind.__name__} for {what}": (command, name, kind, "")
       for kind in (pipe, loop, listener)
       for what, command, name in [("a table", TABLE, "d2.csv"), ("arrays", TABLE, "d2.npz"), ("tensors", TABLE, "d2.safetensors"),
                                   ("a recipe", RECIPE, "d2.toml"), ("a model", "predict run d.csv", "run/model/model.json"),
                                   ("weights", "predict run d.csv", "run/model/model.safetensors"),
                                   ("an environment", "evaluate run", "run/environment.json"), ("code", "train X:data --out new", "d2.py")]},
    **{f"{device} for {what}": (command.replace("X", device), "d2.csv", "x", "")
       for device in ("/dev/zero", "/dev/stdin", "/proc/self/mem", "/")
       for what, command in [("a table", TABLE), ("a recipe", RECIPE), ("a run", "predict X d.csv"), ("what to predict", "predict run X")]},
    "a name with a line end": ("train 'no\nsuch.csv'", "d2.csv", "x", ""),
    "a name that is too long": (f"train {'x' * 5_000}.csv", "d2.csv", "x", ""),
    "no name": ("train .", "d2.csv", "x", ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(server, tmp_path_factory):
    from PIL import Image

    folder = tmp_path_factory.mktemp("directed")
    (folder / "d.csv").write_text(rows())
    for label in "ab":
        (folder / "images" / label).mkdir(parents=True)
        for number in range(8):
            Image.new("L", (8, 8), number).save(folder / "images" / label / f"{number}.png")
    ended = server.run(*TABLE.replace("X", "d.csv").replace("new", "run").split(), folder=folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.mark.parametrize("name", FILES)
def test_it_is_refused_in_one_line(server, kept, tmp_path, long, name):
    if not long and list(FILES).index(name) % 2:
        pytest.skip("of the long size")
    command, file, content, words = FILES[name]
    place = tmp_path / "place"
    shutil.copytree(kept, place)
    path = place / file
    path.unlink(missing_ok=True)
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({8 << 30}, {8 << 30}))"
    arguments = [word.replace("X", file) for word in shlex.split(command)]
    ended = server.run(*arguments, folder=place, before=limit, seconds=30)
    assert words in ended.line, ended.err
    assert len(ended.line) < 2_020
    assert not (place / "new").exists()
