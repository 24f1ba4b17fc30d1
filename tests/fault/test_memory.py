"""With less and less memory a run comes to its end in pieces, or ends with one line; never with a traceback, or another gradient."""

from __future__ import annotations

import sys

import pytest

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's"),
]
QUICK = (1_000, 80, 20, 1)  # MB that training may take besides what the process has already
LONG = (2_000, 1_200, 900, 700, 500, 400, 300, 260, 230, 200, 170, 140, 110, 80, 60, 40, 20, 10, 3, 1)

NET = """
from torch import nn

class Net(nn.Module):
    '''Takes some 400 MB for 256 examples, and 2 MB for one.'''

    def __init__(self, num_outputs=1):
        super().__init__()
        self.first, self.last = nn.Linear(4, 32), nn.Linear(32, num_outputs)

    def forward(self, x):
        wide = self.first(x)[:, None, :].expand(-1, 2_000, -1).tanh().relu()
        return self.last(wide.mean(1)).squeeze(1)
"""
DATA = """
import torch

def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(512, 4, generator=generator)
    return x, x.sum(1)
"""
LIMIT = """
import resource, truestep.run
from truestep.run import fit

def limited(*arguments, **options):  # earlier, polars would end the process itself
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize() + (MEGABYTES << 20)
    resource.setrlimit(resource.RLIMIT_AS, (used, used))
    return fit(*arguments, **options)

truestep.run.fit = limited
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    (folder / "net.py").write_text(NET)
    (folder / "data.py").write_text(DATA)
    return folder


def trained(server, project, out, megabytes, *options):
    arguments = ["train", "data.py:data", "--model", "net.py:Net", "--batch-size", "256", "--epochs", "1", "--max-steps", "1",
                 "--no-doctor", "--out", out, "--valid", "0.02", "--test", "0.02", *options]  # fmt: skip
    limit = "" if megabytes is None else f"MEGABYTES = {megabytes}\n{LIMIT}"
    return server.run(*arguments, folder=project, before=limit, seconds=100)


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


def test_a_falling_limit(server, project, long):
    assert trained(server, project, "whole", None).code == 0
    whole, ends = weights(project / "whole"), {}
    for megabytes in LONG if long else QUICK:
        out = f"run-{megabytes}"
        ended = trained(server, project, out, megabytes, "--micro-batch", "auto")
        ends[megabytes] = ended.code
        if ended.code == 0:
            for name, value in weights(project / out).items():
                assert (value - whole[name]).abs().max() < 1e-5 * whole[name].abs().max(), name
        else:
            assert ended.code == 2, ended.err
            assert "memory" in ended.line.lower()
            assert not (project / out).exists() or (project / out / "metrics.jsonl").exists()
    print(ends)
    assert ends[max(ends)] == 0
    assert ends[1] == 2
    assert any(code == 0 for megabytes, code in ends.items() if megabytes < 100)  # in pieces


def test_without_pieces_it_ends_with_one_line(server, project):
    """The check can fail: where pieces help, whole batches do not fit."""
    ended = trained(server, project, "run", 80)
    assert ended.code == 2, ended.err
    assert "Try --micro-batch auto" in ended.line
    assert not (project / "run").exists()
