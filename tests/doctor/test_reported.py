"""What is reported, and runs that go astray: other ways to write the mistakes, and correct code that looks like them."""

from __future__ import annotations

import pytest
from examples import findings_in

from doctor.test_modes import line_of

SETUP = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
X, Y = torch.randn(120, 8), torch.arange(120) % 3
train_loader = DataLoader(TensorDataset(X[:80], Y[:80]), batch_size=16, shuffle=True)
test_loader = DataLoader(TensorDataset(X[80:], Y[80:]), batch_size=16)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
opt = torch.optim.SGD(model.parameters(), lr=0.1)
loss_fn = nn.CrossEntropyLoss()
def train(loader):
    model.train()
    for x, y in loader:
        loss = loss_fn(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
"""

FOUND = {
    "loss-not-averaged-as-reported: in the test function": """
def test(dataloader):
    size = len(dataloader.dataset)
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for x, y in dataloader:
            pred = model(x)
            test_loss += loss_fn(pred, y).item()
            correct += (pred.argmax(1) == y).type(torch.float).sum().item()
    test_loss /= size  # <-
    correct /= size
    print(test_loss, correct)
for _ in range(3):
    train(train_loader)
    test(test_loader)
""",
    "loss-not-averaged-as-reported: hits by batches": """
for _ in range(3):
    train(train_loader)
model.eval()
correct = 0
with torch.no_grad():
    for x, y in test_loader:
        correct += (model(x).argmax(1) == y).sum().item()
print(100 * correct / len(test_loader))  # <-
""",
    "loss-not-averaged-as-reported: a place of a list, a helper that returns two losses": """
def losses(x, y):
    out = model(x)
    return loss_fn(out, y), out.pow(2).mean()
for _ in range(3):
    sums = [0.0, 0.0]
    for x, y in train_loader:
        first, second = losses(x, y)
        opt.zero_grad()
        (first + 0.01 * second).backward()
        opt.step()
        sums[0] += first.item()
    print(sums[0] / len(train_loader.dataset))  # <-
""",
    "loss-not-averaged-as-reported: a counter of examples": """
for _ in range(3):
    total, seen = 0.0, 0
    for x, y in train_loader:
        loss = loss_fn(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item()
        seen += x.size(0)
    print(total / seen)  # <-
""",
    "trained-on-evaluation-data: the wrong loader": """
for _ in range(3):
    model.train()
    for x, y in test_loader:
        loss = loss_fn(model(x), y)
        opt.zero_grad()
        loss.backward()  # <-
        opt.step()
    model.eval()
    with torch.no_grad():
        print(sum((model(x).argmax(1) == y).sum() for x, y in test_loader))
""",
    "loss-not-finite: the root of a distance of 0": """
for i in range(0, 80, 8):
    x = X[i:i + 8]
    a, b = model(x), model(x)
    opt.zero_grad()
    ((a - b).pow(2).sum(1).sqrt().mean() + loss_fn(a, Y[i:i + 8])).backward()  # <-
    opt.step()
""",
    "initial-weights-identical: zeros everywhere": """
def init(m):
    if isinstance(m, nn.Linear):
        m.weight.data.zero_()  # <-
        m.bias.data.fill_(0.01)
model.apply(init)
for _ in range(3):
    train(train_loader)
""",
    "metrics-not-reduced: by a function, into a log": """
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.data.distributed import DistributedSampler
dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
own = DataLoader(test_loader.dataset, batch_size=8, sampler=DistributedSampler(test_loader.dataset, shuffle=False))
def evaluate(loader):
    model.eval()
    hits = count = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (model(x).argmax(1) == y).sum().item()
            count += len(x)
    return hits / count
rank = dist.get_rank()
for epoch in range(2):
    train(train_loader)
    for p in model.parameters():
        dist.broadcast(p.data, 0)
    acc = evaluate(own)
    if rank == 0:
        history = []
        print(f"{epoch}: accuracy {acc:.3f}")  # <-
dist.destroy_process_group()
""",
}

SILENT = {
    "one example is predicted under the same name": """
for _ in range(2):
    for x, y in train_loader:
        out = model(x)
        opt.zero_grad()
        loss_fn(out, y).backward()
        opt.step()
model.eval()
with torch.no_grad():
    hits = 0
    for x, y in zip(X[80:], Y[80:]):
        out = model(x.unsqueeze(0))
        hits += int(out.argmax() == y)
print(hits)
""",
    "the mnist example": """
def test(loader):
    model.eval()
    test_loss = 0
    with torch.no_grad():
        for x, y in loader:
            test_loss += F.cross_entropy(model(x), y, reduction="sum").item()
    print(test_loss / len(loader.dataset))
for _ in range(3):
    train(train_loader)
    test(test_loader)
""",
    "a weighted sum by the examples of the loader's dataset": """
for _ in range(3):
    total = hits = 0.0
    for x, y in train_loader:
        out = model(x)
        loss = loss_fn(out, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * x.size(0)
        hits += (out.argmax(1) == y).sum().item()
    print(total / len(train_loader.dataset), hits / len(train_loader.dataset))
""",
    "a weighted sum by the batches and their size": """
for _ in range(3):
    total = 0.0
    for x, y in train_loader:
        loss = loss_fn(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(x)
    print(total / len(train_loader) / 16)
""",
    "a counter of batches, and sums by examples beside it": """
each = nn.CrossEntropyLoss(reduction="sum")
for _ in range(3):
    total, count = 0.0, 0
    for x, y in train_loader:
        loss = loss_fn(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item()
        count += 1
    print(total / count)
    with torch.no_grad():
        summed, seen = 0.0, 0
        for x, y in test_loader:
            summed += each(model(x), y).item()
            seen += len(x)
    print(summed / seen)
""",
    "one example at a time, of a list and of a dataset": """
pairs, held_out = list(zip(X[80:], Y[80:])), TensorDataset(X[80:], Y[80:])
for _ in range(3):
    train(train_loader)
model.eval()
with torch.no_grad():
    right = more = total = 0
    for x, y in pairs:
        right += (model(x[None]).argmax(1) == y).sum().item()
    for x, y in held_out:
        more += (model(x[None]).argmax(1) == y).sum().item()
        total += loss_fn(model(x[None]), y[None]).item()
print(right / len(pairs), more / len(held_out), total / len(held_out))
""",
    "one example a batch": """
single = DataLoader(TensorDataset(X[80:], Y[80:]), batch_size=1)
for _ in range(3):
    train(train_loader)
model.eval()
correct = 0
with torch.no_grad():
    for x, y in single:
        correct += (model(x).argmax(1) == y).sum().item()
print(correct / len(single))
""",
    "zeros in the last layer": """
nn.init.zeros_(model[2].weight)
for _ in range(3):
    train(train_loader)
""",
    "two models that learn from each other": """
other = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
both = torch.optim.SGD([*model.parameters(), *other.parameters()], lr=0.1)
for x, y in [*train_loader] * 2:
    a, b = model(x), other(x)
    both.zero_grad()
    ka = F.kl_div(F.log_softmax(a, 1), F.softmax(b, 1).detach(), reduction="batchmean")
    kb = F.kl_div(F.log_softmax(b, 1), F.softmax(a, 1).detach(), reduction="batchmean")
    (loss_fn(a, y) + loss_fn(b, y) + ka + kb).backward()
    both.step()
""",
    "a loss that rises because the task gets harder": """
head = nn.Linear(8, 1)
sgd = torch.optim.SGD(head.parameters(), lr=0.01)
for step in range(60):
    x = X[torch.randint(80, (16,))]
    loss = F.mse_loss(head(x), (1 + step / 4) * x[:, :1])
    sgd.zero_grad()
    loss.backward()
    sgd.step()
""",
    "a second stage in evaluation mode": """
for _ in range(3):
    train(train_loader)
model.eval()
for x, y in [*train_loader] * 2:
    opt.zero_grad()
    loss_fn(model(x), y).backward()
    opt.step()
""",
    "each process under its own name": """
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.data.distributed import DistributedSampler
dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
own = DataLoader(test_loader.dataset, batch_size=8, sampler=DistributedSampler(test_loader.dataset, shuffle=False))
def evaluate(loader):
    model.eval()
    hits = count = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (model(x).argmax(1) == y).sum().item()
            count += len(x)
    return hits / count
rank = dist.get_rank()
train(train_loader)
acc = evaluate(own)
if rank == 0:
    print(f"accuracy on the share of rank 0: {acc:.3f}")
dist.destroy_process_group()
""",
    "all data in one process": """
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.data.distributed import DistributedSampler
dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
own = DataLoader(test_loader.dataset, batch_size=8, sampler=DistributedSampler(test_loader.dataset, shuffle=False))
def evaluate(loader):
    model.eval()
    hits = count = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (model(x).argmax(1) == y).sum().item()
            count += len(x)
    return hits / count
rank = dist.get_rank()
train(train_loader)
if rank == 0:
    acc = evaluate(test_loader)
    print(f"accuracy {acc:.3f}")
dist.destroy_process_group()
""",
    "gathered in the end": """
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.data.distributed import DistributedSampler
dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
own = DataLoader(test_loader.dataset, batch_size=8, sampler=DistributedSampler(test_loader.dataset, shuffle=False))
def evaluate(loader):
    model.eval()
    hits = count = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (model(x).argmax(1) == y).sum().item()
            count += len(x)
    return hits / count
rank = dist.get_rank()
found = []
for epoch in range(2):
    train(train_loader)
    acc = evaluate(own)
    found.append(acc)
    if rank == 0:
        print(f"{epoch}: about {acc:.3f}")
everybodys = [None, None]
dist.all_gather_object(everybodys, found)
dist.destroy_process_group()
""",
}


@pytest.mark.parametrize("case", FOUND)
def test_a_mistake_is_found_in_another_style(case, tmp_path):
    code = SETUP + FOUND[case]

    found = findings_in(code, tmp_path / "run.py")

    assert [(one.rule, one.site.line) for one in found if one.severity != "note"] == [
        (case.split(":")[0], line_of(code))
    ]


@pytest.mark.parametrize("case", SILENT)
def test_correct_code_that_looks_like_a_mistake_gives_no_finding(case, tmp_path):
    assert [(one.rule, one.site) for one in findings_in(SETUP + SILENT[case], tmp_path / "run.py")] == []
