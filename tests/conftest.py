"""One thread: two on a busy machine cost more than they bring, and the last bits of a sum depend on them."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # also a busy one
settings.load_profile("any machine")


def pytest_addoption(parser):
    parser.addoption("--long-faults", action="store_true", help="tests of faults at their long sizes, for hours")
