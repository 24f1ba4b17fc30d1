"""The doctor on scripts of Lightning, Accelerate, transformers, Ignite and skorch, where they are installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from trial import CORPUS, marks_in

SCRIPTS = sorted((CORPUS / "frameworks").glob("*.py"))
MISSED = {"lightning_manual_accumulation": "zero_grad within a step that Lightning wraps"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_framework_hides_no_mistake_and_makes_none(path, tmp_path, request):
    needed = re.match(r"# needs: (\w+)", path.read_text())
    assert needed
    if find_spec(needed[1]) is None:
        pytest.skip(f"{needed[1]} is not installed")
    if path.stem in MISSED:
        request.applymarker(pytest.mark.xfail(reason=MISSED[path.stem], strict=True))
    out = tmp_path / "report.json"
    subprocess.run(
        [sys.executable, "-m", "truestep", "doctor", "--format", "json", "--out", out, path],
        cwd=tmp_path, capture_output=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    said, expected = json.loads(out.read_text()), marks_in(path).expected
    found = [(one["rule"], one["line"]) for one in said["findings"] if one["severity"] != "note"]

    assert said["own_errors"] == {}
    assert found == [] if not expected else found and set(found) <= set(expected)
