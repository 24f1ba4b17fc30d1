"""What is wrong with data is said in one line, at once, and nothing is left behind: the whole way through the commands."""

from __future__ import annotations

import io
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from real_data import digits, passages, penguins, sales, save_digits
from truestep.cli import main

ROWS = "".join(f"{n},{n * 1.5},{'ab'[n % 2]}\n" for n in range(30))
GOOD = f"x,y,label\n{ROWS}"


def truestep(*arguments, capfd) -> tuple[int, str, str]:
    try:
        main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as end:
        code = end.code or 0
    return code, *capfd.readouterr()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs to predict and evaluate with."""
    folder = tmp_path_factory.mktemp("runs")
    penguins().write_csv(folder / "penguins.csv")
    save_digits(folder / "scans")
    passages().select("text", "president").write_csv(folder / "passages.csv")
    sales().write_csv(folder / "sales.csv")
    images, labels = digits()
    np.savez(folder / "digits.npz", X=images, y=labels)
    (folder / "net.py").write_text(NET)
    for name, words in {
        "table": "penguins.csv --target species",
        "images": "scans",
        "texts": "passages.csv --target president",
        "series": "sales.csv --target sold --group shop --time day --window 7",
        "arrays": "digits.npz",
        "own": f"penguins.csv --target species --model {folder / 'net.py'}:Net",
    }.items():
        source, *options = words.split()
        with pytest.raises(SystemExit, match=r"^0$"):
            main(["train", str(folder / source), *options, "--epochs", "1", "--out", str(folder / name), "--quiet"])
    return folder


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_outputs):
        super().__init__()
        self.layer = nn.Linear(5, num_outputs)
    def forward(self, numeric, categories=None):
        return self.layer(numeric[:, :5])

class Fails(Net):
    def forward(self, numeric, categories=None):
        raise ValueError("three\\nlines of\\nwords")

class Misfits(Net):
    def forward(self, numeric, categories=None):
        return self.layer(numeric[:, :4])

class Wrong(Net):
    def __init__(self, num_outputs):
        super().__init__(num_outputs + 2)

class Scalar(Net):
    def forward(self, numeric, categories=None):
        return self.layer(numeric[:, :5]).sum()

class Needs(nn.Module):
    def __init__(self, wheels):
        super().__init__()

class Nothing:
    pass

class Empty(nn.Module):
    def __init__(self, num_outputs):
        super().__init__()
    def forward(self, numeric, categories=None):
        return numeric[:, :3]
"""
DATA = """
import torch
from torch.utils.data import Dataset, IterableDataset

class Examples(Dataset):
    def __len__(self):
        return 40
    def __getitem__(self, row):
        return self.example(row)

def raises():
    raise KeyError("no such key")

def nothing():
    return None

class Dies(Examples):
    def __init__(self):
        self.targets = [n % 2 for n in range(40)]
    def example(self, row):
        if row == 11:
            raise OSError("the file is gone")
        return torch.zeros(3), row % 2

class Ragged(Examples):
    def __init__(self):
        self.targets = [n % 2 for n in range(40)]
    def example(self, row):
        return torch.zeros(3 + (row == 11)), row % 2

class Strings(Examples):
    def example(self, row):
        return "word", row % 2

class Short(Dataset):
    def __len__(self):
        return 40
    def __getitem__(self, row):
        return [0, 1, 0][row]

class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.zeros(3), 1

def exits():
    raise SystemExit(0)

def change(image):
    raise ValueError("no")

def gone(image):
    return None
"""


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(256, size=(16, 16), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def saved(content) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def parquet(**columns) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file)
    return file.getvalue()


def bomb() -> bytes:
    """A zip whose array would unpack to 200 GB."""
    file = io.BytesIO()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (50_000_000_000, 1)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("X.npy", header.getvalue())
        archive.writestr("y.npy", header.getvalue())
    return file.getvalue()


def folder_of(images: dict[str, bytes]) -> dict[str, bytes]:
    """Return a folder `d` of twenty good images of two classes and these."""
    good = {f"d/{label}/{n}.png": png() for label in "ab" for n in range(10)}
    return good | {f"d/{name}": content for name, content in images.items()}


X, Y = np.arange(60.0).reshape(30, 2), np.arange(30) % 2
ONE = "d.csv"
TEXTS = {f"d/{label}/{n}.txt": f"some words {n} {label}".encode() for label in "ab" for n in range(10)}
SERIES = "t,g,y\n" + "".join(f"{n},{'abcd'[n % 4]},{n % 7}.5\n" for n in range(60))
WINDOW = "train d.csv --target y --time t --window 5"

# name: command, {file: content}, words of the message
CASES: dict[str, tuple[str, dict[str, str | bytes], str]] = {
    # tables
    "no such file": ("train no.csv --target label", {}, "no.csv"),
    "a near name": ("train penguin --target species", {}, "penguins"),
    "an empty file": ("train d.csv --target label", {ONE: ""}, "d.csv"),
    "a header alone": ("train d.csv --target label", {ONE: "x,y,label\n"}, "rows"),
    "too few rows": ("train d.csv --target label", {ONE: "x,label\n1,a\n2,b\n3,a\n"}, "10 rows"),
    "a ragged line": ("train d.csv --target label", {ONE: GOOD + "1,2\n"}, "line 32"),
    "an open quote": ("train d.csv --target label", {ONE: GOOD + '1,2,"b\n'}, "quote"),
    "bytes of another encoding": ("train d.csv --target label", {ONE: GOOD.encode() + b"1,2,\xe9\n"}, "UTF-8"),
    "two bytes a letter": ("train d.csv --target label", {ONE: GOOD.encode("utf-16")}, "UTF-16"),
    "a NUL byte": ("train d.csv --target label", {ONE: GOOD + "1,\0,b\n"}, "NUL"),
    "columns of one name": ("train d.csv --target label", {ONE: GOOD.replace("x,y", "x,x")}, "'x'"),
    "no target": ("train d.csv", {ONE: GOOD}, "--target"),
    "another target": ("train d.csv --target lable", {ONE: GOOD}, "Did you mean 'label'"),
    "one class": ("train d.csv --target label", {ONE: "x,label\n" + "1,a\n2,a\n" * 10}, "in every row"),
    "a class for each row": (
        "train d.csv --target id",
        {ONE: "x,id\n" + "".join(f"{n},k{n}\n" for n in range(30))},
        "several rows",
    ),
    "numbers that are too large": ("train d.csv --target label", {ONE: GOOD + "1e400,1,b\n"}, "x"),
    "squares that overflow": ("train d.csv --target label", {ONE: GOOD + "1e200,1,b\n"}, "x"),
    "no column to learn from": (
        "train d.csv --target label --data.drop x --data.drop y",
        {ONE: GOOD},
        "column to learn from",
    ),
    "a column that isn't there": ("train d.csv --target label --data.drop z", {ONE: GOOD}, "'z'"),
    "a kind that isn't": ("train d.csv --target label --data.kinds.x number", {ONE: GOOD}, "numeric"),
    "a kind that doesn't fit": ("train d.csv --target x --data.kinds.label numeric", {ONE: GOOD}, "line 2"),
    "a target that is a choice": ("train d.csv --target label --data.kinds.label text", {ONE: GOOD}, "target"),
    "shares of everything": ("train d.csv --target label --valid 0.6 --test 0.4", {ONE: GOOD}, "less than 1"),
    "a file of other columns": (
        "train d.csv --target label --valid v.csv",
        {ONE: GOOD, "v.csv": GOOD.replace("y", "z", 1)},
        "'y'",
    ),
    "a file that isn't there": ("train d.csv --target label --valid v.csv", {ONE: GOOD}, "v.csv"),
    "a file of new classes": (
        "train d.csv --target label --test v.csv",
        {ONE: GOOD, "v.csv": GOOD.replace("a", "c")},
        "",
    ),
    "a group that isn't there": ("train d.csv --target label --group shop", {ONE: GOOD}, "group"),
    "one group": (
        "train d.csv --target label --group g",
        {ONE: GOOD.replace("\n", ",same\n").replace("same", "g", 1)},
        "group",
    ),
    "a time of words": ("train d.csv --target y --time label --data.kinds.x numeric", {ONE: GOOD}, "dates or numbers"),
    "a kind of task": ("train d.csv --target label --objective regression", {ONE: GOOD}, "number"),
    "labels in one column": ("train d.csv --target label --objective multilabel", {ONE: GOOD}, "arrays"),
    "parquet that is none": ("train d.parquet --target label", {"d.parquet": b"PAR1 nothing PAR1"}, "Parquet"),
    "parquet of lists": (
        "train d.parquet --target y",
        {"d.parquet": parquet(x=[[1, 2]] * 30, y=[0, 1] * 15)},
        "column to learn from",
    ),
    "gzip that is none": ("train d.csv.gz --target label", {"d.csv.gz": GOOD}, "d.csv.gz"),
    "a file of another kind": ("train d.xlsx --target label", {"d.xlsx": b"PK"}, ".parquet"),
    "a folder of nothing": ("train d", {"d/notes.md": "x"}, "images"),
    # images
    "a damaged image": ("train d", folder_of({"a/x.png": png()[:50]}), "x.png"),
    "an image of no bytes": ("train d", folder_of({"a/x.png": b""}), "empty"),
    "text in a .png": ("train d", folder_of({"a/x.png": b"hello"}), "x.png"),
    "a bomb of pixels": (
        "train d",
        folder_of({"a/x.png": png()[:16] + struct.pack(">II", 60_000, 60_000) + png()[24:]}),
        "x.png",
    ),
    "one class of images": ("train d", {f"d/a/{n}.png": png() for n in range(20)}, "differ"),
    "images without classes": ("train d", {f"d/{n}.png": png() for n in range(20)}, "20 images without classes"),
    "one image without a class": ("train d", {"d/junk.png": "x"}, "Put the images of each class in a folder"),
    "a column that is not there is left out": ("train d.csv --target y --data.drop z", {ONE: GOOD}, "data.drop: "),
    "a kind for no column": ("train d.csv --target y --data.kinds.z id", {ONE: GOOD}, "--data.kinds.z: "),
    "images beside folders": ("train d", folder_of({"x.png": png()}), "x.png"),
    "folders in classes": ("train d", folder_of({"a/b/x.png": png()}), "'b'"),
    "test images alone": ("train d", {f"d/test/{label}/{n}.png": png() for label in "ab" for n in range(10)}, "train"),
    "names of images that aren't there": (
        "train d.csv --target label",
        {ONE: "f,label\n" + "".join(f"{n}.png,{n % 2}\n" for n in range(20))},
        "0.png",
    ),
    "a size of images below nothing": ("train d --data.image-size -3", folder_of({}), "--data.image-size"),
    "augmenting a table": ("train d.csv --target label --augment.flip true", {ONE: GOOD}, "images"),
    "a transform that raises": (
        "train d --augment.transform c.py:change",
        folder_of({}) | {"c.py": DATA},
        "c.py, line",
    ),
    "a transform that raises elsewhere": (
        "train d --augment.transform c.py:change --data.workers 2",
        folder_of({}) | {"c.py": DATA},
        "c.py, line",
    ),
    "a transform of nothing": (
        "train d --augment.transform c.py:gone --data.workers 2",
        folder_of({}) | {"c.py": DATA},
        "NoneType",
    ),
    # texts
    "a text of other bytes": ("train d", TEXTS | {"d/a/x.txt": b"caf\xe9"}, "x.txt, line 1"),
    "an empty text": ("train d", TEXTS | {"d/a/x.txt": b" \n"}, "x.txt"),
    "an empty class": ("train d", TEXTS | {"d/c/notes.md": b"x"}, "c/"),
    "one short text": ("train d.txt", {"d.txt": "a few words\n"}, "characters"),
    "no such tokenizer": ("train d.txt --data.tokenizer word", {"d.txt": "a few words\n" * 200}, "words"),
    "two columns of texts": (
        "train d.csv --objective next-token",
        {
            ONE: "a,b\n"
            + "".join(
                f"The {n} brown foxes jumped over the {n} dogs,So did all the {n} others of {n} packs\n"
                for n in range(30)
            )
        },
        "one column",
    ),
    # series
    "a time twice": (WINDOW, {ONE: SERIES + "5,a,1\n"}, "again"),
    "a time missing": (WINDOW + " --group g", {ONE: SERIES + ",a,1.5\n"}, "line 62"),
    "a window too long": ("train d.csv --target y --time t --window 500", {ONE: SERIES}, "window"),
    "a window that no test has": ("train d.csv --target y --time t --window 50", {ONE: SERIES}, "window"),
    "time as the target": ("train d.csv --target t --time t --window 5", {ONE: SERIES}, "time"),
    # arrays
    "an array of objects": ("train d.npz", {"d.npz": npz(X=np.array([{}] * 30, object), y=Y)}, "objects"),
    "no inputs": ("train d.npz", {"d.npz": npz(a=X, y=Y)}, "inputs"),
    "targets of another length": ("train d.npz", {"d.npz": npz(X=X, y=Y[:5])}, "5 targets"),
    "inputs that aren't finite": ("train d.npz", {"d.npz": npz(X=np.where(X == 7, np.nan, X), y=Y)}, "row 3"),
    "half a file": ("train d.npz", {"d.npz": npz(X=X, y=Y)[:300]}, "d.npz"),
    "a bomb of zeros": ("train d.npz", {"d.npz": bomb()}, "d.npz"),
    "a pickle": ("train d.pt", {"d.pt": saved({"inputs": Path("x")})}, "code"),
    "no tensors": ("train d.safetensors", {"d.safetensors": b"\xff" * 40}, "safetensors"),
    "a column of an array": ("train d.npz --target label", {"d.npz": npz(X=X, y=Y)}, "columns"),
    # code
    "no such code": ("train c.py:thing", {"c.py": DATA}, "thing"),
    "code that doesn't parse": ("train c.py:thing", {"c.py": "def thing(:\n"}, "line 1"),
    "a function that raises": ("train c.py:raises", {"c.py": DATA}, "c.py, line"),
    "a function that returns nothing": ("train c.py:nothing", {"c.py": DATA}, "NoneType"),
    "a function that ends it all": ("train c.py:exits", {"c.py": DATA}, "SystemExit"),
    "a dataset that dies": ("train c.py:Dies", {"c.py": DATA}, "the file is gone"),
    "a dataset that dies elsewhere": ("train c.py:Dies --data.workers 2", {"c.py": DATA}, "the file is gone"),
    "a dataset of two shapes": ("train c.py:Ragged", {"c.py": DATA}, "alike"),
    "a dataset of two shapes elsewhere": ("train c.py:Ragged --data.workers 2", {"c.py": DATA}, "alike"),
    "a dataset of words": ("train c.py:Strings", {"c.py": DATA}, "example 0"),
    "a dataset that is too short": ("train c.py:Short", {"c.py": DATA}, "example"),
    "a stream alone": ("train c.py:Endless", {"c.py": DATA}, "valid"),
    "a model that raises": ("train penguins --model c.py:Fails", {"c.py": NET}, "c.py, line"),
    "a model of other inputs": ("train penguins --model c.py:Misfits", {"c.py": NET}, "c.py, line"),
    "a model of other outputs": ("train penguins --model c.py:Wrong", {"c.py": NET}, "outputs"),
    "a model of one number": ("train penguins --model c.py:Scalar", {"c.py": NET}, "outputs"),
    "a model that needs more": ("train penguins --model c.py:Needs", {"c.py": NET}, "wheels"),
    "a model that is none": ("train penguins --model c.py:Nothing", {"c.py": NET}, "nn.Module"),
    "a model without weights": ("train penguins --model c.py:Empty", {"c.py": NET}, "weights"),
    "no such model": ("train penguins --model mpl", {}, "mlp"),
    # data, predict, evaluate
    "data: a ragged line": ("data d.csv --target label", {ONE: GOOD + "1,2\n"}, "line 32"),
    "data: a damaged image": ("data d", folder_of({"a/x.png": png()[:50]}), "x.png"),
    "data: a leak": (
        "data d.csv --target label",
        {ONE: "x,label\n" + "".join(f"{'pq'[n % 2]},{'ab'[n % 2]}\n" for n in range(60))},
        "'x'",
    ),
    "predict: no run": ("predict nowhere d.csv", {ONE: GOOD}, "nowhere"),
    "predict: no column": ("predict RUNS/table d.csv", {ONE: GOOD}, "expected a column"),
    "predict: words for numbers": (
        "predict RUNS/table d.csv",
        {
            ONE: "island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex,year,tag\nBiscoe,long,18,180,3000,male,2007,P1\n"
        },
        "line 2",
    ),
    "predict: no file": ("predict RUNS/table d.csv", {}, "d.csv"),
    "predict: no images": ("predict RUNS/images d", {"d/x.md": "x"}, "d"),
    "predict: a damaged image": ("predict RUNS/images d", {"d/x.png": png()[:40]}, "x.png"),
    "predict: a table for images": ("predict RUNS/images d.csv", {ONE: GOOD}, "'image'"),
    "predict: no texts": ("predict RUNS/texts d.csv", {ONE: GOOD}, "'text'"),
    "predict: too short a series": (
        "predict RUNS/series d.csv",
        {ONE: "shop,day,weather,sold\nAna,2026-01-01,sun,3\n"},
        "7 rows",
    ),
    "predict: arrays of another shape": ("predict RUNS/arrays d.npz", {"d.npz": npz(X=X)}, "shape"),
    "predict: a table for arrays": ("predict RUNS/arrays d.csv", {ONE: GOOD}, ".npz"),
    "predict: code that raises": ("predict RUNS/arrays c.py:raises", {"c.py": DATA}, "c.py, line"),
    "predict: onto itself": ("predict RUNS/table d.csv --out d.csv", {ONE: GOOD}, "overwritten"),
    "predict: to another format": ("predict RUNS/table d.csv --out d.xlsx", {ONE: GOOD}, ".parquet"),
    "evaluate: no targets": ("evaluate RUNS/table d.csv", {ONE: GOOD}, "column"),
    "evaluate: a new class": ("evaluate RUNS/images d", folder_of({}), "'a'"),
    "evaluate: no such split": ("evaluate RUNS/table --split dev", {}, "train, valid or test"),
    "evaluate: an array for a table": ("evaluate RUNS/table d.npz", {"d.npz": npz(X=X, y=Y)}, "d.npz"),
    "evaluate: targets of another length": ("evaluate RUNS/arrays d.npz", {"d.npz": npz(X=X, y=Y[:5])}, "5 targets"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_line_and_leaves_nothing(case, runs, tmp_path, monkeypatch, capfd):
    command, files, words = CASES[case]
    monkeypatch.chdir(tmp_path)
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    before = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    out = ("--out", "out/run") if command.startswith("train") and len(case) % 2 else ()
    begun = time.monotonic()
    code, _, err = truestep(*command.replace("RUNS", str(runs)).split(), *out, capfd=capfd)
    seconds = time.monotonic() - begun

    lines = err.splitlines()
    assert code == 2, err
    assert [line.startswith("truestep: ") for line in lines].count(True) == 1, err
    assert lines[-1].startswith("truestep: "), err
    assert words in lines[-1]
    assert "Traceback" not in err
    assert len(lines[-1]) < 500
    assert seconds < 5
    assert {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts} == before
