"""An ejected script ends with the weights and the test metrics of its run, bit for bit, and reads like one of your own."""

from __future__ import annotations

import ast
import itertools
import os
import random
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eject_cases import ALONE, KINDS, QUICK, TRAINING, TWO_CLASSES, WITH_CLASSES, cases, make_files
from script_server import ScriptServer
from truestep import run
from truestep.eject import check, eject, options
from truestep.eject.literals import assigned, called, literal
from truestep.errors import InputError, RefusedError
from truestep.recipe import Recipe, section_fields

ROOT = Path(__file__).parent.parent
CASES = cases()
MOST_LINES = 205  # of a transformer with everything on; half have at most 147
INEXACT = ("rmse", "mae", "r2", "perplexity")  # added up in another order, by a rounding: 12 digits are the same


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the data of the cases, to be in."""
    folder = tmp_path_factory.mktemp("eject")
    make_files(folder)
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def server():
    server = ScriptServer()
    yield server
    server.close()


def recipe_of(choices):
    return Recipe().changed({"run.device": "cpu", **choices})


def ruff(*arguments):
    found = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments], capture_output=True, text=True, check=False
    )  # fmt: skip
    return found.stdout if found.returncode else ""


def numbers(output):
    """The metrics that a script has printed, by their names."""
    lines = (line.split() for line in output.splitlines() if line.startswith(("test_", "valid_")))
    return {name: float(value) for name, value in lines}


def check_text(script):
    text = script.read_text()
    assert "truestep" not in text
    assert len(text.splitlines()) <= MOST_LINES
    assert not ruff("check", "--isolated", "--quiet", str(script))
    assert not ruff("format", "--isolated", "--diff", "--quiet", str(script))


def check_same(name, folder, server):
    """Eject a case and train it; the script, run in a process of its own, ends as the run does."""
    recipe = recipe_of(CASES[name])
    script = eject(recipe=recipe, out=folder / f"script_{name.replace(' ', '_').replace('-', '_')}.py")
    check_text(script)
    out = folder / script.stem
    ended = server.run(script, [str(out)])
    assert ended["exit_code"] == 0, ended["errors"]
    finished = run.train(recipe=recipe, out=folder / f"{script.stem}_run", show=False)

    ours, theirs = load_file(finished.folder / "model" / "model.safetensors"), load_file(out / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    printed = numbers(ended["output"])
    assert printed
    for key, value in printed.items():
        split, _, metric = key.partition("_")
        expected = finished.results["metrics"][split][metric]
        assert value == (pytest.approx(expected, rel=1e-12) if metric in INEXACT else expected), key
    return script


@pytest.mark.parametrize("name", QUICK)
def test_a_script_ends_as_its_run_does(name, files, server):
    check_same(name, files, server)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in QUICK])
def test_every_script_ends_as_its_run_does(name, files, server):
    check_same(name, files, server)


def test_each_pair_of_choices_is_in_some_case():
    """The list of cases keeps what it promises."""
    wanted = {
        (str(first), str(second))
        for one, other in itertools.combinations(TRAINING, 2)
        for first in TRAINING[one]
        for second in TRAINING[other]
        if first and second and {one, other} != {"nonfinite", "precision"}
    }
    wanted |= {(kind, str(part)) for kind in KINDS for values in TRAINING.values() for part in values if part}
    unfit = {(kind, str(part)) for kind in KINDS if kind not in WITH_CLASSES for part in TRAINING["balance"]}
    classes = WITH_CLASSES - TWO_CLASSES
    unfit |= {(kind, str(part)) for kind in KINDS if kind not in classes for part in TRAINING["smoothing"]}

    def has(case, part):
        return part.items() <= CASES[case].items()

    parts = {str(part): part for values in TRAINING.values() for part in values}
    found = {
        (first, second)
        for first, second in wanted
        for case in CASES
        if (case.rpartition(" ")[0] == first if first in KINDS else has(case, parts[first]))
        and has(case, parts[second])
    }

    assert {pair for pair in wanted - found - unfit if "nonfinite" not in str(pair)} == set()


def test_a_script_needs_nothing_of_ours_in_a_fresh_process(files):
    script = eject(recipe=recipe_of(ALONE["no test"]), out=files / "fresh.py")
    watched = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__');"
        "assert not any(name.split('.')[0] == 'truestep' for name in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", watched, str(script), str(files / "fresh")],
        capture_output=True, text=True, check=False, env={"OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]},
    )  # fmt: skip
    finished = run.train(recipe=recipe_of(ALONE["no test"]), out=files / "fresh_run", show=False)

    assert ended.returncode == 0, ended.stderr
    assert (files / "fresh" / "model.safetensors").read_bytes() == (
        finished.folder / "model" / "model.safetensors"
    ).read_bytes()


def test_a_script_that_learns_nothing_leaves_no_older_weights(files, server):
    """A loss of NaN is never best, and the weights of another run would be taken for this one's."""
    script = eject(
        recipe=recipe_of({"data.source": "iris", "train.epochs": 1, "optimizer.lr": 1e30}), out=files / "diverging.py"
    )
    out = files / "diverging"
    out.mkdir()
    (out / "model.safetensors").write_bytes(b"those of another run")
    ended = server.run(script, [str(out)])

    assert "valid_loss nan" in ended["output"]
    assert ended["exit_code"] != 0
    assert "test_" not in ended["output"]
    assert list(out.iterdir()) == []


def test_a_script_says_how_it_is_called(files, server):
    script = eject(recipe=recipe_of({"data.source": "iris"}), out=files / "uncalled.py")
    ended = server.run(script, [])

    assert ended["exit_code"] == 2
    assert "usage: uncalled.py [-h] folder" in ended["errors"]
    assert "Traceback" not in ended["errors"]


def test_a_folder_is_ejected_as_its_recipe_is(files):
    finished = run.train(recipe=recipe_of(ALONE["no test"]), out=files / "a_run", show=False)
    one = eject(finished.folder, out=files / "from_folder.py").read_text()
    other = eject(recipe=finished.folder / "recipe.toml", out=files / "from_recipe.py").read_text()

    assert one.replace("from_folder", "") == other.replace("from_recipe", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_the_doctor_finds_nothing_in_a_script(name, files, server):
    script = eject(recipe=recipe_of(CASES[name]), out=files / f"doctored_{list(CASES).index(name)}.py")
    found = server.run(script, [str(files / script.stem)], doctor=True)

    assert found["exit_code"] == 0, found["errors"]
    assert found["findings"] == []
    assert found["own_errors"] == {}


# What can't be ejected


def all_choices():
    return {f"{section.name}.{option.name}" for section in fields(Recipe) for option in section_fields(section.name)}


def test_every_choice_of_a_recipe_is_ejected_or_refused():
    assert set(options.OPTIONS) == all_choices()


def test_every_choice_that_is_ejected_is_tried_by_a_case():
    tried = {name for choices in CASES.values() for name in choices}
    refused = {name for name, option in options.OPTIONS.items() if option.becomes.startswith("refused")}

    assert all_choices() - tried - refused == {"data.scale", "run.device"}  # of which one value is left


def test_the_documentation_shows_the_list():
    assert options.table() in (ROOT / "docs" / "eject.md").read_text()


REFUSED = {
    "run.compile": True,
    "data.stratify": True,
    "data.scale": "quantile",
    "data.window": 5,
    "data.horizon": 2,
    "data.tokenizer": "bpe",
    "augment.rotate": 5.0,
    "augment.zoom": 0.1,
    "augment.colour": 0.1,
    "augment.random": 1,
    "augment.erase": 0.1,
    "augment.mixup": 0.2,
    "augment.cutmix": 0.2,
    "augment.transform": "net.py:change",
    "model.name": "torch.nn:Linear",
    "model.init": "weights.safetensors",
    "model.freeze": ("stages.*",),
    "model.unfreeze_epoch": 2,
    "optimizer.name": "muon",
    "optimizer.lrs": {"output": 0.1},
    "train.micro_batch": 8,
    "train.keyed_dropout": True,
    "train.max_minutes": 1.0,
    "train.monitor": "valid_f1",
    "run.device": "mps",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_ejected_is_refused_by_name(name, files):
    choices = {"data.source": "texts.csv" if name == "data.tokenizer" else "iris", name: REFUSED[name]}
    choices |= {"data.target": "stars"} if name == "data.tokenizer" else {}
    with pytest.raises(InputError, match=rf"^{name}: ") as caught:
        eject(recipe=Recipe().changed({"run.device": "cpu", **choices}), out=files / "refused.py")

    assert "\n" not in str(caught.value)
    assert not (files / "refused.py").exists()


def test_every_choice_that_the_list_calls_refused_is_refused():
    refused = {name for name, option in options.OPTIONS.items() if "refused" in option.becomes}
    partly = {"data.valid", "data.test", "data.group", "data.kinds", "train.on_nonfinite"}

    assert refused - partly == set(REFUSED) - {"model.name"}


def test_data_that_plain_lines_read_differently_are_refused(files):
    rows = "".join(f'"1,{i:03d}",{i % 3},{"ab"[i % 2]}\n' for i in range(200))
    (files / "odd.csv").write_text("size,kind,label\n" + rows)
    with pytest.raises(InputError, match="column 'size'"):
        eject(recipe=recipe_of({"data.source": "odd.csv", "data.target": "label"}), out=files / "odd.py")
    rows = "".join(f"{i % 2},{i % 3},{'ab'[i % 2]}\n" for i in range(200))
    (files / "few.csv").write_text("size,kind,label\n" + rows)
    choices = {"data.source": "few.csv", "data.target": "label"}
    with pytest.raises(InputError, match=r"plain script would have .* Few different rows"):
        eject(recipe=recipe_of(choices), out=files / "few.py")
    choices |= {"data.group": "kind"}
    with pytest.raises(InputError, match=r"plain script would have .* Few different groups in column 'kind'"):
        eject(recipe=recipe_of(choices), out=files / "few.py")

    assert not (files / "odd.py").exists()
    assert not (files / "few.py").exists()


def test_code_that_only_a_file_names_is_not_run(files):
    choices = KINDS["own model"] | {"train.epochs": 1}
    (files / "own.toml").write_text(recipe_of(choices).to_toml())
    with pytest.raises(RefusedError, match=r"--model\.name"):
        eject(recipe=files / "own.toml", out=files / "said.py")
    eject(recipe=files / "own.toml", out=files / "said.py", said={"model.name": "net.py:Net"})
    (files / "elsewhere").mkdir()
    with pytest.raises(InputError, match=r"beside net\.py"):
        eject(recipe=recipe_of(choices), out=files / "elsewhere" / "said.py")


def test_no_file_is_overwritten(files):
    (files / "mine.py").write_text("mine")
    with pytest.raises(InputError, match="expected a new file"):
        eject(recipe=recipe_of(ALONE["no test"]), out=files / "mine.py")

    assert (files / "mine.py").read_text() == "mine"


# What comes from outside stays a value

HOSTILE = '"); open("owned", "w").write("x") #'
WORSE = "\\\"\"\"'''\\ {{ 7 * 7 }} {% raw %} #"


def test_names_from_data_never_become_code(files, server):
    rows = [
        f'{i},{i * 7 % 11},{"x" if i % 3 else HOSTILE.replace(chr(34), chr(34) * 2)}' for i in range(120)
    ]  # fmt: skip
    quoted = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name in (HOSTILE, WORSE, "label")]
    name = "evil'\"{{ x }}.csv"
    lines = [",".join(quoted), *(f'{a}.5,{b},"{c}"' for a, b, c in (row.split(",", 2) for row in rows))]
    (files / name).write_text("\n".join(lines) + "\n")
    recipe = recipe_of({"data.source": str(files / name), "data.target": "label", "train.epochs": 1})
    script = eject(recipe=recipe, out=files / "hostile.py")
    ended = server.run(script, [str(files / "hostile")])

    assert ended["exit_code"] == 0, ended["errors"]
    assert not (files / "owned").exists()
    check_text(script)
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Call)}
    assert "open" not in calls
    constants = {node.value for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Constant)}
    assert {HOSTILE, " ".join(WORSE.split()), str(files / name)} <= constants


LONG = "a_name_that_goes_on_and_on_and_on_for_longer_than_anybody_would_type"
ODD: dict[str, dict] = {  # what makes lines long
    "rows without a target": {"data.source": "odd_table.csv", "data.target": "label"},
    "long words": {"data.source": "odd_table.csv", "data.target": "label", "data.kinds": {"truth": "boolean"}},
    "own code": {"data.source": f"own_odd.py:{LONG}", "model.name": f"own_odd.py:{LONG.upper()}"},
    "long arguments": {
        "data.source": f"own_odd.py:{LONG}",
        "model.name": f"own_odd.py:{LONG.upper()}",
        "model.args": {"widths": list(range(10_000, 10_030)), "names": {f"name {i}": i for i in range(20)}},
    },
    "long monitors": {
        "data.source": "book.txt",
        "train.monitor": "valid_token_accuracy",
        "train.patience": 2,
        "train.ema_decay": 0.1 + 0.2,
        "model.args": {"dropout": 0.1 + 0.2},
    },
    "many layers": {
        "data.source": "texts.csv",
        "data.target": "stars",
        "model.name": "recurrent",
        "model.args": {"layers": 40, "width": 16, "dropout": 0.1 + 0.2, "bidirectional": True},
    },
    "large images": {"data.source": "images", "data.image_size": 128, "model.args": {"filters": 2}},
} | {
    f"long numbers of {name}": {
        "data.source": "iris",
        "schedule.name": name,
        "schedule.args": dict.fromkeys(keys, 0.1 + 0.2),
        "train.accumulate": 2,
        "optimizer.name": "sgd",
        "optimizer.nesterov": True,
        "optimizer.momentum": 0.1 + 0.2,
    }
    for name, keys in (
        ("cosine", ["final_factor"]),
        ("polynomial", ["power", "final_factor"]),
        ("wsd", ["decay_fraction", "final_factor"]),
        ("step", ["gamma"]),
        ("exponential", ["final_factor"]),
    )
}


def test_scripts_stay_formatted_whatever_the_names_and_numbers(files, monkeypatch):
    rows = [f"{i % 7}.5,{i % 11},{'yes' if i % 2 else 'no'},{'' if i % 9 == 5 else 'ab'[i % 2]}" for i in range(200)]
    names = ",".join([f"first {LONG}", f"second {LONG}", "truth", "label"])
    (files / "odd_table.csv").write_text("\n".join([names, *rows]) + "\n")
    (files / "own_odd.py").write_text(
        "from arrays_of_mine import make\nfrom net import Net\n\n"
        f"{LONG} = make\n\n\nclass {LONG.upper()}(Net):\n"
        "    def __init__(self, num_features, num_classes, widths=(), names=None):\n"
        "        super().__init__(num_features, num_classes)\n"
    )
    monkeypatch.syspath_prepend(str(files))
    monkeypatch.setattr(check, "check_data", lambda *_: None)  # another test's part
    scripts = [
        eject(recipe=recipe_of({"train.epochs": 2, **choices}), out=files / f"odd_{number}.py")
        for number, choices in enumerate(ODD.values())
    ]

    assert not ruff("check", "--isolated", "--quiet", *map(str, scripts))
    assert not ruff("format", "--isolated", "--diff", "--quiet", *map(str, scripts))


def test_arguments_from_a_recipe_never_become_code(files):
    choices = {"data.source": "iris", "optimizer.args": {"eps=print('x'), foo": 1e-8}}
    with pytest.raises(InputError):
        eject(recipe=recipe_of(choices), out=files / "arguments.py")
    choices = KINDS["own model"] | {"model.args": {"hidden": 8, "x=print('x'), y": 2}}
    with pytest.raises(InputError):
        eject(recipe=recipe_of(choices), out=files / "arguments.py")


@pytest.mark.parametrize("argument", ["final_factor", "print('x')"])
def test_arguments_of_a_schedule_never_become_code(argument, files):
    choices = {"data.source": "iris", "schedule.args": {argument: "print('x')"}}
    with pytest.raises(InputError, match="schedule"):
        eject(recipe=recipe_of(choices), out=files / "schedule.py")


def test_literals_are_values_and_formatted(tmp_path):
    draw = random.Random(0)
    letters = "ab'\"\\\n\té\u2028😀{}#%"

    def text(most):
        return "".join(draw.choice(letters) for _ in range(draw.randrange(most)))

    values = [text(100) for _ in range(200)] + [[text(12) for _ in range(draw.randrange(1, 9))] for _ in range(200)]
    values += [[draw.random() for _ in range(draw.randrange(1, 9))] for _ in range(100)]
    values += [{text(9): draw.random() for _ in range(draw.randrange(1, 6))} for _ in range(50)] + [
        (1,),
        ("a", "b"),
        1e-5,
        True,
        None,
        2**63,
    ]
    source = "\n".join(assigned(f"VALUE_{number}", value) for number, value in enumerate(values)) + "\n"
    for number, value in enumerate(values):
        if isinstance(value, list) and value and isinstance(value[0], float):
            source += assigned(f"CALLED_{number}", value, "torch.tensor") + "\n"
    source += called("made = function", [f"name_{i}={i}" for i in range(20)], 0) + "\n"
    (tmp_path / "literals.py").write_text(source)
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and node.targets[0].id.startswith("VALUE"):
            found[node.targets[0].id] = ast.literal_eval(node.value)

    assert list(found.values()) == values
    assert not ruff("format", "--isolated", "--diff", "--quiet", str(tmp_path / "literals.py"))
    with pytest.raises(TypeError):
        literal(object())


# Examples


@pytest.mark.parametrize("name", ["digits", "table", "text"])
def test_the_examples_are_what_eject_writes(name, tmp_path, monkeypatch):
    folder = ROOT / "examples" / name
    monkeypatch.chdir(folder)
    made = eject(recipe=folder / "recipe.toml", out=tmp_path / "plain.py")

    assert made.read_text() == (folder / "plain.py").read_text()
