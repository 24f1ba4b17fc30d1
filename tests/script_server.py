"""Runs scripts in fresh copies of a process that has only imported torch and its like: quick, and nobody's state in it.

A copy of the tests' own process would not do: polars has threads there, of which a copy has none and waits for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent


class ScriptServer:
    """`run` gives what `forked.run_script` gives, from a process that is started once."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, script: Path, arguments: list[str], *, doctor: bool = False) -> dict:
        assert self.process.stdin
        assert self.process.stdout
        said = {"script": str(script), "arguments": arguments, "doctor": doctor}
        self.process.stdin.write(json.dumps(said) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin
        self.process.communicate(timeout=120)  # ends its input, and with it the server


def serve() -> None:
    sys.path.insert(0, str(HERE / "doctor"))
    import polars as pl
    import safetensors.torch
    from forked import import_what_scripts_need, run_script
    from PIL import Image

    assert pl
    assert safetensors.torch
    assert Image
    import_what_scripts_need()
    is_ready = False
    for line in sys.stdin:
        said = json.loads(line)
        if said["doctor"]:
            from trial import ready, try_script

            if not is_ready:
                ready()
                is_ready = True
            found = try_script(Path(said["script"]), arguments=said["arguments"])
        else:
            found = run_script(said["script"], said["arguments"], limit=100)
        print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    serve()
