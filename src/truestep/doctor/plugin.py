"""The fixture `doctor` of pytest: a test that takes it is watched, and fails if there are errors or warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from truestep.doctor.report import Report


@pytest.fixture
def doctor() -> Generator[Report]:
    """Watch the test. The report is empty until the test ends."""
    from truestep.doctor import watch

    with watch() as report:
        yield report
    if report.alarms:
        pytest.fail(str(report), pytrace=False)
