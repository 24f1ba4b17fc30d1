"""Words from data and from names of files stay words: in the report, in the terminal, in what is predicted."""

from __future__ import annotations

import csv
import io
import random
import re
from collections import Counter
from html.parser import HTMLParser

import pytest

pytestmark = pytest.mark.fault
PAYLOADS = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<svg/onload=alert(1)>", "</script><script>alert(1)",
    "</style><style>*{display:none}", "<!--", "-->", "]]>", "<a href=javascript:alert(1)>x</a>", "' onmouseover='alert(1)",
    '" autofocus onfocus=alert(1) x="', "<iframe srcdoc=x>", "<math><mi xlink:href=x>", "<base href=//x>", "&lt;b&gt;",
    "&#60;script&#62;", "{{7*7}}", "{% raw %}", "${7*7}", "<%= 7*7 %>", "expression(alert(1))", "url(javascript:alert(1))",
    "=cmd|'/c calc'!A1", "+1+1", "@SUM(1)", "\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "a\rb", "\u202egnp.exe",
    "\u2028line", "\ufefftop", "<meta http-equiv=refresh content=0>", "\\u003cscript\\u003e",
]  # fmt: skip
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Page(HTMLParser):
    def __init__(self, source):
        super().__init__()
        self.elements = Counter()
        self.attributes = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.elements[tag, *(name for name, _ in attrs)] += 1
        self.attributes += attrs

    handle_startendtag = handle_starttag


def table(words, plain) -> str:
    """Return rows whose classes, columns and categories are these words."""
    draw, file = random.Random(0), io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["label", "kind", *words])
    for row in range(8 * len(words)):
        label = row % len(words)
        writer.writerow(
            [words[label], words[(row * 7) % len(words)], *(round(draw.random() + label, 3) for _ in words)]
        )
    return file.getvalue()


@pytest.fixture(scope="module")
def ended(server, tmp_path_factory):
    """What the commands say and write, of payloads and of plain words."""
    found = {}
    for kind, words in {"plain": [f"word {n}" for n in range(len(PAYLOADS))], "payload": PAYLOADS}.items():
        folder = tmp_path_factory.mktemp(kind)
        name = "plain" if kind == "plain" else "<img src=x onerror=alert(1)>\x1b[31m\u202e"
        (folder / f"{name}.csv").write_text(table(words, kind), newline="")
        options = ["--target", "label", "--model", "linear", "--epochs", "1", "--no-doctor", "--out", f"run {name}"]
        said = [
            server.run("train", f"{name}.csv", *options, folder=folder),
            server.run("data", f"{name}.csv", "--target", "label", folder=folder),
            server.run("evaluate", f"run {name}", folder=folder),
            server.run("predict", f"run {name}", f"{name}.csv", "--out", "out.csv", folder=folder),
            server.run("predict", f"run {name}", f"no {name}.csv", folder=folder),
            server.run("train", f"{name}.csv", "--target", f"x{words[9]}", folder=folder),
            server.run("train", f"{name}.csv", "--target", "label", "--data.drop", f"x{words[25]}", folder=folder),
        ]
        found[kind] = (folder, f"run {name}", said)
    return found


def test_no_element_and_no_attribute_is_new(ended):
    pages = {kind: Page((folder / run / "report.html").read_text()) for kind, (folder, run, _) in ended.items()}
    assert pages["payload"].elements.keys() == pages["plain"].elements.keys()  # how many depends on the split
    names = {name for name, _ in pages["payload"].attributes}
    assert not [name for name in names if name.startswith("on")]
    links = [
        value for name, value in pages["payload"].attributes if name in ("href", "src", "action", "srcdoc", "style")
    ]
    assert not [value for value in links if "javascript" in value or "alert" in value]
    policy = dict(pages["payload"].attributes)["content"]
    assert any("default-src 'none'" in value for name, value in pages["payload"].attributes if name == "content"), (
        policy
    )


def test_nothing_reaches_the_terminal_that_it_would_obey(ended):
    _, _, said = ended["payload"]
    for one in said:
        assert not CONTROL.search(one.err), one.err
        assert not CONTROL.search(one.out), one.out
    assert [one.code for one in said[:4]] == [0, 2, 0, 0], [one.err for one in said]  # the data gives its classes away
    for one in said[4:]:
        assert one.line


def test_they_are_words_as_they_were(ended):
    folder, _, _ = ended["payload"]
    rows = list(csv.DictReader(io.StringIO((folder / "out.csv").read_text(), newline="")))
    assert {row["prediction"] for row in rows} <= set(PAYLOADS)
    shown = {name.removeprefix("probability_") for name in rows[0] if name != "prediction"}
    assert len(shown & set(PAYLOADS)) > 30


def test_what_is_wrong_would_be_seen():
    assert Page("<p>&lt;b&gt;</p>").elements == Page("<p>b</p>").elements
    for payload in ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)"):
        assert Page(f"<p title='{payload}'>{payload}</p>").elements != Page("<p title='x'>x</p>").elements
    assert CONTROL.search("\x1b[31m")
