"""Runs `truestep` commands in fresh copies of a process that has only imported it: quick, with limits, and killable.

A copy of the tests' own process would not do: polars has threads there, of which a copy has none and waits for.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass

READY = "ready"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int  # negative for a signal, as that of one that took too long
    out: str
    err: str

    @property
    def line(self) -> str:
        """What was wrong, after checking that it was said in one line and as it should be."""
        assert self.code in (2, 3), f"exit code {self.code}: {self.err[-3000:]}"
        assert "Traceback" not in self.err, self.err
        (line,) = [
            line for line in self.err.splitlines() if line.startswith("truestep: ") and ": warning: " not in line
        ]
        assert self.err.splitlines()[-1] == line, self.err
        return line


class CommandServer:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline().strip() == READY

    def run(self, *arguments, folder, before: str = "", seconds: float = 60) -> Ended:
        """Run a command in a folder.

        Args:
            arguments: of `truestep`.
            folder: to be in.
            before: Python to run ahead of it.
            seconds: after which it is killed.
        """
        asked = {
            "arguments": [str(argument) for argument in arguments], "folder": str(folder), "before": before,
            "seconds": seconds,
        }  # fmt: skip
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.communicate(timeout=120)


def serve() -> None:
    """Answer requests, a line each."""
    import jinja2
    import torch._dynamo  # optimizers import it at their first use, a second in every copy
    from PIL import Image

    import truestep.report
    import truestep.run

    assert jinja2
    assert truestep.report
    Image.init()
    torch.set_num_threads(1)
    print(READY, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def answer(arguments: list[str], folder: str, before: str, seconds: float) -> dict:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = os.fork()
        if process == 0:
            os._exit(called(arguments, folder, before, out.fileno(), err.fileno()))
        code = waited(process, seconds)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return {"code": code, "out": texts[0], "err": texts[1]}


def called(arguments: list[str], folder: str, before: str, out: int, err: int) -> int:
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        warnings.simplefilter("default")
        os.chdir(folder)
        exec(before, {"__name__": "before"})
        from truestep.cli import main

        main(arguments)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  the copy must end here
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1
    return code


def waited(process: int, seconds: float) -> int:
    """Wait for a process, and kill it after so many seconds; return its exit code."""
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.002)


if __name__ == "__main__":
    serve()
