"""The loop against plain PyTorch loops written here, bit for bit."""

from __future__ import annotations

import copy
import itertools
import json
import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

import truestep as ts
from truestep import loop
from truestep.batches import batches_on
from truestep.objectives import IGNORED

SEED, N, BATCH, EPOCHS = 3, 45, 8, 3  # ragged: 45 = 5 * 8 + 5, so the sixth batch is short


class Tagger(nn.Module):
    """A tiny model of sequences, with dropout."""

    def __init__(self):
        super().__init__()
        self.embedding, self.dropout, self.linear = nn.Embedding(7, 12), nn.Dropout(0.2), nn.Linear(12, 7)

    def forward(self, tokens):
        return self.linear(self.dropout(self.embedding(tokens)))


def network(outputs):
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, outputs))


def problem(task):
    """inputs, targets, objective, model, and the loss sum and count as one writes them by hand."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 6, generator=generator)
    torch.manual_seed(1)
    if task == "multiclass":
        y = torch.randint(0, 4, (N,), generator=generator)
        weights = (1.0, 2.0, 0.5, 1.5)
        w = torch.tensor(weights)

        def by_hand(outputs, y):
            return F.cross_entropy(outputs, y, weight=w, label_smoothing=0.1, reduction="sum")

        return x, y, ts.Multiclass(4, weights, 0.1), network(4), by_hand, lambda y: w[y].sum()
    if task == "binary":
        y = torch.randint(0, 2, (N,), generator=generator)

        def by_hand(outputs, y):
            return F.binary_cross_entropy_with_logits(outputs[:, 0], y.float(), reduction="sum")

        return x, y, ts.Binary(), network(1), by_hand, len
    if task == "regression":
        y = 100 + 7 * torch.randn(N, generator=generator)
        mean, std = y.double().mean().float(), y.double().std(correction=0).float()

        def by_hand(outputs, y):
            return F.huber_loss(outputs[:, 0], (y - mean) / std, reduction="sum")

        return x, y, ts.Regression.of(y, "huber"), network(1), by_hand, len
    tokens = torch.randint(0, 7, (N, 10), generator=generator)
    y = tokens[:, 1:].clone()
    y[torch.rand(y.shape, generator=generator) < 0.3] = IGNORED  # padding: batches count differently

    def by_hand(outputs, y):
        return F.cross_entropy(outputs.flatten(0, 1), y.flatten(), ignore_index=IGNORED, reduction="sum")

    return tokens[:, :-1], y, ts.NextToken(7), Tagger(), by_hand, lambda y: (y != IGNORED).sum()


def plain_loop(task, *, accumulate, clip, schedule, precision, ema_decay):
    """What a careful engineer writes without truestep. Returns the final weights."""
    x, y, _, model, loss_sum, count = problem(task)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    scheduler = CosineAnnealingLR(optimizer, 20) if schedule else None
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    average, updates = copy.deepcopy(model), 0
    torch.manual_seed(5)
    for epoch in range(EPOCHS):
        model.train()
        order = torch.from_numpy(np.random.default_rng([SEED, epoch]).permutation(N))
        batches = order.split(BATCH)
        for first in range(0, len(batches), accumulate):
            group = batches[first : first + accumulate]
            total = sum(count(y[batch]) for batch in group)
            optimizer.zero_grad()
            for batch in group:
                with torch.autocast("cpu", dtype, enabled=precision != "fp32"):
                    outputs = model(x[batch]).float()  # the model may run in 16 bits, the loss does not
                    loss = loss_sum(outputs, y[batch]) / total
                scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            if clip == "norm":
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            elif clip == "value":
                nn.utils.clip_grad_value_(model.parameters(), 0.01)
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            if scaler.get_scale() < before:
                continue
            if scheduler:
                scheduler.step()
            with torch.no_grad():
                for a, p in zip(average.parameters(), model.parameters(), strict=True):
                    a.copy_(p) if updates == 0 else a.lerp_(p, 1 - ema_decay if ema_decay else 0.0)
            updates += 1
    return average if ema_decay else model


COMBINATIONS = [
    (task, accumulate, clip, schedule, precision, ema)
    for number, (task, accumulate, clip, precision) in enumerate(
        itertools.product(
            ["multiclass", "binary", "regression", "next-token"], [1, 4], [None, "norm", "value"], ["fp32", "bf16"]
        )
    )
    for schedule, ema in [[(False, None), (True, None), (False, 0.9), (True, 0.9)][number % 4]]
] + [(task, 3, "norm", True, "fp16", None) for task in ("multiclass", "regression")]


@pytest.mark.parametrize(("task", "accumulate", "clip", "schedule", "precision", "ema"), COMBINATIONS)
def test_fit_gives_bitwise_the_weights_of_a_plain_loop(task, accumulate, clip, schedule, precision, ema):
    expected = plain_loop(task, accumulate=accumulate, clip=clip, schedule=schedule, precision=precision, ema_decay=ema)

    x, y, objective, model, _, _ = problem(task)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    torch.manual_seed(5)
    ts.fit(
        model,
        ts.Batches((x, y), BATCH, shuffle=True, seed=SEED),
        None,
        objective,
        optimizer,
        epochs=EPOCHS,
        scheduler=CosineAnnealingLR(optimizer, 20) if schedule else None,
        accumulate=accumulate,
        max_grad_norm=0.1 if clip == "norm" else math.inf,
        max_grad_value=0.01 if clip == "value" else math.inf,
        precision=precision,
        ema_decay=ema,
        show=False,
    )

    for (name, p), q in zip(model.named_parameters(), expected.parameters(), strict=True):
        assert torch.equal(p, q), name


def test_there_are_enough_combinations():
    assert len(COMBINATIONS) >= 24


def fit_simply(folder=None, *, x=None, y=None, epochs=3, model=None, valid=True, optimizer=None, **options):
    default_x, default_y, *_ = problem("multiclass")
    x, y = default_x if x is None else x, default_y if y is None else y
    if model is None:
        torch.manual_seed(1)
        model = network(4)
    optimizer = optimizer(model.parameters()) if optimizer else torch.optim.AdamW(model.parameters(), lr=0.02)
    torch.manual_seed(5)
    fitted = ts.fit(
        model,
        ts.Batches((x, y), BATCH, shuffle=True, seed=SEED),
        (x[:20], y[:20]) if valid else None,
        ts.Multiclass(4),
        optimizer,
        epochs=epochs,
        folder=folder,
        show=False,
        **options,
    )
    return model, fitted


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_reading_changes_nothing(tmp_path):
    """Evaluating, logging and saving at every chance leaves the weights bitwise the same."""
    quiet, _ = fit_simply(log_every=1000, valid=False)
    x, y, *_ = problem("multiclass")
    torch.manual_seed(1)
    model = network(4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    torch.manual_seed(5)
    train = ts.Batches((x, y), BATCH, shuffle=True, seed=SEED)
    checkpoints = ts.Checkpoints(tmp_path, {"model": model, "optimizer": optimizer})
    for epoch in range(3):
        model.train()
        for number, step in enumerate(ts.train_steps(model, train.epoch(epoch), ts.Multiclass(4), optimizer)):
            float(step.loss)
            ts.evaluate(model, (x, y), ts.Multiclass(4))
            ts.evaluate(model, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 7), ts.Multiclass(4))
            checkpoints.save({"step": epoch * 6 + number})

    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), quiet.parameters(), strict=True))


@pytest.mark.parametrize("options", [{}, {"accumulate": 4}, {"ema_decay": 0.9}, {"precision": "fp16"}, {"patience": 1}])
def test_a_run_interrupted_twice_ends_as_one_that_was_not(tmp_path, options):
    whole, _ = fit_simply(tmp_path / "a", log_every=2, epochs=5, **options)

    for stop_after in (4, 3):
        calls = itertools.count(1)

        def stop(calls=calls, stop_after=stop_after):
            return ts.Interrupted("asked to", 130) if next(calls) == stop_after else None

        with pytest.raises(ts.Interrupted):
            fit_simply(tmp_path / "b", log_every=2, epochs=5, stop=stop, resume=stop_after == 3, **options)
    resumed, _ = fit_simply(tmp_path / "b", log_every=2, epochs=5, resume=True, **options)

    assert same(whole, resumed)
    logs = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()] for name in "ab"
    ]
    for row in itertools.chain(*logs):
        row.pop("seconds", None)
    assert logs[0] == logs[1]


def test_accumulating_equals_the_big_batch_with_a_ragged_end():
    x, y, _, _, _, _ = problem("multiclass")
    gradients = []
    for batch_size, accumulate in ((N, 1), (8, 6), (7, 7)):
        torch.manual_seed(1)
        model = nn.Linear(6, 4).double()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        batches = ts.Batches((x.double(), y), batch_size)
        steps = list(ts.train_steps(model, batches, ts.Multiclass(4), optimizer, accumulate=accumulate))
        assert len(steps) == 1
        gradients.append(model.weight.grad.clone())

    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(gradients[2], gradients[0], rtol=1e-13, atol=1e-15)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 12), min_size=1, max_size=12), padding=st.floats(0, 0.9))
def test_any_cutting_into_batches_gives_the_gradient_of_all_tokens(cuts, padding):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 7, (sum(cuts), 5), generator=generator)
    y = torch.randint(0, 7, (sum(cuts), 5), generator=generator)
    y[torch.rand(y.shape, generator=generator) < padding] = IGNORED
    y[0, 0] = 3  # at least one counts
    torch.manual_seed(1)
    model = Tagger().eval().double()
    F.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=IGNORED).backward()
    expected = [p.grad.clone() for p in model.parameters()]

    batches = list(zip(x.split(cuts), y.split(cuts), strict=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    (step,) = ts.train_steps(model, batches, ts.NextToken(7), optimizer, accumulate=len(cuts))

    for p, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-6, atol=1e-12)
    assert int(step.count) == int((y != IGNORED).sum())


def test_lbfgs_does_what_its_closure_by_hand_does():
    x, y, *_ = problem("multiclass")
    torch.manual_seed(1)
    model = nn.Linear(6, 4)
    optimizer = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
    reference = copy.deepcopy(model)
    by_hand = torch.optim.LBFGS(reference.parameters(), line_search_fn="strong_wolfe")

    def closure():
        by_hand.zero_grad()
        loss = F.cross_entropy(reference(x), y, reduction="sum") / N
        loss.backward()
        return loss

    for _ in range(2):
        by_hand.step(closure)
        list(ts.train_steps(model, ts.Batches((x, y), N), ts.Multiclass(4), optimizer))

    assert same(model, reference)


def test_lbfgs_stops_before_a_loss_that_is_not_finite_spoils_the_weights():
    x, y, *_ = problem("multiclass")
    x = x.clone()
    x[3, 0] = math.nan
    model = nn.Linear(6, 4)
    optimizer = torch.optim.LBFGS(model.parameters())
    with pytest.raises(ts.NonFiniteError, match="the inputs hold nan"):
        list(ts.train_steps(model, ts.Batches((x, y), N), ts.Multiclass(4), optimizer))
    assert model.weight.isfinite().all()


def test_a_gradient_that_is_nan_at_any_scale_stops_float16_too():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.linear = nn.Parameter(torch.zeros(6)), nn.Linear(6, 4)

        def forward(self, x):
            return self.linear(x) + (x * self.scale).norm(dim=1, keepdim=True).sqrt()

    model = Root()
    with pytest.raises(ts.NonFiniteError, match="gradient of 'scale'"):
        fit_simply(model=model, precision="fp16", epochs=10)


def test_more_steps_than_before_go_on_as_if_the_first_limit_had_not_been(tmp_path):
    """Also with what watches validation: it must not look twice at an epoch that was cut."""

    def run(folder, resume=False, **limits):
        x, y, *_ = problem("multiclass")
        torch.manual_seed(1)
        model = network(4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        plateau = ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
        torch.manual_seed(5)
        fitted = ts.fit(
            model,
            ts.Batches((x, y), BATCH, shuffle=True, seed=SEED),
            (x[:20], y[:20]),
            ts.Multiclass(4),
            optimizer,
            epochs=8,
            scheduler=plateau,
            patience=7,
            folder=folder,
            resume=resume,
            show=False,
            **limits,
        )
        return model, fitted

    whole, _ = run(tmp_path / "whole")
    for first, second in ((15, 31), (12, 18)):  # in the middle of an epoch, and at its end
        folder = tmp_path / f"cut-{first}"
        run(folder, max_steps=first)
        run(folder, resume=True, max_steps=second)
        cut, _ = run(folder, resume=True)
        assert same(whole, cut)
        logs = [
            [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
            for path in (tmp_path / "whole", folder)
        ]
        assert [row["epoch"] for row in logs[0]] == [row["epoch"] for row in logs[1]]


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    whole, first = fit_simply(tmp_path, epochs=40, patience=2)
    log = (tmp_path / "metrics.jsonl").read_bytes()
    again, second = fit_simply(tmp_path, epochs=40, patience=2, resume=True)

    assert first.progress.stopped == second.progress.stopped == "patience"
    assert same(whole, again)
    assert (tmp_path / "metrics.jsonl").read_bytes() == log


def test_a_dataset_that_draws_from_global_generators_resumes_exactly(tmp_path):
    x, y, *_ = problem("multiclass")

    class Noisy(torch.utils.data.Dataset):
        def __len__(self):
            return N

        def __getitem__(self, row):
            noise = np.random.normal() + random.gauss(0, 1)  # noqa: NPY002
            return x[row] + float(noise), int(y[row])

    def run(folder, **options):
        torch.manual_seed(1)
        model = network(4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        batches = ts.Batches(Noisy(), BATCH, shuffle=True)
        ts.fit(model, batches, None, ts.Multiclass(4), optimizer, epochs=3, folder=folder, show=False, **options)
        return model

    whole = run(tmp_path / "a")
    calls = itertools.count(1)
    with pytest.raises(ts.Interrupted):
        run(tmp_path / "b", stop=lambda: ts.Interrupted("asked to", 130) if next(calls) == 8 else None)
    assert same(whole, run(tmp_path / "b", resume=True))


class Overflowing(nn.Module):
    """Gradients that are finite in float32, and not at float16's first scale of 65536."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(6), nn.Linear(6, 4)

    def forward(self, x):
        return self.linear(self.norm(x) * 30)


def test_a_step_that_float16_skips_advances_neither_schedule_nor_average_nor_count():
    x, y, *_ = problem("multiclass")
    torch.manual_seed(1)
    model = Overflowing()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    average = torch.optim.swa_utils.AveragedModel(model)
    before = copy.deepcopy(model.state_dict())

    steps = iter(
        ts.train_steps(
            model,
            ts.Batches((x, y), BATCH),
            ts.Multiclass(4),
            optimizer,
            scheduler=schedule,
            ema=average,
            precision="fp16",
        )
    )
    first = next(steps)

    assert first.skipped
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())  # batch norm too
    assert schedule.last_epoch == 0
    assert int(average.n_averaged) == 0
    applied = sum(not step.skipped for step in steps)
    assert applied == schedule.last_epoch == int(average.n_averaged) > 0


class Poisoned(nn.Module):
    """Gives NaN from `bad` on examples whose first value is above 90."""

    def __init__(self):
        super().__init__()
        self.fine, self.norm, self.bad, self.last = nn.Linear(6, 6), nn.BatchNorm1d(6), Root(), nn.Linear(6, 4)

    def forward(self, x):
        return self.last(self.bad(self.norm(self.fine(x)), x[:, :1] > 90))


class Root(nn.Module):
    def forward(self, x, where):
        return torch.where(where, torch.full_like(x, -1.0).sqrt(), x)


def poisoned(**options):
    x, y, *_ = problem("multiclass")
    x = x.clone()
    x[17, 0] = 91.0
    torch.manual_seed(1)
    model = Poisoned()
    return model, lambda folder=None: fit_simply(folder, x=x, y=y, model=model, **options)


def test_a_loss_that_is_not_finite_stops_the_run_before_the_weights_change(tmp_path):
    model, run = poisoned(valid=False)
    with pytest.raises(ts.NonFiniteError) as caught:
        run(tmp_path)

    message = str(caught.value)
    order = np.random.default_rng([SEED, 0]).permutation(N).tolist()
    step = order.index(17) // BATCH
    assert f"epoch 1, step {step + 1}, examples {', '.join(map(str, order[8 * step : 8 * step + 8]))}" in message
    assert "module 'bad'" in message
    assert "learning rate" in message
    assert all(p.isfinite().all() for p in model.parameters())
    assert not (tmp_path / "checkpoints").exists()


def test_where_losses_are_read_late_the_step_is_found_all_the_same(tmp_path, monkeypatch):
    """As on a GPU: nothing is read until the log interval, and a fused optimizer leaves the bad step out itself."""
    monkeypatch.setattr(loop, "reads_at_once", lambda *_: False)
    model, run = poisoned(valid=False, optimizer=lambda p: torch.optim.AdamW(p, lr=0.02, fused=True))
    with pytest.raises(ts.NonFiniteError) as caught:
        run(tmp_path)

    order = np.random.default_rng([SEED, 0]).permutation(N).tolist()
    step = order.index(17) // BATCH
    assert f"step {step + 1}, examples {order[8 * step]}, " in str(caught.value)
    assert "module 'bad'" in str(caught.value)
    assert all(p.isfinite().all() for p in model.parameters())
    assert not (tmp_path / "checkpoints").exists()


def test_skipping_leaves_the_step_out_and_counts_it(tmp_path):
    model, run = poisoned(valid=False, on_nonfinite="skip", log_every=1)
    _, fitted = run(tmp_path)

    assert fitted.progress.skipped == 3  # once an epoch
    assert fitted.progress.step == 3 * 6 - 3
    assert all(value.isfinite().all() for value in model.state_dict().values())
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["skipped"] == 3
    assert math.isfinite(last["train_loss"])


@pytest.mark.parametrize(
    ("where", "said"),
    [("inputs", "the inputs hold nan"), ("weights", "the weights '0.weight'"), ("loss", "the loss is nan on finite")],
)
def test_the_cause_is_named(where, said):
    x, y, *_ = problem("multiclass")
    x = x.clone()
    torch.manual_seed(1)
    model = network(4)
    objective = ts.Multiclass(4)
    if where == "inputs":
        x[5, 2] = math.nan
    elif where == "weights":
        model[0].weight.data[0, 0] = math.nan
    else:
        objective = LogOfZero(4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    with pytest.raises(ts.NonFiniteError, match=said):
        list(ts.train_steps(model, ts.Batches((x, y), BATCH), objective, optimizer))


class LogOfZero(ts.Multiclass):
    def loss_sum(self, outputs, targets):
        return super().loss_sum(outputs, targets) + (outputs.sum() * 0).log() * 0


def test_a_gradient_that_is_not_finite_under_a_finite_loss_names_its_parameter():
    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.linear = nn.Parameter(torch.zeros(6)), nn.Linear(6, 4)

        def forward(self, x):
            return self.linear(x) + (x * self.scale).norm(dim=1, keepdim=True).sqrt()

    x, y, *_ = problem("multiclass")
    model = Norm()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ts.NonFiniteError, match="gradient of 'scale' is not finite, though the loss"):
        list(ts.train_steps(model, ts.Batches((x, y), BATCH), ts.Multiclass(4), optimizer))


def test_batches_may_be_nests_and_models_may_take_several_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 4), nn.Embedding(5, 4)

        def forward(self, numbers, codes):
            return self.a(numbers) + self.b(codes)

    x, y, *_ = problem("multiclass")
    codes = torch.arange(N) % 5
    finals = []
    for inputs in ((x, codes), {"codes": codes, "numbers": x}, [x, codes]):
        torch.manual_seed(1)
        model = Two()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        list(ts.train_steps(model, ts.Batches((inputs, y), BATCH), ts.Multiclass(4), optimizer))
        finals.append(model)

    assert same(finals[0], finals[1])
    assert same(finals[0], finals[2])


def test_a_plain_function_trains_a_vae_as_by_hand():
    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode, self.decode = nn.Linear(6, 4), nn.Linear(2, 6)

        def loss(self, x):
            mean, log_var = self.encode(x).chunk(2, dim=1)
            z = mean + torch.randn_like(mean) * (log_var / 2).exp()
            divergence = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1)
            return (F.mse_loss(self.decode(z), x, reduction="none").sum(1) + divergence).mean()

    x, *_ = problem("multiclass")
    models = []
    for by_hand in (True, False):
        torch.manual_seed(1)
        model = VAE()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        torch.manual_seed(2)
        batches = ts.Batches(x, BATCH, shuffle=True)
        if by_hand:
            for epoch in range(3):
                for batch in batches.epoch(epoch):
                    optimizer.zero_grad()
                    model.loss(batch).backward()
                    optimizer.step()
        else:
            ts.fit(model, batches, None, lambda m, batch: m.loss(batch), optimizer, epochs=3, show=False)
        models.append(model)

    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_two_generators_of_steps_train_a_gan_as_by_hand():
    def networks():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), nn.Linear(2, 1)

    real = torch.randn(N, 2, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(N, 3, generator=torch.Generator().manual_seed(2))
    ones, zeros, bce = torch.ones, torch.zeros, F.binary_cross_entropy_with_logits

    def judge(discriminator, generator, real, noise):
        fake = generator(noise).detach()
        n = len(real)
        return bce(discriminator(real), ones(n, 1)) + bce(discriminator(fake), zeros(n, 1))

    def fool(discriminator, generator, noise):
        return bce(discriminator(generator(noise)), ones(len(noise), 1))

    generator, discriminator = networks()
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.01) for m in (discriminator, generator)]
    for first in range(0, N, BATCH):
        r, z = real[first : first + BATCH], noise[first : first + BATCH]
        discriminator.zero_grad()
        judge(discriminator, generator, r, z).backward()
        optimizers[0].step()
        generator.zero_grad()
        fool(discriminator, generator, z).backward()
        optimizers[1].step()
    expected = [*generator.parameters(), *discriminator.parameters()]

    generator, discriminator = networks()
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.01) for m in (discriminator, generator)]
    d_steps = ts.train_steps(
        discriminator, ts.Batches((real, noise), BATCH), lambda d, batch: judge(d, generator, *batch), optimizers[0]
    )
    g_steps = ts.train_steps(generator, ts.Batches(noise, BATCH), lambda g, z: fool(discriminator, g, z), optimizers[1])
    for _ in zip(d_steps, g_steps, strict=True):
        pass

    for p, q in zip([*generator.parameters(), *discriminator.parameters()], expected, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_the_best_weights_come_back_and_patience_ends_the_run():
    x, y, *_ = problem("multiclass")
    _, fitted = fit_simply(epochs=60, patience=3, monitor="valid_accuracy")
    model, _ = fit_simply(epochs=60, patience=3, monitor="valid_accuracy")

    values = [row["valid_accuracy"] for row in fitted.history]
    assert fitted.progress.stopped == "patience"
    assert fitted.best.value == max(values)
    assert fitted.best.epoch == values.index(max(values)) + 1
    assert len(values) == fitted.best.epoch + 3
    assert ts.evaluate(model, (x[:20], y[:20]), ts.Multiclass(4))["accuracy"] == max(values)


def test_batches_are_moved_to_where_the_model_is():
    """The meta device stands for a GPU: a batch left on the CPU would raise."""
    model = nn.Linear(6, 4).to("meta")
    x, y, *_ = problem("multiclass")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=True)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), BATCH)
    for batches in (ts.Batches((x, y), BATCH), loader):
        moved = batches_on(torch.device("meta"), batches)
        assert len(list(ts.train_steps(model, moved, ts.Multiclass(4), optimizer))) == 6


@pytest.mark.parametrize(("monitor", "mode"), [("valid_loss", "min"), ("valid_accuracy", "max")])
def test_plateau_follows_the_metric_it_was_told(monitor, mode):
    x, y, *_ = problem("multiclass")
    torch.manual_seed(1)
    model = network(4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = ReduceLROnPlateau(optimizer, mode, patience=0, factor=0.5, threshold=0.0)
    fitted = ts.fit(
        model,
        ts.Batches((x, y), BATCH, shuffle=True),
        (x[:20], y[:20]),
        ts.Multiclass(4),
        optimizer,
        epochs=12,
        scheduler=scheduler,
        monitor=monitor,
        show=False,
    )

    shadow = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    expected = ReduceLROnPlateau(shadow, mode, patience=0, factor=0.5, threshold=0.0)
    for row in fitted.history:
        expected.step(row[monitor])
        assert row["lr"] == shadow.param_groups[0]["lr"]
    assert fitted.history[-1]["lr"] < 0.5


def test_stopping_by_steps_and_minutes():
    _, by_steps = fit_simply(max_steps=7)
    _, by_minutes = fit_simply(max_minutes=1e-9)

    assert (by_steps.progress.step, by_steps.progress.stopped) == (7, "max_steps")
    assert len(by_steps.history) == 2
    assert (by_minutes.progress.step, by_minutes.progress.stopped) == (1, "max_minutes")


def test_the_train_loss_of_an_epoch_weighs_every_example_alike():
    x, y, *_ = problem("multiclass")
    torch.manual_seed(1)
    model = nn.Linear(6, 4)
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    fitted = ts.fit(model, ts.Batches((x, y), BATCH), (x, y), ts.Multiclass(4), frozen, epochs=1, show=False)

    expected = F.cross_entropy(model(x), y).item()
    assert fitted.history[0]["train_loss"] == pytest.approx(expected, rel=1e-6)
    assert fitted.history[0]["valid_loss"] == pytest.approx(expected, rel=1e-6)


def test_what_would_train_nothing_is_refused(tmp_path):
    x, y, *_ = problem("multiclass")
    model, other = network(4), network(4)
    batches, data = ts.Batches((x, y), BATCH), (x, y)
    for said, options in {
        "optimizer: expected parameters of this model": {"optimizer": torch.optim.SGD(other.parameters(), 0.1)},
        "epoch 2 has no batches": {"train": iter(batches)},
        "epoch 1 has no batches": {"train": []},
        "train: expected batches, found data": {"train": data},
        "resume: expected the folder": {"resume": True},
        "batches: expected at least one to evaluate": {"valid": []},
    }.items():
        defaults = {"train": batches, "valid": data, "optimizer": torch.optim.SGD(model.parameters(), 0.1)}
        chosen = defaults | options
        with pytest.raises(ts.InputError, match=said):
            ts.fit(
                model,
                chosen.pop("train"),
                chosen.pop("valid"),
                ts.Multiclass(4),
                chosen.pop("optimizer"),
                epochs=2,
                show=False,
                **chosen,
            )
    fit_simply(tmp_path)
    with pytest.raises(ts.InputError, match="holds the checkpoints of another run"):
        fit_simply(tmp_path)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ts.InputError, match="all are frozen"):
        list(ts.train_steps(model, batches, ts.Multiclass(4), defaults["optimizer"]))
    with pytest.raises(ts.InputError, match="a function that returns the mean loss"):
        list(ts.train_steps(other, batches, lambda m, b: m(b[0]), torch.optim.SGD(other.parameters(), 0.1)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"accumulate": 0}, "accumulate: expected at least 1"),
        ({"max_grad_norm": 0.0}, "max_grad_norm: expected a number above 0"),
        ({"max_grad_norm": 1.0, "max_grad_value": 1.0}, "expected one of them, found both"),
        ({"on_nonfinite": "ignore"}, "on_nonfinite: expected one of stop, skip, rollback, found 'ignore'"),
        ({"precision": "fp8"}, "precision: expected one of fp32, bf16, fp16, found 'fp8'"),
        ({"epochs": 0}, "epochs: expected at least 1"),
        ({"monitor": "valid_acuracy"}, "Did you mean 'valid_accuracy'"),
        ({"patience": 0}, "patience: expected at least 1"),
        ({"log_every": 0}, "log_every: expected at least 1"),
        ({"ema_decay": 1.0}, "ema_decay: expected a number of at least 0 and below 1"),
        ({"patience": 2, "valid": False}, "patience: expected validation data"),
        ({"y": torch.full((N,), 7)}, "train targets, row 0: expected a class in [0, 4), found 7 (45 rows in all)"),
        ({"y": torch.rand(N)}, "train targets: expected integers in [0, 4), found torch.float32"),
    ],
)
def test_options_that_cannot_be_are_refused_before_the_first_step(tmp_path, options, said):
    with pytest.raises(ts.InputError) as caught:
        fit_simply(tmp_path / "run", **options)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_can_not_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("mine")
    data = (torch.randn(8, 3), torch.randn(8, 1))
    for folder in (tmp_path / "file", tmp_path / "file" / "inside", "/proc/x"):
        model = nn.Linear(3, 1)
        with pytest.raises(ts.InputError, match="Choose another"):
            ts.fit(
                model,
                ts.Batches(data, 4),
                None,
                ts.Regression(),
                torch.optim.SGD(model.parameters()),
                epochs=1,
                folder=folder,
            )
    assert (tmp_path / "file").read_text() == "mine"
