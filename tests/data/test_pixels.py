from __future__ import annotations

from hashlib import blake2b

import numpy as np
import polars as pl
import pytest
import torch

from truestep.data import PixelEncoder, Table, load, read_table
from truestep.data.pixels import pixel_grid
from truestep.errors import InputError


@pytest.mark.parametrize(
    ("columns", "grid"),
    [
        (["pixel_0_1", "pixel_0_0", "pixel_1_0", "pixel_1_1"], (2, 2)),
        (["pixel_0_0", "pixel_0_1", "pixel_0_2"], (1, 3)),
        (["pixel_0_0", "pixel_1_1"], None),
        (["pixel_0_0"], None),
        (["width", "height"], None),
    ],
)
def test_a_grid_needs_all_its_pixels(columns, grid):
    assert pixel_grid(columns) == grid


def test_digits_are_images_scaled_by_one_mean_and_deviation_of_training():
    data = load("digits")
    assert data.encoder.spec == {"kind": "image", "channels": 1, "height": 8, "width": 8}
    assert data.train.inputs.shape == (len(data.train), 1, 8, 8)
    assert data.train.inputs.dtype == torch.float32
    assert abs(float(data.train.inputs.mean())) < 1e-5
    assert abs(float(data.train.inputs.std(correction=0)) - 1) < 1e-5
    assert float(data.test.inputs.mean()) != 0
    raw = read_table("digits").frame
    row = int(data.test.rows[3])
    value = (float(raw[row, "pixel_2_5"]) - data.encoder.mean) / data.encoder.std
    assert abs(float(data.test.inputs[3, 0, 2, 5]) - value) < 1e-6


def test_pixels_are_found_by_name_in_any_order_beside_an_id():
    frame = read_table("digits").frame.with_columns(image_id=pl.int_range(1797)).select(pl.all().reverse())
    shuffled = frame.select(reversed(frame.columns))
    data, other = load(frame, target="digit"), load(shuffled, target="digit")
    assert isinstance(data.encoder, PixelEncoder)
    assert data.encoder.id_column == "image_id"
    assert torch.equal(data.test.inputs, other.test.inputs)
    assert data.encoder == other.encoder


def test_an_image_is_split_by_a_hash_of_its_pixels():
    """Rows that are added, put in another order or stored in another type move no other, and copies stay together."""
    frame = read_table("digits").frame
    pixels = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    added = frame.head(40).with_columns(pl.col(pixels).cast(pl.Int64) + 1).cast(frame.schema)
    more = pl.concat([frame, added, frame.head(5)]).sample(fraction=1.0, shuffle=True, seed=3)
    more = more.with_columns(pl.col(pixels).cast(pl.Int16)).select(reversed(more.columns))

    def where(table):
        data = load(table, target="digit")
        values = [row.tobytes() for row in table.select(pixels).cast(pl.Float64).to_numpy()]
        splits = (
            (values[row], part) for part, split in enumerate((data.train, data.valid, data.test)) for row in split.rows
        )
        return data.keys.tolist(), values, set(splits)

    keys, values, found = where(frame)
    assert keys == [int.from_bytes(blake2b(row, digest_size=8).digest(), "little") for row in values]
    assert found < where(more)[2]
    assert len(where(more)[2]) == len(found) + 40 == len(set(values)) + 40  # no image is in two splits


def test_held_out_rows_leave_the_encoder_unchanged():
    frame = read_table("digits").frame.select(pl.all().cast(pl.Float64))
    belongs = np.arange(len(frame)) % 3
    changed = frame.with_columns(pixel_3_3=pl.when(pl.Series(belongs > 0)).then(1000.0).otherwise("pixel_3_3"))
    encoders = [load(Table(each, "x", belongs=belongs), target="digit").encoder for each in (frame, changed)]
    assert encoders[0] == encoders[1] != load("digits").encoder


def test_a_missing_pixel_is_named():
    encoder = load("digits").encoder
    frame = read_table("digits").frame.head(4)
    frame[2, "pixel_1_7"] = None
    with pytest.raises(InputError, match="table, row 2, column 'pixel_1_7': expected the value of a pixel, found none"):
        encoder.encode(frame)
    with pytest.raises(InputError, match="expected a column 'pixel_1_7'"):
        encoder.encode(frame.drop("pixel_1_7"))


def test_a_pixel_far_too_large_is_refused():
    frame = read_table("digits").frame
    with pytest.raises(InputError, match="table, row 2: expected numbers like those in training, found one too large"):
        load("digits").encoder.encode(
            frame.with_columns(pixel_3_3=pl.when(pl.int_range(1797) == 2).then(1e300).otherwise(1.0))
        )
