"""The device is one that is there, precision does what its name says, and global state is left as it was found."""

# ruff: noqa: NPY002  the global generators are what is tested here

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from truestep.device import FLOAT32, SMALL_MODEL, Precision, choose, choose_threads, preserved_rng, reproducible
from truestep.errors import InputError


def seed_all(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def draws():
    return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()


def test_auto_is_a_device_that_can_compute():
    assert torch.ones(2, device=choose("auto")).sum().item() == 2


def test_auto_prefers_the_gpu_of_this_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose("auto") == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose("auto") == choose("cuda") == torch.device("cuda:1")
    assert choose("cuda:0") == torch.device("cuda:0")
    assert choose(torch.device("cpu")) == torch.device("cpu")


def test_a_device_that_is_not_here_is_refused_saying_what_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        InputError, match=r"^device: expected auto or one that is here \(cuda:0, cpu\), found 'cuda:7'\."
    ):
        choose("cuda:7")
    with pytest.raises(InputError, match=r"found 'cudaa'\. Did you mean 'cuda'\?$"):
        choose("cudaa")


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_precision_is_the_format_of_the_forward_pass(name, dtype):
    precision = Precision.of(name)
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is dtype
    assert precision.scaler.is_enabled() == (name == "fp16")
    assert Precision.of(precision) is precision


def test_float32_changes_no_bit_of_a_step():
    weights = []
    for plain in (True, False):
        weight = torch.linspace(-1, 1, 6).view(2, 3).requires_grad_()
        optimizer = torch.optim.SGD([weight], lr=0.1)
        if plain:
            (torch.ones(4, 2) @ weight).square().sum().backward()
            optimizer.step()
        else:
            with FLOAT32.autocast():
                loss = (torch.ones(4, 2) @ weight).square().sum()
            FLOAT32.scaler.scale(loss).backward()
            FLOAT32.scaler.unscale_(optimizer)
            FLOAT32.scaler.step(optimizer)
            FLOAT32.scaler.update()
        weights.append(weight.detach())
    assert torch.equal(*weights)


def test_unknown_precision_is_refused():
    with pytest.raises(
        InputError, match=r"^precision: expected one of fp32, bf16, fp16, found 'bf61'\. Did you mean 'bf16'"
    ):
        Precision.of("bf61")


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1])
def test_a_run_is_a_function_of_its_seed(seed):
    with reproducible(seed, threads=1):
        first = draws()
    with reproducible(seed, threads=1):
        assert draws() == first
    with reproducible(1234, threads=1):
        assert draws() != first


def test_reproducible_leaves_everything_as_it_was_found_even_after_an_error():
    seed_all(5)
    expected = draws()
    seed_all(5)
    threads, environment = torch.get_num_threads(), dict(os.environ)

    def work():
        with reproducible(0, threads=threads + 1):
            assert torch.get_num_threads() == threads + 1
            assert torch.are_deterministic_algorithms_enabled()
            assert draws() != expected
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert os.environ == environment
    assert draws() == expected


def test_determinism_is_not_switched_off_for_a_user_who_had_it_on():
    torch.use_deterministic_algorithms(mode=True)
    try:
        with reproducible(0, threads=1, deterministic=False):
            assert torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(mode=False)


FLAGS = """
import os, sys, torch
from truestep.device import reproducible

def flags():
    import torch._inductor.config as compiler
    return [
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_deterministic_debug_mode(),
        torch.utils.deterministic.fill_uninitialized_memory,
        compiler.deterministic,
    ]
"""


@pytest.mark.parametrize("imported", ["before", "during", "after"])
def test_reproducible_sets_the_flags_that_torch_s_own_switch_sets(imported):
    script = {
        "before": "off = flags()\nwith reproducible(0, threads=1):\n    ours = flags()\nagain = flags()\n",
        "during": "with reproducible(0, threads=1):\n    ours = flags()\nagain = flags()\noff = again\n",
        "after": "with reproducible(0, threads=1):\n    pass\nagain = off = flags()\n"
        "with reproducible(0, threads=1):\n    ours = flags()\n",
    }[imported]
    check = """
torch.use_deterministic_algorithms(True, warn_only=True)
assert ours == flags() == [True, True, 1, True, True], ours
torch.use_deterministic_algorithms(False)
assert off == again == flags() == [False, False, 0, True, False], (off, again)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR")}
    found = subprocess.run(
        [sys.executable, "-c", FLAGS + script + check], capture_output=True, text=True, check=False, env=environment
    )
    assert not found.returncode, found.stderr


def test_a_run_does_not_wait_for_the_import_of_a_compiler_that_it_does_not_use():
    script = (
        "import sys, torch\nfrom truestep.device import reproducible\n"
        "with reproducible(0, threads=1):\n    torch.ones(2).sum()\n"
        "assert 'torch._inductor' not in sys.modules\n"
        "torch.use_deterministic_algorithms(True)\n"
        "assert 'torch._inductor' in sys.modules, 'then torch.use_deterministic_algorithms will do'\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert not found.returncode, found.stderr


def test_preserved_rng_gives_back_the_generators():
    expected = draws()  # any draw, so that the states are not fresh
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    with preserved_rng():
        assert draws() != expected
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert random.getstate() == states[2]


def test_threads_follow_the_user_then_the_environment_then_the_size(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert choose_threads(10, 3) == (3, "as chosen")
    assert choose_threads(10) == (7, "OMP_NUM_THREADS is set")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert choose_threads(SMALL_MODEL - 1) == (1, "a model of 999,999 parameters is faster on one")
    assert choose_threads(SMALL_MODEL) == (7, "torch's own choice")
    with pytest.raises(InputError, match=r"^threads: expected 0 \(choose for me\) or more, found -1\."):
        choose_threads(10, -1)


def test_looking_for_a_device_does_not_start_cuda():
    code = "import torch; from truestep.device import choose; choose('auto'); assert not torch.cuda.is_initialized()"
    subprocess.run([sys.executable, "-c", code], check=True)
