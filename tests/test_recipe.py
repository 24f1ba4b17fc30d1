"""A recipe says every choice once, and refuses what it does not know."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

import truestep as ts
from truestep.errors import InputError
from truestep.recipe import Recipe, section_fields, short_names


def test_toml_gives_the_same_recipe_back(tmp_path):
    recipe = Recipe().changed(
        {
            "epochs": 7,
            "lr": 0.1,
            "max-grad-norm": 1.0,
            "data.drop": ["a", "b"],
            "data.kinds": {"zip": "categorical"},
            "model.args": {"hidden": [64, 32], "dropout": 0.5},
            "data.source": 'a "quoted"\nname \\ and ünïcode',
        }
    )
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")

    assert Recipe.from_toml(path) == recipe
    assert recipe.train.epochs == 7
    assert recipe.train.max_minutes == math.inf


def test_every_choice_has_a_help_text_and_a_default_that_fits():
    recipe = Recipe()
    for section in fields(Recipe):
        for option in section_fields(section.name):
            assert option.metadata["help"]
            value = getattr(getattr(recipe, section.name), option.name)
            assert recipe.changed({f"{section.name}.{option.name}": value}) == recipe


def test_short_names_are_unique():
    assert len(set(short_names().values())) == len(short_names())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[train]\nepoch = 3", "line 2, train.epoch: no such choice. Did you mean 'epochs'?"),
        ("[train]\n\nlog = 1", "line 3, train.log: no such choice. Known: "),
        ("[trian]\nepochs = 3", "[trian]: no such section. Did you mean 'train'?"),
        ("train.epochs = 'x'", "line 1, train.epochs: expected a whole number, found 'x'"),
        ("[train]\nepochs = 1.5", "train.epochs: expected a whole number, found 1.5"),
        ("[train]\nepochs = true", "train.epochs: expected a whole number, found True"),
        ("[train]\nepochs = -1", "train.epochs: expected a number of at least 1, found -1"),
        ("[train]\nmicro_batch = 'frog'", "train.micro_batch: expected a number or auto, found 'frog'"),
        ("[train]\nprecision = 'bf17'", "Did you mean 'bf16'?"),
        ("[data]\nvalid = 1.0", "data.valid: expected a number of at least 0 and below 1, found 1.0"),
        ("[data]\ndrop = 3", "data.drop: expected a list of texts, found 3"),
        ("[data]\nkinds = 3", "data.kinds: expected NAME = VALUE pairs, found 3"),
        ("[optimizer]\nnesterov = 1", "optimizer.nesterov: expected true or false, found 1"),
        ("[optimizer]\nlr = nan", "optimizer.lr: expected a number above 0, found nan"),
        ("[optimizer]\nname = 3", "optimizer.name: expected text, found 3"),
        ("epochs = 3", "line 1, epochs: expected a [section], found a value"),
        ("[train", "not valid TOML"),
        ("a." * 5000 + "b = 1", "[a]: no such section"),
        ("x = " + "[" * 20000, "not valid TOML"),
        ("# " + "x" * 70000, "at most 64 kB"),
    ],
)
def test_a_wrong_recipe_file_is_refused_in_one_line(tmp_path, content, said):
    path = tmp_path / "recipe.toml"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        Recipe.from_toml(path)

    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_choices_in_python_are_checked_too():
    with pytest.raises(InputError, match=r"epoch: no such choice\. Did you mean 'epochs'"):
        ts.train("digits", epoch=3)
    with pytest.raises(InputError, match=r"train\.epochs: expected a whole number, found 'x'"):
        ts.train("digits", epochs="x")
