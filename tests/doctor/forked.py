"""Runs many scripts quickly: torch is imported once, and every script runs in its own copy of this process.

A copy (`os.fork`) has torch and scikit-learn imported already, so a script that takes 10 s to start and 0.3 s to run takes 0.3 s.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """How a script ended: `exit_code` is negative for a signal, and None where `limit` seconds had passed."""

    exit_code: int | None
    output: str
    errors: str
    seconds: float


def import_what_scripts_need() -> None:
    """Imports into the parent what most scripts import; call it once before `run_script`."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import sklearn.datasets
    import sklearn.metrics
    import sklearn.model_selection
    import sklearn.preprocessing  # noqa: F401
    import torch
    import torch._dynamo  # optimizers import it at their first use, a second in every copy

    torch.set_num_threads(1)  # a fork of a process with running threads may hang


def run_script(
    path: str | Path,
    arguments: Sequence[str] = (),
    *,
    limit: float = 20.0,
    run: Callable[[str], object] | None = None,
) -> Result:
    """Runs the script at `path` in a copy of this process, as `python path arguments` would.

    `run` says what the copy does instead of only running the script, e.g. watches it; it is given the path, and what it
    prints is the output.
    """
    path = str(Path(path).resolve())
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process == 0:
            os._exit(_in_the_copy(path, arguments, output.fileno(), errors.fileno(), run))
        exit_code = _wait(process, limit)
        seconds = time.perf_counter() - begun
        output.seek(0)
        errors.seek(0)
        return Result(
            exit_code, output.read().decode(errors="replace"), errors.read().decode(errors="replace"), seconds
        )


def _in_the_copy(
    path: str, arguments: Sequence[str], output: int, errors: int, run: Callable[[str], object] | None
) -> int:
    exit_code = 1
    try:
        os.setpgid(0, 0)  # DataLoader workers die with us
        os.dup2(output, 1)
        os.dup2(errors, 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  the parent's may be a capture of pytest's
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.argv = [path, *arguments]
        sys.path[0] = str(Path(path).parent)
        if run is None:
            runpy.run_path(path, run_name="__main__")
        else:
            run(path)
        exit_code = 0
    except SystemExit as end:
        exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if exit_code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001  a script may raise anything; the copy must end here
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return exit_code


def _wait(process: int, limit: float) -> int | None:
    """Waits for a process; after `limit` seconds ends it and its children, and returns None."""
    ended = os.pidfd_open(process)
    try:
        in_time = bool(select.select([ended], [], [], limit)[0])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)  # whatever it has left running
        _, status = os.waitpid(process, 0)
    finally:
        os.close(ended)
    return os.waitstatus_to_exitcode(status) if in_time else None
