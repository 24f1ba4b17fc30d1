"""No step waits for the device: a GPU works through its queue while Python is steps ahead of it.

On the meta device every read of a number raises (`.item()`, `float()`, `if tensor`), so what runs there has read none. Where
CUDA is, PyTorch itself looks: it also sees copies that `torch.tensor(..., device=...)` makes.
"""

from __future__ import annotations

import io
import itertools
import sys

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode

import truestep as ts
from truestep import hits, progress
from truestep.dropout import key_dropout
from truestep.nest import tensors_of

N, BATCH, CLASSES, STEPS = 400, 8, 4, 30
COPIES = {torch.ops.aten._to_copy.default: None, torch.ops.aten.copy_.default: 2}  # and the place of `non_blocking`


class EnoughError(Exception):
    """Ends `fit` in the middle of an epoch, before it saves or evaluates."""


class NoCopies(TorchDispatchMode):
    """Raises at a copy from the CPU that the program would wait for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func in COPIES:
            place = COPIES[func]
            waits = not (kwargs.get("non_blocking") or (place is not None and len(args) > place and args[place]))
            from_cpu = any(tensor.device.type == "cpu" for tensor in tensors_of(args))
            assert not (from_cpu and waits and result.device.type != "cpu"), f"{func} waits for the device"
        return result


class Terminal(io.StringIO):
    def isatty(self):
        return True


def network(device):
    model = nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 16), nn.Linear(16, CLASSES)
    )
    key_dropout(model, 0)
    return model.to(device)


def batches(device, size=BATCH):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(N, 6, generator=generator), torch.randint(0, CLASSES, (N,), generator=generator)
    return [(x[i : i + size].to(device), y[i : i + size].to(device)) for i in range(0, N, size)]


def everything(device, folder, patch, *, steps=STEPS, begin=lambda: None, **options):
    """Run steps of `fit` with a bar, metrics, clipping, a log, a guard, an average and a schedule."""
    patch.setattr(sys, "stderr", Terminal())
    patch.setattr(progress, "REDRAW_SECONDS", 0.0)
    patch.setattr(hits, "CHUNK", 3 * BATCH * CLASSES)  # so that answers are counted several times
    model = network(device)
    optimizer = torch.optim.AdamW(model.parameters(), **({"foreach": True} if device == "meta" else {"fused": True}))
    updates = itertools.count(1)

    def stop():
        if (update := next(updates)) == 1:
            begin()  # what is made once may wait
        if update == steps:
            raise EnoughError

    ts.fit(
        model, batches(device), None, ts.Multiclass(CLASSES, (1.0, 2.0, 1.0, 1.0)), optimizer, epochs=1, folder=folder,
        stop=stop, max_grad_norm=1.0, ema_decay=0.9, scheduler=CosineAnnealingLR(optimizer, 100), micro_batch=3,
        max_minutes=60, **{"log_every": 10_000} | options,
    )  # fmt: skip


def test_no_step_of_fit_waits_with_everything_on(tmp_path, monkeypatch):
    mode = NoCopies()
    try:
        with pytest.raises(EnoughError):
            everything("meta", tmp_path, monkeypatch, begin=mode.__enter__)
    finally:
        mode.__exit__(None, None, None)
    assert "examples/s" in sys.stderr.getvalue() or "batches/s" in sys.stderr.getvalue()  # the bar was drawn


@pytest.mark.parametrize("every", [2, 7])
def test_it_reads_when_it_writes_to_the_log_and_not_before(tmp_path, monkeypatch, every):
    with pytest.raises(EnoughError):
        everything("meta", tmp_path / "before", monkeypatch, steps=every - 1, log_every=every)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        everything("meta", tmp_path / "then", monkeypatch, steps=every, log_every=every)


def test_no_step_of_a_loop_of_ones_own_waits():
    model, made = network("meta"), batches("meta")
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn())
    options = {"max_grad_norm": 1.0, "accumulate": 2, "scheduler": CosineAnnealingLR(optimizer, 10), "ema": average}
    with NoCopies():
        steps = list(ts.train_steps(model, made, ts.Multiclass(CLASSES), optimizer, **options))

    assert len(steps) == N / BATCH / 2
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(steps[0].loss)


def test_no_batch_is_waited_for_where_the_data_are_on_the_device():
    x, y = torch.empty(N, 6, device="meta"), torch.empty(N, device="meta")
    with NoCopies():
        assert len(list(ts.Batches((x, y), BATCH, shuffle=True))) == N / BATCH


def test_no_batch_of_an_evaluation_waits():
    model, made = network("meta"), batches("meta")

    def some():
        yield from made
        raise EnoughError  # before the numbers are read, once for all batches

    with NoCopies(), pytest.raises(EnoughError):
        ts.evaluate(model, some(), ts.Multiclass(CLASSES))
    with pytest.raises((RuntimeError, NotImplementedError)):
        ts.evaluate(model, made, ts.Multiclass(CLASSES))


def test_a_copy_that_is_waited_for_is_seen():
    with NoCopies():
        torch.zeros(2).to("meta", non_blocking=True)
        torch.empty(2, device="meta").copy_(torch.zeros(2), non_blocking=True)
        for copy in (lambda: torch.zeros(2).to("meta"), lambda: torch.empty(2, device="meta").copy_(torch.zeros(2))):
            with pytest.raises(AssertionError, match="waits"):
                copy()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_step_waits_for_a_gpu(tmp_path, monkeypatch):
    try:
        with pytest.raises(EnoughError):
            everything("cuda", tmp_path, monkeypatch, steps=40, begin=lambda: torch.cuda.set_sync_debug_mode("error"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
