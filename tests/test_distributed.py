"""Two and three processes give the result of one: uneven batches, empty shares, weights, padding and all metrics."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CASES = r"""
import json, sys
import torch
from sklearn.datasets import load_digits
from torch import nn
import truestep as ts
from truestep import distributed
from truestep.models import build
from truestep.objectives import IGNORED

def cases():
    generator = torch.Generator().manual_seed(0)
    for rows in (1, 2, 5, 9, 16, 17):
        x = torch.randn(rows, 6, generator=generator)
        classes = torch.randint(0, 3, (rows,), generator=generator)
        tokens = torch.randint(0, 3, (rows, 5), generator=generator)
        padded = tokens.where(torch.rand(rows, 5, generator=generator) > 0.4, IGNORED)
        padded[0, 0] = 1
        linear, embedding = nn.Linear(6, 3), nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 3))
        yield f"weights {rows}", linear, (x, classes), ts.Multiclass(3, (1.0, 5.0, 0.1))
        yield f"regression {rows}", nn.Linear(6, 1), (x, x[:, 0] + 100), ts.Regression("mae", (100.0,), (2.0,))
        yield f"tokens {rows}", embedding, (tokens, padded), ts.NextToken(3)

def run():
    found = {}
    torch.manual_seed(0)
    for name, model, data, objective in cases():
        for accumulate in (1, 2):
            for parameter in model.parameters():
                nn.init.constant_(parameter, 0.1)
                parameter.data += torch.arange(parameter.numel()).view_as(parameter) / 50
            wrapped = distributed.wrap(model)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            batches = ts.Batches(data, 4, shuffle=True, seed=1)
            steps = list(ts.train_steps(wrapped, batches, objective, optimizer, accumulate=accumulate, max_grad_norm=0.5))
            found[f"{name} x{accumulate}"] = {
                "losses": [float(step.loss) for step in steps],
                "counts": [float(step.count) for step in steps],
                "norms": [float(step.grad_norm) for step in steps],
                "weights": [p.detach().flatten().tolist() for p in model.parameters()],
                "metrics": ts.evaluate(model, ts.Batches(data, 4), objective),
            }
    found |= interrupted() | normalised() | lazily() | convolved()
    return found


class Half(torch.utils.data.Dataset):
    def __len__(self):
        return 13

    def __getitem__(self, row):
        return torch.full((6,), row / 13), row % 3


def lazily():
    '''A dataset, with a last batch too small for every process to have a share.'''
    model = nn.Linear(6, 3)
    nn.init.constant_(model.weight, 0.1)
    nn.init.constant_(model.bias, 0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    steps = list(ts.train_steps(distributed.wrap(model), ts.Batches(Half(), 4), ts.Multiclass(3), optimizer))
    return {"lazily": [float(step.loss) for step in steps] + model.weight.flatten().tolist()}


def interrupted():
    '''With dropout, a run that was stopped goes on as one that was not: every process has its own random numbers.'''
    def train(folder, resume=False, stop_after=None):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x = torch.arange(66.0).view(11, 6) / 66
        seen = []
        def stop():
            seen.append(1)
            return ts.Interrupted("asked to", 130) if len(seen) == stop_after else None
        batches = ts.Batches((x, torch.arange(11) % 3), 4, shuffle=True)
        try:
            ts.fit(distributed.wrap(model), batches, None, ts.Multiclass(3), optimizer, epochs=4, folder=folder,
                   resume=resume, show=False, stop=stop)
        except ts.Interrupted:
            pass
        return model
    place = f"{sys.argv[1]}-runs"
    whole = train(f"{place}/a")
    train(f"{place}/b", stop_after=5)
    again = train(f"{place}/b", resume=True)
    # Three numbers may be added in another order after a restart, because buckets are laid out anew; two may not.
    differences = [(p - q).abs().max().item() for p, q in zip(whole.parameters(), again.parameters())]
    assert distributed.world_size() > 2 or not any(differences)
    return {"resumed": differences}


def convolved():
    '''Fifty updates of AdamW on the digits, in double precision.

    In single precision they part: a rounding difference turns one maximum of a pooling to another pixel, and Adam's
    division makes of the smallest gradient a whole step.
    '''
    torch.manual_seed(0)
    digits = load_digits()
    images, targets = torch.from_numpy(digits.images[:1257, None] / 16), torch.from_numpy(digits.target[:1257])
    shape = {"channels": 1, "height": 8, "width": 8, "num_outputs": 10, "filters": 8}
    model = build("cnn", shape).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    fitted = ts.fit(
        distributed.wrap(model), ts.Batches((images, targets), 50, shuffle=True), (images[:200], targets[:200]),
        ts.Multiclass(10), optimizer, epochs=2, accumulate=2, max_grad_norm=1.0, show=False,
    )
    history = [{k: v for k, v in row.items() if k not in ("seconds", "kind")} for row in fitted.history]
    return {"convolved": [history, [p.detach().flatten().tolist() for p in model.parameters()]]}


def normalised():
    '''With batch norm every process ends with the same model, the one whose figures were reported.'''
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.arange(72.0).view(12, 6) / 72, torch.arange(12) % 3
    ts.fit(distributed.wrap(model), ts.Batches((x, y), 12), (x, y), ts.Multiclass(3), optimizer, epochs=3, show=False)
    same = all(torch.equal(b[0], b[-1]) for b in map(distributed.all_gather, (b[None] for b in model.buffers())))
    return {"one model": [float(same)]}


with distributed.processes(torch.device("cpu")):
    found = run()
    if distributed.rank() == 0:
        json.dump(found, open(sys.argv[1], "w"))
"""


def run(folder: Path, processes: int) -> dict:
    script, out = folder / "cases.py", folder / f"{processes}.json"
    script.write_text(CASES)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(port)]
    command = [sys.executable, *(launcher if processes > 1 else []), str(script), str(out)]
    end = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert end.returncode == 0, end.stderr
    return json.loads(out.read_text())


def flat(value):
    if isinstance(value, dict):
        return [number for name in value for number in flat(value[name])]
    return [number for part in value for number in flat(part)] if isinstance(value, list) else [value]


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_numbers(tmp_path):
    alone = run(tmp_path, 1)
    assert not any(alone["resumed"])
    for processes in (2, 3):
        together = run(tmp_path, processes)
        assert list(together) == list(alone)
        for name, expected in alone.items():
            exact = {"rel": 1e-9, "abs": 1e-10} if name == "convolved" else {"rel": 1e-5, "abs": 1e-6}
            assert flat(together[name]) == pytest.approx(flat(expected), **exact, nan_ok=True), name
