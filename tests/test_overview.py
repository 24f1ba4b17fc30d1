from __future__ import annotations

import base64
import io
import re

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from truestep import assembly, models
from truestep.data import load
from truestep.overview import MOST_CLASSES, MOST_COLUMNS, MOST_NOTES, describe, doubts, of_run, sample, trimmed
from truestep.prediction import Predictor
from truestep.recipe import Recipe

RNG = np.random.default_rng(0)


class Says(nn.Module):
    """A model that answers what it is told to, whatever it is asked; by the first number of its input."""

    def __init__(self, answers):
        super().__init__()
        self.answers = nn.Parameter(answers, requires_grad=False)

    def forward(self, images=None, inputs=None, numeric=None):
        given = next(part for part in (images, inputs, numeric) if part is not None)
        return self.answers[given.flatten(1)[:, 0].round().long()]


def predictor_of(data, model=None):
    recipe = Recipe()
    resolved = assembly.resolve(recipe, data, torch.device("cpu"))
    if model is None:
        model = models.build(resolved.model.name, resolved.model.args)
    architecture = {"name": resolved.model.name, "args": resolved.model.args}
    return Predictor(model, architecture, assembly.choose_objective(recipe, data), data.encoder, data.target)


class Numbered(Dataset):
    """Examples that say which they are, of class 0 and 1 by turns; the last is said to be 0."""

    def __len__(self):
        return 80

    def __getitem__(self, row):
        return torch.full((1, 4, 6), float(row)), int(row % 2 and row < 79)


def test_a_doubtful_example_of_a_dataset_is_known_by_its_number_and_shown_as_it_is():
    data = load((Subset(range(60)), Subset(range(60, 79)), Subset([79])))
    sure = torch.tensor([[-4.0], [4.0]]).repeat(40, 1)
    (found,) = doubts(predictor_of(data, Says(sure)), data, images=True)
    assert (found["row"], found["split"], found["given"], found["predicted"]) == (79, "test", "0", "1")
    assert found["place"] == f"{data.name}, example 79"
    assert picture(found["image"]).size == (96, 64)


class Subset(Dataset):
    def __init__(self, rows):
        self.rows, self.whole = list(rows), Numbered()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        return self.whole[self.rows[place]]


def photos(folder, sizes=((40, 30), (50, 20))):
    """Write 40 images of two classes, each of one colour."""
    for number in range(40):
        path = folder / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = (number % 2 * 128 + number, 60, 2 * number)
        Image.new("RGB", sizes[number % 2], colour).save(path)
    return folder


def picture(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


def test_doubtful_images_are_known_by_their_files_and_shown_small(tmp_path):
    folder = photos(tmp_path / "photos")
    wrong = folder / "dark" / "99.png"
    Image.new("RGB", (40, 30), (250, 60, 80)).save(wrong)
    data = load(folder, valid=0.3, test=0.3, seed=next(seed for seed in range(99) if held_out(folder, seed)))

    class Light(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(9.0))

        def forward(self, images):
            return self.weight * images[:, 0].mean((1, 2))[:, None]

    found = doubts(predictor_of(data, Light()), data, images=True)
    assert [(doubt["place"], doubt["given"], doubt["predicted"]) for doubt in found] == [
        ("dark/99.png", "dark", "light")
    ]
    image = picture(found[0]["image"]).convert("RGB")
    assert max(image.size) <= 96
    assert (np.asarray(image) == (250, 60, 80)).all()
    assert "image" not in doubts(predictor_of(data, Light()), data)[0]


def held_out(folder, seed):
    data = load(folder, valid=0.3, test=0.3, seed=seed)
    rows = {*data.valid.rows.tolist(), *data.test.rows.tolist()}
    return any(data.table.column("image")[row] == "dark/99.png" for row in rows)


def test_small_images_keep_their_pixels():
    digits = load("digits")
    predictor = predictor_of(digits)
    found = doubts(predictor, digits, images=True)
    values = pl.from_numpy(
        np.stack([digits.train.examples[0][doubt["row"], 0].numpy() for doubt in found[:5]]).reshape(-1, 64)
    )
    for doubt, given in zip(found[:5], values.to_numpy(), strict=True):
        image = np.asarray(picture(doubt["image"]))
        assert image.shape == (96, 96)
        stretched = np.round((given - given.min()) / (given.max() - given.min()) * 255)
        assert np.abs(image[6::12, 6::12].flatten() - stretched).max() <= 1


def test_doubtful_texts_have_excerpts_and_are_not_mixed_up_though_they_come_by_length():
    wrong = {row for row in range(400) if row % 17 == 3}
    texts = [f"{'good' if row % 2 else 'bad'} {'word ' * (row * 7 % 23)}{row}" for row in range(400)]
    labels = ["ab"[row % 2 != (row in wrong)] for row in range(400)]
    data = load(pl.DataFrame({"text": texts, "label": labels}), target="label", kinds={"text": "text"})
    word = int(data.encoder.tokenizer.encode("good")[0])

    class Good(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(8.0))

        def forward(self, tokens, lengths):
            assert len(lengths) == len(tokens)
            return self.weight * ((tokens == word).any(1, keepdim=True).float() - 0.5)

    found = doubts(predictor_of(data, Good()), data)
    assert {doubt["row"] for doubt in found} == wrong & {*data.valid.rows.tolist(), *data.test.rows.tolist()}
    assert len(found) >= 4
    for doubt in found:
        assert doubt["text"] == texts[doubt["row"]]
        assert doubt["given"] == labels[doubt["row"]] != doubt["predicted"]


def test_rows_keep_the_lines_that_people_know_them_by(tmp_path):
    """Also behind rows that are left out for want of a target."""
    rows = [f"{row},{'' if row % 9 == 0 else row * 2 + (500 if row == 61 else 0)}" for row in range(400)]
    (tmp_path / "gaps.csv").write_text("\n".join(["x,y", *rows]) + "\n")
    for seed in range(20):
        data = load(
            tmp_path / "gaps.csv", target="y", kinds={"x": "numeric"}, task="regression", seed=seed, valid=0.3, test=0.3
        )
        lines = {data.table.place(int(row)) for part in (data.valid, data.test) for row in part.rows}
        if "gaps.csv, line 63" in lines:
            break

    class Doubles(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(1.0))

        def forward(self, numeric):
            column = data.encoder.numeric[0]
            values = (numeric[:, :1] * column.std + column.mean) * 2
            objective = assembly.choose_objective(Recipe(), data)
            return self.weight * (values - float(objective.to_json()["mean"][0])) / float(objective.to_json()["std"][0])

    found = doubts(predictor_of(data, Doubles()), data)
    assert [(doubt["row"], doubt["place"]) for doubt in found] == [(61, "gaps.csv, line 63")]
    assert found[0]["given"] == 622
    assert found[0]["predicted"] == pytest.approx(122, abs=0.1)
    assert found[0]["deviations"] > 10


def test_a_window_is_known_by_the_row_that_it_is_asked_about(tmp_path):
    """The last row of all is odd; the rows of the file are in another order than those of time."""
    order = RNG.permutation(200)
    rows = [f"{day},{day % 10 + (900 if day == 199 else 0)}.5" for day in order]
    (tmp_path / "days.csv").write_text("\n".join(["day,y", *rows]) + "\n")
    data = load(tmp_path / "days.csv", target="y", time="day", window=5)

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(0.0))

        def forward(self, numeric):
            return self.weight * numeric[:, 0, :1]

    (found,) = doubts(predictor_of(data, Mean()), data)
    assert found["row"] == int(np.flatnonzero(order == 199)[0])
    assert found["place"] == f"days.csv, line {found['row'] + 2}"
    assert found["given"] == 909.5


def test_what_has_no_label_is_not_doubted():
    several = (RNG.normal(size=(60, 3)), RNG.normal(size=(60, 2)))
    text = pl.DataFrame({"text": ["the quick brown fox jumps over it " * 9] * 30})
    for data in (
        load(several),
        load("iris", valid=0, test=0),
        load(text, task="next-token", kinds={"text": "text"}, valid=0, test=0),
    ):
        assert doubts(predictor_of(data), data) is None
    iris = load("iris")
    assert doubts(predictor_of(iris, Says(torch.full((9, 3), torch.nan))), iris) is None


def test_lengths_of_texts_are_those_of_whole_texts():
    texts = [f"{'word ' * (row % 40)}end{'!' * (row % 3)}" for row in range(300)]
    frame = pl.DataFrame({"text": texts, "y": ["ab"[row % 2] for row in range(300)]})
    data = load(frame, target="y", kinds={"text": "text"}, length=8)
    inputs = describe(data)["inputs"]
    counts = [len(re.findall(r"\w+|!", text)) for text in texts]
    assert inputs["longest"] == max(counts)
    assert inputs["median"] == np.percentile(counts, 50, method="higher")
    assert inputs["within_95"] == np.percentile(counts, 95, method="higher")
    assert inputs["unknown"] == 0
    assert inputs["length"] == 8
    held = load(
        pl.DataFrame({"text": [f"only{row} here" for row in range(300)], "y": frame["y"]}),
        target="y",
        kinds={"text": "text"},
    )
    assert describe(held)["inputs"]["unknown_held_out"] == 0.5


def test_sizes_of_images_are_those_of_the_files(tmp_path):
    inputs = describe(load(photos(tmp_path / "photos")))["inputs"]
    assert inputs["looked_at"] == 40
    assert inputs["sizes"] == [{"width": 40, "height": 30, "images": 20}, {"width": 50, "height": 20, "images": 20}]
    assert (inputs["smallest"], inputs["largest"], inputs["channels"]) == ([40, 20], [50, 30], 3)


def test_a_text_goes_on_where_a_held_out_one_begins(tmp_path):
    (tmp_path / "book.txt").write_text("".join(f"It was the best of times, it was line {row}.\n" for row in range(90)))
    data = load(tmp_path / "book.txt")
    predictor = predictor_of(data)
    found = sample(predictor, data)
    test = data.table.frame["text"][0][-900:] if len(data.table.frame) == 1 else ""
    assert found["prompt"]
    assert found["prompt"].strip() in test
    assert len(found["continuation"]) > 20
    assert sample(predictor, data) == found, "the same each time"
    assert sample(predictor, data, seed=1) != found
    assert sample(predictor_of(load("iris")), load("iris")) is None


def test_what_a_run_keeps_is_small():
    frame = pl.DataFrame(
        {f"x{column}": RNG.normal(size=60) for column in range(500)} | {"y": ["ab"[row % 2] for row in range(60)]}
    )
    whole = describe(load(frame, target="y"))
    kept = trimmed(whole)
    assert len(whole["columns"]) == 501
    assert (len(kept["columns"]), kept["left_out"]["columns"]) == (MOST_COLUMNS, 301)
    assert kept["alone"].keys() <= {column["name"] for column in kept["columns"]}
    many = whole | {"classes": {f"class {i}": i for i in range(3000)}, "notes": ["note"] * 300, "problems": []}
    kept = trimmed(many)
    assert kept["left_out"] == {"columns": 301, "classes": 2000, "notes": 200}
    assert len(kept["classes"]) == MOST_CLASSES
    assert min(kept["classes"].values()) == 2000
    assert len(kept["notes"]) == MOST_NOTES


def test_cells_are_shortened():
    data = load(
        pl.DataFrame(
            {"text": [f"{row} " + "very long " * 1000 for row in range(40)], "y": ["ab"[row % 2] for row in range(40)]}
        ),
        target="y",
        kinds={"text": "text"},
    )
    column = next(column for column in describe(data)["columns"] if column["name"] == "text")
    assert max(map(len, column["examples"])) < 250


def test_looking_draws_no_random_number_and_leaves_the_model_as_it_was():
    data = load("digits")
    predictor = predictor_of(data)
    predictor.model.train()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    of_run(predictor, data, 0)
    assert predictor.model.training
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
