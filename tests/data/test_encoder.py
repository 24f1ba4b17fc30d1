from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from truestep.data import encoder_from_json, load
from truestep.errors import RefusedError

RNG = np.random.default_rng(0)
SOURCES = {
    "table": "iris",
    "pixels": "digits",
    "vector": (RNG.normal(size=(50, 4)) * 1e-7 + 3.1, RNG.integers(0, 3, 50)),
    "bytes": (RNG.integers(0, 256, (50, 3, 4, 4)).astype(np.uint8), RNG.normal(size=50)),
    "floats": (RNG.normal(size=(50, 4, 4)).astype(np.float32), RNG.normal(size=(50, 2))),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_json_gives_back_the_same_encoder_bit_for_bit(source):
    encoder = load(source).encoder
    again = encoder_from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    assert again.spec == encoder.spec
    raw = encoder.read(source if isinstance(source, str) else source[0])
    assert encoder.notes(raw) == []
    first, second = encoder.encode(raw), again.encode(again.read(raw))
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        first, second = first["numeric"], second["numeric"]
    assert torch.equal(first, second)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_damaged_description_is_refused(source):
    content = load(source).encoder.to_json()
    for key in content:
        lacking = {name: value for name, value in content.items() if name != key}
        with pytest.raises(RefusedError, match="encoder: "):
            encoder_from_json(lacking)
    for key, value in content.items():
        if key in ("kind", "id_column") or value == []:
            continue
        damaged = copy.deepcopy(content)
        damaged[key] = [None] if isinstance(value, list) else None
        with pytest.raises(RefusedError, match="damaged"):
            encoder_from_json(damaged)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(std):
    with pytest.raises(RefusedError, match="damaged"):
        encoder_from_json({"kind": "pixels", "height": 2, "width": 2, "mean": 0.0, "std": std, "id_column": None})
    with pytest.raises(RefusedError, match="damaged"):
        encoder_from_json({"kind": "array", "shape": [1], "mean": [0.0], "std": [std]})
    column = {"name": "a", "kind": "numeric", "mean": 0.0, "std": std, "indicator": False}
    with pytest.raises(RefusedError, match="damaged"):
        encoder_from_json({"kind": "table", "numeric": [column], "categorical": [], "id_column": None})


def test_an_unknown_kind_is_refused():
    with pytest.raises(
        RefusedError,
        match=r"expected one of table, pixels, array, image, text, stream, sequence, found 'tabel'\. Did you mean 'table'",
    ):
        encoder_from_json({"kind": "tabel"})
    for damaged in ([], {}, {"kind": []}, None):
        with pytest.raises(RefusedError, match="encoder: "):
            encoder_from_json(damaged)
