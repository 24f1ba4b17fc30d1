from __future__ import annotations

import json
import math
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truestep import folder as run_folder
from truestep.errors import InputError, RefusedError, TruestepError
from truestep.recipe import Recipe
from truestep.report import _log_ticks, _ticks, duration, number, printable, write_report

PAYLOADS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style>", "{{7*7}}", "&lt;", "'; --"]
NAN = math.nan
VOID = {"meta", "link", "img", "br", "input"}


def write_run(
    folder,
    *,
    classes=("cat", "dog", "fox"),
    epochs=4,
    valid=True,
    test=True,
    finished=True,
    task="multiclass",
    steps=(),
    text="plain",
    losses=None,
    accuracies=None,
    monitor="valid_loss",
):
    """Leave in `folder` what a run leaves; `text` stands in every place that a user's words can reach."""
    folder.mkdir(parents=True, exist_ok=True)
    choices = {
        "data.source": text,
        "target": text,
        "objective": task,
        "model": "mlp",
        "data.drop": [text],
        "monitor": monitor,
    }
    recipe = Recipe().changed(choices | {"model.args": {text: text}})
    (folder / "recipe.toml").write_text(recipe.to_toml())
    environment = {"versions": {"torch": text}, "gpus": [text], "command": ["truestep", text], "git_commit": None}
    (folder / "environment.json").write_text(run_folder.to_json(environment))

    rows = list(steps)
    for epoch in range(1, epochs + 1):
        row = {"kind": "epoch", "epoch": epoch, "step": 10 * epoch, "train_loss": 1 / epoch}
        if valid:
            row["valid_loss"] = losses[epoch - 1] if losses else 2 / epoch
            row |= (
                {"valid_rmse": 3 / epoch, "valid_r2": 0.5}
                if task == "regression"
                else {"valid_accuracy": accuracies[epoch - 1] if accuracies else 0.75}
            )
        rows.append(row | {"lr": 0.01 / epoch, "seconds": 0.5 * epoch})
    (folder / "metrics.jsonl").write_text("".join(run_folder.to_json(row) + "\n" for row in rows))
    if not finished:
        return folder

    size, splits = len(classes), [name for name, there in (("valid", valid), ("test", test)) if there]
    if task == "regression":
        metrics = {"loss": 0.51234567, "rmse": 12.3456789, "r2": 0.61728394}
        details = {}
    else:
        metrics = {"loss": 0.51234567, "accuracy": 0.98765432, "f1": 1 / 3, "log_loss": 1.25e-5, "roc_auc": NAN}
        matrix = [[1000 + i if i == j else (i + 2 * j) % 7 for j in range(size)] for i in range(size)]
        figures = [{"precision": 0.1 + i / 1000, "recall": 0.2, "f1": NAN, "support": 1234 + i} for i in range(size)]
        details = {"confusion_matrix": matrix, "per_class": figures}
    results = {
        "objective": task,
        "model": "mlp",
        "parameters": 123456,
        "metrics": {split: {n: v + 0.001 * i for n, v in metrics.items()} for i, split in enumerate(splits)},
        "intervals_95": {"test": {n: [v - 0.0123, v + 0.0045] for n, v in metrics.items() if n != "loss"}}
        if test
        else {},
        "details": dict.fromkeys(splits, details),
        "classes": None if task == "regression" else list(classes),
        "examples": {"train": 7001, "valid": 1501 * valid, "test": 1502 * test},
        "monitor": "valid_loss",
        "best_epoch": epochs,
        "epochs": epochs,
        "steps": 10 * epochs,
        "skipped": 0,
        "stopped": "epochs",
        "seconds": 75.5,
        "examples_per_second": 3210.5,
        "seed": 17,
        "versions": {},
    }
    (folder / "results.json").write_text(run_folder.to_json(results, indent=2))
    return folder


PIXEL = "data:image/png;base64,iVBORw0KGgo="


def with_data(folder, *, text="plain", columns=3, classes=3, doubts=2, images=False, texts=False, **others):
    """Add what newer runs keep of their data; `text` stands in every place that words from files can reach."""
    names = [f"{text} {number}" for number in range(max(columns, classes))]
    path = folder / "results.json"
    doubt = {"row": 7, "place": text, "split": "test", "given": text, "predicted": text, "probability": 0.8765}
    doubt |= {"image": PIXEL} if images else {"text": text} if texts else {}
    column = {"kind": "numeric", "missing": 4321, "distinct": 77, "range": [0.5, 2.5]}
    word = {"kind": text, "missing": 0, "distinct": 3, "examples": [text, text]}
    data = {
        "name": text,
        "target": {"task": "multiclass", "name": text, "class_names": None, "num_outputs": 3, "reason": text},
        "split_by": text,
        "inputs": {"kind": "table"},
        "summary": {"inputs": text},
        "rows": 2468,
        "columns": [{"name": name} | (column if number % 2 else word) for number, name in enumerate(names[:columns])],
        "classes": {name: 100 + 10 * number for number, name in enumerate(names[:classes])},
        "splits": {"train": 1700, "valid": 350, "test": 0},
        "imbalance": 1.2,
        "copies": {},
        "alone": {names[1]: 0.8642} if columns > 1 else {},
        "notes": [text],
        "problems": [text],
        "left_out": {"columns": 800, "notes": 5},
    }
    words = dict.fromkeys(("rule", "severity", "file", "message", "fix"), text)
    doctor = {"findings": [words | {"line": 12}, words | {"file": None, "line": None}]}
    added = {"data": data, "suspects": [doubt] * doubts, "sample": {"prompt": text, "continuation": text}}
    added |= {"doctor": doctor} | others
    path.write_text(json.dumps(json.loads(path.read_text()) | added))
    return folder


class Page(HTMLParser):
    """What a browser would make of the page: its elements, and the text in each."""

    def __init__(self, folder):
        super().__init__()
        self.source = write_report(folder).read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(self.source)
        self.close()
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} is given twice"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def shape(self):
        return Counter((tag, *attributes) for tag, attributes in self.elements)

    def exact(self):
        return {attributes["value"] for tag, attributes in self.elements if tag == "data"}

    def paths(self, kind):
        return [a["d"] for tag, a in self.elements if tag == "path" and a["class"].split()[0] == kind]


def points(path):
    return len(re.findall(r"[ML]", path))


def numbers_in(content):
    if isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from numbers_in(part)
    elif isinstance(content, int | float) or content == "NaN":
        yield content


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_every_number_of_the_results_is_on_the_page(tmp_path, task):
    folder = write_run(tmp_path / "run", task=task)
    page, results = Page(folder), json.loads((folder / "results.json").read_text())
    for part in ("metrics", "intervals_95", "examples", "parameters", "epochs", "steps", "examples_per_second"):
        assert {str(value) for value in numbers_in(results[part])} <= page.exact(), part
    for details in results["details"].values():
        assert {str(value) for value in numbers_in(details.get("per_class", []))} <= page.exact()
        cells = [text for text in page.texts if re.fullmatch(r"[\d,]+", text)]
        counts = [f"{count:,}" for count in numbers_in(details.get("confusion_matrix", []))]
        assert not Counter(counts) - Counter(cells)
    assert "seed 17" in page.text
    assert "1 min 16 s" in page.text


def test_words_of_the_user_add_no_element_and_no_attribute(tmp_path):
    plain = write_run(tmp_path / "plain", classes=[f"class {i}" for i in range(len(PAYLOADS))])
    expected = Page(plain).shape()
    for payload in PAYLOADS:
        folder = tmp_path / payload.replace("/", "\N{DIVISION SLASH}")
        page = Page(write_run(folder, classes=PAYLOADS, text=payload))
        assert page.shape() == expected
        for name in (*PAYLOADS, payload):
            assert name in page.texts, "it is shown as it was written"
        assert not {"script", "img"} & {tag for tag, _ in page.elements}
        assert "49" not in page.texts


@given(st.lists(st.text(min_size=1), min_size=2, max_size=4, unique=True))
@settings(max_examples=25, deadline=None)
def test_any_class_name_is_text(tmp_path_factory, names):
    page = Page(write_run(tmp_path_factory.mktemp("any") / "run", classes=names))
    shown = [a["title"] for tag, a in page.elements if tag == "th" and "title" in a]
    assert [printable(name) for name in names] == shown[: len(names)]


@pytest.mark.parametrize("kind", [{}, {"images": True}, {"texts": True}])
def test_words_from_the_data_add_no_element_and_no_attribute(tmp_path, kind):
    expected = Page(with_data(write_run(tmp_path / "plain"), **kind)).shape()
    for payload in PAYLOADS:
        folder = tmp_path / payload.replace("/", "\N{DIVISION SLASH}")
        page = Page(with_data(write_run(folder), text=payload, **kind))
        assert page.shape() == expected
        for shown in (payload, f"{payload} 0", f"{payload}, {payload}"):
            assert shown in page.texts, "it is shown as it was written"
        assert "script" not in {tag for tag, _ in page.elements}
        assert {a.get("src") for tag, a in page.elements if tag == "img"} <= {PIXEL}


@pytest.mark.parametrize(
    "image",
    [
        "https://example.org/a.png", "javascript:alert(1)", "data:text/html;base64,AAAA", "data:image/svg+xml;base64,AAAA",
        'data:image/png;base64,AA" onerror="alert(1)', "data:image/png;base64,", "data:image/png;base64,AAAA\n", 7,
    ],
)  # fmt: skip
def test_a_picture_that_is_no_png_in_the_page_is_left_out(tmp_path, image):
    folder = with_data(write_run(tmp_path / "run"), images=True)
    results = json.loads((folder / "results.json").read_text())
    results["suspects"][0]["image"] = image
    (folder / "results.json").write_text(json.dumps(results))
    pictures = [a for tag, a in Page(folder).elements if tag == "img"]
    assert [picture["src"] for picture in pictures] == [PIXEL]


def test_the_page_shows_what_was_understood_of_the_data(tmp_path):
    page = Page(with_data(write_run(tmp_path / "run")))
    assert {"2468", "4321", "0.8642", "1700", "350", "110", "120"} <= page.exact()
    assert "0.5 to 2.5" in page.texts
    assert [a["style"] for tag, a in page.elements if tag == "td" and a.get("class") == "bar"][-3:] == [
        f"--length:{100 * count / 120:.1f}%" for count in (100, 110, 120)
    ]
    assert "33.3 %" in page.text
    assert "and 5 more" in page.text
    assert "87.6%" in page.text or "87.7%" in page.text
    assert [a for tag, a in page.elements if a.get("class") == "warning"], "a problem stands out"


def test_what_would_fill_the_page_is_folded_away(tmp_path):
    def folded(folder):
        page = Page(folder)
        return [text.strip() for text in page.texts if re.match(r"\s*\d+ (classes|columns)", text)]

    assert folded(with_data(write_run(tmp_path / "few"), columns=12, classes=20)) == []
    many = folded(with_data(write_run(tmp_path / "many"), columns=13, classes=21))
    assert many == ["21 classes", "813 columns, the first 13 of them"]
    nothing = Page(with_data(write_run(tmp_path / "none"), columns=0, classes=0, doubts=0))
    assert "The model doubts none of the labels" in nothing.text


def test_a_run_without_labels_to_doubt_says_nothing_of_them(tmp_path):
    page = Page(with_data(write_run(tmp_path / "run"), suspects=None))
    assert "Doubtful labels" not in page.text
    older = Page(write_run(tmp_path / "older"))
    assert not [words for words in ("Doubtful labels", "A text that goes on", "Notes") if words in older.texts]
    assert "Data" not in older.texts


def test_mistakes_are_shown_with_their_line_and_what_to_write_instead(tmp_path):
    page = Page(with_data(write_run(tmp_path / "run"), text="words"))

    assert "words:12" in page.text
    assert "Instead: words" in page.text
    assert "Mistakes" not in Page(with_data(write_run(tmp_path / "none"), doctor=None)).text
    assert "Mistakes" not in Page(with_data(write_run(tmp_path / "old"), doctor={"findings": []})).text


def test_control_characters_and_turned_text_are_left_out(tmp_path):
    odd = "a\x00b\x1b[31mc\u202ed\ud800e\x85f"
    folder = write_run(tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    results["classes"] = [odd, "dog", "fox"]
    (folder / "results.json").write_text(json.dumps(results))
    page = Page(folder)
    assert "ab[31mcdef" in page.texts
    assert not re.search("[\x00\x1b\u202e\x85]", page.source)


def test_a_class_called_nan_keeps_its_name(tmp_path):
    page = Page(write_run(tmp_path / "run", classes=("NaN", "Infinity", "None")))
    shown = [a["title"] for tag, a in page.elements if tag == "th" and "title" in a]
    assert shown[:3] == ["NaN", "Infinity", "None"]


def test_the_page_loads_nothing_and_runs_nothing(tmp_path):
    page = Page(write_run(tmp_path / "run"))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "use", "image"}
    names = {name for _, attributes in page.elements for name in attributes}
    assert not names & {"src", "href", "xlink:href", "srcset", "action"}
    assert not [name for name in names if name.startswith("on")]
    assert not re.search(r"https?:|url\(|@import", page.source)
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@pytest.mark.parametrize("epochs", [2, 3, 30, 400])
def test_a_curve_has_one_point_an_epoch(tmp_path, epochs):
    page = Page(write_run(tmp_path / "run", epochs=epochs))
    assert [points(path) for path in page.paths("curve")] == [epochs] * 4  # train, valid, accuracy, learning rate
    assert len([a for tag, a in page.elements if a.get("class", "").startswith("hover")]) <= 3 * 121


def test_curves_of_single_updates_are_drawn_when_they_are_finer_than_epochs(tmp_path):
    steps = [
        {"kind": "step", "epoch": (s - 1) // 10 + 1, "step": s, "loss": 1 / s, "lr": 0.1 / s} for s in range(1, 51)
    ]
    page = Page(write_run(tmp_path / "run", epochs=4, steps=steps))
    loss, *_, rate = page.paths("curve")
    assert points(loss) == points(rate) == 50
    across = [float(x) for x in re.findall(r"[ML]([\d.]+)", loss)]
    assert across == sorted(across), "the tenth update of an epoch is its end, and the unfinished fifth comes last"
    assert across[38] == pytest.approx(1000 * (3.9 - 0.1) / (5.0 - 0.1), abs=0.2)  # the ninth update of epoch 4

    one = Page(write_run(tmp_path / "one", epochs=1, steps=steps[:10]))
    assert [points(path) for path in one.paths("curve")] == [10, 1, 1, 1, 10]


def test_the_best_epoch_is_marked(tmp_path):
    losses = [3.0, 2.0, 1.0, 1.5, 2.5]
    stopped = Page(write_run(tmp_path / "stopped", epochs=5, losses=losses, finished=False))
    assert stopped.paths("best") == ["M500.0 0V1000"] * 2  # of loss and accuracy, not of the learning rate

    scores = {"accuracies": [0.5, NAN, 0.6, 0.9, 0.7], "monitor": "valid_accuracy"}
    higher = Page(write_run(tmp_path / "higher", epochs=5, finished=False, **scores))
    assert higher.paths("best") == ["M750.0 0V1000"] * 2

    folder = write_run(tmp_path / "run", epochs=5, losses=losses)
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(results | {"best_epoch": 2}))
    assert Page(folder).paths("best") == ["M250.0 0V1000"] * 2
    assert "epoch 2 , the best by valid_loss" in Page(folder).text


def test_nan_is_shown_as_nan(tmp_path):
    folder = write_run(tmp_path / "run", epochs=6, losses=[3.0, NAN, 1.0, NAN, math.inf, 2.0])
    page = Page(folder)
    valid = page.paths("curve")[1]
    assert re.sub(r"[\d. ]+", " ", valid) == "M h M h M h ", "three points, alone between gaps"
    assert len(page.paths("hole")) == 3
    assert "NaN or infinite" in page.text
    assert page.texts.count("NaN") >= 2 + 2  # ROC AUC of both splits, and the two epochs


def test_skipped_updates_are_told(tmp_path):
    folder = write_run(tmp_path / "run")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps(row | {"skipped": 3 * row["epoch"]}) + "\n" for row in rows)
    )
    assert "12 updates were skipped, because their numbers were not finite" in Page(folder).text


def test_a_run_that_did_not_finish_shows_its_curves_and_says_so(tmp_path):
    page = Page(write_run(tmp_path / "a run", finished=False))
    assert "This run did not finish" in page.text
    assert f"truestep train --resume '{tmp_path}/a run'" in page.text
    assert len(page.paths("curve")) == 4
    assert "95 %" not in page.text

    nothing = Page(write_run(tmp_path / "nothing", epochs=0, finished=False))
    assert "Nothing was logged" in nothing.text


@pytest.mark.parametrize("valid", [False, True])
@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize("epochs", [1, 5])
def test_splits_may_be_missing(tmp_path, valid, test, task, epochs):
    page = Page(write_run(tmp_path / "run", valid=valid, test=test, task=task, epochs=epochs))
    assert ("The weights kept are those of epoch" in page.text) is valid
    assert ("95 %" in page.text) is test
    assert bool(page.paths("best")) is valid
    assert ("Classes on" in page.text) is (task == "multiclass" and (valid or test))


def test_too_many_classes_become_the_worst_confusions(tmp_path):
    names = [f"class {i}" for i in range(51)]
    page = Page(write_run(tmp_path / "run", classes=names))
    assert "51 classes are too many for a table to be read" in page.text
    assert "predicted as" in page.text
    assert not [a for tag, a in page.elements if a.get("class", "").startswith("matrix")]
    assert page.texts.count("1,000") == 0, "right answers are no confusions"
    assert Page(write_run(tmp_path / "fifty", classes=names[:50])).texts.count("1,000") == 2


def test_cells_say_what_they_count(tmp_path):
    page = Page(write_run(tmp_path / "run"))
    titles = [a["title"] for tag, a in page.elements if tag == "td" and "title" in a]
    assert titles[:2] == ["cat, predicted as cat: 1,000 of 1,006 (99.4%)", "cat, predicted as dog: 2 of 1,006 (0.2%)"]


def test_how_to_run_it_again(tmp_path):
    folder = write_run(tmp_path / "a run")
    assert f"truestep train --recipe '{folder}/recipe.toml'" in Page(folder).text
    (folder / "recipe.toml").write_text(Recipe().to_toml())
    assert "The data came from Python" in Page(folder).text


def test_the_same_run_gives_the_same_page(tmp_path):
    folder = write_run(tmp_path / "run")
    assert Page(folder).source == Page(folder).source


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("recipe.toml", None, InputError),
        ("recipe.toml", "[train", InputError),
        ("metrics.jsonl", None, InputError),
        ("metrics.jsonl", '{"kind": "epoch", "ep\n', RefusedError),
        ("metrics.jsonl", "3\n", RefusedError),
        ("metrics.jsonl", b"\xff\xfe\n", RefusedError),
        ("metrics.jsonl", '{"kind": "epoch"}\n', RefusedError),
        ("metrics.jsonl", '{"kind": "other", "epoch": 1, "step": 1}\n', RefusedError),
        ("metrics.jsonl", '{"kind": "epoch", "epoch": 1, "step": "NaN"}\n', RefusedError),
        ("metrics.jsonl", '{"kind": "epoch", "epoch": 1, "step": 1, "skipped": "NaN"}\n', RefusedError),
        ("metrics.jsonl", '{"kind": "epoch", "epoch": 1, "step": 1, "train_loss": "low"}\n', RefusedError),
        ("environment.json", None, InputError),
        ("environment.json", "[1, 2]", RefusedError),
        ("results.json", "", RefusedError),
        ("results.json", "[" * 100_000, RefusedError),
        ("results.json", "{}", RefusedError),
    ],
)
def test_missing_and_damaged_files_are_named_in_one_line(tmp_path, name, content, error):
    folder = write_run(tmp_path / "run")
    before = write_report(folder).read_bytes()
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(error) as raised:
        write_report(folder)
    message = str(raised.value)
    assert name in message
    assert "\n" not in message
    assert (folder / "report.html").read_bytes() == before, "the page from before is still whole"


def refusal(folder):
    try:
        Page(folder)
    except TruestepError as error:
        return str(error)
    return ""


def test_any_part_of_the_results_may_be_damaged(tmp_path):
    """Whatever one value is replaced by: the page, or one line that names the file."""
    folder = write_run(tmp_path / "run")
    results = json.loads((with_data(folder, images=True) / "results.json").read_text())
    places = [(results, name) for name in results]
    places += [
        (results[part], name) for part in ("metrics", "details", "examples", "data", "sample") for name in results[part]
    ]
    places += [(results["details"]["test"], name) for name in ("confusion_matrix", "per_class")]
    places += [(results["data"]["columns"][1], name) for name in results["data"]["columns"][1]]
    places += [
        (results["data"]["target"], "name"),
        *((results["suspects"][0], name) for name in results["suspects"][0]),
        *((results["doctor"]["findings"][0], name) for name in results["doctor"]["findings"][0]),
    ]
    refused = 0
    odds = (None, 3, "NaN", "text", [], {}, [[1]], [{"f1": []}], {"a": None}, 1e400, 10**400, -1, True)
    for place, (parent, name) in enumerate(places):
        kept = parent[name]
        for odd in odds if parent is results else odds[place % 3 :: 3]:
            parent[name] = odd
            (folder / "results.json").write_text(json.dumps(results))
            message = refusal(folder)
            refused += message != ""
            assert message == "" or ("results.json" in message and "\n" not in message)
        parent[name] = kept
    assert refused > 100


def test_no_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: no such folder\. Expected the folder of a run\."):
        write_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.98518518, "0.9852"), (1.0, "1.0000"), (54.3219, "54.32"), (1257, "1,257"), (3214.52, "3,214.5"),
        (0.00321, "0.00321"), (3e-5, "3e-05"), (0.0, "0"), (-0.0, "0"), (-0.5, "\N{MINUS SIGN}0.5000"),
        (12345678.9, "1.23e+07"), (NAN, "NaN"), (math.inf, "Infinity"), (-math.inf, "\N{MINUS SIGN}Infinity"),
    ],
)  # fmt: skip
def test_numbers_have_the_digits_a_reader_needs(value, text):
    assert number(value) == text


def test_durations_are_read_at_a_glance():
    found = [duration(seconds) for seconds in (0.04, 12.34, 75.5, 3600, 7384.2, NAN)]
    assert found == ["0.0 s", "12.3 s", "1 min 16 s", "1 h 0 min", "2 h 3 min", "nan s"]


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_ticks_are_few_and_reach_around_the_values(a, b):
    low, high = sorted((a, b))
    ticks = _ticks(low, high)
    assert ticks == sorted(set(ticks))
    assert 2 <= len(ticks) <= 9
    slack = 1e-8 * max(abs(low), abs(high), 1e-280)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack


@given(st.floats(1e-300, 1e10), st.floats(51, 1e200))
def test_logarithmic_ticks_lie_between_the_values(low, ratio):
    ticks = _log_ticks(low, low * ratio)
    assert 1 <= len(ticks) <= 7
    assert low * 0.999 <= ticks[0] <= ticks[-1] <= low * ratio * 1.001


@pytest.mark.parametrize(
    "losses",
    [[NAN, NAN], [0.0, 0.0], [5.0, 5.0], [-3.0, -3.0], [1e-30, 1e30], [1.7e308, -1.7e308], [0.1, 0.1 + 1e-17], [5e-324, 1e-320]],
)  # fmt: skip
def test_any_losses_can_be_drawn(tmp_path, losses):
    page = Page(write_run(tmp_path / "run", epochs=2, losses=losses))
    assert "nan" not in " ".join(page.paths("curve"))
