"""Mistakes of the update loop in other styles than on their pages, and correct code that looks like them."""

from __future__ import annotations

import pytest
from examples import findings_in

from truestep.doctor import pages

STEPS = """
for epoch in range(4):
    for i in range(0, 96, 16):
        x, y = features[i : i + 16], labels[i : i + 16]
"""
NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))


"""

FREEZING = """
def validate(net):
    net.eval()
    net.body.requires_grad_(False){mark}
    with torch.no_grad():
        return sum((net(x).argmax(1) == y).sum() for x, y in held_out)

net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(4):
    net.train()
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    validate(net){after}
"""
LATER = """
net = Net()
net.body.requires_grad_(False)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(4):
    if epoch == 2:
        net.body.{how}
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
"""
UNROLLED = """
cell, head = nn.Linear(8, 8), nn.Linear(8, 3)
nn.init.normal_(cell.weight, std={std})
optimizer = torch.optim.SGD([*cell.parameters(), *head.parameters()], lr=1e-3)
for epoch in range(3):
    for x, y in loader:
        state = x
        for _ in range(16):
            state = cell(state)
        optimizer.zero_grad()
        F.cross_entropy(head(state), y).backward(){mark}
        {clip}
        optimizer.step()
"""

BROKEN = {
    "frozen-by-accident": [
        NET + FREEZING.format(mark="  # <- here", after=""),
        NET + LATER.format(how="requires_grad = True  # <- here"),
    ],
    "gradients-exploding": [UNROLLED.format(std=1.0, mark="  # <- here", clip="")],
    "scaled-gradients-stepped": [
        """
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for x, y in [*loader] * 2:
    optimizer.zero_grad()
    scaler.scale(F.cross_entropy(model(x), y)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()  # <- here
"""
    ],
    "scheduler-per-epoch-meant-per-batch": [
        """
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)  # <- here
for epoch in range(4):
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
""",
    ],
    "loss-detached": [
        STEPS
        + """\
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss = torch.tensor(loss.item(), requires_grad=True)  # <- here
        loss.backward()
        optimizer.step()
""",
        """
def compute(x, y):
    out = model(x).detach().numpy()  # <- here
    out = torch.from_numpy(out).requires_grad_(True)
    return F.cross_entropy(out, y)

def train(x, y):
    loss = compute(x, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

for epoch in range(3):
    for x, y in loader:
        train(x, y)
""",
    ],
    "parameters-not-in-optimizer": [
        NET
        + """
net = Net()
optimizer = torch.optim.Adam(net.head.parameters(), lr=1e-3)  # <- here
def train():
    for epoch in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
train()
""",
        """
def main():
    first, second = nn.Linear(8, 8), nn.Linear(8, 3)
    trainer = torch.optim.Adam([  # <- here
        {"params": second.weight, "weight_decay": 0.1}, {"params": second.bias}])
    for epoch in range(3):
        for x, y in loader:
            trainer.zero_grad(set_to_none=False)
            F.cross_entropy(second(first(x).tanh()), y).backward()
            trainer.step()
main()
""",
    ],
    "optimizer-holds-stale-parameters": [
        NET
        + """
def run():
    net = Net()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)  # <- here
    net.head = nn.Linear(16, 3)
    for epoch in range(4):
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
run()
""",
        NET
        + """
def folds():
    net = Net()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)  # <- here
    for fold in range(3):
        net = Net()
        for epoch in range(2):
            for x, y in loader:
                opt.zero_grad()
                F.cross_entropy(net(x), y).backward()
                opt.step()
folds()
""",
    ],
    "module-not-registered": [
        """
class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(8, 8)
        self.heads = {"a": nn.Linear(8, 3)}  # <- here

    def forward(self, x):
        return self.heads["a"](self.inp(x))


def main():
    net = Gated()
    opt = torch.optim.Adam(net.parameters())
    for epoch in range(3):
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
main()
""",
        """
class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(8, 3)
        self.scale = torch.ones(3, requires_grad=True)  # <- here

    def forward(self, x):
        return self.inp(x) * self.scale


net = Scaled()
opt = torch.optim.Adam(net.parameters())
for epoch in range(3):
    for x, y in loader:
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
""",
    ],
    "gradients-cleared-before-step": [
        STEPS
        + """\
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        model.zero_grad(set_to_none=False)  # <- here
        optimizer.step()
""",
        """
for x, y in list(loader) * 3:
    F.cross_entropy(model(x), y).backward()
    for p in model.parameters():
        p.grad = None  # <- here
    optimizer.step()
""",
    ],
    "step-before-backward": [
        STEPS
        + """\
        loss = F.cross_entropy(model(x), y)
        optimizer.step()  # <- here
        loss.backward()
        model.zero_grad()
""",
    ],
    "step-never-called": [
        """
def train(net, opt):
    for epoch in range(2):
        for x, y in loader:
            net.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()  # <- here
train(model, torch.optim.Adam(model.parameters()))
""",
    ],
    "gradients-clipped-after-step": [
        STEPS
        + """\
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        torch.nn.utils.clip_grad_value_(model.parameters(), 0.5)  # <- here
        optimizer.zero_grad()
""",
    ],
    "gradients-clipped-before-backward": [
        STEPS
        + """\
        loss = F.cross_entropy(model(x), y)
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters()], max_norm=0.5)  # <- here
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
""",
    ],
    "gradients-clipped-of-nothing": [
        """
import copy
trainable = filter(lambda p: p.requires_grad, model.parameters())
optimizer = torch.optim.Adam(trainable)
for x, y in list(loader) * 3:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    nn.utils.clip_grad_norm_(trainable, 1.0)  # <- here
    optimizer.step()
""",
        """
import copy
old = copy.deepcopy(model)
for x, y in list(loader) * 3:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    nn.utils.clip_grad_norm_(old.parameters(), 1.0)  # <- here
    optimizer.step()
""",
    ],
    "parameters-never-reached": [
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.head = nn.Linear(16, 3)

    def features(self, x):
        return self.body(x)

    def forward(self, x):
        hidden = self.features(x)
        mixed = hidden.data * 2  # <- here
        return self.head(mixed)

net = Net()
optimizer = torch.optim.Adam(net.parameters())
for x, y in list(loader) * 3:
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
""",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        with torch.no_grad():  # <- here
            hidden = torch.relu(self.body(x))
        return self.head(hidden)

net = Net()
optimizer = torch.optim.Adam(net.parameters())
for x, y in list(loader) * 3:
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
""",
    ],
    "gradients-not-cleared": [
        """
for epoch in range(3):
    optimizer.zero_grad()
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        loss.backward()  # <- here
        optimizer.step()
""",
        """
first, second = nn.Linear(8, 8), nn.Linear(8, 3)
a, b = torch.optim.SGD(first.parameters(), lr=0.1), torch.optim.SGD(second.parameters(), lr=0.1)
for epoch in range(3):
    for x, y in loader:
        b.zero_grad()
        F.cross_entropy(second(first(x).relu()), y).backward()  # <- here
        a.step()
        b.step()
""",
    ],
}

CORRECT = {
    "what an evaluation froze is let go again": NET
    + FREEZING.format(mark="", after="\n    net.body.requires_grad_(True)"),
    "a part that is frozen after the first epoch": NET
    + FREEZING.format(mark="", after="\n    if epoch == 0:\n        net.body.requires_grad_(False)").replace(
        "    net.body.requires_grad_(False)\n    with", "    with"
    ),
    "a part that is unfrozen after a warm-up": NET + LATER.format(how="requires_grad_(True)"),
    "large gradients that are clipped": UNROLLED.format(
        std=0.7, mark="", clip="nn.utils.clip_grad_norm_([*cell.parameters(), *head.parameters()], 1.0)"
    ),
    "a schedule that only a later epoch would step": """
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
for epoch in range(4):
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    if epoch > 10:
        scheduler.step()
""",
    "sharpness-aware": """
def closure(x, y):
    loss = F.cross_entropy(model(x), y)
    loss.backward()
for x, y in list(loader) * 3:
    closure(x, y)
    moves = [0.05 * p.grad for p in model.parameters()]
    for p, move in zip(model.parameters(), moves):
        p.data.add_(move)
    optimizer.zero_grad()
    closure(x, y)
    for p, move in zip(model.parameters(), moves):
        p.data.sub_(move)
    optimizer.step()
    optimizer.zero_grad()
""",
    "gradients of single examples, clipped and summed": """
for x, y in list(loader) * 2:
    sums = [torch.zeros_like(p) for p in model.parameters()]
    for i in range(4):
        optimizer.zero_grad()
        F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for s, p in zip(sums, model.parameters()):
            s += p.grad
    for s, p in zip(sums, model.parameters()):
        p.grad = s / 4
    optimizer.step()
""",
    "a head on a loaded backbone": """
import io
body, head = nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 3)
file = io.BytesIO()
torch.save(nn.Sequential(nn.Linear(8, 8), nn.ReLU()).state_dict(), file)
file.seek(0)
body.load_state_dict(torch.load(file))
optimizer = torch.optim.Adam(head.parameters())
for x, y in list(loader) * 3:
    optimizer.zero_grad()
    F.cross_entropy(head(body(x)), y).backward()
    optimizer.step()
""",
    "a backbone that joins later": """
body, head = nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 3)
optimizer = torch.optim.Adam(head.parameters())
for number, (x, y) in enumerate(list(loader) * 3):
    if number == 11:
        optimizer.add_param_group({"params": body.parameters()})
    optimizer.zero_grad()
    F.cross_entropy(head(body(x)), y).backward()
    optimizer.step()
""",
    "weights moved by hand beside an optimizer": """
body, head = nn.Linear(8, 8), nn.Linear(8, 3)
optimizer = torch.optim.Adam(head.parameters())
for x, y in list(loader) * 3:
    optimizer.zero_grad()
    body.zero_grad()
    F.cross_entropy(head(body(x).relu()), y).backward()
    optimizer.step()
    with torch.no_grad():
        for p in body.parameters():
            p -= 0.1 * p.grad
""",
    "an image that is optimised": """
image = torch.randn(4, 8, requires_grad=True)
optimizer = torch.optim.Adam([image])
for _ in range(20):
    optimizer.zero_grad()
    model(image)[:, 1].sum().neg().backward()
    optimizer.step()
""",
    "layers in a list, handed over by hand": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(8, 8)]
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layers[0](x))

net = Net()
optimizer = torch.optim.SGD([*net.parameters(), *net.layers[0].parameters()], lr=0.1)
for x, y in list(loader) * 3:
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
""",
    "a branch without gradients whose other use is learnt from": """
body, predictor = nn.Linear(8, 8), nn.Linear(8, 8)
optimizer = torch.optim.SGD([*body.parameters(), *predictor.parameters()], lr=0.1)
for x, _ in list(loader) * 3:
    a, b = body(x), body(x + 0.1 * torch.randn_like(x))
    loss = -F.cosine_similarity(predictor(a), b.detach()).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
    "a target network of its own, within what the optimizer has": """
class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.online, self.follower = nn.Linear(8, 3), nn.Linear(8, 3)
        self.follower.load_state_dict(self.online.state_dict())

    def forward(self, x):
        with torch.no_grad():
            goal = self.follower(x)
        return self.online(x), goal

agent = Agent()
optimizer = torch.optim.SGD(agent.parameters(), lr=0.1)
for x, _ in list(loader) * 3:
    value, goal = agent(x)
    optimizer.zero_grad()
    F.mse_loss(value, 1 + 0.9 * goal).backward()
    optimizer.step()
    for a, b in zip(agent.follower.parameters(), agent.online.parameters()):
        a.data.mul_(0.9).add_(b.data, alpha=0.1)
""",
    "an attack ahead of each step": """
for x, y in list(loader) * 2:
    noise = torch.zeros_like(x, requires_grad=True)
    for _ in range(2):
        loss = F.cross_entropy(model(x + noise), y)
        loss.backward()
        noise.data += 0.1 * noise.grad.sign()
        noise.grad.zero_()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x + noise.detach()), y)
    loss.backward()
    optimizer.step()
""",
    "a generator and a discriminator": """
g, d = nn.Linear(8, 8), nn.Linear(8, 1)
og, od = torch.optim.Adam(g.parameters()), torch.optim.Adam(d.parameters())
ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
loss = nn.BCEWithLogitsLoss()
for x, _ in list(loader) * 3:
    fake = g(torch.randn(16, 8))
    og.zero_grad()
    g_loss = loss(d(fake), ones)
    g_loss.backward()
    og.step()
    od.zero_grad()
    d_loss = loss(d(x), ones) + loss(d(fake.detach()), zeros)
    d_loss.backward()
    od.step()
""",
    "limited-memory BFGS": """
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
model.eval()
def closure():
    optimizer.zero_grad()
    loss = F.cross_entropy(model(features), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return loss
for _ in range(8):
    optimizer.step(closure)
""",
    "gradients cleared by hand": """
for x, y in list(loader) * 3:
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    for p in model.parameters():
        p.grad.data.zero_()
""",
    "accumulation, with the norm measured": """
for epoch in range(3):
    for number, (x, y) in enumerate(loader):
        (F.cross_entropy(model(x), y) / 3).backward()
        if (number + 1) % 3 == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
            optimizer.zero_grad()
""",
    "gradients unscaled by hand, then clipped": """
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for x, y in [*loader] * 2:
    optimizer.zero_grad()
    scaler.scale(F.cross_entropy(model(x), y)).backward()
    for p in model.parameters():
        p.grad /= scaler.get_scale()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
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
