"""Real data go in as raw files and come out right: the whole way through the command line, for every kind of source."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tracemalloc
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from real_data import digits, passages, penguins, sales, save_digits
from truestep import assembly, cli, data, run
from truestep.code import call_code, is_code
from truestep.data import images
from truestep.device import reproducible
from truestep.nest import tensors_of
from truestep.prediction import Predictor, predict

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
    process.communicate(timeout=20)


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

def new_scans():
    return Scans(slice(30, 60))
"""


def write_all(folder: Path) -> Path:
    """Write every source of `CASES`, and rows to predict: columns in another order, without the target."""
    table = penguins()
    table.write_csv(folder / "penguins.csv")
    typed = pl.read_csv(folder / "penguins.csv", null_values=["NA", ""])
    typed.write_parquet(folder / "penguins.parquet")
    new = table.tail(40).reverse().drop("species").select(sorted(set(table.columns) - {"species"}))
    new.write_csv(folder / "new-penguins.csv")
    typed.drop("year").reverse().select(pl.col("*").exclude("island"), "island").head(40).write_parquet(
        folder / "new-penguins.parquet"
    )
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
    "parquet": ("penguins.parquet --target year --objective regression", "new-penguins.parquet"),
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
    "own datasets": ("own.py:scans", "own.py:new_scans"),
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
    assert len(found) > 10 or case == "one text"
    assert found.equals(end.run.predict(new))
    predictor = end.run.predictor
    if predictor.target.task != "next-token":
        inputs = Predictor.load(tmp_path / "run").encoder.encode(predictor.encoder.read(code_or(new)))
        with reproducible(0, 1):
            outputs = predict(end.run.model, predictor.batches(inputs), predictor.objective)
        scores = outputs.scores.reshape(len(found), -1)
        last = found.select(pl.last()).to_series().to_numpy()
        assert np.array_equal(last, scores[:, -1].numpy().astype(last.dtype))


def code_or(source: str):
    return call_code(source) if is_code(source) else source


@pytest.mark.parametrize("case", ["csv", "csv of texts", "csv of images", "npz"])
def test_answers_stand_in_the_order_of_the_rows_and_don_t_depend_on_their_neighbours(case, raw, tmp_path, monkeypatch):
    words, new = CASES[case]
    end = trained(monkeypatch, *paths(words, raw), "--epochs", 1, "--out", tmp_path / "run", "--quiet")
    encoder = end.run.predictor.encoder
    source = encoder.read(raw / new)
    rows = np.random.default_rng(0).permutation(len(source))
    whole, mixed = end.run.predict(source), end.run.predict(source.take(rows) if case != "npz" else source[rows])
    assert mixed.drop(pl.selectors.float()).equals(whole.drop(pl.selectors.float())[rows])
    numbers = (frame.select(pl.selectors.float()).to_numpy() for frame in (mixed, whole[rows]))
    np.testing.assert_allclose(*numbers, rtol=1e-5)


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def encoder(folder: Path):
    return json.loads((folder / "model" / "model.json").read_text())["encoder"]


def save_parts(kind: str, folder: Path, *, changed: bool) -> list[str]:
    """Write files for train, valid and test, with other cells in the last two if `changed`; return how to train on them."""
    folder.mkdir()
    options: list[str] = []
    if kind == "table":
        frame, column = penguins().drop_nulls(), "species"
        other = [
            pl.lit("1e6").alias("bill_length_mm"),
            pl.when(pl.int_range(pl.len()) % 2 == 0).then(None).otherwise(pl.lit("-7")).alias("body_mass_g"),
            pl.lit("Atlantis").alias("island"),
        ]
    elif kind == "texts":
        frame, column = passages().select("text", "president"), "president"
        other = [(pl.lit("quantum zebra ") + pl.col("text").str.head(9)).alias("text")]
    elif kind == "series":
        frame, column = sales().with_columns(pl.col("sold").cast(pl.String)), "sold"
        options = ["--group", "shop", "--time", "day", "--window", "5"]
        other = [
            pl.lit("hail").alias("weather"),
            (pl.col("sold").cast(pl.Float64) * 1000).cast(pl.String).alias("sold"),
        ]
    else:
        images, labels = digits()
        (folder / "scans").mkdir()
        for number, image in enumerate(images):
            part = 0 if number % 4 < 2 else number % 4
            scan = Image.fromarray(image if part == 0 or not changed else 255 - image)
            scan = scan if part == 0 or not changed else scan.convert("RGB").resize((40, 50))
            scan.save(folder / "scans" / f"{number}.png")
        frame, column, other = (
            pl.DataFrame({"scan": [f"scans/{n}.png" for n in range(len(images))], "digit": labels}),
            "digit",
            [],
        )
    if kind == "series":
        parts = [frame.filter(shop=shop) for shop in ("Ana", "Bo", "Cy")]
    else:
        number = pl.int_range(pl.len()) % 4
        parts = [frame.filter(number < 2), frame.filter(number == 2), frame.filter(number == 3)]
    for place, (name, part) in enumerate(zip(("train", "valid", "test"), parts, strict=True)):
        (part.with_columns(other) if place and changed else part).write_csv(folder / f"{name}.csv")
    files = [str(folder / f"{name}.csv") for name in ("train", "valid", "test")]
    return [files[0], "--target", column, "--valid", files[1], "--test", files[2], *options]


@pytest.mark.parametrize("kind", ["table", "texts", "series", "images"])
def test_nothing_in_held_out_rows_changes_weights_encoders_or_answers(kind, tmp_path, monkeypatch):
    ends = []
    for name in ("as it is", "changed"):
        options = save_parts(kind, tmp_path / name, changed=name == "changed")
        out = tmp_path / f"run {name}"
        ends.append(trained(monkeypatch, *options, "--epochs", 1, "--out", out, "--quiet"))
    assert ends[0].run.metrics != ends[1].run.metrics  # they were measured on what was changed
    assert encoder(ends[0].run.folder) == encoder(ends[1].run.folder)
    assert weights(ends[0].run.folder) == weights(ends[1].run.folder)
    train = tmp_path / "as it is" / "train.csv"
    assert ends[0].run.predict(train).equals(ends[1].run.predict(train))


DRAWING = """
import os, random, signal
from pathlib import Path
import numpy, torch

calls = 0

def change(image):
    global calls
    calls += 1
    marker = Path("FOLDER/stop")
    if calls == 20 and marker.exists():
        marker.unlink(missing_ok=True)
        os.kill(int(os.environ["TRUESTEP_TEST_PROCESS"]), signal.SIGTERM)
    return (image + random.randrange(9) + numpy.random.randint(9) + torch.randint(9, (1,)).item()).clamp(0, 255)
"""
AUGMENTED = ("--augment.flip", "true", "--augment.shift", 1, "--augment.rotate", 9, "--augment.colour", 0.2)
AUGMENTED = (
    *AUGMENTED,
    "--augment.mixup",
    0.2,
    "--model",
    "resnet",
    "--model.args.dropout",
    0.2,
    "--model.args.filters",
    8,
    *FAST,
)


def test_weights_are_the_same_with_any_number_of_workers_and_with_images_in_memory_or_in_their_files(
    raw, tmp_path, monkeypatch
):
    (tmp_path / "own.py").write_text(DRAWING.replace("FOLDER", str(tmp_path)))
    own = ("--augment.transform", f"{tmp_path / 'own.py'}:change")
    for options in ((), own):
        trained(
            monkeypatch, raw / "scans", *AUGMENTED, *options, "--out", tmp_path / f"memory{len(options)}", "--quiet"
        )
    monkeypatch.setattr(images, "available_memory", lambda: 0)
    for options in ((), own):
        for workers in (0, 2, 4):
            out = tmp_path / f"files{len(options)}-{workers}"
            end = trained(monkeypatch, raw / "scans", *AUGMENTED, *options, "--data.workers", workers, "--out", out)
            assert "decoded when they are needed" in end.err
            assert weights(out) == weights(tmp_path / f"memory{len(options)}")
    assert weights(tmp_path / "memory0") != weights(tmp_path / "memory2")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_stopped_in_the_middle_of_an_epoch_goes_on_to_the_same_weights(workers, raw, tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(DRAWING.replace("FOLDER", str(tmp_path)))
    monkeypatch.setenv("TRUESTEP_TEST_PROCESS", str(os.getpid()))
    own = ("--augment.transform", f"{tmp_path / 'own.py'}:change")
    options = (raw / "scans", *AUGMENTED, *own, "--data.workers", workers, "--quiet")
    trained(monkeypatch, *options, "--out", tmp_path / "whole")

    (tmp_path / "stop").touch()
    (tmp_path / "own.py").write_text((tmp_path / "own.py").read_text() + "\n")  # its count begins anew
    end = truestep("train", *options, "--out", tmp_path / "run")
    assert end.code == 143, end.err
    assert not (tmp_path / "run" / "model").exists()
    end = truestep("train", "--resume", tmp_path / "run", *own, "--quiet")
    assert end.code == 0, end.err

    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def belongs(found: data.Data, name: str) -> dict:
    """Return the split of each row of the source by a column that tells the rows apart."""
    words = data.read_table(name).frame.select(pl.last()).to_series().to_list()
    return {words[row]: split for split, part in found.splits.items() for row in part.rows.tolist()}


def test_rows_that_are_added_or_put_in_another_order_move_no_other(raw, tmp_path):
    table = pl.read_csv(raw / "penguins.csv", infer_schema=False)
    added = table.head(40).with_columns(pl.lit("4444").alias("body_mass_g"), pl.format("new {}", "tag").alias("tag"))
    pl.concat([added, table.reverse()]).write_csv(tmp_path / "more.csv")
    before, after = (
        belongs(data.load(file, target="species"), file)
        for file in (str(raw / "penguins.csv"), str(tmp_path / "more.csv"))
    )
    assert {row: after[row] for row in before} == before
    assert len(after) == len(before) + 40


def test_copies_of_rows_images_and_texts_are_never_in_two_splits(raw, tmp_path):
    table = pl.read_csv(raw / "penguins.csv", infer_schema=False).drop("tag")
    pl.concat([table, table.sample(fraction=1, shuffle=True, seed=0)]).write_csv(tmp_path / "twice.csv")
    for path in sorted((raw / "scans").rglob("*.png")):
        for name in (path.name, f"copy of {path.name}"):
            there = tmp_path / "twice" / path.parent.name / name
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(path.read_bytes())
    texts = pl.read_csv(raw / "passages.csv")
    pl.concat([texts, texts.reverse()]).write_csv(tmp_path / "texts.csv")
    for source, target in (("twice.csv", "species"), ("twice", None), ("texts.csv", "president")):
        found = data.load(str(tmp_path / source), target=target)
        keys = {name: set(found.keys[part.rows].tolist()) for name, part in found.splits.items()}
        assert all(keys.values())
        assert not keys["train"] & keys["valid"]
        assert not (keys["train"] | keys["valid"]) & keys["test"]


def test_groups_stay_whole_and_time_goes_one_way(raw, tmp_path):
    table = pl.read_csv(raw / "passages.csv").with_columns(pl.int_range(pl.len()).alias("n"))
    people = table.with_columns(pl.format("p{}", pl.col("n") // 3).alias("who"))
    people.write_csv(tmp_path / "people.csv")
    found = data.load(str(tmp_path / "people.csv"), target="president", group="who", kinds={"text": "text"})
    rows = {name: set(people["who"].gather(part.rows)) for name, part in found.splits.items()}
    assert all(rows.values())
    assert sum(map(len, rows.values())) == people["who"].n_unique()

    sold = sales().sample(fraction=1, shuffle=True, seed=1)
    sold.write_csv(tmp_path / "sold.csv")
    found = data.load(str(tmp_path / "sold.csv"), target="sold", time="day")
    days = [sold["day"].gather(part.rows) for part in found.splits.values()]
    assert days[0].max() < days[1].min() <= days[1].max() < days[2].min()


def test_stratified_splits_have_each_class_at_its_share(raw, tmp_path, monkeypatch):
    words = f"{raw / 'penguins.csv'} --target species --data.stratify true --epochs 1 --quiet --out {tmp_path / 'run'}"
    end = trained(monkeypatch, *words.split())
    found = assembly.load_data(end.run.recipe, end.run.recipe.data.source)
    whole = found.train.known.bincount()
    for part in (found.valid, found.test):
        assert (part.targets.bincount() - 0.15 * whole).abs().max() < 1.5


def test_rare_classes_count_more_by_weight_or_by_being_drawn(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    rare = random.random(600) < 0.07
    table = pl.DataFrame(
        {"x": random.normal(size=600) + 2 * rare, "y": random.normal(size=600), "rare": np.where(rare, "yes", "no")}
    )
    table.write_csv(tmp_path / "rare.csv")
    recalls = {}
    for balance in ("none", "weights", "sampler"):
        words = f"--target rare --balance {balance} --epochs 8 --quiet --out {tmp_path / balance}"
        recalls[balance] = trained(monkeypatch, tmp_path / "rare.csv", *words.split()).run.metrics["recall"]
    assert recalls["none"] < 0.2
    assert min(recalls["weights"], recalls["sampler"]) >= 0.5


def test_weights_are_taken_from_a_run_with_other_classes_and_what_does_not_fit_is_said(raw, tmp_path, monkeypatch):
    trained(monkeypatch, raw / "scans", *FAST, "--out", tmp_path / "first", "--quiet")
    for path in sorted((raw / "scans").rglob("*.png")):
        there = tmp_path / "two" / ("round" if path.parent.name in ("digit-0", "digit-3") else "other") / path.name
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())
    words = f"--init {tmp_path / 'first'} --freeze stages.* --epochs 3 --out {tmp_path / 'run'}"
    end = trained(monkeypatch, tmp_path / "two", *words.split())
    assert "other shape: output.weight" in end.err
    first, second = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("first", "run"))
    for name in first:
        same = first[name].shape == second[name].shape and torch.equal(first[name], second[name])
        assert same == name.startswith("stages")

    words += "2 --model.unfreeze-epoch 3 --optimizer.lrs.stages 1e-5"
    later = trained(monkeypatch, tmp_path / "two", *words.split())
    third = load_file(later.run.folder / "model" / "model.safetensors")
    if later.run.results["best_epoch"] == 3:
        moved = max((first[name] - third[name]).abs().max().item() for name in first if name.startswith("stages"))
        assert 0 < moved < 3e-4  # 3 batches at a learning rate of 1e-5


NET = """
import pathlib
from torch import nn
pathlib.Path("FOLDER/ran").touch()

class Net(nn.Module):
    def __init__(self, num_numeric, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(num_numeric, 8), nn.ReLU(), nn.Linear(8, num_classes))
    def forward(self, numeric, categories=None):
        return self.layers(numeric)
"""


def test_code_is_run_only_if_it_is_named_by_who_starts_the_command(raw, tmp_path, monkeypatch, elsewhere):
    for name in ("net", "data"):
        text = NET if name == "net" else OWN_DATA + "\nimport pathlib; pathlib.Path('FOLDER/ran').touch()\n"
        (tmp_path / f"{name}.py").write_text(text.replace("FOLDER", str(raw if name == "data" else tmp_path)))
    ran = {"net": tmp_path / "ran", "data": raw / "ran"}
    net, scans = f"{tmp_path / 'net.py'}:Net", f"{tmp_path / 'data.py'}:scans"
    penguin = (raw / "penguins.csv", "--target", "species", *FAST, "--quiet")
    end = trained(monkeypatch, *penguin, "--model", net, "--out", tmp_path / "run")
    trained(monkeypatch, scans, *FAST, "--quiet", "--out", tmp_path / "scans")
    for file in ran.values():
        file.unlink()

    run_, new = tmp_path / "run", raw / "new-penguins.csv"
    refused = {
        ("evaluate", run_): "--model",
        ("predict", run_, new): "--model",
        ("train", "--recipe", run_ / "recipe.toml", "--out", tmp_path / "no"): "--model.name",
        ("train", "--resume", run_): "--model.name",
        ("evaluate", tmp_path / "scans"): "data.py:scans",
        ("train", "--recipe", tmp_path / "scans" / "recipe.toml", "--out", tmp_path / "no"): "as the source",
        ("train", "--resume", tmp_path / "scans"): "as the source",
    }
    for command, words in refused.items():
        found = truestep(*command)
        assert found.code == 3, (command, found.err)
        assert command[0] == "train" or elsewhere(*command) == 3
        assert words in found.err
        assert found.err.count("\n") == 1
        assert not any(file.exists() for file in ran.values())
        assert not (tmp_path / "no").exists()

    out = tmp_path / "answers.parquet"
    assert elsewhere("predict", run_, new, "--model", net, "--out", out) == 0
    assert pl.read_parquet(out).equals(end.run.predict(new))
    again = truestep("evaluate", run_, "--model", net, "--json")
    assert json.loads(again.out)["metrics"] == end.run.results["metrics"]["test"]
    trained(monkeypatch, "--recipe", run_ / "recipe.toml", "--model", net, "--out", tmp_path / "again", "--quiet")
    assert weights(tmp_path / "again") == weights(run_)
    found = truestep("predict", run_, new, "--model", scans)
    assert found.code == 2
    assert found.err.startswith("truestep: model: ")


def test_what_was_changed_since_the_training_is_refused(raw, tmp_path, monkeypatch):
    table = pl.read_csv(raw / "penguins.csv", infer_schema=False)
    table.write_csv(tmp_path / "t.csv")
    trained(monkeypatch, tmp_path / "t.csv", "--target", "species", *FAST, "--out", tmp_path / "run", "--quiet")
    table.head(300).write_csv(tmp_path / "t.csv")
    for command in (("evaluate", tmp_path / "run"), ("train", "--resume", tmp_path / "run", "--epochs", 3)):
        found = truestep(*command)
        assert found.code == 3
        assert "no longer" in found.err.splitlines()[-1]
    file = tmp_path / "run" / "model" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    found = truestep("predict", tmp_path / "run", raw / "new-penguins.csv")
    assert found.code == 3
    assert found.err.startswith("truestep: ")
    assert found.err.count("\n") == 1


def test_a_large_table_takes_less_memory_than_twice_its_tensors(tmp_path):
    rows, random = 100_000, np.random.default_rng(0)
    columns = {f"n{number}": random.normal(size=rows) for number in range(14)}
    columns |= {f"w{number}": [f"word {n % 50}" for n in random.permutation(rows)] for number in range(3)}
    columns |= {"gaps": pl.Series(random.normal(size=rows)).set(pl.Series(random.random(rows) < 0.1), None)}
    columns |= {"label": np.where(random.random(rows) < 0.5, "yes", "no")}
    pl.DataFrame(columns).write_parquet(tmp_path / "large.parquet")
    tracemalloc.start()  # counts what NumPy and Python take, nothing that depends on the machine
    found = data.load(str(tmp_path / "large.parquet"), target="label")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    tensors = sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(found.train.examples))
    assert tensors > 8e6
    assert peak < 1.65 * tensors
