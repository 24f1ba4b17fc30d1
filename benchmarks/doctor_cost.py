"""What it costs to be watched: the loops of `loops/`, with and without `truestep doctor`, each run in a process of its own.

    python benchmarks/doctor_cost.py [--repeats 7] [--only NAME ...] [--out FILE]

One thread, CPU time and not the clock's. Each repeat runs a loop three times in changing order: alone, watched, and alone
again, which tells how far two equal runs are apart (the null). The steady state is the second half of the epochs; what
watching costs beyond that (imports, first steps, rules) is given in seconds, once for a run of any length.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
EPOCHS = {"tiny_mlp": 24, "mlp": 16, "cnn": 8, "transformer": 8, "lstm": 16}


@dataclass
class Run:
    """What one process used."""

    steady: float  # CPU seconds of a step, in the second half of the epochs, evaluation included
    begin: float  # CPU seconds of everything else
    peak: float  # MiB


def run(loop: str, *, watched: bool) -> Run:
    command = ["-m", "truestep", "doctor"] if watched else []
    path = HERE / "loops" / f"{loop}.py"
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *command, str(path), str(EPOCHS[loop])],
            stdout=output,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{loop} ended with {process.returncode}")
        output.seek(0)
        epochs = [line.split() for line in output.read().splitlines()]
    last = epochs[len(epochs) // 2 :]
    seconds, steps = sum(float(one[0]) for one in last), sum(int(one[1]) for one in last)
    return Run(seconds / steps, usage.ru_utime + usage.ru_stime - seconds, usage.ru_maxrss / 1024)


def measured(loop: str, repeats: int) -> str:
    alone, again, watched = [], [], []
    for _ in range(repeats):
        jobs = [(alone, False), (again, False), (watched, True)]
        random.shuffle(jobs)
        for runs, doctor in jobs:
            runs.append(run(loop, watched=doctor))

    def ratio(runs: list[Run], what: str) -> float:
        pairs = zip(runs, alone, again, strict=True)
        return statistics.median(getattr(a, what) / ((getattr(b, what) + getattr(c, what)) / 2) for a, b, c in pairs)

    null = statistics.median(b.steady / a.steady for a, b in zip(alone, again, strict=True))
    step = statistics.median(one.steady for one in (*alone, *again))
    rest = statistics.median(w.begin - (a.begin + b.begin) / 2 for w, a, b in zip(watched, alone, again, strict=True))
    cost = ratio(watched, "steady")
    return (
        f"| {loop} | {1e3 * step:.2f} ms | {cost:.3f} | {null:.3f} | {1e6 * step * (cost - 1):.0f} µs | {rest:.1f} s "
        f"| {ratio(watched, 'peak'):.3f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", nargs="*", default=[*EPOCHS], choices=[*EPOCHS])
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    lines = [
        "| loop | a step alone | watched | null | a step more | once more | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for loop in options.only:
        lines.append(measured(loop, options.repeats))
        print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
