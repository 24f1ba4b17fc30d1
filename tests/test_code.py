"""Code is found where a person says it is, its neighbours with it, and what fails is told in one line."""

from __future__ import annotations

import pickle
import sys

import pytest
import torch

from truestep.code import is_code, load_code
from truestep.errors import InputError


@pytest.fixture(autouse=True)
def _same_imports():
    path, modules = list(sys.path), dict(sys.modules)
    yield
    assert sys.path == path, "sys.path is as it was"
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]


@pytest.mark.parametrize(
    "name",
    ["net.py:Net", "folder/net.py:make", "C:\\data\\net.py:Net", "timm:create_model", "a.b:Net.tiny", "../n.py:N"],
)
def test_code_is_known_by_its_form(name):
    assert is_code(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "mlp",
        "net.py",
        "data.csv",
        "C:\\data.csv",
        "C:data",
        "C:/data.csv",
        "a:b c",
        "12:30",
        "s3://a/b",
        "net.py:",
        ":Net",
        "x.py:1",
    ],
)
def test_other_texts_are_not(name):
    assert not is_code(name)
    with pytest.raises(InputError, match=r"expected file\.py:Name or package\.module:Name\.$"):
        load_code(name)


def test_a_name_in_a_package_is_that_object():
    assert load_code("torch.nn:Linear") is torch.nn.Linear
    assert load_code("torch.optim.lr_scheduler:LambdaLR.step") is torch.optim.lr_scheduler.LambdaLR.step


def test_a_file_is_run_once_until_it_changes(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("thing = object()\nprint('run')\n")
    first = load_code(f"{file}:thing")
    assert load_code(f"{file}:thing") is first
    file.write_text("thing = 'changed, and longer'\n")
    assert load_code(f"{file}:thing") == "changed, and longer"


def test_a_file_is_found_from_the_current_folder_with_its_neighbours(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "net.py").write_text("from helper_of_net import size\nfrom parts_of_net import more\n")
    (tmp_path / "own" / "helper_of_net.py").write_text("size = 7\n")
    (tmp_path / "own" / "parts_of_net").mkdir()
    (tmp_path / "own" / "parts_of_net" / "__init__.py").write_text("more = 8\n")
    monkeypatch.chdir(tmp_path)
    assert load_code("own/net.py:size") == 7
    assert load_code("own/net.py:more") == 8


def test_a_package_is_found_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "package_here").mkdir()
    (tmp_path / "package_here" / "net.py").write_text("size = 7\n")
    monkeypatch.chdir(tmp_path)
    assert load_code("package_here.net:size") == 7


def test_neighbours_of_one_name_are_told_apart(tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "net.py").write_text("from shared_name import size\n")
        (tmp_path / str(number) / "shared_name.py").write_text(f"size = {number}\n")
    assert [load_code(f"{tmp_path}/{number}/net.py:size") for number in (1, 2)] == [1, 2]


def test_neighbours_are_loaded_once_for_all_files_of_a_folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text("from common_to_both import thing\n")
    (tmp_path / "common_to_both.py").write_text("thing = object()\n")
    assert load_code(f"{tmp_path}/a.py:thing") is load_code(f"{tmp_path}/b.py:thing")


def test_a_file_hides_no_module_of_its_name(tmp_path):
    (tmp_path / "json.py").write_text("thing = 1\n")
    before = sys.modules["json"]
    assert load_code(f"{tmp_path}/json.py:thing") == 1
    assert sys.modules["json"] is before


def test_what_a_file_holds_can_be_pickled_for_a_worker(tmp_path):
    (tmp_path / "own.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Point:\n    x: int\n"
    )
    point = load_code(f"{tmp_path}/own.py:Point")(3)
    assert pickle.loads(pickle.dumps(point)) == point


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n\nraise ValueError('no\\nway')\n", r"own\.py:Net': ValueError: no way \(own\.py, line 3\)$"),
        ("def f():\n    return 1 / 0\n\nf()\n", r"own\.py:Net': ZeroDivisionError: .* \(own\.py, line 2\)$"),
        ("x = [1,\n", r"own\.py:Net': SyntaxError: '\[' was never closed \(own\.py, line 1\)$"),
        ("import nothing_like_this\n", r"own\.py:Net': ModuleNotFoundError: No module named .* \(own\.py, line 1\)$"),
        ("import json\njson.loads('{')\n", r"own\.py:Net': JSONDecodeError: .* \(own\.py, line 2\)$"),
        ("raise SystemExit(3)\n", r"own\.py:Net': SystemExit: 3 \(own\.py, line 1\)$"),
        ("import bad_neighbour\n", r"own\.py:Net': KeyError: 'k' \(bad_neighbour\.py, line 2\)$"),
        ("class Nett: pass\n", r"own\.py:Net': .*own\.py has no 'Net'\. Did you mean 'Nett'\?$"),
        ("\0", r"own\.py:Net': SyntaxError: source code string cannot contain null bytes"),
    ],
)
def test_what_fails_is_told_in_one_line(tmp_path, text, message):
    (tmp_path / "own.py").write_text(text)
    (tmp_path / "bad_neighbour.py").write_text("\n{}['k']\n")
    for _ in range(2):  # a second time too: what failed is not kept
        with pytest.raises(InputError, match=message) as caught:
            load_code(f"{tmp_path}/own.py:Net")
        assert "\n" not in str(caught.value)


def test_what_is_not_there_is_told_with_what_is_near(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^'onw\.py:Net': no such file\. Did you mean 'own\.py'\?$"):
        load_code("onw.py:Net")
    with pytest.raises(InputError, match=r"^'nowhere/net\.py:Net': no such file\.$"):
        load_code("nowhere/net.py:Net")
    with pytest.raises(InputError, match=r"^'torch\.nn:Lineer': torch\.nn has no 'Lineer'\. Did you mean 'Linear'\?$"):
        load_code("torch.nn:Lineer")
    with pytest.raises(InputError, match=r"^'nothing\.like\.this:x': no module 'nothing' is installed\.$"):
        load_code("nothing.like.this:x")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "net.py").write_text("")
    with pytest.raises(InputError, match=r"no module 'torch\.deep' is installed\.$"):
        load_code("torch.deep:x")
