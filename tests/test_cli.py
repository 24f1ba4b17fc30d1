"""The command line as a user meets it: what it prints, what it leaves, and one clear line for every mistake."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from truestep.cli import main
from truestep.data import load
from truestep.data.bundled import BUNDLED
from truestep.folder import read_metrics
from truestep.listing import cells
from truestep.prediction import Predictor


def truestep(*arguments, capsys=None):
    """Run a command in this process; return (exit code, stdout, stderr)."""
    try:
        main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as end:
        code = end.code or 0
    out, err = capsys.readouterr()
    return code, out, err


def in_new_process(*arguments, cwd=None, python=()):
    return subprocess.run(
        [sys.executable, *python, "-m", "truestep", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


PASSENGERS = """passenger,age,fare,sex,port,survived
1,22,7.25,male,S,no
2,38,71.28,female,C,yes
3,,7.92,female,S,yes
4,35,53.1,female,S,yes
5,35,8.05,male,,no
6,27,8.46,male,Q,no
7,54,51.86,male,S,no
8,2,21.07,male,S,no
9,27,11.13,female,S,yes
10,14,30.07,female,C,yes
11,4,16.7,female,S,yes
12,58,26.55,female,S,yes
13,20,8.05,male,S,no
14,39,31.27,male,S,no
15,14,7.85,female,S,no
16,55,16,female,S,yes
17,2,29.12,male,Q,no
18,31,13,male,S,yes
19,31,18,female,S,no
20,32,7.22,female,C,yes
"""


@pytest.fixture(scope="module")
def passengers(tmp_path_factory):
    """A finished run on a small table with an id, numbers, categories and gaps."""
    folder = tmp_path_factory.mktemp("passengers")
    (folder / "passengers.csv").write_text(PASSENGERS)
    end = in_new_process(
        "train", "passengers.csv", "--target", "survived", "--epochs", 6, "--batch-size", 4, "--out", "run", cwd=folder
    )
    assert end.returncode == 0, end.stderr
    return folder, end


def test_a_run_leaves_the_folder_it_promises(passengers):
    folder, end = passengers
    run = folder / "run"
    names = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    assert [name for name in names if not name.startswith("checkpoints")] == [
        "environment.json",
        "metrics.jsonl",
        "model/model.json",
        "model/model.safetensors",
        "recipe.toml",
        "report.html",
        "results.json",
    ]
    rows = list(read_metrics(run / "metrics.jsonl"))
    assert [row["kind"] for row in rows] == ["epoch"] * 6 + ["final"]
    assert {"epoch", "step", "train_loss", "valid_loss", "valid_accuracy", "lr", "seconds"} <= set(rows[0])
    results = json.loads((run / "results.json").read_text())
    assert {"objective", "metrics", "best_epoch", "epochs", "steps", "seconds", "examples_per_second", "seed"} <= set(
        results
    )
    assert results["metrics"]["test"]["accuracy"] == rows[-1]["test_accuracy"]
    assert "test_accuracy" in end.stdout
    assert "survived" in end.stderr
    assert "truestep predict run" in end.stderr


def test_predictions_are_bitwise_those_in_memory_in_the_order_of_the_rows_with_their_ids(passengers):
    folder, _ = passengers
    rows = pl.read_csv(folder / "passengers.csv").drop("survived").reverse()
    rows = rows.select(rows.columns[::-1])  # columns in any order
    rows.write_csv(folder / "new.csv")

    end = in_new_process("predict", "run", "new.csv", "--out", "answers.parquet", cwd=folder)

    assert end.returncode == 0, end.stderr
    answers = pl.read_parquet(folder / "answers.parquet")
    assert answers.columns == ["passenger", "prediction", "probability_no", "probability_yes"]
    assert answers["passenger"].to_list() == [str(row) for row in rows["passenger"]]
    predictor = Predictor.load(folder / "run")
    with torch.no_grad():
        logits = predictor.model(**predictor.encoder.encode(predictor.encoder.read(folder / "new.csv")))
    assert answers["probability_yes"].to_list() == logits.flatten().sigmoid().tolist()
    on_stdout = in_new_process("predict", "run", "new.csv", cwd=folder).stdout
    assert on_stdout == answers.write_csv()


def test_evaluating_gives_the_figures_of_the_run_again(passengers, capsys):
    folder, _ = passengers
    results = json.loads((folder / "run" / "results.json").read_text())

    code, out, _ = truestep("evaluate", folder / "run", "--json", capsys=capsys)

    assert code == 0
    found = json.loads(out)
    assert found["metrics"] == results["metrics"]["test"]
    assert found["intervals_95"] == results["intervals_95"]["test"]
    code, out, _ = truestep("evaluate", folder / "run", folder / "passengers.csv", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["split"] == "passengers.csv"


def test_the_recipe_of_a_run_gives_bitwise_the_same_weights_again(passengers):
    folder, _ = passengers
    end = in_new_process("train", "--recipe", "run/recipe.toml", "--out", "again", "--quiet", cwd=folder)

    assert end.returncode == 0, end.stderr
    for name in ("model/model.safetensors", "recipe.toml"):
        assert (folder / "again" / name).read_bytes() == (folder / "run" / name).read_bytes()
    models = [json.loads((folder / name / "model" / "model.json").read_text()) for name in ("run", "again")]
    for model in models:
        model["target"].pop("reason")  # "has 2 distinct text values", and then "as the recipe says"
    assert models[0] == models[1]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_run_that_was_asked_to_stop_goes_on_to_the_same_weights(tmp_path, number, code):
    options = ["--epochs", 200, "--run.log-every", 5, "--model.args.dropout", 0.3]
    arguments = ["train", "iris", "--out", "run", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "truestep", *map(str, arguments)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    for line in process.stderr:
        if line.split()[:1] == ["3"]:  # the line of the third epoch
            break
    process.send_signal(number)
    rest = process.stderr.read()
    process.wait()
    process.stderr.close()
    assert process.returncode == code, rest
    assert "truestep train --resume run" in rest

    assert in_new_process("train", "--resume", "run", "--quiet", cwd=tmp_path).returncode == 0
    assert in_new_process("train", "iris", "--out", "whole", "--quiet", *options, cwd=tmp_path).returncode == 0
    for name in ("model/model.safetensors", "recipe.toml"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    logs = [list(read_metrics(tmp_path / name / "metrics.jsonl")) for name in ("run", "whole")]
    for row in (*logs[0], *logs[1]):
        row.pop("seconds", None)
    assert logs[0] == logs[1]


def test_what_a_checkpoint_brings_back_can_not_be_changed_anyway(passengers, tmp_path, capsys):
    shutil.copytree(passengers[0] / "run", tmp_path / "run")
    recipe = (tmp_path / "run" / "recipe.toml").read_bytes()
    for option, value in (("--lr", "0.7"), ("--schedule", "constant")):
        code, _, err = truestep("train", "--resume", tmp_path / "run", option, value, "--resume-anyway", capsys=capsys)
        assert (code, len(err.splitlines())) == (2, 1)
        assert f"{option}: a checkpoint keeps it at" in err
        assert (tmp_path / "run" / "recipe.toml").read_bytes() == recipe


def test_the_same_command_says_what_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "passengers.csv").write_text(PASSENGERS)
    command = ("train", "passengers.csv", "--target", "survived", "--batch-size", 4, "--quiet", "--out", "run")
    truestep(*command, "--epochs", 3, capsys=capsys)
    code, _, err = truestep(*command, "--epochs", 3, capsys=capsys)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "holds this very run, which is finished" in err

    (tmp_path / "run" / "results.json").unlink()  # as if it had been killed
    code, _, err = truestep(*command, "--epochs", 3, "--seed", 7, capsys=capsys)
    assert code == 2
    assert "found a run that was stopped, with run.seed = 0 instead of 7" in err


def test_a_script_is_ejected_of_the_run_and_not_of_an_edited_recipe(passengers, tmp_path, capsys):
    shutil.copytree(passengers[0] / "run", tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("seed = 0", "seed = 1"))
    code, _, err = truestep("eject", tmp_path / "run", "-o", tmp_path / "plain.py", capsys=capsys)
    assert (code, len(err.splitlines())) == (3, 1)
    assert "no longer what the run was made with" in err
    code, _, err = truestep("eject", passengers[0] / "run", "-o", tmp_path / "torch.py", capsys=capsys)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "would be itself" in err


def test_a_finished_run_may_be_prolonged_but_not_changed(passengers, tmp_path, capsys):
    shutil.copytree(passengers[0] / "run", tmp_path / "run")
    recipe = (tmp_path / "run" / "recipe.toml").read_bytes()
    for options, said in {
        "--lr 0.7": "--lr: a checkpoint keeps it at 0.001, found 0.7",
        "--optimizer sgd": "--optimizer: a checkpoint keeps it at adamw, found sgd",
        "--seed 5": "--seed: a resumed run keeps it at 0, found 5",
        f"--out {tmp_path / 'other'}": "resume: expected no target or out beside it",
    }.items():
        code, _, err = truestep("train", "--resume", tmp_path / "run", *options.split(), capsys=capsys)
        assert (code, len(err.splitlines())) == (2, 1)
        assert said in err
        assert (tmp_path / "run" / "recipe.toml").read_bytes() == recipe

    code, _, err = truestep("train", "--resume", tmp_path / "run", "--epochs", "9", "--quiet", capsys=capsys)
    assert code == 0, err
    assert [row["epoch"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [*range(1, 10), 9]
    assert "# Prolonged from epochs = 6" in (tmp_path / "run" / "recipe.toml").read_text()

    (tmp_path / "run" / "metrics.jsonl").write_bytes(b"")
    code, _, err = truestep("train", "--resume", tmp_path / "run", "--epochs", "11", "--quiet", capsys=capsys)
    assert code == 3
    assert (
        "bytes that it had when the checkpoint was written. Put it back, or go on without them: --resume-anyway" in err
    )


def test_a_run_without_one_finite_epoch_is_no_success(tmp_path, capsys):
    options = ["--optimizer", "sgd", "--lr", "1e20", "--epochs", "2", "--on-nonfinite", "skip", "--quiet"]
    code, _, err = truestep("train", "digits", "--model", "mlp", "--out", tmp_path / "run", *options, capsys=capsys)

    assert code == 4
    assert "no epoch had a finite valid_loss" in err
    assert not (tmp_path / "run" / "model").exists()


def test_figures_that_the_rows_leave_undefined_are_one_line_with_the_reason(tmp_path, capsys):
    rows = [f"{row * 37 % 101},{row * 17 % 103},k{row // 2}" for row in range(200)]
    (tmp_path / "many.csv").write_text("\n".join(["x,z,y", *rows]) + "\n")
    line = ["train", tmp_path / "many.csv", "--target", "y", "--epochs", "1", "--quiet"]
    code, out, _ = truestep(*line, "--out", tmp_path / "run", capsys=capsys)
    assert code == 0
    assert "nan" not in out.lower()
    (said,) = [line for line in out.splitlines() if line.startswith("undefined: ")]
    assert re.fullmatch(
        r"undefined: test_roc_auc, test_average_precision: \d+ of 100 classes \('k.*\) have no row here to be ranked",
        said,
    )
    _, again, _ = truestep("evaluate", tmp_path / "run", capsys=capsys)
    assert again == out
    _, found, _ = truestep("evaluate", tmp_path / "run", "--json", capsys=capsys)
    assert json.loads(found)["metrics"]["roc_auc"] == "NaN", "a NaN stays one where programs read it"
    assert json.loads(found)["undefined"]["roc_auc"] in said

    code, _, err = truestep(*line, "--out", tmp_path / "two", "--monitor", "valid_roc_auc", capsys=capsys)
    assert code == 4
    assert "valid_roc_auc is undefined: " in err
    assert "Lower the learning rate" not in err


def test_words_called_missing_may_be_given_as_one_word_or_several(tmp_path, capsys):
    rows = [f"{['1.5', 'tbd', '2.5', '-999'][row % 4]},{row * 7 % 11},{'ab'[row % 2]}" for row in range(80)]
    (tmp_path / "x.csv").write_text("\n".join(["x,z,y", *rows]) + "\n")
    line = ["data", tmp_path / "x.csv", "--target", "y", "--json"]
    for words in (["tbd,-999"], ["tbd", "--data.missing=-999"]):
        _, out, _ = truestep(*line, "--data.missing", *words, capsys=capsys)
        (column, *_) = json.loads(out)["columns"]
        assert (column["kind"], column["missing"], column["range"]) == ("numeric", 40, [1.5, 2.5])


def test_predictions_never_overwrite_what_they_are_made_from(passengers, capsys):
    source = passengers[0] / "passengers.csv"
    code, _, err = truestep("predict", passengers[0] / "run", source, "--out", source, capsys=capsys)

    assert code == 2
    assert "it would be overwritten" in err
    assert source.read_text() == PASSENGERS


def test_what_training_did_not_know_is_said(passengers, tmp_path, capsys):
    (tmp_path / "new.csv").write_text(PASSENGERS.replace("male,S", "MALE,S"))
    code, out, err = truestep("predict", passengers[0] / "run", tmp_path / "new.csv", capsys=capsys)

    assert code == 0
    assert len(out.splitlines()) == 21
    assert "note: column 'sex'" in err
    assert "MALE" in err


def test_a_full_disk_is_one_line(passengers):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        end = subprocess.run(
            [sys.executable, "-m", "truestep", "predict", "run", "passengers.csv"],
            cwd=passengers[0],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert end.returncode == 2
    lines = [line for line in end.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1
    assert lines[0].startswith("truestep: output: No space left on device. Make room")


def as_usually_buffered():
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize("line", ["data", "data digits", "--version"])
def test_a_full_device_is_one_line_also_for_output_that_waits_until_the_end(line):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        end = subprocess.run(
            [sys.executable, "-m", "truestep", *line.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=as_usually_buffered(),
        )
    assert (end.returncode, end.stderr.count("\n")) == (2, 1)
    assert end.stderr.startswith("truestep: output: No space left on device. Make room")


@pytest.mark.parametrize("line", ["data", "data digits --json", "train --help"])
def test_a_reader_that_has_seen_enough_is_no_error(line):
    process = subprocess.Popen(
        [sys.executable, "-m", "truestep", *line.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=as_usually_buffered(),
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()  # before anything is written
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() in (0, 1)


def test_digits_reaches_what_the_readme_promises(tmp_path):
    end = in_new_process("train", "digits", "--out", "run", "--quiet", cwd=tmp_path)

    assert end.returncode == 0, end.stderr
    assert json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]["test"]["accuracy"] >= 0.97


def test_two_processes_give_the_result_of_one(tmp_path):
    """With SGD, which leaves a rounding difference as it is; tests/test_distributed.py has AdamW in double precision."""
    options = ["train", "digits", "--optimizer", "sgd", "--lr", "0.05", "--epochs", "2", "--batch-size", "50", "--out"]
    alone = in_new_process(*options, "one", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    both = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            "2",
            "--master-port",
            "29581",
            "-m",
            "truestep",
            *options,
            "two",
            "--device",
            "cpu",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert both.returncode == 0, both.stderr

    rows = [list(read_metrics(tmp_path / name / "metrics.jsonl")) for name in ("one", "two")]
    assert len(rows[0]) == len(rows[1])
    for one, two in zip(*rows, strict=True):
        for name, value in one.items():
            if name not in ("seconds", "kind", "order", "weights"):  # the last is a sum of bits, which rounding changes
                assert two[name] == pytest.approx(value, abs=2e-6, rel=2e-6), name
        assert one.get("order") == two.get("order")
    assert both.stdout.count("test_accuracy") == 1


@pytest.mark.parametrize(("policy", "code"), [("stop", 4), ("skip", 0)])
def test_numbers_that_are_not_finite_stop_the_run_or_are_left_out_and_counted(policy, code, tmp_path, capsys):
    options = ["--optimizer", "sgd", "--lr", "1e6", "--epochs", "3", "--on-nonfinite", policy, "--quiet"]
    found, _, err = truestep("train", "diabetes", "--out", tmp_path / "run", *options, capsys=capsys)

    assert found == code
    assert not list((tmp_path / "run").glob("**/*.tmp"))
    if policy == "stop":
        assert len(err.splitlines()) == 1
        assert "epoch 1, step 2, examples " in err
        assert "Lower the learning rate" in err
        assert not (tmp_path / "run" / "checkpoints").exists()
    else:
        assert json.loads((tmp_path / "run" / "results.json").read_text())["skipped"] > 0


def test_a_run_that_went_back_says_how_often(tmp_path, capsys, monkeypatch):
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch.utils.data import Dataset\n"
        "class Holed(Dataset):\n"
        "    def __len__(self): return 60\n"
        "    def __getitem__(self, i): return torch.full((2,), float('nan') if i == 7 else i / 60), i % 3\n"
        "class Whole(Holed):\n"
        "    def __getitem__(self, i): return torch.full((2,), i / 60), i % 3\n"
        "def data(): return Holed(), Whole()\n"
    )
    options = ["--epochs", "2", "--batch-size", "8", "--on-nonfinite", "rollback", "--out", tmp_path / "run", "--quiet"]
    found, _, err = truestep("train", f"{tmp_path / 'own.py'}:data", *options, capsys=capsys)
    assert found == 0, err
    assert "gone back to a checkpoint 2 times" in err
    assert json.loads((tmp_path / "run" / "results.json").read_text())["rollbacks"] == 2


BAD = {
    # what is typed: what the line must say
    "train": "Try: truestep train digits",
    "train digit": "digit",
    "trian digits": 'Unknown command "trian". Did you mean "train"?',
    "train digits --epoch 3": "Did you mean --epochs?",
    "train digits --epochs": "--epochs requires an argument",
    "train digits --epochs x": 'unable to convert "x" into int',
    "train digits --epochs 0": "--epochs: expected a number of at least 1, found 0",
    "train digits --batch-size 0": "--batch-size: expected a number of at least 1",
    "train digits --lr 0": "--lr: expected a number above 0, found 0",
    "train digits --lr nan": "--lr: expected a number above 0, found nan",
    "train digits --valid 1.5": "--valid: expected a number of at least 0 and below 1",
    "train digits --valid 0.6 --test 0.6": "valid",
    "train digits --precision fp8": 'Choose from: "fp32", "bf16", "fp16"',
    "train digits --model cnnn": "Did you mean 'cnn'?",
    "train digits --model.args.widht 3": "widht",
    "train iris --model cnn": "cnn",
    "train digits --optimizer adamm": "Did you mean 'adam",
    "train digits --optimizer no.such:Thing": "no",
    "train digits --schedule cosin": "Did you mean 'cosine'?",
    "train digits --monitor valid_acuracy": "Did you mean 'valid_accuracy'?",
    "train digits --objective.loss mae": "objective.loss: expected objective regression for this choice, found multiclass",
    "train diabetes --objective.label-smoothing 0.1": "--objective.label-smoothing: expected objective multiclass",
    "train diabetes --balance weights": "--balance: expected objective binary or multiclass",
    "train digits --optimizer.nesterov": "expected optimizer sgd for this choice, found adamw, on which it has no effect",
    "train digits --optimizer adam --optimizer.momentum 0.8": "expected optimizer muon or sgd for this choice",
    "train digits --optimizer torch.optim:NAdam --optimizer.momentum 0.8": "as --optimizer.args.momentum",
    "train digits --optimizer sgd --optimizer.args.betas [0.9,0.95]": "optimizer 'sgd': ",
    "train digits --schedule plateau --schedule.warmup 0.2": "schedule.warmup: expected schedule constant or",
    "train digits --objective regresion": "Choose from",
    "train digits --objective next-token": "expected one column of texts to learn the next token of, found none",
    "train digits --device cuda:9": "device: expected auto or one that is here",
    "train digits --max-grad-norm -1": "max-grad-norm: expected a number above 0",
    "train digits --max-grad-norm 1 --train.max-grad-value 1": "expected one of them, found both",
    "train digits --patience 3 --valid 0": "patience: expected validation data",
    "train digits extra": "extra",
    "train no/such.csv": "no/such.csv",
    "train empty.csv": "empty.csv",
    "train header.csv --target a": "header.csv",
    "train folder.csv --target a": "folder.csv",
    "train good.csv": "expected the name of the column to learn",
    "train good.csv --target survivd": "Did you mean 'survived'?",
    "train good.csv --target survived --data.drop agee": "Did you mean 'age'?",
    "train good.csv --target survived --data.kinds.age numbers": "numbers",
    "train one_class.csv --target y": "one_class.csv",
    "train few.csv --target y": "few.csv",
    "train ragged.csv --target y": "line 3",
    "train latin.csv --target y": "UTF-8",
    "train twice.csv --target y": "twice",
    "train good.csv --target survived --out good.csv": "expected a folder, found a file",
    "train good.csv --target survived --out dangling": "expected a folder, found a link to nothing at dangling",
    "train good.csv --target survived --out full": "expected a new or empty folder",
    "train good.csv --target survived --out good.csv/run": "found a file",
    "train --recipe no.toml": "no.toml",
    "train --recipe bad.toml": "bad.toml, line 2, train.epoch: no such choice. Did you mean 'epochs'?",
    "train --recipe broken.toml": "broken.toml: not valid TOML",
    "train --recipe section.toml": "Did you mean 'train'?",
    "train --recipe full": "found a folder",
    "train --resume nowhere": "nowhere",
    "evaluate nowhere": "nowhere",
    "evaluate full": "full",
    "evaluate": "requires an argument",
    "predict nowhere good.csv": "nowhere",
    "predict": "requires an argument",
    "data nothing.csv": "nothing.csv",
    "data good.csv --target survivd": "Did you mean 'survived'?",
}
FILES = {
    "good.csv": PASSENGERS,
    "empty.csv": "",
    "header.csv": "a,b\n",
    "one_class.csv": "x,y\n" + "".join(f"{i},a\n" for i in range(20)),
    "few.csv": "x,y\n1,a\n2,b\n",
    "ragged.csv": "x,y\n1,a\n2\n3,b\n",
    "twice.csv": "y,x,x\n" + "a,1,2\n" * 20,
    "bad.toml": "[train]\nepoch = 3\n",
    "broken.toml": "[train\n",
    "section.toml": "[trian]\nepochs = 3\n",
    "full/something": "",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_gets_one_line_exit_code_2_and_leaves_nothing(line, tmp_path, monkeypatch, capsys):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "latin.csv").write_bytes("x,y\n1,caf\xe9\n".encode("latin-1") * 10)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "dangling").symlink_to("nothing")
    monkeypatch.chdir(tmp_path)
    before = sorted(Path().rglob("*"))

    code, out, err = truestep(*line.split(), capsys=capsys)

    *said, last = err.strip().splitlines()
    assert code == 2, err
    assert last.startswith("truestep: ")
    assert BAD[line] in last
    assert "Traceback" not in err
    assert not [said_too for said_too in said if said_too.startswith("truestep: ")]
    assert out == ""
    assert sorted(Path().rglob("*")) == before


def test_there_are_enough_bad_inputs():
    assert len(BAD) >= 40


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, capsys):
    code, _, err = truestep("train", "digits", "--out", "/proc/run", capsys=capsys)

    assert code == 2
    assert "/proc" in err.strip().splitlines()[-1]


def test_damaged_files_are_refused_with_exit_code_3(passengers, capsys, tmp_path):
    folder, _ = passengers
    for name, change in {
        "model/model.json": lambda b: b[: len(b) // 2],
        "model/model.safetensors": lambda b: b[: len(b) // 2],
        "model/model.safetensors ": lambda b: b[:-1] + bytes([b[-1] ^ 1]),
        "model/model.json ": lambda b: b.replace(b'"hidden": [', b'"hidden": [1000000000000,', 1),
        "model/model.json  ": lambda b: b.replace(b'"mlp"', b'"os.system"'),
        "model/model.json   ": lambda b: b.replace(b'"hidden"', b'"hiden"'),
        "model/model.json    ": lambda b: b.replace(b'"format": 1', b'"format": 2'),
        "model/model.json     ": lambda _: b"[" * 100000,
        "model/model.json      ": lambda b: b.replace(b'"threads": 1', b'"threads": 1000000000'),
        "model/model.json       ": lambda b: b.replace(b'"name": "binary"', b'"name": "regression"'),
        "model/model.json        ": lambda b: b.replace(b'"yes"', b'"no"'),
        "model/model.json         ": lambda b: b.replace(b'"objective": {', b'"objective": [], "x": {'),
        "model/model.json          ": lambda b: b.replace(b'"name": "age"', b'"name": ["age"]'),
        "model/model.json           ": lambda b: b.replace(b'"layout": "contiguous"', b'"layout": "upside-down"'),
    }.items():
        name = name.strip()
        path = folder / "run" / name
        whole = path.read_bytes()
        path.write_bytes(change(whole))
        code, out, err = truestep("predict", folder / "run", folder / "passengers.csv", capsys=capsys)
        path.write_bytes(whole)

        assert (code, out) == (3, "")
        assert "run/model/model." in err
        assert len(err.splitlines()) == 1


def test_rows_that_do_not_fit_the_model_are_refused(passengers, capsys, tmp_path):
    folder, _ = passengers
    new = tmp_path / "new.csv"
    for content, said in {"age,fare,sex\n1,2,male\n": "port", "age,fare,sex,port\nold,2,male,S\n": "line 2"}.items():
        new.write_text(content)
        code, out, err = truestep("predict", folder / "run", new, capsys=capsys)

        assert (code, out) == (2, "")
        assert said in err
        assert len(err.splitlines()) == 1


def test_help_and_wrong_flags_import_nothing_heavy():
    """Counted in modules, not in seconds, which differ from machine to machine."""
    probe = (
        "import sys; from truestep.cli import main\n"
        "try: main({arguments})\n"
        "except SystemExit: pass\n"
        "heavy = {{'torch', 'numpy', 'polars', 'matplotlib', 'sklearn'}} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    for arguments in (["--help"], ["train", "--help"], ["train", "digits", "--epoch", "3"], ["train", "--recipe", "x"]):
        end = subprocess.run(
            [sys.executable, "-c", probe.format(arguments=arguments)], capture_output=True, text=True, check=False
        )
        assert end.returncode == 0, end.stderr


def test_importing_truestep_imports_no_torch_until_a_name_needs_it():
    probe = (
        "import sys, truestep as ts; assert 'torch' not in sys.modules; ts.Multiclass; assert 'torch' in sys.modules"
    )
    end = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)

    assert end.returncode == 0, end.stderr


def test_data_shows_what_was_understood(tmp_path, capsys):
    (tmp_path / "passengers.csv").write_text(PASSENGERS)
    code, out, _ = truestep("data", tmp_path / "passengers.csv", "--target", "survived", capsys=capsys)
    assert code == 0
    for words in ("20 rows", "by the content of each row", "survived, binary", "passenger", "categorical"):
        assert words in out
    assert re.search(r"no +10 +50.0%  \u2588+\n +yes +10 +50.0%  \u2588+\n", out)
    assert re.search(r"age +numeric +1 ", out), "one gap"

    code, out, _ = truestep("data", capsys=capsys)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(BUNDLED)
    code, out, _ = truestep("data", "--json", capsys=capsys)
    assert [known["name"] for known in json.loads(out)["bundled"]] == list(BUNDLED)

    code, out, _ = truestep("data", "iris", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["classes"] == {"setosa": 50, "versicolor": 50, "virginica": 50}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """One small source of every kind, by what to type."""
    folder = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        for kind in ("photos", "letters"):
            (folder / kind / label).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 255, (20 + number, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / label / f"{number}.png")
            (folder / "letters" / label / f"{number}.txt").write_text(f"a {label} sat on mat {number}, the {label} sat")
    (folder / "book.txt").write_text("It was the best of times, it was the worst of times.\n" * 60)
    days = [f"2024-0{1 + day // 28}-{1 + day % 28:02},{day % 7},{day % 5}" for day in range(84)]
    (folder / "sales.csv").write_text("day,price,sold\n" + "\n".join(days) + "\n")
    np.savez(folder / "arrays.npz", X=rng.normal(size=(40, 3)), y=np.arange(40) % 2)
    (folder / "mine.py").write_text(
        "import torch\nfrom torch.utils.data import Dataset\n"
        "class Mine(Dataset):\n"
        "    def __len__(self): return 40\n"
        "    def __getitem__(self, i): return torch.full((2, 3), float(i)), i % 2\n"
        "def make(): return Mine()\n"
    )
    return folder


SHOWN = {
    "photos": ("24 rows", "colour, 32 x 32 pixels for the model", "24 looked at: 12 sizes"),
    "letters": ("label, binary", "words; vocabulary", "median 10", "longest 10 tokens"),
    "book.txt": ("next-token", "consecutive pieces", "bytes of UTF-8", "windows"),
    "sales.csv --target sold --time day --window 7": (
        "by time, of 'day'",
        "7 rows of 1 number and 1 category",
        "1 after the last",
    ),
    "sales.csv --target sold --group price": ("by groups of 'price'",),
    "sales.csv --target sold --data.stratify": ("at exactly its share",),
    "arrays.npz": ("target, binary", "3 numbers"),
    "mine.py:make": ("40 rows", "by the number of each example", "arrays of shape 2 x 3"),
}


@pytest.mark.parametrize("line", SHOWN)
@pytest.mark.parametrize("width", [44, 100])
def test_data_of_every_kind_is_shown_within_the_width_of_the_terminal(line, width, sources, monkeypatch, capsys):
    monkeypatch.chdir(sources)
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = truestep("data", *line.split(), capsys=capsys)

    assert code in (0, 2), err
    assert code == 0 or err.count("truestep: ") == 1
    assert max(map(cells, out.splitlines())) <= width
    for words in SHOWN[line]:
        assert words in " ".join(out.split())

    code, out, _ = truestep("data", *line.split(), "--json", capsys=capsys)
    found = json.loads(out)
    assert found["rows"]
    assert found["split_by"]
    assert found["inputs"]["kind"]


def test_a_wide_table_stays_readable(tmp_path, capsys):
    names = [f"x{number}" for number in range(1000)]
    rows = [",".join([*(str((row * number) % 97) for number in range(1000)), "ab"[row % 2]]) for row in range(40)]
    (tmp_path / "wide.csv").write_text("\n".join([",".join([*names, "y"]), *rows]) + "\n")
    code, out, _ = truestep("data", tmp_path / "wide.csv", "--target", "y", capsys=capsys)

    assert len(out.splitlines()) < 60
    assert "more numeric; --json has all" in out
    found = json.loads(truestep("data", tmp_path / "wide.csv", "--target", "y", "--json", capsys=capsys)[1])
    assert len(found["columns"]) == 1001
    assert code in (0, 2)


def test_names_that_a_terminal_would_obey_are_harmless(tmp_path, capsys):
    odd = "\x1b[31mred\x07\u202eturned"
    rows = [f"{row % 2}.5,{row * 7 % 11},{odd if row % 2 else '猫' * 300}" for row in range(400)]
    (tmp_path / "odd.csv").write_text("\n".join([f"x,{odd}z,{odd}", *rows]) + "\n")
    code, out, err = truestep("data", tmp_path / "odd.csv", "--target", odd, capsys=capsys)

    assert "[31mred" in out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", out + err)
    assert max(map(cells, out.splitlines())) <= 100
    assert code == 2, "column x tells the class"


def test_problems_are_one_line_beside_the_facts_and_exit_code_2(tmp_path, capsys):
    rows = [f"{row % 2},{row * 7 % 401}.5,{'ab'[row % 2]}" for row in range(400)]
    (tmp_path / "leak.csv").write_text("\n".join(["told,x,y", *rows]) + "\n")
    for options in ((), ("--json",)):
        code, out, err = truestep("data", tmp_path / "leak.csv", "--target", "y", *options, capsys=capsys)
        assert code == 2
        assert len(err.splitlines()) == 1
        assert "column 'told'" in err
        assert "column 'told'" in (json.loads(out)["problems"][0] if options else " ".join(out.split()))


def test_a_run_shows_the_labels_that_its_model_doubts(tmp_path, monkeypatch, capsys):
    """Of two well separated classes some rows have the other's label; those held out are found, by their lines."""
    rng = np.random.default_rng(0)
    classes = np.arange(300) % 2
    wrong = rng.choice(300, 20, replace=False)
    points = rng.normal(size=(300, 2)).round(4) + 8 * classes[:, None]
    given = classes.copy()
    given[wrong] = 1 - given[wrong]
    rows = [f"{x},{z},{'ab'[label]}" for (x, z), label in zip(points, given, strict=True)]
    (tmp_path / "points.csv").write_text("\n".join(["x,z,y", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    options = ["--target", "y", "--epochs", "5", "--lr", "0.003", "--out", "run", "--quiet"]
    assert truestep("train", "points.csv", *options, capsys=capsys)[0] == 0

    held_out = json.loads((tmp_path / "run" / "results.json").read_text())["suspects"]
    data = load("points.csv", target="y")
    expected = sorted(set(wrong.tolist()) & {*data.valid.rows.tolist(), *data.test.rows.tolist()})
    assert len(expected) >= 3
    assert sorted(doubt["row"] for doubt in held_out) == expected
    for doubt in held_out:
        assert doubt["place"] == f"points.csv, line {doubt['row'] + 2}"
        assert (doubt["given"], doubt["predicted"]) == tuple("ab" if given[doubt["row"]] == 0 else "ba")
        assert doubt["row"] in data.splits[doubt["split"]].rows.tolist()

    code, out, _ = truestep("data", "run", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["suspects"] == held_out, "the saved model says the same"
    assert json.loads(out)["target"]["reason"] == "y has 2 distinct text values", "nobody asked for a task"
    code, out, _ = truestep("data", "run", capsys=capsys)
    assert [line.split()[2] for line in out.splitlines() if "points.csv, line" in line] == [
        str(doubt["row"] + 2) for doubt in held_out
    ]

    code, _, err = truestep("data", "run", "--target", "x", capsys=capsys)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "data.target" in err
    (tmp_path / "points.csv").write_text("\n".join(["x,z,y", *rows[1:]]) + "\n")
    code, _, err = truestep("data", "run", capsys=capsys)
    assert (code, len(err.splitlines())) == (3, 1)
    assert "no longer the data" in err


def test_code_that_only_a_folder_names_is_not_run_to_show_its_data(sources, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(sources)
    options = ["--epochs", "1", "--out", tmp_path / "run", "--quiet"]
    assert truestep("train", "mine.py:make", *options, capsys=capsys)[0] == 0
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("mine.py:make", "planted.py:make"))
    (sources / "planted.py").write_text("open('ran', 'w')\n")

    code, out, err = truestep("data", tmp_path / "run", capsys=capsys)

    assert (code, out, len(err.splitlines())) == (3, "", 1)
    assert "comes from code, planted.py:make" in err
    assert not (sources / "ran").exists()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "--data.image-size 32",
            "truestep: --data.image-size: expected data of kind image for this choice, found table.",
        ),
        ("--data.drop=survived", "truestep: --data.drop: expected columns to learn from, found the target 'survived'."),
        ("--data.kinds.survived text", "truestep: --data.kinds.survived: expected columns to learn from, found"),
        ("--data.kinds.age fish", "truestep: --data.kinds.age: expected one of numeric"),
        ("--optimizer.nesterov", "truestep: --optimizer.nesterov: expected optimizer sgd for this choice"),
        ("--epochs 0", "truestep: --epochs: expected a number of at least 1"),
    ],
)
def test_a_refusal_names_the_option_as_it_was_typed_and_no_other(passengers, tmp_path, capsys, typed, said):
    source = passengers[0] / "passengers.csv"
    command = ("train", source, "--target", "survived", *typed.split(), "--out", tmp_path / "run")
    code, _, err = truestep(*command, "--quiet", capsys=capsys)
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith(said)


def test_a_refusal_of_a_recipe_names_its_choice(passengers, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[data]\ntarget = "survived"\nimage_size = 32\n')
    command = ("train", passengers[0] / "passengers.csv", "--recipe", recipe, "--out", tmp_path / "run", "--quiet")
    code, _, err = truestep(*command, capsys=capsys)
    assert (code, err.startswith("truestep: data.image_size: expected data of kind image")) == (2, True)
