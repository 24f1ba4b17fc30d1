"""Training in several processes: ranks of `torchrun`, and children that the script starts itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

HEAD = """\
import os
import sys
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def train(rank=0):
    torch.manual_seed(rank)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = TensorDataset(torch.randn(96, 4), torch.randint(3, (96,)))
    for inputs, targets in DataLoader(data, batch_size=8, shuffle=True, num_workers=WORKERS):
        optimizer.zero_grad()
        outputs = model(inputs)
        if WRONG in (rank, "all"):
            outputs = outputs.softmax(1)  # here
        nn.functional.cross_entropy(outputs, targets).backward()
        if dist.is_initialized():
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad)
        optimizer.step()
        if CRASH == rank and optimizer.state_dict() and inputs.sum() > 0:
            raise RuntimeError("my own mistake")
    print("trained", rank, float(model.weight.sum()))


"""
RANKS = 'dist.init_process_group("gloo")\ntrain(dist.get_rank())\ndist.destroy_process_group()\n'
LINE = next(number for number, line in enumerate(HEAD.splitlines(), 1) if line.endswith("# here"))


def written(folder, end, wrong=None, crash=None, workers=0):
    words = HEAD.replace("WRONG", repr(wrong)).replace("CRASH", repr(crash)).replace("WORKERS", repr(workers))
    (folder / "train.py").write_text(words + end)


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=180, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def launcher():
    with socket.socket() as free:
        free.bind(("", 0))
        return ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free.getsockname()[1])]


def found(ended):
    said = json.loads(ended.stdout)
    return said, [(one["rule"], one["line"]) for one in said["findings"]]


@pytest.mark.parametrize(("wrong", "ranks"), [("all", "0, 1"), (1, "1"), (None, None)])
def test_rank_0_reports_once_what_all_ranks_found(wrong, ranks, tmp_path):
    written(tmp_path, RANKS, wrong)
    ended = run(
        tmp_path, "-m", *launcher(), "-m", "truestep", "doctor", "--out", "report.json", "--format", "json", "train.py"
    )
    said = json.loads((tmp_path / "report.json").read_text())

    assert ended.stdout.count("trained") == 2
    assert ended.returncode == (1 if wrong is not None else 0), ended.stderr
    assert [(one["rule"], one["line"]) for one in said["findings"]] == [("softmax-before-cross-entropy", LINE)] * (
        wrong is not None
    )
    assert [one["evidence"]["ranks"] for one in said["findings"]] == [ranks] * (wrong is not None)
    assert (said["processes"], said["unseen"], said["own_errors"]) == (2, [], {})


@pytest.mark.parametrize("crash", [pytest.param(0, marks=pytest.mark.slow), 1])  # torchrun waits a minute for the other
def test_a_rank_that_crashes_leaves_what_was_found(crash, tmp_path):
    written(tmp_path, RANKS, "all", crash=crash)
    ended = run(tmp_path, "-m", *launcher(), "-m", "truestep", "doctor", "train.py")

    assert ended.returncode == 1
    assert "RuntimeError: my own mistake" in ended.stderr
    assert ended.stderr.count("softmax-before-cross-entropy") == 1


def test_a_launcher_given_to_the_doctor_starts_its_processes_under_it(tmp_path):
    written(tmp_path, RANKS, "all")
    ended = run(tmp_path, "-m", "truestep", "doctor", "--ignore", "nothing-loaded", "-m", *launcher(), "train.py")

    assert ended.returncode == 1
    assert ended.stdout.count("trained") == 2
    assert ended.stderr.count("error  softmax-before-cross-entropy") == 1
    assert "ranks 0, 1" in ended.stderr


SPAWN = 'if __name__ == "__main__":\n    mp.spawn(train, nprocs=2)\n'
FORK = """\
children = [mp.get_context("fork").Process(target=train, args=(rank,)) for rank in range(2)]
for child in children:
    child.start()
for child in children:
    child.join()
"""


@pytest.mark.parametrize("end", [pytest.param(SPAWN, marks=pytest.mark.slow), FORK], ids=["spawn", "fork"])
def test_children_of_the_script_are_watched(end, tmp_path):
    written(tmp_path, end, "all", workers=1)
    alone = run(tmp_path, "train.py")
    ended = run(tmp_path, "-m", "truestep", "doctor", "--format", "json", "train.py")
    said, findings = found(ended)

    assert ended.returncode == 1
    assert findings == [("softmax-before-cross-entropy", LINE)]
    assert len(said["findings"][0]["evidence"]["processes"].split(", ")) == 2
    assert (said["processes"], said["unseen"], said["own_errors"]) == (2, [], {})
    assert sorted(alone.stdout.splitlines()) == sorted(
        line for line in ended.stderr.splitlines() if line.startswith("trained")
    )


def test_right_children_give_no_finding(tmp_path):
    written(tmp_path, SPAWN)
    ended = run(tmp_path, "-m", "truestep", "doctor", "train.py")

    assert ended.returncode == 0, ended.stderr
    assert "found nothing in 12 optimizer steps of each of 2 processes." in ended.stderr


def test_a_child_that_crashes_leaves_what_was_found(tmp_path):
    written(tmp_path, FORK, "all", crash=1)
    ended = run(tmp_path, "-m", "truestep", "doctor", "train.py")

    assert ended.returncode == 1
    assert "RuntimeError: my own mistake" in ended.stderr
    assert ended.stderr.count("error  softmax-before-cross-entropy") == 1


def test_processes_that_nobody_sees_into_are_named(tmp_path):
    (tmp_path / "other.py").write_text("print('trained elsewhere')\n")
    written(tmp_path, "import subprocess\nsubprocess.run([sys.executable, 'other.py'], check=True)\n")
    ended = run(tmp_path, "-m", "truestep", "doctor", "train.py")

    assert ended.returncode == 0
    assert ended.stdout == "trained elsewhere\n"
    assert (
        "did not see what happened in 1 other process (another Python), and saw no training in this one" in ended.stderr
    )


def test_workers_of_loaders_and_pools_are_no_processes_that_train(tmp_path):
    written(tmp_path, "if __name__ == '__main__':\n    train()\n    print(mp.Pool(2).map(abs, [1, -2]))\n", workers=2)
    ended = run(tmp_path, "-m", "truestep", "doctor", "--format", "json", "train.py")
    said, findings = found(ended)

    assert ended.returncode == 0, ended.stderr
    assert (findings, said["processes"], said["unseen"]) == ([], 1, [])
