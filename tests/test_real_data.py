"""Real data go in as raw files and come out right: the whole way through the command line, for every kind of source."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from real_data import digits, passages, penguins, sales, save_digits
from truestep import cli, run

FAST = ("--epochs", 2, "--batch-size", 16)
SERVER = """
import json, sys
from truestep.cli import main
for line in sys.stdin:
    try:
        main(json.loads(line)); code = 0
    except SystemExit as end:
        code = end.code or 0
    sys.stderr.flush(); print(json.dumps(code), flush=True)
"""


@dataclass
class End:
    """What a command left behind in a shell."""

    code: int
    out: str
    err: str
    run: run.Run | None = None


def truestep(*arguments) -> End:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            cli.main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as end:
        code = end.code or 0
    return End(code, out.getvalue(), err.getvalue())


def trained(monkeypatch, *arguments) -> End:
    """Train through the command line, and return the run in memory, too."""
    found: list[run.Run] = []
    train = run.train
    monkeypatch.setattr(run, "train", lambda *given, **choices: found.append(train(*given, **choices)) or found[0])
    end = truestep("train", *arguments)
    monkeypatch.setattr(run, "train", train)
    assert end.code == 0, end.err
    end.run = found[0]
    return end


@pytest.fixture(scope="module")
def elsewhere():
    """A process that has seen nothing of the training, and runs the commands that it is told."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )

    def tell(*arguments) -> int:
        process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield tell
    process.stdin.close()
    process.wait(timeout=20)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A folder of raw files of every kind."""
    return write_all(tmp_path_factory.mktemp("raw"))


OWN_DATA = """
import numpy, torch
from torch.utils.data import Dataset

class Scans(Dataset):
    def __init__(self, rows):
        with numpy.load("FOLDER/digits.npz") as arrays:
            self.images, self.labels = arrays["X"][rows], arrays["y"][rows]
    def __len__(self):
        return len(self.labels)
    def __getitem__(self, row):
        return torch.tensor(self.images[row][None] / 255, dtype=torch.float32), int(self.labels[row])

def scans():
    return Scans(slice(0, 70)), Scans(slice(70, 85)), Scans(slice(85, 100))
"""


def write_all(folder: Path) -> Path:
    """Write every source of `CASES`, and rows to predict: columns in another order, without the target."""
    table = penguins()
    table.write_csv(folder / "penguins.csv")
    typed = pl.read_csv(folder / "penguins.csv", null_values=["NA", ""])
    typed.write_parquet(folder / "penguins.parquet")
    new = table.tail(40).reverse().drop("species").select(sorted(set(table.columns) - {"species"}))
    new.write_csv(folder / "new-penguins.csv")
    typed.drop("species").select(new.columns).tail(40).reverse().write_parquet(folder / "new-penguins.parquet")
    for name, part in {"part-train": table[::2], "part-valid": table[1::4], "part-test": table[3::4]}.items():
        part.write_csv(folder / f"{name}.csv")

    names = save_digits(folder / "scans")
    save_digits(folder / "split-scans", split=True)
    images, labels = digits()
    brightness = images.mean((1, 2)).round(3)
    listed = pl.DataFrame({"path": [f"scans/{name}" for name in names], "digit": [f"no. {label}" for label in labels]})
    listed.write_csv(folder / "scans.csv")
    listed.select("path", pl.Series("ink", brightness)).write_csv(folder / "ink.csv")
    listed.reverse().head(30).select("path").with_columns(pl.lit("x").alias("other")).select("other", "path").write_csv(
        folder / "new-scans.csv"
    )

    texts = passages()
    texts.select("text", "president").write_csv(folder / "passages.csv")
    texts.select(pl.lit(1).alias("one"), "text").reverse().write_csv(folder / "new-passages.csv")
    for number, (text, name) in enumerate(texts.select("text", "president").iter_rows()):
        (folder / "speakers" / name).mkdir(parents=True, exist_ok=True)
        (folder / "speakers" / name / f"{number}.txt").write_text(text)
        (folder / "new-texts").mkdir(exist_ok=True)
        (folder / "new-texts" / f"{number:03}.txt").write_text(text)
    (folder / "book.txt").write_text("\n".join(texts["text"].head(20)))

    series = sales()
    series.write_csv(folder / "sales.csv")
    series.select("weather", "sold", "day", "shop").reverse().write_csv(folder / "new-sales.csv")

    flat = images.reshape(len(images), -1)
    np.savez(folder / "digits.npz", X=images, y=labels)
    np.savez(folder / "new-digits.npz", X=images[::-1][:30])
    torch.save({"inputs": torch.tensor(flat).float(), "targets": torch.tensor(labels)}, folder / "digits.pt")
    torch.save(torch.tensor(flat[::-1][:30].copy()).float(), folder / "new-digits.pt")
    save_file({"x": torch.tensor(flat), "y": torch.tensor(labels)}, folder / "digits.safetensors")
    save_file({"x": torch.tensor(flat[::-1][:30].copy())}, folder / "new-digits.safetensors")
    (folder / "own.py").write_text(OWN_DATA.replace("FOLDER", str(folder)))
    return folder


# name: what to train on and how, what to predict from
CASES = {
    "csv": ("penguins.csv --target species", "new-penguins.csv"),
    "parquet": ("penguins.parquet --target body_mass_g --objective regression", "new-penguins.parquet"),
    "csv files for valid and test": (
        "part-train.csv --target species --valid part-valid.csv --test part-test.csv",
        "new-penguins.csv",
    ),
    "class folders": ("scans", "scans/digit-1"),
    "train, valid and test folders": ("split-scans", "scans/digit-0"),
    "csv of images": ("scans.csv --target digit", "new-scans.csv"),
    "csv of images and numbers": ("ink.csv --target ink", "new-scans.csv"),
    "text folders": ("speakers", "new-texts"),
    "csv of texts": ("passages.csv --target president", "new-passages.csv"),
    "one text": ("book.txt --model.args.width 16 --data.length 32", "book.txt"),
    "time series": ("sales.csv --target sold --group shop --time day --window 7", "new-sales.csv"),
    "time series split by time": (
        "sales.csv --target sold --group shop --time day --window 7 --data.split time",
        "new-sales.csv",
    ),
    "npz": ("digits.npz", "new-digits.npz"),
    "pt": ("digits.pt", "new-digits.pt"),
    "safetensors": ("digits.safetensors", "new-digits.safetensors"),
    "own datasets": ("own.py:scans", "own.py:scans"),
}


def paths(words: str, folder: Path) -> list[str]:
    """Return words with names of files in the folder in full."""
    return [str(folder / word) if (folder / word.split(":")[0]).exists() else word for word in words.split()]


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_evaluated_and_predicts_raw_files_bit_for_bit_in_another_process(
    case, raw, tmp_path, monkeypatch, elsewhere
):
    words, new = CASES[case]
    source, *options = paths(words, raw)
    new = paths(new, raw)[0]

    end = trained(monkeypatch, source, *options, *FAST, "--out", tmp_path / "run", "--quiet")

    again = truestep("evaluate", tmp_path / "run", *([source] if ".py" in source else []), "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["metrics"] == end.run.results["metrics"]["test"]

    answers = tmp_path / "answers.parquet"
    assert elsewhere("predict", tmp_path / "run", new, "--out", answers) == 0
    found = pl.read_parquet(answers)
    assert found.equals(end.run.predict(new))
