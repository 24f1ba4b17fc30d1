"""A damaged checkpoint is named and passed over, never loaded, never deleted."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import warnings

import pytest
import torch
from torch import nn

from truestep.checkpoint import Checkpoints
from truestep.errors import RefusedError

pytestmark = pytest.mark.fault
FILES = ("state.safetensors", "state.json", "manifest.json")


def parts():
    model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters())}


@pytest.fixture
def saved(tmp_path):
    """Three checkpoints, of weights that are all 1, 2 and 3."""
    made = parts()
    checkpoints = Checkpoints(tmp_path, made, keep=3)
    for step in (1, 2, 3):
        for parameter in made["model"].parameters():
            nn.init.constant_(parameter, step)
        checkpoints.save({"step": step})
    return tmp_path / "checkpoints"


def loaded(folder):
    """Return which checkpoint a run would go on from, after checking that it is the one that was saved."""
    made = parts()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        step = Checkpoints(folder.parent, made).restore()["step"]
    values = {float(value) for p in made["model"].parameters() for value in p.detach().flatten()}
    assert values == {float(step)}, "wrong weights were loaded"
    return step, " ".join(str(warning.message) for warning in said)


def test_flipped_bits(saved, long):
    draw = random.Random(0)
    newest = saved / "step-00000003"
    whole = {name: (newest / name).read_bytes() for name in FILES}
    places = [(name, at) for name, content in whole.items() for at in range(len(content))]
    places = places if long else [draw.choice(places) for _ in range(1_000)]
    refused = 0
    for name, at in places:
        broken = bytearray(whole[name])
        broken[at] ^= 1 << draw.randrange(8)
        (newest / name).write_bytes(broken)
        step, said = loaded(saved)
        # The manifest has white space, and digits of its own sum in either case, that mean nothing.
        assert step == 2 or (name == "manifest.json" and step == 3), (name, at)
        if step == 2:
            assert "step-00000003" in said
            refused += 1
        (newest / name).write_bytes(whole[name])
    in_state = sum(name != "manifest.json" for name, _ in places)
    print(f"{refused} of {len(places)} refused, {in_state} of them in what is loaded")
    assert refused >= in_state
    assert loaded(saved)[0] == 3


def truncated(path, other, draw):
    name = draw.choice(FILES)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: draw.randrange(len(content))])


def zeroed(path, other, draw):
    name = draw.choice(FILES)
    content = bytearray((path / name).read_bytes())
    begin = draw.randrange(len(content))
    end = draw.randrange(begin, len(content)) + 1
    if not any(content[begin:end]):  # these were zeros
        begin, end = 0, len(content)
    content[begin:end] = bytes(end - begin)
    (path / name).write_bytes(content)


def deleted(path, other, draw):
    (path / draw.choice(FILES)).unlink()


def swapped(path, other, draw):
    name = draw.choice(FILES)
    one, two = (path / name).read_bytes(), (other / name).read_bytes()
    (path / name).write_bytes(two)
    (other / name).write_bytes(one)


def grown(path, other, draw):
    with (path / draw.choice(FILES)).open("ab") as file:
        file.write(draw.randbytes(draw.randrange(1, 99)))


def a_folder_instead(path, other, draw):
    name = draw.choice(FILES)
    (path / name).unlink()
    (path / name).mkdir()


def a_link_instead(path, other, draw):
    name = draw.choice(FILES)
    (path / name).unlink()
    (path / name).symlink_to(other / name)


def a_pipe_instead(path, other, draw):
    import os

    name = draw.choice(FILES)
    (path / name).unlink()
    os.mkfifo(path / name)


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    "damage", [truncated, zeroed, deleted, swapped, grown, a_folder_instead, a_link_instead, a_pipe_instead]
)
def test_damaged_files(saved, tmp_path, long, damage):
    draw = random.Random(damage.__name__)
    for _ in range(600 if long else 25):
        copy = tmp_path / "copy" / "checkpoints"
        shutil.copytree(saved, copy)
        damage(copy / "step-00000003", copy / "step-00000002", draw)
        before = sorted(str(path) for path in copy.rglob("*"))
        step, said = loaded(copy)
        assert step == (1 if damage is swapped else 2), damage.__name__
        assert "step-00000003" in said
        assert sorted(str(path) for path in copy.rglob("*")) == before  # nothing is deleted
        shutil.rmtree(copy)


def test_something_beside_the_files_does_no_harm(saved):
    (saved / "step-00000003" / ".DS_Store").write_bytes(b"x")
    (saved / "step-00000003-copy").mkdir()
    assert loaded(saved) == (3, "")


@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_the_newest_that_is_whole_is_taken_or_none(saved, damaged):
    for number in range(damaged):
        (saved / f"step-0000000{3 - number}" / "state.json").write_text("{}")
    if damaged < 3:
        assert loaded(saved)[0] == 3 - damaged
    else:
        with pytest.raises(RefusedError, match="no checkpoint is whole"):
            loaded(saved)
    assert len(list(saved.iterdir())) == 3


def test_a_damaged_one_does_not_push_a_whole_one_out(saved):
    (saved / "step-00000003" / "state.json").write_text("{}")
    checkpoints = Checkpoints(saved.parent, parts(), keep=2)
    checkpoints.save({"step": 4})
    assert sorted(path.name for path in saved.iterdir()) == [f"step-0000000{n}" for n in (2, 3, 4)]


def test_a_newer_format_is_refused_and_not_passed_over(saved):
    manifest = saved / "step-00000003" / "manifest.json"
    content = json.loads(manifest.read_text()) | {"format": 2}
    manifest.write_text(json.dumps(content))
    assert loaded(saved)[0] == 2  # it does not add up: damaged, as after a flipped bit
    del content["sha256"]
    content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    manifest.write_text(json.dumps(content))
    with pytest.raises(RefusedError, match=r"expected format 1, found 2\. Update truestep"):
        loaded(saved)
