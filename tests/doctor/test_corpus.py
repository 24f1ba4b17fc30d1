"""The doctor on whole scripts: it names the one mistake, is silent on correct ones, and changes nothing.

`pairs/` are a broken script and the same one mended, `correct/` looks suspicious and is right. So are those in `second/`,
which were written later. A run of all tests meets one pair of each rule and all correct scripts of the first collection; all
else is met by `pytest -m slow`.
"""

from __future__ import annotations

import pytest
from trial import CORPUS, marks_in, ready, try_script

SECOND = CORPUS / "second"
PAIRS = sorted(path for folder in (CORPUS, SECOND) for path in (folder / "pairs").iterdir() if path.is_dir())
CORRECT = sorted(path for folder in (CORPUS, SECOND) for path in (folder / "correct").glob("*.py"))


# What the doctor does not find yet, or names on another line, or after another rule. `strict`: whoever mends one takes it out.
MISSED = {
    "teacher-logits-cached",
    "wine-progress-epochs",
}


@pytest.fixture(scope="module", autouse=True)
def _imported():
    ready()


def one_of_each_rule():
    """Return the first pair of each rule, and all that are missed."""
    first = {rule: path for path in reversed(PAIRS) for rule, _ in marks_in(path / "broken.py").expected}
    return {*first.values(), *(path for path in PAIRS if path.name in MISSED and SECOND not in path.parents)}


def scripts(paths, missed=(), quick=None):
    """Return the paths as parameters of a test, by name; slow but for the quick ones, or those of the first collection."""

    def marks(path):
        if SECOND in path.parents if quick is None else path not in quick:
            yield pytest.mark.slow
        if path.name in missed:
            yield pytest.mark.xfail(reason="not found yet", strict=True)

    return pytest.mark.parametrize("path", [pytest.param(path, marks=[*marks(path)], id=path.name) for path in paths])


@scripts(PAIRS, MISSED, one_of_each_rule())
def test_the_mistake_is_named_first_and_on_its_line(path):
    marks, found = marks_in(path / "broken.py"), try_script(path / "broken.py")

    assert found.own_errors == {}
    rules = {rule for rule, _ in marks.expected}
    relevant = [
        (one["rule"], one["line"]) for one in found.findings if one["severity"] != "note" or one["rule"] in rules
    ]
    assert relevant
    assert relevant[0] in marks.expected
    assert {rule for rule, _ in relevant} <= rules | marks.also


@scripts(PAIRS, quick=one_of_each_rule())
def test_the_mended_script_gives_no_alarm(path):
    assert try_script(path / "fixed.py").alarms == []


@scripts(CORRECT)
def test_a_correct_script_gives_no_alarm(path):
    watched = try_script(path)

    assert watched.alarms == []
    assert watched.own_errors == {}


@scripts(CORRECT, quick=CORRECT[::10])
def test_a_script_computes_the_same_bits(path):
    watched, alone = try_script(path), try_script(path, doctor=False)

    assert (watched.exit_code, watched.output, watched.digest) == (alone.exit_code, alone.output, alone.digest)
