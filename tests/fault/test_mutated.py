"""Files that were damaged at random, or by someone who knows their grammar: one line and a refusal, or they are still valid.

No traceback, no hang, no gigabyte.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3_600)]
QUICK, LONG = 200, 2_000
AT_ONCE = 25  # inputs that one process meets
SECONDS, MEMORY = 5, 1 << 30

EACH = """
import json, os, sys, io, time, traceback, warnings
from truestep.cli import main
for number, (folder, command) in enumerate(json.load(open("todo.json"))):
    with open("seen.jsonl", "a") as file:
        file.write(json.dumps({"number": number}) + "\\n")
    os.chdir(folder)
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    begun, code, raised = time.process_time(), 0, ""
    try:
        main(command)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        raised = traceback.format_exc()
    os.chdir(HERE)
    with open("seen.jsonl", "a") as file:
        seen = {"number": number, "command": command[0], "code": code, "raised": raised, "err": sys.stderr.getvalue(),
                "out": sys.stdout.getvalue()[-200:], "seconds": time.process_time() - begun}
        file.write(json.dumps(seen) + "\\n")
sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
"""
LIMIT = """
import resource
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
"""


@pytest.fixture(scope="module")
def kept(server, tmp_path_factory):
    """Good files of every kind, and finished runs of them."""
    folder = tmp_path_factory.mktemp("good")
    draw = random.Random(0)
    rows = "".join(
        f"{draw.random():.3f},{draw.choice('pqr')},2026-01-{n % 28 + 1:02d},{draw.choice('ab')}\n" for n in range(60)
    )
    (folder / "d.csv").write_text(f"x,kind,day,label\n{rows}")
    numbers = np.random.default_rng(0)
    for label in "ab":
        (folder / "images" / label).mkdir(parents=True)
        for number in range(8):
            pixels = numbers.integers(256, size=(8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / label / f"{number}.png")
    for suffix in ("png", "jpg", "gif", "bmp", "webp", "tiff"):
        Image.fromarray(numbers.integers(256, size=(8, 8, 3), dtype=np.uint8)).save(folder / f"d.{suffix}")
    x, y = numbers.standard_normal((40, 3)).astype(np.float32), numbers.integers(2, size=40)
    np.savez(folder / "d.npz", X=x, y=y)
    from safetensors.numpy import save_file

    save_file({"X": x, "y": y}, folder / "d.safetensors")
    words = [
        "the",
        "quick",
        "brown",
        "fox",
        "jumps",
        "over",
        "a",
        "lazy",
        "dog",
        "while",
        "seven",
        "wizards",
        "brew",
        "tea",
    ]
    for label in "ab":
        (folder / "texts" / label).mkdir(parents=True)
        for number in range(8):
            text = " ".join(draw.choices(words, k=12))
            (folder / "texts" / label / f"{number}.txt").write_text(text)
    (folder / "d.txt").write_text(" ".join(draw.choices(words, k=300)))
    for name, command in {
        "table": "d.csv --target label --model linear",
        "pictures": "images --model linear",
        "arrays": "d.npz --model linear",
        "words": "texts --model bag",
    }.items():
        ended = server.run(
            "train", *command.split(), "--epochs", "2", "--max-steps", "2", "--no-doctor", "--out", name, folder=folder
        )
        assert ended.code == 0, ended.err
    return folder


# ---- mutations -----------------------------------------------------------------------------------------------------------

BYTES = [b"\x00", b"\xff\xfe", b'"', b"'", b"\n", b"\r", b",", b"{", b"[" * 500, b"\xed\xa0\x80", b"9" * 400, b"-", b"=",
         b"\xf0\x9f\x92\xa9", b"NaN", b"1e999", b"\x1b[31m", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n"]  # fmt: skip
VALUES = [None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 1e308, -0.0, "", "x", "NaN", "Infinity", "../../x", "os:system",
          "a" * 10_000, [], {}, [[]], [None], {"x": 1}, {"": []}, "\x1b[31m", "\ud800", "é\u202e"]  # fmt: skip


def bytes_changed(content: bytes, draw: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5])):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice([1, 4, 8, 100]))
        match draw.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << draw.randrange(8)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = draw.choice(BYTES)
            case 3:
                data[at:end] = draw.randbytes(end - at)
            case 4:
                data[at:at] = data[at:end]
            case 5:
                del data[at:]
            case _:
                data[at:end] = draw.choice([b"\xff", b"\x00", b"\x7f", b"\x80"]) * (end - at)
    return bytes(data)


def json_changed(content: bytes, draw: random.Random) -> bytes:
    known = json.loads(content)
    for _ in range(draw.choice([1, 1, 2])):
        places = list(_places(known))
        inner, key = draw.choice(places)
        match draw.randrange(5):
            case 0 if isinstance(inner, dict):
                del inner[key]
            case 1 if isinstance(inner, dict):
                inner[draw.choice(["x", "", "format", "__class__", "2"])] = draw.choice(VALUES)
            case 2:
                value = inner[key]
                inner[key] = [value] * draw.choice([0, 1, 3]) if draw.random() < 0.5 else {"x": value}
            case 3 if isinstance(inner[key], int | float) and not isinstance(inner[key], bool):
                inner[key] = draw.choice([-inner[key], inner[key] + 1, inner[key] * 10**6, str(inner[key])])
            case _:
                inner[key] = draw.choice(VALUES)
        if not known:
            break
    text = json.dumps(known)
    return (text.replace("[]", "[" * 3_000 + "]" * 3_000) if draw.random() < 0.02 else text).encode()


def _places(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)


def state_changed(content: bytes, draw: random.Random) -> bytes:
    """Change the state of a run, but for what its optimizer remembers: only that could check it, and its sums do."""
    known = json.loads(content)
    parts = dict(known["state"]["dict"])
    memory = next(pair for pair in parts["optimizer"]["dict"] if pair[0] == "state")
    kept, memory[1] = memory[1], "MEMORY"
    return json_changed(json.dumps(known).encode(), draw).replace(b'"MEMORY"', json.dumps(kept).encode())


def lines_of_json_changed(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines()
    at = draw.randrange(len(lines))
    lines[at] = json_changed(lines[at], draw)
    return b"\n".join(lines) + b"\n"


WORDS = ["true", "-1", "0", "1e400", "nan", "inf", '""', '"x"', "[]", "{}", '["a", 1]', "2026-01-01", "'''", "0x7fffffffffffffff",
         '"auto"', "99999999999999999999", "3.7", "{a = {b = 1}}", '"os:system"']  # fmt: skip


def toml_changed(content: bytes, draw: random.Random) -> bytes:
    lines = content.decode().splitlines()
    for _ in range(draw.choice([1, 1, 2, 3])):
        at = draw.randrange(len(lines))
        name = lines[at].partition("=")[0]
        lines[at] = draw.choice(
            [f"{name}= {draw.choice(WORDS)}", f"{name}= {draw.choice(WORDS)}", "", lines[at] + lines[at], f"[{name}]",
             f"{name}.x = 1", "[[data]]", f"{lines[at]} {draw.choice(WORDS)}", "a." * 400 + "b = 1"]
        )  # fmt: skip
    return "\n".join(lines).encode()


CELLS = ["", "NaN", "1e400", "-", '"', '""', "9" * 50, "2026-13-45", "é", "\x00", "\ufeff", "  ", "=1+1", "1,5", "inf", "a\tb",
         "\x1b[31m", "1.5.5", "True", "x" * 5_000, "\u202e", "-0.0", "1e-320", '"a\nb"', "None"]  # fmt: skip


def csv_changed(content: bytes, draw: random.Random) -> bytes:
    lines = [line.split(",") for line in content.decode().splitlines()]
    for _ in range(draw.choice([1, 2, 10])):
        row = draw.randrange(len(lines)) if draw.random() < 0.8 else 0
        column = draw.randrange(max(len(lines[row]), 1))
        match draw.randrange(6):
            case 0:
                lines[row].append(draw.choice(CELLS))
            case 1 if lines[row]:
                lines[row].pop()
            case 2:
                lines[row] = list(lines[0])
            case 3:
                value = draw.choice(CELLS)
                for line in lines[1:]:
                    line[column % len(line) if line else 0 :][:1] = [value]
                    if line:
                        line[column % len(line)] = value
            case _ if lines[row]:
                lines[row][column] = draw.choice(CELLS)
    ends = draw.choice(["\n", "\n", "\r\n", "\r"])
    return ends.join(draw.choice([",", ",", ",", ";", "\t"]).join(line) if draw.random() < 0.01 else ",".join(line) for line in lines).encode() + ends.encode()  # fmt: skip


def header_changed(content: bytes, draw: random.Random) -> bytes:
    """Change the JSON that a .safetensors file begins with, and its length to fit."""
    size = int.from_bytes(content[:8], "little")
    header = json_changed(content[8 : 8 + size].strip(), draw)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def either(*ways):
    return lambda content, draw: draw.choice(ways)(content, draw)


TRAIN = "--target label --epochs 1 --max-steps 1 --no-doctor --out new"
KINDS = {  # name: file, how it is changed, commands
    "CSV": ("d.csv", either(bytes_changed, csv_changed, csv_changed),
            [f"train d.csv {TRAIN} --model linear", "predict table d.csv", "evaluate table d.csv", "data d.csv --target label"]),
    "recipe": ("table/recipe.toml", either(bytes_changed, toml_changed, toml_changed),
               ["train --recipe table/recipe.toml --epochs 1 --max-steps 1 --no-doctor --out new", "train --resume table --max-steps 3 --no-doctor",
                "evaluate table", "diff table arrays", "data table"]),
    "model": ("table/model/model.json", either(bytes_changed, json_changed, json_changed, json_changed),
              ["predict table d.csv", "evaluate table", "data table"]),
    "model of images": ("pictures/model/model.json", json_changed, ["predict pictures images", "evaluate pictures"]),
    "model of texts": ("words/model/model.json", json_changed, ["predict words d.txt", "evaluate words"]),
    "model of arrays": ("arrays/model/model.json", json_changed, ["predict arrays d.npz", "evaluate arrays"]),
    "environment": ("table/environment.json", either(bytes_changed, json_changed, json_changed),
                    ["train --resume table --max-steps 3 --no-doctor", "evaluate table", "diff table arrays"]),
    "results": ("table/results.json", either(bytes_changed, json_changed),
                ["eject table -o new.py", "train d.csv --target label --out table"]),
    "log": ("table/metrics.jsonl", either(bytes_changed, lines_of_json_changed),
            ["diff table table", "train --resume table --epochs 3 --max-steps 3 --no-doctor"]),
    "weights": ("table/model/model.safetensors", either(bytes_changed, header_changed),
                ["predict table d.csv", "train d.csv --init table --model linear " + TRAIN]),
    "manifest": ("table/checkpoints/step-00000002/manifest.json", either(bytes_changed, json_changed),
                 ["train --resume table --max-steps 3 --no-doctor"]),
    "state": ("table/checkpoints/step-00000002/state.json", either(bytes_changed, state_changed, state_changed),
              ["train --resume table --max-steps 3 --no-doctor"]),
    "tensors": ("table/checkpoints/step-00000002/state.safetensors", either(bytes_changed, header_changed),
                ["train --resume table --max-steps 3 --no-doctor"]),
    **{suffix: (f"d.{suffix}", bytes_changed, [f"predict pictures d.{suffix}"])
       for suffix in ("png", "jpg", "gif", "bmp", "webp", "tiff")},
    "image among others": ("images/a/3.png", bytes_changed, ["data images", "train images --epochs 1 --max-steps 1 --no-doctor --model linear --out new"]),
    "arrays": ("d.npz", bytes_changed, ["train d.npz --epochs 1 --max-steps 1 --no-doctor --model linear --out new", "predict arrays d.npz", "evaluate arrays d.npz"]),
    "safetensors": ("d.safetensors", either(bytes_changed, header_changed),
                    ["train d.safetensors --epochs 1 --max-steps 1 --no-doctor --model linear --out new", "predict arrays d.safetensors"]),
    "text": ("d.txt", bytes_changed, ["train d.txt --epochs 1 --max-steps 1 --no-doctor --out new", "predict words d.txt"]),
    "text among others": ("texts/a/3.txt", bytes_changed, ["data texts", "predict words texts"]),
}  # fmt: skip


def prepared(kept, place, number, *, changed=True) -> list[str]:
    """Put an input of that number into a folder, with what its command needs beside it; return the command."""
    draw = random.Random(number)
    name, change, commands = list(KINDS.values())[number % len(KINDS)]
    command = (draw.choice(commands) if changed else commands[0]).split()
    for needed in {word.partition("/")[0] for word in (name, *command)}:
        if (kept / needed).is_dir():
            shutil.copytree(kept / needed, place / needed)
        elif (kept / needed).is_file():
            place.mkdir(exist_ok=True)
            shutil.copyfile(kept / needed, place / needed)
    path = place / name
    if changed:
        path.write_bytes(change(path.read_bytes(), draw))
    if path.parent.parent.name == "checkpoints" and path.name != "manifest.json":
        with_sums(path.parent)
    if path.name == "model.safetensors" and draw.random() < 0.7:
        description = path.with_name("model.json")
        known = json.loads(description.read_text())
        description.write_text(json.dumps(known | {"weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))
    return command


def with_sums(folder):
    """Write a manifest that fits, so that what was changed is met by more than its sum."""
    known = {"format": 1, "files": {}}
    for name in ("state.safetensors", "state.json"):
        data = (folder / name).read_bytes()
        known["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    known["sha256"] = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(known))


def wrong(seen: dict) -> str:
    """Return what was not as it should be; nothing if all was."""
    if "code" not in seen:
        return "it never ended, or ended the process"
    if seen["raised"] or "Traceback" in seen["err"] or "panicked" in seen["err"]:
        return seen["raised"] or seen["err"]
    if seen["seconds"] > SECONDS:
        return f"{seen['seconds']} s"
    told = seen["command"] == "diff" and seen["code"] == 3 and seen["out"] and not seen["err"]  # two runs that differ
    if seen["code"] == 0 or told:
        return ""
    lines = [line for line in seen["err"].splitlines() if line.startswith("truestep: ") and ": warning: " not in line]
    if seen["code"] not in (2, 3, 4) or len(lines) != 1 or seen["err"].splitlines()[-1] != lines[0]:
        return f"exit code {seen['code']}: {seen['err']}"
    if len(lines[0]) > 2_020 or re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", seen["err"]):
        return f"hard to read: {lines[0]!r}"
    return ""


def met(server, kept, folder, numbers, *, changed=True) -> dict[int, dict]:
    """Return what came of the inputs of these numbers, in one process."""
    folder.mkdir()
    commands = [prepared(kept, folder / str(number), number, changed=changed) for number in numbers]
    places = [str(folder / str(number)) for number in numbers]
    (folder / "todo.json").write_text(json.dumps(list(zip(places, commands, strict=True))))
    before = f"HERE, MEMORY = {str(folder)!r}, {MEMORY}\n{LIMIT if sys.platform == 'linux' else ''}{EACH}"
    ended = server.run("--version", folder=folder, before=before, seconds=10 * SECONDS * len(numbers))
    found = {}
    for line in (folder / "seen.jsonl").read_text().splitlines():
        seen = json.loads(line)
        found[numbers[seen["number"]]] = seen
    if "panicked" in ended.err:
        last = max(found)
        found[last]["raised"] += ended.err
    shutil.rmtree(folder)
    return found


def test_changed_files(server, kept, tmp_path, long):
    total, codes, failures = LONG if long else QUICK, {}, []
    numbers = list(range(total))
    while numbers:
        batch = numbers[:AT_ONCE]
        found = met(server, kept, tmp_path / "batch", batch)
        numbers = [number for number in batch if number not in found] + numbers[AT_ONCE:]
        for number, seen in found.items():
            kind = list(KINDS)[number % len(KINDS)]
            codes.setdefault(kind, []).append(seen.get("code"))
            if why := wrong(seen):
                failures.append(f"case {number}, {kind}: {why}")
    print({kind: {code: ends.count(code) for code in set(ends)} for kind, ends in codes.items()})
    assert not failures, f"{len(failures)} of {total}:\n" + "\n".join(failures)
    refused = sum(code in (2, 3) for ends in codes.values() for code in ends)
    assert refused > total / 4  # or nothing was changed


def test_files_that_were_not_changed_are_taken(server, kept, tmp_path):
    """The check can fail: as they are, all of them are valid."""
    found = met(server, kept, tmp_path / "batch", list(range(len(KINDS))), changed=False)
    assert {list(KINDS)[number]: (seen["code"], seen["err"]) for number, seen in found.items() if seen["code"]} == {}


def test_what_is_wrong_would_be_seen():
    good = {
        "command": "evaluate",
        "out": "",
        "code": 2,
        "raised": "",
        "err": "truestep: d.csv: expected x.\n",
        "seconds": 1,
    }
    assert not wrong(good)
    for change in (
        {"code": 1}, {"code": 0, "seconds": 9}, {"raised": "ValueError"}, {"err": "Traceback\ntruestep: x"},
        {"err": "x"}, {"err": "truestep: x\ntruestep: y"}, {"err": "truestep: x\ny"}, {"err": "truestep: \x1b[31m"},
    ):  # fmt: skip
        assert wrong(good | change)
    silent = {"code": 3, "err": "", "out": "the cause: x"}  # only of `diff` is that an answer
    assert wrong(good | silent)
    assert not wrong(good | silent | {"command": "diff"})
    assert wrong({"number": 3})
