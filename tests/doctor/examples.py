"""Runs a piece of code under the doctor, as a script of its own would be."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

from truestep.doctor.diagnosis import diagnose
from truestep.doctor.findings import Finding
from truestep.doctor.observe import Watch


def findings_in(code: str, file: Path) -> list[Finding]:
    """Return what the doctor finds; the doctor's own errors are raised."""
    file.write_text(code)
    watch = Watch()
    watch.start()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            exec(compile(code, str(file), "exec"), {"__name__": "example"})
        watch.record.finished = True
    finally:
        watch.stop()
    found = diagnose(watch.record)
    assert not watch.record.own_errors, watch.record.own_errors
    return found
