"""The rules about modes, tried on other ways to write the same mistake and on correct code that looks like it."""

from __future__ import annotations

import pytest
from examples import findings_in

SETUP = """
import torch
from torch import nn
from torch.nn import functional as F
torch.manual_seed(0)
X, Y, XV, YV = torch.randn(96, 8), torch.arange(96) % 3, torch.randn(48, 8), torch.arange(48) % 3
def make():
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
model = make()
opt = torch.optim.Adam(model.parameters(), lr=1e-2)
def epoch(model=model, opt=opt):
    for i in range(0, 96, 16):
        opt.zero_grad()
        F.cross_entropy(model(X[i:i+16]), Y[i:i+16]).backward()
        opt.step()
"""

IN_TRAINING_MODE = {
    "without no_grad, by slices": """
def accuracy():
    hits = 0
    for i in range(0, 48, 16):
        hits += (model(XV[i:i+16]).argmax(1) == YV[i:i+16]).sum().item()  # <-
    return hits / 48
for _ in range(3):
    epoch()
    print(accuracy())
""",
    "once, the whole set": """
for _ in range(3):
    epoch()
with torch.no_grad():
    out = model(XV)  # <-
    print(F.cross_entropy(out, YV).item())
""",
    "full batches that share names with training": """
for _ in range(20):
    pred = model(X)
    loss = F.cross_entropy(pred, Y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    with torch.no_grad():
        pred = model(XV)  # <-
        loss = F.cross_entropy(pred, YV)
        print(loss.item())
""",
    "one function for both phases": """
for _ in range(3):
    for phase, (x, y) in {"train": (X, Y), "val": (XV, YV)}.items():
        for i in range(0, len(x), 16):
            opt.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                loss = F.cross_entropy(model(x[i:i+16]), y[i:i+16])  # <-
                if phase == "train":
                    loss.backward()
                    opt.step()
""",
    "parts of a model": """
class Auto(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 4), nn.Tanh())
        self.decoder = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2))
auto = Auto()
opt = torch.optim.SGD(auto.parameters(), lr=0.1)
for _ in range(5):
    for i in range(0, 96, 32):
        auto.zero_grad()
        F.mse_loss(auto.decoder(auto.encoder(X[i:i+32])), X[i:i+32]).backward()
        opt.step()
    z = auto.encoder(XV)
    print(F.mse_loss(auto.decoder(z), XV).item())  # <-
""",
}

NO_FINDING = {
    "monte carlo dropout": """
for _ in range(3):
    epoch()
model.train()
with torch.no_grad():
    samples = torch.stack([model(XV) for _ in range(10)])
print(samples.std(0).mean())
""",
    "batch norm is refreshed": """
for _ in range(3):
    epoch()
model.train()
with torch.no_grad():
    for i in range(0, 96, 16):
        model(X[i:i+16])
model.eval()
with torch.no_grad():
    print((model(XV).argmax(1) == YV).sum())
""",
    "accuracy of the batch just trained on": """
for i in list(range(0, 96, 16)) * 3:
    x, y = X[i:i+16], Y[i:i+16]
    opt.zero_grad()
    F.cross_entropy(model(x), y).backward()
    opt.step()
    with torch.no_grad():
        print((model(x).argmax(1) == y).float().mean())
""",
    "accuracy of the slice just trained on": """
for i in list(range(0, 96, 16)) * 3:
    opt.zero_grad()
    F.cross_entropy(model(X[i:i+16]), Y[i:i+16]).backward()
    opt.step()
    with torch.no_grad():
        print((model(X[i:i+16]).argmax(1) == Y[i:i+16]).float().mean())
""",
    "pseudo-labels": """
for i in list(range(0, 48, 16)) * 4:
    with torch.no_grad():
        soft = model(XV[i:i+16]).softmax(1)
        confident, labels = soft.max(1)
    loss = (F.cross_entropy(model(XV[i:i+16] + 0.1), labels, reduction="none") * (confident > 0.4)).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
""",
    "acting": """
class Agent:
    def __init__(self):
        self.memory = []
    def act(self, state):
        with torch.no_grad():
            return model(state).argmax(1)
    def learn(self):
        x, a = self.memory[-1]
        opt.zero_grad()
        F.cross_entropy(model(x), a).backward()
        opt.step()
agent = Agent()
state = X[:16]
for t in range(40):
    action = agent.act(state)
    agent.memory.append((state, action))
    state = state + 0.1 * torch.randn(16, 8)
    agent.learn()
""",
    "a generator": """
G = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))
D = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
og, od = torch.optim.Adam(G.parameters(), 1e-3), torch.optim.Adam(D.parameters(), 1e-3)
bce = nn.BCEWithLogitsLoss()
fixed = torch.randn(8, 4)
for t in range(30):
    real = X[torch.randint(96, (16,))]
    fake = G(torch.randn(16, 4)).detach()
    od.zero_grad()
    (bce(D(real), torch.ones(16, 1)) + bce(D(fake), torch.zeros(16, 1))).backward()
    od.step()
    og.zero_grad()
    bce(D(G(torch.randn(16, 4))), torch.ones(16, 1)).backward()
    og.step()
    if t % 10 == 0:
        with torch.no_grad():
            print(G(fixed).mean())
""",
    "an attack in evaluation mode, then a step in training mode": """
for i in list(range(0, 96, 16)) * 2:
    x, y = X[i:i+16].clone().requires_grad_(True), Y[i:i+16]
    model.eval()
    for _ in range(3):
        F.cross_entropy(model(x), y).backward()
        x = (x + 0.01 * x.grad.sign()).detach().requires_grad_(True)
    model.train()
    opt.zero_grad()
    F.cross_entropy(model(x.detach()), y).backward()
    opt.step()
""",
    "fine-tuned in evaluation mode on purpose": """
model.eval()
for _ in range(4):
    epoch()
    with torch.no_grad():
        print((model(XV).argmax(1) == YV).sum())
""",
    "two models trained together, only one of them at the end": """
other = make()
opt = torch.optim.Adam([*model.parameters(), *other.parameters()], lr=1e-2)
for i in list(range(0, 96, 16)) * 3:
    opt.zero_grad()
    a, b = model(X[i:i+16]), other(X[i:i+16])
    (F.cross_entropy(a, Y[i:i+16]) + F.cross_entropy(b, Y[i:i+16])).backward()
    opt.step()
model.eval()
with torch.no_grad():
    print(model(XV).argmax(1).sum())
""",
}

LEFT_IN_EVAL_MODE = {
    "validated in mid-epoch": """
model.train()
for step in range(60):
    i = 16 * (step % 6)
    opt.zero_grad()
    logits = model(X[i:i+16])  # <-
    F.cross_entropy(logits, Y[i:i+16]).backward()
    opt.step()
    if step % 20 == 10:
        model.eval()
        print((model(XV).argmax(1) == YV).sum().item())
""",
    "classes and a closure": """
class Trainer:
    def __init__(self):
        self.net, self.opt = make(), None
        self.opt = torch.optim.LBFGS(self.net.parameters(), lr=0.1, max_iter=2)
    def fit(self):
        def closure():
            self.opt.zero_grad()
            loss = F.cross_entropy(self.net(X), Y)  # <-
            loss.backward()
            return loss
        self.opt.step(closure)
    def score(self):
        self.net.eval()
        with torch.no_grad():
            return (self.net(XV).argmax(1) == YV).float().mean().item()
trainer = Trainer()
for _ in range(6):
    trainer.fit()
    print(trainer.score())
""",
}


def line_of(code: str) -> int:
    return next(number for number, text in enumerate(code.splitlines(), 1) if text.endswith("# <-"))


@pytest.mark.parametrize("case", IN_TRAINING_MODE)
def test_evaluation_in_training_mode_is_found(case, tmp_path):
    code = SETUP + IN_TRAINING_MODE[case]

    found = findings_in(code, tmp_path / "run.py")

    assert [(one.rule, one.site.line) for one in found] == [("evaluated-in-training-mode", line_of(code))]


@pytest.mark.parametrize("case", LEFT_IN_EVAL_MODE)
def test_training_in_evaluation_mode_is_found(case, tmp_path):
    code = SETUP + LEFT_IN_EVAL_MODE[case]

    found = findings_in(code, tmp_path / "run.py")

    assert [(one.rule, one.site.line) for one in found if one.severity != "note"] == [
        ("trained-in-eval-mode", line_of(code))
    ]


@pytest.mark.parametrize("case", NO_FINDING)
def test_correct_code_that_looks_like_a_mistake_gives_no_finding(case, tmp_path):
    assert [(one.rule, one.site) for one in findings_in(SETUP + NO_FINDING[case], tmp_path / "run.py")] == []
