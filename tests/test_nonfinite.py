"""What a run does when its numbers are no longer numbers: left out, gone back from, or stopped with all it takes to see it again."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import truestep as ts
from truestep.checkpoint import read_state
from truestep.folder import read_metrics

CLASSES = 3


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, CLASSES))


def batches(bad=(), count=12):
    generator = torch.Generator().manual_seed(1)
    made = [(torch.randn(8, 4, generator=generator), torch.arange(8) % CLASSES) for _ in range(count)]
    for number in bad:
        made[number][0][3, 2] = math.nan
    return made


def trained(train, tmp_path=None, epochs=2, **options):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    torch.manual_seed(5)
    options = {"ema_decay": 0.9, "log_every": 1, "show": False} | options
    found = ts.fit(
        model, train, batches(count=2), ts.Multiclass(CLASSES), optimizer, epochs=epochs, folder=tmp_path, **options
    )
    return model, optimizer, found


def same(one, other):
    states = [model.state_dict() for model in (one, other)]
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("bad", [[0], [5], [11], [3, 4, 11]])
def test_a_skipped_step_leaves_no_trace_in_weights_buffers_average_or_random_numbers(bad):
    whole = batches()
    left_out = [batch for number, batch in enumerate(whole) if number not in bad]

    model, _, found = trained(batches(bad), on_nonfinite="skip")
    reference, _, _ = trained(left_out, on_nonfinite="skip")

    assert found.progress.skipped == 2 * len(bad)
    assert same(model, reference)
    one_more, _, _ = trained(whole, on_nonfinite="skip")
    assert not same(one_more, reference)  # what is compared can differ


def test_going_back_leaves_out_what_was_learnt_from_since_the_checkpoint(tmp_path):
    model, _, found = trained(batches([7]), tmp_path, on_nonfinite="rollback", save_steps=5, epochs=1)

    whole = batches()
    reference, _, _ = trained([*whole[:5], *whole[8:]], epochs=1)
    assert found.progress.rollbacks == 1
    assert found.progress.step == 9
    assert same(model, reference)
    rows = list(read_metrics(tmp_path / "metrics.jsonl"))
    assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(1, 10))  # none twice
    (gone_back,) = [row for row in rows if row["kind"] == "rollback"]
    assert gone_back["to_step"] == 5
    assert "the inputs hold nan" in gone_back["error"]


def test_a_run_that_went_back_is_resumed_behind_the_bad_batches(tmp_path):
    options = {"on_nonfinite": "rollback", "save_steps": 5, "epochs": 1}
    calls = iter(range(100))

    def stop():
        return ts.Interrupted("asked to", 130) if next(calls) == 8 else None

    with pytest.raises(ts.Interrupted):
        trained(batches([7]), tmp_path / "a", stop=stop, **options)
    resumed, _, found = trained(batches([7]), tmp_path / "a", resume=True, **options)
    straight, _, _ = trained(batches([7]), tmp_path / "b", **options)

    assert found.progress.rollbacks == 1
    assert same(resumed, straight)


def test_going_back_ends_after_three_times(tmp_path):
    with pytest.raises(ts.NonFiniteError, match="the inputs hold nan"):
        trained(batches([2, 4, 6, 8]), tmp_path, on_nonfinite="rollback", epochs=1)
    assert sum(row["kind"] == "rollback" for row in read_metrics(tmp_path / "metrics.jsonl")) == 3

    trained(batches([2, 4, 6]), tmp_path / "three", on_nonfinite="rollback", epochs=1)


class Fragile(nn.Module):
    """Divides by what dropout has left: one mask in many gives 0 / 0."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 3), nn.Linear(3, CLASSES)

    def forward(self, x):
        h = nn.functional.dropout(self.first(x).relu() + 0.1, 0.5, training=self.training)
        return self.last(h / h.sum(1, keepdim=True))


def test_what_is_written_when_a_run_stops_shows_the_same_nan_again(tmp_path):
    torch.manual_seed(2)
    model = Fragile()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    with pytest.raises(ts.NonFiniteError):
        ts.fit(model, batches(), None, ts.Multiclass(CLASSES), optimizer, epochs=9, folder=tmp_path, show=False)

    found = read_state(tmp_path / "nonfinite")
    again = Fragile()
    again.load_state_dict(found["model"])
    again.train()

    def loss():
        pairs = found["batches"]
        return float(sum(nn.functional.cross_entropy(again(x), y, reduction="sum").detach() for x, y in pairs))

    torch.set_rng_state(found["drawn"][0])
    assert math.isnan(loss())
    others = []
    for seed in range(50):
        torch.manual_seed(seed)
        others.append(math.isnan(loss()))
    assert not all(others)  # it takes that mask
    assert found["error"].startswith("epoch ")


def test_nothing_is_written_of_a_run_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ts.NonFiniteError):
        trained(batches([1]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("accumulate", "number"), [(1, 37), (3, 37), (3, 90)])
def test_the_example_that_is_to_blame_is_named_by_its_number_in_the_data(accumulate, number):
    inputs, targets = torch.randn(100, 4), torch.arange(100) % CLASSES
    inputs[number, 1] = math.inf
    with pytest.raises(ts.NonFiniteError, match=f", example {number}: the inputs hold inf in row "):
        trained(ts.Batches((inputs, targets), 16, shuffle=True), accumulate=accumulate)
    rows = torch.tensor([number, 5, 6])
    with pytest.raises(ts.NonFiniteError, match=f", example {1000 + number}: "):
        trained(ts.Batches((inputs, targets), 16, rows=rows, names=1000 + torch.arange(100)))


class Weighted(nn.Sequential):
    def forward(self, values, beside):
        return super().forward(values) * beside.sum()


def test_examples_of_a_batch_that_holds_something_else_are_named_together():
    data = ts.Batches((torch.ones(32, 4), torch.arange(32) % CLASSES), 16)
    beside = torch.tensor([1.0, math.nan])
    data.transform = lambda batch, _: ((batch[0], beside), batch[1])
    model = Weighted(network())
    with pytest.raises(ts.NonFiniteError, match=r", examples 0, 1, .* \(16 in all\): the inputs hold nan"):
        ts.fit(
            model, data, None, ts.Multiclass(CLASSES), torch.optim.SGD(model.parameters(), 0.1), epochs=1, show=False
        )


def test_to_go_back_needs_a_folder():
    with pytest.raises(ts.InputError, match="on_nonfinite: expected a folder"):
        trained(batches(), on_nonfinite="rollback")


def test_a_checkpoint_from_before_rows_of_the_log_were_lost_is_gone_back_to(tmp_path):
    """What the checkpoint says of the length of the log is no longer so."""
    options = {"on_nonfinite": "rollback", "save_steps": 5, "epochs": 1}
    trained(batches([7]), tmp_path / "a", max_steps=5, **options)
    (tmp_path / "a" / "metrics.jsonl").unlink()
    with pytest.raises(ts.RefusedError, match=r"metrics.jsonl: gone, with the .* or go on without them"):
        trained(batches([7]), tmp_path / "a", resume=True, **options)
    with pytest.warns(UserWarning, match="metrics.jsonl: .* bytes of it, from before update 5, are lost"):
        resumed, _, _ = trained(batches([7]), tmp_path / "a", resume="anyway", **options)
    straight, _, _ = trained(batches([7]), tmp_path / "b", **options)
    assert same(resumed, straight)
    rows = list(read_metrics(tmp_path / "a" / "metrics.jsonl"))
    assert [row["step"] for row in rows] == [5, 6, 7, 8, 9, 9]  # gone back, four updates, the epoch


def test_of_a_log_that_was_cut_the_whole_rows_stay(tmp_path):
    trained(batches(), tmp_path, epochs=1)
    log = tmp_path / "metrics.jsonl"
    rows = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(rows[:3]) + rows[3][:10])
    told = []
    assert len(list(read_metrics(log, told.append))) == 3
    assert told == [f"{log}, line 4: not written to its end, and left out"]
    with pytest.warns(UserWarning, match="are lost"):
        trained(batches(), tmp_path, resume="anyway")
    assert log.read_bytes().startswith(b"".join(rows[:3]) + b'{"kind"')
    trained(batches(), tmp_path, epochs=3, resume=True)  # nothing more to be said
