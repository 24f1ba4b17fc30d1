"""Small real data as the raw files that people have: bundled tables, scanned digits, parts of speeches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from sklearn.datasets import load_digits

from truestep.data import bundled, read_table

DIGITS = 100  # images
ROWS = np.arange(DIGITS)


def penguins() -> pl.DataFrame:
    """344 rows, some with gaps, of words and numbers."""
    return read_table("penguins").frame.with_columns(
        pl.format("P{}", pl.int_range(pl.len())).alias("tag"),  # what people number their rows by
    )


def passages(size: int = 60) -> pl.DataFrame:
    """Sentences of presidents, 20 characters and more, with the one who said them."""
    speeches = bundled.read_bundled("speeches").frame
    few = speeches["president"].value_counts(sort=True)["president"].head(3).to_list()
    parts = [speeches.filter(pl.col("president") == name).head(size // 3) for name in few]
    return pl.concat(parts)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(100, 8, 8) uint8 scans and their digits, 0 to 4."""
    images, labels = load_digits(return_X_y=True)
    kept = np.flatnonzero(labels < 5)[:DIGITS]
    return (images[kept].reshape(-1, 8, 8) * 15.9).astype(np.uint8), labels[kept]


def save_digits(folder: Path, *, split: bool = False, size: int = 8) -> list[str]:
    """Write PNG files into a folder for each class, or into train, valid and test folders of those; return names."""
    names: list[str] = []
    for number, (image, label) in enumerate(zip(*digits(), strict=True)):
        part = ("train", "train", "train", "valid", "test")[number // 5 % 5] if split else ""
        name = str(Path(part, f"digit-{label}", f"{number:03}.png"))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((size, size)).save(folder / name)
        names.append(name)
    return names


def sales(rows: int = 40) -> pl.DataFrame:
    """Daily sales of three shops, each with a week and a level of its own."""
    days = np.arange(rows)
    noise = np.random.default_rng(0).normal(0, 0.3, (3, rows))
    return pl.concat(
        pl.DataFrame(
            {
                "shop": [name] * rows,
                "day": (np.datetime64("2026-01-01") + days).astype("datetime64[D]").astype(str),
                "weather": np.where(days % 3 == 0, "rain", "sun"),
                "sold": (level + 3 * np.sin(days * 2 * np.pi / 7) + noise[shop]).round(3),
            }
        )
        for shop, (name, level) in enumerate({"Ana": 10.0, "Bo": 20.0, "Cy": 30.0}.items())
    )
