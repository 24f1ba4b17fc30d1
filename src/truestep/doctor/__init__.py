"""The doctor: watches any training loop and names its silent mistakes.

    truestep doctor train.py            # an unmodified script
    with ts.doctor.watch() as report:   # any code, in a program or a notebook
        ...
    print(report)

In a notebook `%load_ext truestep.doctor` gives the cell magic `%%doctor`; in pytest, a test that takes the fixture
`doctor` fails if there are errors or warnings.

`observe.py` sees a run and writes down facts (`record.py`). Each file in `rules/` reads them and yields findings.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

    from truestep.doctor.findings import Finding as Finding
    from truestep.doctor.report import Report

__all__ = ["watch"]


@contextmanager
def watch() -> Generator[Report]:
    """Watch what happens inside; the report is complete when the block ends, by an exception too.

    Models, loaders and optimizers that were made before are seen from their first use.
    """
    from truestep.doctor.diagnosis import diagnose
    from truestep.doctor.observe import Watch
    from truestep.doctor.report import Report

    watching, report = Watch(), Report()
    watching.start()
    try:
        yield report
        watching.record.finished = True
    finally:
        watching.stop()
        report.findings = diagnose(watching.record)
        report.take(watching.record)


def load_ipython_extension(shell: Any) -> None:
    """Give a notebook the cell magic `%%doctor`: `%load_ext truestep.doctor` does this."""

    def doctor(_: str, cell: str) -> Report:
        with watch() as report:
            shell.run_cell(cell)
        return report

    shell.register_magic_function(doctor, magic_kind="cell", magic_name="doctor")
