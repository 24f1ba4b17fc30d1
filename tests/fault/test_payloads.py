"""Nothing in a file that is given to any command is run: not as a pickle, not as a name of code, not by a library on the way."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import shutil
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]
CODE = "open('CANARY', 'a').write('x')"  # what each would do, in the folder where the command runs


class Runs:
    def __reduce__(self):
        return exec, (CODE,)


class Calls:
    def __reduce__(self):
        import os

        return os.system, ("touch CANARY",)


def in_torch(content, **options) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def in_tar(content) -> bytes:
    """The oldest format of torch."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(content)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def in_numpy(content, *, several) -> bytes:
    file = io.BytesIO()
    array = np.array([content] * 20, dtype=object)
    if several:
        np.savez(file, X=array, y=np.arange(20) % 2)
    else:
        np.save(file, array, allow_pickle=True)
    return file.getvalue()


PICKLES = {
    "zip": in_torch({"inputs": Runs()}),
    "legacy": in_torch({"inputs": Calls()}, _use_new_zipfile_serialization=False),
    "tar": in_tar(Runs()),
    "protocol 0": pickle.dumps(Runs(), 0),
    "protocol 2": pickle.dumps(Calls(), 2),
    "protocol 5": pickle.dumps([Runs()], 5),
    "compressed": zlib.compress(pickle.dumps(Calls())),  # as joblib does
    "object array": in_numpy(Runs(), several=False),
    "object arrays": in_numpy(Calls(), several=True),
}
NAMES = ("d.pt", "d.pth", "d.bin", "d.pkl", "d.joblib", "d.ckpt", "d.npy", "d.npz", "d.safetensors", "d.json",
         "d.toml", "d.csv", "d.parquet", "d.txt", "d.h5", "d.py.txt")  # fmt: skip


def as_file(name, content):
    def put(folder):
        (folder / name).write_bytes(content)
        return name

    return put


def in_a_run(*names, content):
    """Return what puts a file of a run in another's place, with sums that fit."""

    def put(folder):
        for name in names:
            path = folder / "bad" / name
            path.write_bytes(content if isinstance(content, bytes) else content(path.read_text()).encode())
        for description in (folder / "bad").glob("model/model.json"):
            known = json.loads(description.read_text())
            known["weights_sha256"] = sum_of(description.with_name("model.safetensors").read_bytes())
            description.write_text(json.dumps(known))
        for manifest in (folder / "bad").glob("checkpoints/*/manifest.json"):
            known = {"format": 1, "files": {}}
            for file in ("state.safetensors", "state.json"):
                data = (manifest.parent / file).read_bytes()
                known["files"][file] = {"bytes": len(data), "sha256": sum_of(data)}
            known["sha256"] = sum_of(json.dumps(known, sort_keys=True).encode())
            manifest.write_text(json.dumps(known))
        return "bad"

    return put


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def in_description(*way, value):
    def change(text):
        known = inner = json.loads(text)
        for name in way[:-1]:
            inner = inner[name]
        inner[way[-1]] = value
        return json.dumps(known)

    return in_a_run("model/model.json", content=change)


def as_folder(folder):
    """A distributed checkpoint of torch, whose metadata is a pickle."""
    (folder / "d").mkdir(exist_ok=True)
    (folder / "d" / ".metadata").write_bytes(pickle.dumps(Runs()))
    (folder / "d" / "__0_0.distcp").write_bytes(in_torch(Runs()))
    return "d"


def as_images(folder):
    for label in "ab":
        (folder / "i" / label).mkdir(parents=True, exist_ok=True)
        for number in range(10):
            (folder / "i" / label / f"{number}.png").write_bytes(PICKLES["zip"])
    return "i"


TARGET = {"_target_": "os.system", "_instantiator_": "builtins.exec", "__class__": "os.system", "args": [CODE]}
STATE = "checkpoints/step-00000002/"
PAYLOADS = {
    **{f"{kind} as {NAMES[number]}": as_file(NAMES[number], content)
       for number, (kind, content) in enumerate(PICKLES.items())},
    **{f"{kind} as {name}": as_file(name, PICKLES[kind])
       for name in NAMES[9:] for kind in ("zip", "protocol 0")},
    "distributed": as_folder,
    "images": as_images,
    "names in JSON": as_file("d.json", json.dumps(TARGET).encode()),
    "names in a recipe": as_file("d.toml", b'[model]\nname = "os:system"\n[model.args]\ncommand = "touch CANARY"\n'),
    "code in a recipe": as_file("d.toml", b'[data]\nsource = "own.py:data"\n[model]\nname = "own.py:Net"\n'),
    "an optimizer in a recipe": as_file("d.toml", b'[optimizer]\nname = "own:Net"\n[augment]\ntransform = "own:data"\n'),
    "weights": in_a_run("model/model.safetensors", content=PICKLES["zip"]),
    "legacy weights": in_a_run("model/model.safetensors", content=PICKLES["protocol 0"]),
    "tensors of a checkpoint": in_a_run(f"{STATE}state.safetensors", content=PICKLES["zip"]),
    "state of a checkpoint": in_a_run(f"{STATE}state.json", content=PICKLES["protocol 2"]),
    "log": in_a_run("metrics.jsonl", content=PICKLES["protocol 5"]),
    "environment": in_a_run("environment.json", content=PICKLES["protocol 0"]),
    "results": in_a_run("results.json", content=PICKLES["protocol 0"]),
    "name of a model": in_description("architecture", "name", value="own:Net"),
    "file of a model": in_description("architecture", "name", value="own.py:Net"),
    "arguments of a model": in_description("architecture", "args", value=TARGET),
    "kind of an encoder": in_description("encoder", "kind", value="own:Net"),
    "objective": in_description("objective", "name", value="os:system"),
    "everything": in_description("architecture", value=TARGET),
    "code of a run": in_a_run("recipe.toml", content=lambda text: text.replace('name = "linear"', 'name = "own:Net"')),
    "data of a run": in_a_run("recipe.toml", content=lambda text: "".join(
        'source = "own.py:data"\n' if line.startswith("source") else line for line in text.splitlines(keepends=True))),
}  # fmt: skip
OWN = f"{CODE}\nNet = data = print\n"  # code that lies about, which nobody has named

COMMANDS = [
    "train X --target label --out new",
    "train --recipe X --out new",
    "train data.csv --target label --init X --out new",
    "train data.csv --target label --valid X --out new",
    "evaluate X",
    "evaluate run X",
    "predict X data.csv",
    "predict run X",
    "eject X -o new.py",
    "eject --recipe X -o new.py",
    "diff X run",
    "data X",
    "train --resume X --max-steps 3",  # which writes the model anew
]
WATCH = """
import json, shutil, sys
EVENTS = []
NAMES = ("os.system", "os.exec", "os.spawn", "subprocess.Popen", "socket.", "pickle.find_class",
         "ctypes.dlopen", "winreg", "urllib", "code.__new__")

def is_ours(name, arguments):
    if name in ("exec", "compile"):
        return "CANARY" in repr(getattr(arguments[0], "co_consts", arguments[0]))
    if name == "subprocess.Popen":  # for environment.json
        return list(arguments[1]) not in (["git", "rev-parse", "HEAD"], ["uname", "-p"])
    return name.startswith(NAMES)

def hook(name, arguments):
    try:
        if is_ours(name, arguments):
            EVENTS.append(f"{name} {arguments}"[:200])
    except Exception as error:
        EVENTS.append(repr(error))

sys.addaudithook(hook)
"""
EACH = """
from truestep.cli import main
ENDS = []
for command in COMMANDS:
    try:
        main(command)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:
        code = repr(error)
    ENDS.append(code)
    shutil.rmtree("new", ignore_errors=True)
sys.stdout.flush()
with open("seen.json", "w") as file:
    json.dump([EVENTS, ENDS], file)
"""


@pytest.fixture(scope="module")
def kept(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("payloads")
    draw = random.Random(0)
    rows = "".join(f"{draw.random()},{draw.choice('ab')}\n" for _ in range(60))
    (folder / "data.csv").write_text(f"x,label\n{rows}")
    options = "--target label --model linear --max-steps 2 --epochs 3 --no-doctor --out run"
    ended = server.run("train", "data.csv", *options.split(), folder=folder)
    assert ended.code == 0, ended.err
    (folder / "own.py").write_text(OWN)
    return folder


def seen(server, kept, place, put, commands):
    """Return the events and exit codes of commands on a payload."""
    shutil.copytree(kept, place)
    shutil.copytree(kept / "run", place / "bad")
    path = put(place)
    words = [[path if word == "X" else word for word in command.split()] for command in commands]
    ended = server.run("--version", folder=place, before=f"{WATCH}\nCOMMANDS = {words!r}\n{EACH}")
    assert ended.code == 0, ended.err
    return *json.loads((place / "seen.json").read_text()), ended.err


def test_there_are_enough():
    assert len(PAYLOADS) >= 40


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_is_not_run(server, kept, tmp_path, long, name):
    in_run = name in list(PAYLOADS)[list(PAYLOADS).index("weights") :]
    usual = ["predict X data.csv", "train --resume X --max-steps 3"] if in_run else []
    commands = COMMANDS if long else usual or random.Random(name).sample(COMMANDS, 2)
    events, ends, said = seen(server, kept, tmp_path / "place", PAYLOADS[name], commands)
    assert not events, dict(zip(commands, ends, strict=True))
    assert not list((tmp_path / "place").rglob("CANARY"))
    assert "Traceback" not in said
    assert all(code in (0, 2, 3) for code in ends), dict(zip(commands, ends, strict=True))


@pytest.mark.parametrize("kind", PICKLES)
def test_they_would_be_run_by_others(server, kept, tmp_path, kind):
    """The check can fail: what is loaded without care is seen, and runs."""
    place = tmp_path / "place"
    shutil.copytree(kept, place)
    (place / "d").write_bytes(PICKLES[kind])
    load = """
import pickle, torch, numpy, zlib
EVENTS.clear()
for load in (lambda: torch.load("d", weights_only=False), lambda: numpy.load("d", allow_pickle=True)["X"],
             lambda: numpy.load("d", allow_pickle=True), lambda: pickle.loads(zlib.decompress(open("d", "rb").read())),
             lambda: pickle.loads(open("d", "rb").read())):
    try:
        load()
    except Exception:
        pass
COMMANDS = []
"""
    ended = server.run("--version", folder=place, before=WATCH + load + EACH)
    assert ended.code == 0, ended.err
    events, _ = json.loads((place / "seen.json").read_text())
    assert any(event.startswith(("pickle.find_class", "os.system", "exec")) for event in events)
    assert (place / "CANARY").exists() or kind == "tar"


def test_code_that_is_named_is_run(server, kept, tmp_path):
    """The check can fail, again: the same code, said on the command line."""
    events, _, _ = seen(server, kept, tmp_path / "place", as_file("d", b""), ["train own.py:data --out new"])
    assert events
    assert (tmp_path / "place" / "CANARY").exists()


def test_nothing_in_the_package_could_load_a_pickle():
    """Save for a .pt file of data, with `weights_only`."""
    import ast

    import truestep

    found = []
    for file in sorted(Path(truestep.__file__).parent.rglob("*.py")):
        if "doctor" in file.parts:  # which runs scripts, and watches what they load
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("torch.load", "pickle.load", "pickle.loads", "eval", "exec", "joblib.load", "yaml.load"):
                    found.append((file.name, ast.unparse(node)))
                if called.endswith("np.load"):
                    assert "allow_pickle=True" not in ast.unparse(node)
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "marshal", "shelve", "joblib", "dill", "yaml"}, file
    assert all("weights_only=True" in call for _, call in found), found
    assert len(found) <= 1
