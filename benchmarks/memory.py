"""How much memory and time do large data take? A table of 5 million rows, and a folder of 20,000 images.

    python benchmarks/memory.py [--rows 5000000] [--images 20000]

The table has 20 columns of mixed kinds in a Parquet file and is trained on for a few steps. Peak memory is that of the
whole process, over what it holds after its imports; beside it the size of the tensors that training needs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

MEASURE = """
import contextlib, re, sys, time
import torch, polars, PIL.Image
from truestep import cli, run
from truestep.data import loading
from truestep.nest import tensors_of
def highest():  # of this process; ru_maxrss would begin with what the one before it had
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
seen = {}
load = loading.load
def watched(*args, **named):
    begun = time.perf_counter()
    data = load(*args, **named)
    examples = data.train.examples
    seen["tensors"] = sum(t.numel() * t.element_size() for t in tensors_of(examples))
    seen["seconds"] = time.perf_counter() - begun
    seen["peak"] = highest()
    return data
run.load = watched
import truestep.data
truestep.data.load = watched
before = highest()
begun = time.perf_counter()
with open("/dev/null", "w") as nowhere, contextlib.redirect_stdout(nowhere):
    try:
        cli.main(sys.argv[1:])
    except SystemExit as end:
        if end.code not in (0, None, 2):
            raise
peak = highest()
print(before, seen["peak"], peak, seen["tensors"], seen["seconds"], time.perf_counter() - begun)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--images", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.parquet"
        write_table(table, options.rows)
        words = ["train", table, "--target", "label", "--max-steps", 20, "--epochs", 1, "--out", Path(folder) / "run"]
        report(f"{options.rows:,} rows, train", [*words, "--quiet"])
        write_images(Path(folder) / "images", options.images)
        report(f"{options.images:,} images, data", ["data", Path(folder) / "images"])


def write_table(path: Path, rows: int) -> None:
    """Write 20 columns: numbers of four types, some with gaps, words of few and of many kinds, dates, booleans."""
    random = np.random.default_rng(0)
    columns: dict[str, object] = {f"f{n}": random.normal(size=rows).astype(np.float32) for n in range(6)}
    columns |= {f"d{n}": random.normal(size=rows) for n in range(4)}
    columns |= {f"i{n}": random.integers(0, 1000, rows) for n in range(3)}
    columns["gaps"] = pl.Series(random.normal(size=rows)).set(pl.Series(random.random(rows) < 0.1), None)
    columns |= {
        f"c{n}": pl.Series([f"word {k}" for k in range(50)]).gather(random.integers(0, 50, rows)) for n in (0, 1)
    }
    columns["many"] = pl.Series([f"key {k}" for k in range(5000)]).gather(random.integers(0, 5000, rows))
    columns["flag"] = random.random(rows) < 0.3
    columns["day"] = pl.Series(random.integers(0, 3650, rows), dtype=pl.Int32).cast(pl.Date)
    columns["label"] = pl.Series(["no", "yes"]).gather((columns["f0"] + random.normal(size=rows) > 0).astype(int))
    pl.DataFrame(columns).write_parquet(path)


def write_images(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    for number in range(count):
        (folder / f"class-{number % 10}").mkdir(parents=True, exist_ok=True)
        pixels = random.integers(256, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"class-{number % 10}" / f"{number}.png")


def report(name: str, words: list[object]) -> None:
    end = subprocess.run([sys.executable, "-c", MEASURE, *map(str, words)], capture_output=True, text=True, check=False)
    if end.returncode:
        sys.exit(end.stderr)
    before, loaded, peak, tensors, seconds, whole = map(float, end.stdout.split())
    print(
        f"{name}: tensors {tensors / 2**20:,.0f} MB; peak over imports {(loaded - before) / 2**20:,.0f} MB when loaded, "
        f"{(peak - before) / 2**20:,.0f} MB in all ({(peak - before) / max(tensors, 1):.2f} of the tensors); "
        f"loaded in {seconds:.1f} s, done in {whole:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
