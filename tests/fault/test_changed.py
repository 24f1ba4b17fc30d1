"""A run that is resumed after something was changed goes on to the same bits, or says that it does not, or is refused."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
from pathlib import Path
from types import UnionType
from typing import Literal, get_args, get_origin

import pytest

import truestep as ts
from truestep.errors import InputError, RefusedError
from truestep.folder import read_metrics
from truestep.recipe import Recipe, section_fields, type_of
from truestep.resumption import HARMLESS, PLACES, PROLONGING, check_circumstances

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1_800)]
COMBINED = 200  # in the long size

NET = """
from torch import nn
from layers import hidden

class Net(nn.Module):
    def __init__(self, num_outputs, width=8):
        super().__init__()
        self.layers = nn.Sequential(hidden(2, width), nn.Linear(width, num_outputs))

    def forward(self, numeric):
        return self.layers(numeric).squeeze(1)
"""
LAYERS = """
from torch import nn

def hidden(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(0.2))
"""
STOP = """
import truestep, truestep.run
calls = iter([None] * 8 + [truestep.Interrupted("asked to stop", 143)])
truestep.run._stop_at = lambda _: lambda: next(calls)
"""
CODE = ("--model", "net.py:Net")
SAID = re.compile(r"not to the same bits|no longer (the same run|what this run began with)|planned anew")


def rows():
    draw = random.Random(0)
    return [(round(draw.random(), 4), round(5 * draw.random(), 4), draw.choice("ab")) for _ in range(60)]


def csv(lines, header="x,y,label"):
    return "\n".join([header, *(",".join(map(str, line)) for line in lines)]) + "\n"


@pytest.fixture(scope="module")
def stopped(server, tmp_path_factory):
    """A project whose run was stopped in its second epoch, and what it would have ended with."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "data.csv").write_text(csv(rows()))
    (folder / "net.py").write_text(NET)
    (folder / "layers.py").write_text(LAYERS)
    arguments = ["train", folder / "data.csv", "--target", "label", *CODE, "--epochs", "3", "--batch-size", "8",
                 "--run.log-every", "2", "--patience", "9"]  # fmt: skip
    ended = server.run(*arguments, "--out", "whole", folder=folder)
    assert ended.code == 0, ended.err
    ended = server.run(*arguments, "--out", "run", folder=folder, before=STOP)
    assert ended.code == 143, ended.err
    assert len(list((folder / "run" / "checkpoints").iterdir())) == 1
    shutil.move(folder / "whole", folder.parent / f"{folder.name}-whole")
    shutil.copytree(folder, folder.parent / f"{folder.name}-kept")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def project(stopped, monkeypatch):
    put_back(stopped)
    monkeypatch.chdir(stopped)
    return stopped


def put_back(folder):
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(folder.parent / f"{folder.name}-kept", folder, dirs_exist_ok=True)


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def ended_the_same(folder) -> bool:
    """Whether the run has the bits of the one that was never stopped: of its weights, and of every row that both logged."""
    runs = folder / "run", folder.parent / f"{folder.name}-whole"
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in runs]
    logs = [
        {(row["kind"], row["epoch"], row["step"]): row | {"seconds": 0} for row in read_metrics(run / "metrics.jsonl")}
        for run in runs
    ]
    shared = logs[0].keys() & logs[1].keys()
    assert len(shared) > 5
    return weights[0] == weights[1] and all(repr(logs[0][place]) == repr(logs[1][place]) for place in shared)


def outcome(server, folder, *options) -> str:
    """Resume, and return "same", "said" or "refused", after checking that it is one of these, and rightly."""
    before = contents(folder)
    ended = server.run("train", "--resume", "run", *CODE, "--no-doctor", *options, folder=folder)
    if ended.code == 0:
        if SAID.search(ended.err):
            return "said"
        assert ended_the_same(folder), f"other bits, and nothing said: {ended.err}"
        return "same"
    assert ended.line
    assert contents(folder) == before, f"{ended.line}: and yet something was written"
    return "refused"


# ---- choices -----------------------------------------------------------------------------------------------------------

OTHERS = {  # where another legal value can't be told from the type
    "data.source": "other.csv",
    "data.target": "x",
    "data.group": "y",
    "data.time": "y",
    "data.kinds": {"x": "categorical"},
    "data.drop": ("y",),
    "augment.transform": "net.py:Net",
    "model.name": "mlp",
    "model.args": {"width": 9},
    "model.init": "run",
    "model.freeze": ("layers.0.*",),
    "optimizer.name": "sgd",
    "optimizer.lrs": {"layers.0.*": 0.01},
    "optimizer.args": {"amsgrad": True},
    "schedule.name": "constant",
    "schedule.args": {"final": 0.1},
    "train.epochs": 5,
    "train.max_steps": 20,
    "train.monitor": "valid_accuracy",
    "train.micro_batch": 4,
    "run.device": "cpu",
}


def another(recipe: Recipe, full: str):
    """Return a legal value for a choice that is not the one it has."""
    if full in OTHERS:
        return OTHERS[full]
    section, _, name = full.partition(".")
    value, kind = recipe.get(full), type_of(section, name)
    bounds = next(option.metadata for option in section_fields(section) if option.name == name)
    kinds = [part for part in get_args(kind) if part is not type(None)] if isinstance(kind, UnionType) else [kind]
    if get_origin(kinds[0]) is Literal:
        return next(word for word in get_args(kinds[0]) if word != value)
    if kinds[0] is bool:
        return not value
    if kinds[0] is int:
        return max(int(value or 0) + 1, int(max(bounds["least"], 0)))
    if kinds[0] is float:
        return 0.25 if value != 0.25 else 0.5
    if get_origin(kinds[0]) is tuple:
        return ("other",)
    raise AssertionError(f"{full}: give a value that is legal for it in OTHERS")


def as_options(full, value) -> list[str]:
    option = f"--{full.replace('_', '-')}"
    if isinstance(value, dict):
        return [word for key, item in value.items() for word in (f"{option}.{key}", json.dumps(item).strip('"'))]
    if isinstance(value, tuple):
        return [word for item in value for word in (option, item)]
    return [f"{option}={str(value).lower()}"] if isinstance(value, bool) else [option, str(value)]


def refused(folder, said, **choices) -> None:
    """Check that a run is not gone on with, in this process, for it is before anything is read, and that nothing is written."""
    before = contents(folder)
    with pytest.raises(InputError, match=said):
        ts.train(resume=folder / "run", model="net.py:Net", show=False, **choices)
    assert contents(folder) == before


def test_every_other_choice_is_refused_whether_it_is_said_or_written_into_the_recipe(project):
    run = project / "run"
    recipe = Recipe.from_toml(run / "recipe.toml")
    kept = (run / "recipe.toml").read_text()
    walked = 0
    for full in Recipe.names():
        value = another(recipe, full)
        if full in (*HARMLESS, *PROLONGING, *PLACES[:1]):
            continue
        walked += 1
        keeper = "checkpoint" if full.startswith(("optimizer.", "schedule.")) else "resumed run"
        said = f"{re.escape(full)}: a {keeper} keeps it at"
        if full != "model.name":
            refused(project, said, **{full: value})
        (run / "recipe.toml").write_text(recipe.changed({full: value}).to_toml())
        if full == "model.name":
            with pytest.raises(InputError, match=said):
                ts.train(resume=run, show=False)
        elif full == "augment.transform":
            with pytest.raises(RefusedError, match="A file's word is not enough"):
                ts.train(resume=run, model="net.py:Net", show=False)
        else:
            refused(project, said)
        (run / "recipe.toml").write_text(kept)
    assert walked > 50


def test_on_the_command_line_too(server, project, long):
    recipe = Recipe.from_toml("run/recipe.toml")
    for full in Recipe.names() if long else ("train.batch_size", "augment.flip", "model.args", "data.drop"):
        if full not in (*HARMLESS, *PROLONGING, "data.source"):  # the last is no option
            assert outcome(server, project, *as_options(full, another(recipe, full))) == "refused"


def test_what_changes_no_bit(server, project, long):
    recipe = Recipe.from_toml("run/recipe.toml")
    options = {full: as_options(full, another(recipe, full)) for full in (*HARMLESS, "train.max_minutes")}
    del options["run.threads"]  # below
    assert outcome(server, project, *(word for words in options.values() for word in words)) == "same"
    for words in options.values() if long else ():
        put_back(project)
        assert outcome(server, project, *words) == "same"


@pytest.mark.parametrize("full", ["train.epochs", "train.max_steps", "run.threads"])
def test_what_is_said(server, project, full):
    assert outcome(server, project, *as_options(full, another(Recipe.from_toml("run/recipe.toml"), full))) == "said"
    (again,) = json.loads(Path("run/environment.json").read_text())["resumed"]
    assert again["changed"] == ({"threads": [1, 2]} if full == "run.threads" else {})


def test_a_length_that_is_written_into_the_recipe(server, project):
    file = project / "run" / "recipe.toml"
    file.write_text(Recipe.from_toml(file).changed({"epochs": 5}).to_toml())
    assert outcome(server, project) == "said"
    assert "# Prolonged from epochs = 3 to 5" in file.read_text()


# ---- data, code, and what is written in the folder -----------------------------------------------------------------------


def edited(path, change):
    path.write_text(change(path.read_text()))


def shuffled(text):
    head, *lines = text.splitlines()
    random.Random(1).shuffle(lines)
    return "\n".join([head, *lines]) + "\n"


def columns(text, *order):
    return "\n".join(",".join(line.split(",")[place] for place in order) for line in text.splitlines()) + "\n"


def with_known(**changes):
    """Return what edits environment.json."""

    def edit(text):
        known = json.loads(text)
        for name, value in changes.items():
            first, _, rest = name.partition("__")
            if rest:
                known[first][rest] = value
            elif value is None:
                del known[first]
            else:
                known[first] = value
        return json.dumps(known)

    return edit


DATA, NET_FILE, LAYERS_FILE = "data.csv", "net.py", "layers.py"
RECIPE, KNOWN, LOG = "run/recipe.toml", "run/environment.json", "run/metrics.jsonl"
MANIFEST = "run/checkpoints/*/manifest.json"
EDITS = {  # name: file, what is made of it, what comes of it
    "nothing": (DATA, lambda text: text, "same"),
    "other bytes of the same values": (
        DATA,
        lambda text: text.replace(",a\n", '0,"a"\n').replace("\n", "\r\n"),
        "same",
    ),
    "a row more": (DATA, lambda text: text + "0.5,2.5,a\n", "refused"),
    "a row less": (DATA, lambda text: "\n".join(text.splitlines()[:-1]) + "\n", "refused"),
    "another order": (DATA, shuffled, "refused"),
    "two rows swapped": (DATA, lambda text: "\n".join(columns_swapped(text.splitlines())) + "\n", "refused"),
    "a digit": (DATA, lambda text: text.replace("3", "4", 1), "refused"),
    "a target": (DATA, lambda text: text.replace(",a\n", ",b\n", 1), "refused"),
    "targets the other way round": (DATA, lambda text: text.translate(str.maketrans("abl", "bal")), "refused"),
    "columns the other way round": (DATA, lambda text: columns(text, 1, 0, 2), "refused"),
    "the target in front": (DATA, lambda text: columns(text, 2, 0, 1), "same"),
    "names of columns the other way round": (DATA, lambda text: text.replace("x,y", "y,x"), "refused"),
    "another name": (DATA, lambda text: text.replace("x,y", "x,z"), "refused"),
    "a column more": (
        DATA,
        lambda text: "\n".join(f"{line},{n % 7 if n else 'z'}" for n, line in enumerate(text.splitlines())),
        "refused",
    ),
    "no target": (DATA, lambda text: columns(text, 0, 1), "refused"),
    "no row": (DATA, lambda text: text.splitlines()[0] + "\n", "refused"),
    "no data": (DATA, None, "refused"),
    "a comment in the code": (NET_FILE, lambda text: text + "# seen\n", "refused"),
    "another layer": (NET_FILE, lambda text: text.replace("width=8", "width=9"), "refused"),
    "code that can't be run": (NET_FILE, lambda text: text + "(", "refused"),
    "no code": (NET_FILE, None, "refused"),
    "what the code imports": (LAYERS_FILE, lambda text: text.replace("0.2", "0.5"), "refused"),
    "a comment in the recipe": (RECIPE, lambda text: f"# mine\n{text}", "same"),
    "half a recipe": (RECIPE, lambda text: text[: len(text) // 2] + "[", "refused"),
    "no recipe": (RECIPE, None, "refused"),
    "sum of the data": (KNOWN, with_known(data_sha256="0" * 64), "refused"),
    "no sum of the data": (KNOWN, with_known(data_sha256=None), "refused"),
    "no sum of the code": (KNOWN, with_known(code_sha256=None), "refused"),
    "a list of nothing": (KNOWN, with_known(resumed=[{}]), "refused"),
    "versions that are none": (KNOWN, with_known(versions=3), "refused"),
    "a recipe that is none": (KNOWN, with_known(recipe="x = ["), "refused"),
    "half an environment": (KNOWN, lambda text: text[:100], "refused"),
    "a list for an environment": (KNOWN, lambda text: "[]", "refused"),
    "no environment": (KNOWN, None, "refused"),
    "a newer format": (MANIFEST, lambda text: text.replace('"format": 1', '"format": 2'), "refused"),
    "a damaged manifest": (MANIFEST, lambda text: text.replace("0", "1"), "refused"),
    "half a log": (LOG, lambda text: text[:20], "refused"),
    "no log": (LOG, None, "refused"),
}


def columns_swapped(lines):
    return [lines[0], lines[2], lines[1], *lines[3:]]


def apply(name):
    place, change, _ = EDITS[name]
    (path,) = Path().glob(place)
    if change is None:
        path.unlink()
    else:
        edited(path, change)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit(server, project, long, name):
    if not long and list(EDITS).index(name) % 2 and EDITS[name][0] not in (NET_FILE, LAYERS_FILE):
        pytest.skip("of the long size")
    apply(name)
    assert outcome(server, project) == EDITS[name][2]


def test_many_edits_at_once(server, project, long):
    draw, found = random.Random(0), []
    recipe = Recipe.from_toml("run/recipe.toml")
    options = [full for full in Recipe.names() if full != "data.source"]
    for number in range(COMBINED if long else 4):
        put_back(project)
        names, full = draw.sample(list(EDITS), draw.choice([1, 2])), draw.choice(options)
        if len({EDITS[name][0] for name in names}) == 2:
            for name in names:
                apply(name)
        words = as_options(full, another(recipe, full)) if draw.random() < 0.7 else []
        words += ["--resume-anyway"] if draw.random() < 0.7 else []
        print(number, names, words)
        found.append(outcome(server, project, *words))
    print({word: found.count(word) for word in found})


# ---- another machine -----------------------------------------------------------------------------------------------------

MACHINE = {
    "versions.torch": "1.0", "versions.numpy": "1.0", "versions.polars": "1.0", "versions.python": "3.0",
    "versions.truestep": "0.0.1", "cpu": "arm64", "cpu_capability": "DEFAULT", "device": "cuda", "gpus": ["some GPU"],
    "threads": 4, "processes": 2,
}  # fmt: skip


def circumstances(**changes):
    known = {**json.loads(Path("run/environment.json").read_text())}
    known["versions"] = {**known["versions"]}
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        (known[first] if rest else known)[rest or first] = value
    return known


@pytest.mark.parametrize("name", MACHINE)
def test_what_a_machine_is_changes_is_said(project, name):
    said, was = [], circumstances()
    first, _, rest = name.partition(".")
    changed = check_circumstances(
        project / "run", circumstances(**{name: MACHINE[name]}), anyway=False, say=said.append
    )
    assert changed == {name: [was[first][rest] if rest else was[first], MACHINE[name]]}
    (line,) = said
    assert "the run goes on, but not to the same bits" in line


def test_what_is_no_matter_of_bits_is_not_said(project):
    now = circumstances(command=["other"], time="2026", git_commit="abc", system="other", asked_sha256="x")
    assert check_circumstances(project / "run", now, anyway=False, say=pytest.fail) == {}


def test_what_was_said_once_is_how_it_is_then(server, project):
    edited(project / KNOWN, with_known(threads=4, cpu_capability="DEFAULT"))
    assert outcome(server, project, "--max-steps", "10") == "said"
    known = json.loads((project / KNOWN).read_text())
    assert known["resumed"][0]["changed"].keys() == {"threads", "cpu_capability"}
    ended = server.run("train", "--resume", "run", *CODE, "--max-steps", "12", folder=project)
    assert ended.code == 0
    assert "not to the same bits" not in ended.err


# ---- anyway --------------------------------------------------------------------------------------------------------------

ANYWAY = {  # edits, options, what comes of it
    "data": (["a digit"], [], "said"),
    "more data": (["a row more"], [], "said"),
    "columns of the data": (["columns the other way round"], [], "said"),
    "code": (["a comment in the code"], [], "said"),
    "imported code": (["what the code imports"], [], "said"),
    "a choice": ([], ["--batch-size", "4"], "said"),
    "another model": ([], ["--model.args.width", "9"], "refused"),
    "code of another model": (["another layer"], [], "refused"),
    "another optimizer": ([], ["--optimizer", "sgd"], "refused"),
    "more columns": (["a column more"], [], "refused"),
    "no data": (["no data"], [], "refused"),
    "a newer format": (["a newer format"], [], "refused"),
}


@pytest.mark.parametrize("name", ANYWAY)
def test_anyway(server, project, name):
    edits, options, expected = ANYWAY[name]
    for edit in edits:
        apply(edit)
    assert outcome(server, project, *options, "--resume-anyway") == expected
    if name in ("data", "code"):
        (again,) = json.loads((project / KNOWN).read_text())["resumed"]
        assert list(again["changed"]) == ["data_sha256" if name == "data" else "code_sha256.model.name"]
        assert outcome(server, project, "--epochs", "4") == "said"  # once said, that is what the run is of now


# ---- the checks can fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "blind"),
    [
        ("a digit", "truestep.run.resumption.fingerprint = lambda _: KNOWN['data_sha256']"),
        ("what the code imports", "truestep.resumption.files_of = lambda _: []; KNOWN['code_sha256'] = {}"),
    ],
)
def test_what_is_not_looked_at_ends_with_other_bits(server, project, edit, blind):
    apply(edit)
    look = "import json, truestep.run; KNOWN = json.load(open('run/environment.json')); "
    write = "; json.dump(KNOWN, open('run/environment.json', 'w'))"
    ended = server.run("train", "--resume", "run", *CODE, folder=project, before=look + blind + write)
    assert ended.code == 0, ended.err
    assert not ended_the_same(project)
