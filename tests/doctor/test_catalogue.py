"""Every rule's page is its test: Bad gives this finding on the marked line and no other, Good gives none from any rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from examples import findings_in

from truestep.doctor import pages
from truestep.doctor.findings import SEVERITIES


@pytest.mark.parametrize("rule", pages.names())
def test_the_bad_example_gives_this_finding_on_the_marked_line_and_no_other(rule, tmp_path):
    code = pages.SETUP + pages.page(rule).bad
    line = next(number for number, text in enumerate(code.splitlines(), 1) if pages.MARK in text)

    found = findings_in(code, tmp_path / "bad.py")

    assert [(one.rule, one.site.line if one.site else None) for one in found] == [(rule, line)]
    assert found[0].severity == pages.page(rule).severity


@pytest.mark.parametrize("rule", pages.names())
def test_the_good_example_gives_none_from_any_rule(rule, tmp_path):
    assert findings_in(pages.SETUP + pages.page(rule).good, tmp_path / "good.py") == []


@pytest.mark.parametrize("rule", pages.names())
def test_a_page_is_complete(rule):
    page = pages.page(rule)

    assert page.title.endswith(".")
    assert len(page.title) <= 100
    assert page.severity in SEVERITIES
    assert set(page.hides) <= set(pages.names())
    assert page.bad.count(pages.MARK) == 1
    assert pages.MARK not in page.good
    assert page.source.startswith("https://")


def test_the_page_of_all_rules_is_what_the_rules_say():
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()

    assert page == pages.catalogue()
