"""Faults on purpose. `pytest -m fault` runs them at their quick sizes, `--long-faults` at those of docs/reliability.md."""

from __future__ import annotations

import os

import pytest
from command_server import CommandServer


@pytest.fixture
def long(request) -> bool:
    return request.config.getoption("--long-faults")


@pytest.fixture(autouse=True)
def _one_thread():
    """A copy of a process that computes with several threads may hang."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def server():
    """Runs commands: `server.run("train", "iris", folder=tmp_path)`."""
    started = CommandServer()
    yield started
    started.close()
