"""Mistakes in keeping weights and in what is learnt from several batches, and correct code that looks like them."""

from __future__ import annotations

import pytest
from examples import findings_in

from truestep.doctor import pages

TRAIN = """
import copy, io

def one_epoch(net, opt):
    net.train()
    for x, y in loader:
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()

def score(net):
    net.eval()
    with torch.no_grad():
        return sum((net(x).argmax(1) == y).sum().item() for x, y in held_out) / 32

"""

BROKEN = {
    "best-weights-not-copied": [
        TRAIN
        + """
def fit():
    best, kept = -1, None
    for epoch in range(4):
        one_epoch(model, optimizer)
        accuracy = score(model)
        if accuracy > best - epoch:
            best = accuracy - 9
            kept = model.state_dict().copy()  # <- here
        if epoch == 1:
            best = 99
    model.load_state_dict(kept)
    return score(model)
fit()
""",
        TRAIN
        + """
best, kept = -1, None
for epoch in range(4):
    one_epoch(model, optimizer)
    if epoch == 1:
        kept = model  # <- here
print(score(kept))
""",
        TRAIN
        + """
class Trainer:
    def __init__(self, net):
        self.net, self.best = net, None

    def fit(self):
        opt = torch.optim.Adam(self.net.parameters())
        for epoch in range(4):
            one_epoch(self.net, opt)
            if epoch == 1:
                self.best = {k: v for k, v in self.net.state_dict().items()}  # <- here
        torch.save({"weights": self.best}, io.BytesIO())
Trainer(model).fit()
""",
    ],
    "nothing-loaded": [
        TRAIN
        + """
class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def forward(self, x):
        return self.net(x)

file = io.BytesIO()
torch.save(nn.Linear(8, 3).state_dict(), file)
file.seek(0)
saved, net = torch.load(file), Wrapped()
own = net.state_dict()
own.update({k: v for k, v in saved.items() if k in own})
net.load_state_dict(own)  # <- here
one_epoch(net, torch.optim.Adam(net.parameters()))
""",
    ],
    "graph-kept-across-steps": [
        """
history = []
def step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss
for epoch in range(4):
    for x, y in loader:
        loss = step(x, y)
        history.append(loss)  # <- here
""",
    ],
    "accumulation-zeroed": [
        """
model.eval()
for start in range(24):
    for i in range(3):
        x, y = features[i * 16 : i * 16 + 16], labels[i * 16 : i * 16 + 16]
        loss = F.cross_entropy(model(x), y) / 3
        model.zero_grad()  # <- here
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
""",
    ],
}

CORRECT = {
    "the best weights as a copy, and the last ones saved": TRAIN
    + """
best, kept = -1, None
for epoch in range(4):
    one_epoch(model, optimizer)
    accuracy = score(model)
    torch.save(model.state_dict(), io.BytesIO())
    if accuracy > best:
        best, kept = accuracy, {k: v.clone() for k, v in model.state_dict().items()}
        best_model = copy.deepcopy(model)
model.load_state_dict(kept)
score(model)
score(best_model)
""",
    "one dict for all checkpoints": TRAIN
    + """
checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
for epoch in range(5):
    one_epoch(model, optimizer)
    torch.save(checkpoint, io.BytesIO())
""",
    "a target network that follows by a dict": """
online, target = nn.Linear(8, 3), nn.Linear(8, 3)
weights = online.state_dict()
optimizer = torch.optim.SGD(online.parameters(), lr=0.1)
for number, (x, _) in enumerate(list(loader) * 3):
    with torch.no_grad():
        goal = 1 + 0.9 * target(x)
    optimizer.zero_grad()
    F.mse_loss(online(x), goal).backward()
    optimizer.step()
    if number % 4 == 0:
        target.load_state_dict(weights)
""",
    "weights of another training, whose file holds more": TRAIN
    + """
donor = copy.deepcopy(model)
trainer = torch.optim.Adam(donor.parameters())
one_epoch(donor, trainer)
file = io.BytesIO()
torch.save({"model": donor.state_dict(), "optimizer": trainer.state_dict(), "epoch": 1}, file)
file.seek(0)
model.load_state_dict(torch.load(file)["model"])
one_epoch(model, torch.optim.Adam(model.parameters()))
""",
    "an ensemble side by side": """
nets = [nn.Linear(8, 3) for _ in range(8)]
opts = [torch.optim.SGD(n.parameters(), lr=0.1) for n in nets]
for x, y in list(loader) * 2:
    losses = [F.cross_entropy(n(x), y) for n in nets]
    for loss, opt in zip(losses, opts):
        opt.zero_grad()
        loss.backward()
        opt.step()
""",
    "a running mean of numbers, and states cut off": """
cell, head = nn.GRUCell(8, 8), nn.Linear(8, 3)
optimizer = torch.optim.SGD([*cell.parameters(), *head.parameters()], lr=0.1)
state, total, window = torch.zeros(16, 8), 0.0, []
for x, y in list(loader) * 3:
    state = cell(x, state.detach())
    loss = F.cross_entropy(head(state), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    total += loss.detach()
    window = [*window[-2:], loss]
""",
    "a metric that clears itself": TRAIN
    + """
class Share:
    def __init__(self):
        self.reset()
    def reset(self):
        self.right = self.total = 0
    def update(self, out, y):
        self.right += (out.argmax(1) == y).sum().item()
        self.total += len(y)
    def compute(self):
        value = self.right / self.total
        self.right = self.total = 0
        return value

share = Share()
for epoch in range(5):
    one_epoch(model, optimizer)
    model.eval()
    with torch.no_grad():
        for x, y in held_out:
            share.update(model(x), y)
    print(share.compute())
""",
    "the same layer twice in a dict, once in the container": """
body = nn.Linear(8, 8)
net = nn.Sequential(body, nn.ReLU(), nn.Linear(8, 3))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in list(loader) * 3:
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
""",
}


@pytest.mark.parametrize(
    ("rule", "code"),
    [pytest.param(rule, code, id=f"{rule}-{n}") for rule in BROKEN for n, code in enumerate(BROKEN[rule])],
)
def test_it_is_found_in_another_style(rule, code, tmp_path):
    code = pages.SETUP + code
    line = next(number for number, text in enumerate(code.splitlines(), 1) if pages.MARK in text)

    found = findings_in(code, tmp_path / "broken.py")

    assert [(one.rule, one.site.line if one.site else None) for one in found] == [(rule, line)]


@pytest.mark.parametrize("name", CORRECT)
def test_correct_code_that_looks_alike_gives_none(name, tmp_path):
    assert findings_in(pages.SETUP + CORRECT[name], tmp_path / "correct.py") == []
