"""Runs a script of the corpus in a process of its own, with and without the doctor, and compares."""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forked import import_what_scripts_need, run_script

CORPUS = Path(__file__).parent
EXPECT, MAY = re.compile(r"#\s*expect:\s*([\w-]+)"), re.compile(r"\bmay:\s*([\w-]+)")


@dataclass
class Trial:
    """What a script did, and what the doctor said of it."""

    exit_code: int | None
    output: str
    errors: str
    digest: str = ""  # of all weights and generators at its end
    findings: list[dict[str, Any]] = field(default_factory=list)
    own_errors: dict[str, int] = field(default_factory=dict)

    @property
    def alarms(self) -> list[tuple[str, int]]:
        return [(one["rule"], one["line"]) for one in self.findings if one["severity"] != "note"]


@dataclass
class Marks:
    """What a broken script says of itself."""

    expected: list[tuple[str, int]]
    also: set[str]


def marks_in(path: Path) -> Marks:
    lines = path.read_text().splitlines()
    expected = [(name, number) for number, line in enumerate(lines, 1) for name in EXPECT.findall(line)]
    return Marks(expected, {name for line in lines for name in MAY.findall(line)})


def ready() -> None:
    """Import what is slow, once for all copies of this process."""
    import_what_scripts_need()
    from truestep.doctor import diagnosis, pages
    from truestep.doctor.observe import Watch
    from truestep.doctor.record import Record

    assert Watch
    assert pages.names()
    diagnosis.diagnose(Record())  # imports the rules


def try_script(
    path: Path, *, doctor: bool = True, limit: float = 60.0, arguments: Sequence[str] = (), steps: int | None = None
) -> Trial:
    """Run a script in a copy of this process, to its end or as `--steps` would."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "told.json")
        ended = run_script(
            path, limit=limit, run=lambda name: _in_the_copy(name, told, arguments, doctor=doctor, steps=steps)
        )
        said = json.loads(told.read_text()) if told.exists() else {}
    return Trial(ended.exit_code, ended.output, ended.errors, **said)


def _in_the_copy(path: str, told: Path, arguments: Sequence[str], *, doctor: bool, steps: int | None) -> None:
    from truestep.doctor import command
    from truestep.doctor.diagnosis import diagnose
    from truestep.doctor.observe import Watch
    from truestep.doctor.report import Report, as_json

    warnings.resetwarnings()  # pytest's make errors of them
    random.seed(0)  # Python has just seeded it anew, as it does in every copy of a process
    watch, report = Watch(), Report(script=path)
    if steps is not None:
        command._end_after(watch, steps)
    if doctor:
        watch.start()
    seen: dict[str, Any] = {}
    code = command.run(path, list(arguments), module=False, at_end=seen.update)
    digest = _digest(seen)
    if doctor:
        watch.record.finished = code == 0
        watch.stop()
        report.findings = diagnose(watch.record)
        report.take(watch.record)
    said = as_json(report)
    told.write_text(
        json.dumps({"digest": digest, "findings": said["findings"], "own_errors": report.own_errors}, default=str)
    )
    sys.exit(code)


def _digest(names: dict[str, Any]) -> str:
    """Return a sum over the state of every generator, and every tensor and module among a script's names."""
    import numpy as np
    import torch

    found = hashlib.sha256()
    found.update(torch.get_rng_state().numpy().tobytes())
    found.update(repr(random.getstate()).encode())
    found.update(repr(np.random.get_state()).encode())  # noqa: NPY002  what scripts draw from
    for name in sorted(names):
        value = names[name]
        tensors = {"": value} if isinstance(value, torch.Tensor) else {}
        if isinstance(value, torch.nn.Module):
            tensors = dict(value.state_dict())
        for key, tensor in tensors.items():
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided and tensor.device.type != "meta":
                found.update(f"{name} {key} {tuple(tensor.shape)}".encode())
                found.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
