"""One thread: two on a busy machine cost more than they bring, and the last bits of a sum depend on them."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--long-faults", action="store_true", help="tests of faults at their long sizes, for hours")
