"""Checkpoints come back exactly, or are refused."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from torch import nn

from truestep.checkpoint import PIECE, Checkpoints, _holds, read_state, write_state
from truestep.errors import InputError, RefusedError
from truestep.folder import MetricsLog


class Holder:
    """A part whose state is whatever it was given."""

    def __init__(self, state=None):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def test_what_json_would_change_comes_back_as_it_was(tmp_path):
    tied = torch.randn(3, 4)
    state = {
        1: "an int key",
        "tuple": (1, (2.0, None)),
        "floats": [math.inf, -math.inf, 0.1, -0.0, 1e-320],
        "nan": math.nan,
        "tensors": [torch.tensor(3), tied, tied, tied.T, torch.empty(0), torch.tensor([math.nan])],
        "dtypes": {"b": torch.tensor([True]), "h": torch.ones(1).bfloat16()},
        "empty": [{}, [], ()],
        "flag": True,
    }
    Checkpoints(tmp_path, {"it": Holder(state)}).save({"step": 5})
    holder = Holder()
    progress = Checkpoints(tmp_path, {"it": holder}).restore()

    assert progress == {"step": 5}
    back = holder.state
    assert list(back) == list(state)
    assert back["tuple"] == (1, (2.0, None))
    assert [repr(x) for x in back["floats"]] == [repr(x) for x in state["floats"]]
    assert math.isnan(back["nan"])
    for a, b in zip(back["tensors"], state["tensors"], strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a.nan_to_num(7), b.nan_to_num(7))
    assert back["empty"] == [{}, [], ()]
    assert back["dtypes"]["h"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2, 5], 0.1),  # int keys, which naive JSON turns into text
        lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0),  # infinities
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, 20, cycle_momentum=False),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20),
    ],
)
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.LBFGS])
def test_optimizers_and_schedules_go_on_bitwise(tmp_path, make, optimizer):
    def start():
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        chosen = optimizer(model.parameters(), lr=0.1)
        return {"model": model, "optimizer": chosen, "scheduler": make(chosen)}

    def advance(parts, steps):
        x = torch.arange(12.0).view(4, 3)

        def closure():
            parts["optimizer"].zero_grad()
            loss = parts["model"](x).square().mean()
            loss.backward()
            return loss

        for _ in range(steps):
            loss = parts["optimizer"].step(closure)
            scheduler = parts["scheduler"]
            plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            scheduler.step(float(loss.detach())) if plateau else scheduler.step()

    whole, stopped, resumed = start(), start(), start()
    advance(whole, 9)
    advance(stopped, 3)
    Checkpoints(tmp_path, stopped).save({"step": 3})
    Checkpoints(tmp_path, resumed).restore()
    advance(resumed, 6)

    assert torch.equal(whole["model"].weight, resumed["model"].weight)
    assert whole["optimizer"].param_groups[0]["lr"] == resumed["optimizer"].param_groups[0]["lr"]


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
def test_every_flipped_byte_is_refused_and_the_older_one_taken(tmp_path, name):
    model = nn.Linear(3, 2)
    checkpoints = Checkpoints(tmp_path, {"model": model})
    checkpoints.save({"step": 1})
    first = model.weight.detach().clone()
    nn.init.ones_(model.weight)
    checkpoints.save({"step": 2})
    path = tmp_path / "checkpoints" / "step-00000002" / name
    whole = path.read_bytes()

    for position in range(0, len(whole), max(1, len(whole) // 40)):
        broken = bytearray(whole)
        broken[position] ^= 1
        path.write_bytes(broken)
        try:
            with pytest.warns(UserWarning, match="step-00000002"):
                assert checkpoints.restore() == {"step": 1}
        except (AssertionError, pytest.fail.Exception):
            # White space and the sums' own spelling aside, the manifest has bytes that mean nothing: then all is whole.
            assert name == "manifest.json"
            assert checkpoints.restore() == {"step": 2}
        else:
            assert torch.equal(model.weight, first)
    path.unlink()
    with pytest.warns(UserWarning, match="step-00000002"):
        assert checkpoints.restore() == {"step": 1}


def test_when_none_is_whole_nothing_is_loaded_and_nothing_deleted(tmp_path):
    model = nn.Linear(3, 2)
    checkpoints = Checkpoints(tmp_path, {"model": model})
    checkpoints.save({"step": 1})
    path = tmp_path / "checkpoints" / "step-00000001" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RefusedError, match=r"no checkpoint is whole\. .* the run then begins anew"):
        checkpoints.restore()
    assert path.exists()


def test_only_the_newest_are_kept_and_no_litter_stays(tmp_path):
    checkpoints = Checkpoints(tmp_path, {"model": nn.Linear(3, 2)}, keep=2)
    (tmp_path / "checkpoints" / ".tmp-of-a-run-that-was-killed").mkdir(parents=True)
    for step in (1, 2, 9, 10, 10):
        checkpoints.save({"step": step})

    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000010", "step-00000010-0002"]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    Checkpoints(tmp_path, {"model": nn.Linear(3, 2)}).save({"step": 1})
    with pytest.raises(RefusedError, match="of another run"):
        Checkpoints(tmp_path, {"model": nn.Linear(4, 2)}).restore()
    with pytest.raises(RefusedError, match="other parts"):
        Checkpoints(tmp_path, {"model": nn.Linear(3, 2), "ema": nn.Linear(3, 2)}).restore()
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        Checkpoints(tmp_path, {"model": nn.Linear(3, 2)}).restore()


def stepped(kind, options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    optimizer = kind(model.parameters(), lr=0.01, **options)

    def loss():
        optimizer.zero_grad()
        found = (model(torch.ones(5, 3)) ** 2).mean()
        found.backward()
        return found

    for _ in range(3):
        optimizer.step(loss)
    return optimizer


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.AdamW, {}),
        (torch.optim.SGD, {"momentum": 0.9, "fused": True}),
        (torch.optim.Muon, {}),
        (torch.optim.LBFGS, {"max_iter": 3}),
    ],
)
def test_what_an_optimizer_could_not_go_on_with_is_refused(tmp_path, kind, options):
    """Whoever writes a checkpoint of their own can make its sums fit."""
    saved = stepped(kind, options)

    def taken(state):
        path = tmp_path / "checkpoints" / "step-00000001"
        path.parent.mkdir(exist_ok=True)
        write_state(path, {"optimizer": state, "progress": {"step": 1}, "rng": read_rng})
        fresh = kind([torch.zeros_like(p) for group in saved.param_groups for p in group["params"]], lr=0.01, **options)
        Checkpoints(tmp_path, {"optimizer": fresh}).restore()

    Checkpoints(tmp_path / "other", {"optimizer": saved}).save({"step": 1})
    read_rng = read_state(tmp_path / "other" / "checkpoints" / "step-00000001")["rng"]
    good = saved.state_dict()
    taken(good)
    first = good["state"][0]
    tensors = [name for name, value in first.items() if isinstance(value, torch.Tensor) and value.ndim]
    assert tensors
    for name in tensors:
        others = [
            "text",
            3,
            [1],
            torch.zeros(7),
            torch.zeros(0),
            first[name].to(torch.int8),
            first[name].double(),
            None,
        ]
        forged = [{**first, name: other} for other in others]
        forged.append({key: value for key, value in first.items() if key != name})
        for state in forged:
            with pytest.raises(RefusedError, match="of another run"):
                taken({**good, "state": {**good["state"], 0: state}})
    for state in ({"0": first}, {100: first}, {0: [1]}, {0: {"other": first[tensors[0]]}}, [first], "state"):
        with pytest.raises(RefusedError, match="of another run"):
            taken({**good, "state": state})


def test_the_random_state_comes_back(tmp_path):
    checkpoints = Checkpoints(tmp_path, {"model": nn.Linear(3, 2)})
    checkpoints.save({"step": 1})
    expected = torch.rand(5)
    torch.rand(100)
    checkpoints.restore()

    assert torch.equal(torch.rand(5), expected)


def test_links_in_the_run_folder_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    (outside / ".tmp-mine").mkdir(parents=True)
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoints").symlink_to(outside)
    with pytest.raises(InputError, match="found a link"):
        Checkpoints(run, {"model": nn.Linear(3, 2)}).save({"step": 1})
    assert (outside / ".tmp-mine").exists()

    victim = tmp_path / "victim"
    victim.write_text("precious")
    (run / "metrics.jsonl").symlink_to(victim)
    with pytest.raises(InputError, match="found a link"):
        MetricsLog(run, 3).write({})
    assert victim.read_text() == "precious"


def test_a_planted_link_is_not_followed(tmp_path):
    """A file written through a link would overwrite what it points to."""
    from truestep.disk import create

    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises(OSError, match="exists"):
        create(tmp_path / "link")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("fused", [False, True])
def test_a_model_with_channels_last_goes_on_to_the_same_bits(tmp_path, fused):
    """A file keeps no strides, and fused kernels walk through weights and their moments side by side."""
    images, targets = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4

    def made():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(16, 4))
        model = model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
        return model, optimizer, Checkpoints(tmp_path, {"model": model, "optimizer": optimizer})

    def train(model, optimizer):
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), targets).backward()
            optimizer.step()

    model, optimizer, checkpoints = made()
    train(model, optimizer)
    checkpoints.save({"step": 5})
    train(model, optimizer)
    resumed, optimizer, checkpoints = made()
    checkpoints.restore()
    train(resumed, optimizer)

    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, PIECE - 1, PIECE, PIECE + 9])
def test_every_byte_that_was_written_is_compared(tmp_path, size):
    path, content = tmp_path / "file", bytes(range(256)) * (size // 256 + 1)
    path.write_bytes(content[:size])

    assert _holds(path, [content[: size // 2], content[size // 2 : size]])
    assert not _holds(path, [content[:size], b"x"])
    for place in {0, size // 2, size - 1} if size else ():
        other = bytearray(content[:size])
        other[place] ^= 1
        assert not _holds(path, [bytes(other)])
    assert not size or not _holds(path, [content[: size - 1]])
