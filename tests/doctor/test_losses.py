"""The rules about losses, tried on other ways to write the same mistake and on correct code that looks like it."""

from __future__ import annotations

import pytest
from examples import findings_in

from doctor.test_modes import line_of

SETUP = """
import torch
from torch import nn, optim
import torch.nn.functional as F
torch.manual_seed(0)
X, Y, V = torch.randn(96, 8), torch.arange(96) % 3, torch.randn(96)
def batches(*tensors, size=16, epochs=2):
    for _ in range(epochs):
        order = torch.randperm(96)
        for i in range(0, 96, size):
            yield [t[order[i:i+size]] for t in tensors]
def learn(model, loss_of, *tensors, lr=0.05):
    opt = optim.Adam(model.parameters(), lr=lr)
    for batch in batches(*tensors):
        loss = loss_of(*batch)
        opt.zero_grad()
        loss.backward()
        opt.step()
def mlp(*last, out=3):
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, out), *last)
"""

FOUND = {
    "softmax-before-cross-entropy: the last of a Sequential": """
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(),
                      nn.Linear(16, 3),
                      nn.Softmax(dim=1))  # <-
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
learn(model, lambda x, y: criterion(model(x), y), X, Y)
""",
    "softmax-before-cross-entropy: soft targets, inside of forward": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.act = mlp(), nn.Softmax(dim=-1)  # <-
    def forward(self, x):
        return self.act(self.body(x))
model = Net()
learn(model, lambda x, y: F.cross_entropy(model(x), F.one_hot(y, 3).float()), X, Y)
""",
    "softmax-before-cross-entropy: segmentation": """
model = nn.Conv2d(1, 4, 3, padding=1)
def loss_of(x, y):
    scores = model(x.view(-1, 1, 2, 4))
    masks = y.view(-1, 1, 1).expand(-1, 2, 4)
    return F.cross_entropy(scores.softmax(1), masks)  # <-
learn(model, loss_of, X, Y)
""",
    "softmax-before-cross-entropy: a sequence flattened": """
model = nn.Linear(1, 4)
def loss_of(x, y):
    chances = torch.softmax(model(x.unsqueeze(-1)), dim=-1)  # <-
    return F.cross_entropy(chances.view(-1, 4), y.repeat_interleave(8))
learn(model, loss_of, X, Y)
""",
    "sigmoid-before-bce-logits: a module at the end": """
model = mlp(nn.Sigmoid(), out=1)  # <-
loss_fn = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]))
learn(model, lambda x, y: loss_fn(model(x).squeeze(1), (y == 0).float()), X, Y)
""",
    "probabilities-expected: the probabilities": """
model = mlp()
loss_fn = nn.NLLLoss()
def loss_of(x, y):
    return loss_fn(F.softmax(model(x), dim=1), y)  # <-
learn(model, loss_of, X, Y)
""",
    "probabilities-expected: distillation without logarithms": """
model, teacher = mlp(), mlp()
def loss_of(x):
    with torch.no_grad():
        wanted = F.softmax(teacher(x), dim=1)
    return nn.KLDivLoss(reduction="batchmean")(F.softmax(model(x), dim=1), wanted)  # <-
learn(model, loss_of, X)
""",
    "loss-broadcast: a loss module": """
model = mlp(out=1)
loss_fn = nn.MSELoss()
learn(model, lambda x, v: loss_fn(model(x), v), X, V)  # <-
""",
    "loss-broadcast: advantages of another shape": """
policy, value = mlp(), mlp(out=1)
params = [*policy.parameters(), *value.parameters()]
both = nn.ModuleList([policy, value])
def loss_of(x, y, v):
    logs = F.log_softmax(policy(x), 1).gather(1, y[:, None]).squeeze(1)
    advantage = v - value(x).detach().squeeze(1)
    actor = -(logs * advantage.unsqueeze(1)).mean()
    critic = F.smooth_l1_loss(value(x).squeeze(1), v)
    return actor + critic
def loss_of(x, y, v):
    logs = F.log_softmax(policy(x), 1).gather(1, y[:, None]).squeeze(1)
    advantage = value(x) - value(x).mean()
    actor = -(logs * advantage.detach()).mean()  # <-
    return actor + F.smooth_l1_loss(value(x).squeeze(1), v)
learn(both, loss_of, X, Y, V)
""",
    "activation-cuts-off-targets: by hand": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp(out=1)
    def forward(self, x):
        return torch.tanh(self.body(x)).squeeze(-1)  # <-
model = Net()
learn(model, lambda x, v: (model(x) - 5 * v).pow(2).mean(), X, V)
""",
    "softmax-over-batch: by the name of dim": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
        self.norm = nn.LogSoftmax(dim=0)  # <-
    def forward(self, x):
        return self.norm(self.body(x))
model = Net()
learn(model, lambda x, y: F.nll_loss(model(x), y), X, Y)
""",
    "softmax-over-one-class: cross-entropy of one logit": """
model = mlp(out=1)
def loss_of(x, y):
    return F.cross_entropy(model(x), torch.zeros_like(y))  # <-
learn(model, loss_of, X, Y)
""",
    "loss-over-wrong-dimension: as many places as classes": """
model = nn.Linear(1, 8)
learn(model, lambda x, y: F.cross_entropy(model(x.unsqueeze(2)), y.unsqueeze(1).expand(-1, 8)), X, Y)  # <-
""",
    "examples-mixed-in-batch: a view of images": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv1d(1, 4, 3, padding=1), nn.Linear(32, 3)
    def forward(self, x):
        h = self.conv(x).relu()
        h = h.permute(1, 0, 2).reshape(-1, 32)  # <-
        return self.out(h)
model = Net()
learn(model, lambda x, y: F.cross_entropy(model(x.unsqueeze(1)), y), X, Y)
""",
    "examples-mixed-in-batch: attention": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(2, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.out = nn.Linear(8, 3)
    def forward(self, x):
        x = self.up(x)
        x, _ = self.attention(x, x, x)  # <-
        return self.out(x.mean(1))
model = Net()
learn(model, lambda x, y: F.cross_entropy(model(x.view(-1, 4, 2)), y), X, Y)
""",
    "future-seen: a transformer without a mask": """
class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 30)
    def forward(self, idx):
        x = self.body(self.embed(idx))  # <-
        return self.head(x)
model = GPT()
T = torch.randint(30, (96, 13))
learn(model, lambda t: F.cross_entropy(model(t[:, :-1]).reshape(-1, 30), t[:, 1:].reshape(-1)), T)
""",
    "future-seen: a mask upside down": """
class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.q, self.k, self.v = nn.Embedding(30, 16), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 30)
    def forward(self, idx, targets=None):
        x = self.embed(idx)
        B, T, C = x.shape
        scores = self.q(x) @ self.k(x).transpose(1, 2) / C ** 0.5
        scores = scores.masked_fill(torch.tril(torch.ones(T, T)) == 1, -1e9)  # <-
        x = x + scores.softmax(-1) @ self.v(x)
        logits = self.head(x)
        return logits, F.cross_entropy(logits.view(-1, 30), targets.reshape(-1))
model = GPT()
T = torch.randint(30, (96, 13))
learn(model, lambda t: model(t[:, :-1], t[:, 1:])[1], T)
""",
    "padding-counted-in-loss: no padding_idx": """
model = nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 30))
lengths = torch.randint(3, 14, (96, 1))
T = torch.randint(1, 30, (96, 13)) * (torch.arange(13) < lengths)
def loss_of(t):
    logits = model(t[:, :-1])
    return F.cross_entropy(logits.reshape(-1, 30), t[:, 1:].reshape(-1))  # <-
learn(model, loss_of, T)
""",
    "randomness-left-on-in-evaluation: attention": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.out = nn.Linear(2, 8), nn.Linear(8, 3)
    def forward(self, x):
        x = self.up(x)
        x = F.scaled_dot_product_attention(x, x, x, dropout_p=0.2)  # <-
        return self.out(x.mean(1))
model = Net()
learn(model, lambda x, y: F.cross_entropy(model(x.view(-1, 4, 2)), y), X, Y)
model.eval()
print(model(X.view(-1, 4, 2)).argmax(1).sum(), model(X.view(-1, 4, 2)).argmax(1).sum())
""",
    "targets-out-of-range: pixels": """
model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8))
P = torch.randint(0, 256, (96, 8)).float()
learn(model, lambda p: F.binary_cross_entropy_with_logits(model(p / 255), p), P)  # <-
""",
    "future-seen: the next numbers of a series": """
torch.manual_seed(1)
S = torch.randn(40, 13, 3).cumsum(1)
class Forecaster(nn.Module):
    def __init__(self, both):
        super().__init__()
        self.rnn = nn.GRU(3, 16, batch_first=True, bidirectional=both)
        self.out = nn.Linear(32 if both else 16, 1)
    def forward(self, x):
        states, _ = self.rnn(x)  # <-
        return self.out(states)
net = Forecaster(True)
opt = optim.Adam(net.parameters(), lr=0.01)
for _ in range(10):
    s = S[torch.randperm(40)[:16]]
    opt.zero_grad()
    F.mse_loss(net(s[:, :-1]).squeeze(2), s[:, 1:, 0]).backward()
    opt.step()
""",
    "future-seen: all channels of a series, the loss written out": """
torch.manual_seed(1)
S = torch.randn(40, 13, 3).cumsum(1)
class Forecaster(nn.Module):
    def __init__(self, both):
        super().__init__()
        self.rnn = nn.GRU(3, 16, batch_first=True, bidirectional=both)
        self.out = nn.Linear(32 if both else 16, 3)
    def forward(self, x):
        states, _ = self.rnn(x)  # <-
        return self.out(states)
net = Forecaster(True)
opt = optim.Adam(net.parameters(), lr=0.01)
for _ in range(10):
    s = S[torch.randperm(40)[:16]]
    opt.zero_grad()
    ((net(s[:, :-1]) - s[:, 1:]) ** 2).mean().backward()
    opt.step()
""",
    "targets-not-shifted: a series": """
torch.manual_seed(1)
S = torch.randn(40, 13, 3).cumsum(1)
class Forecaster(nn.Module):
    def __init__(self, both):
        super().__init__()
        self.rnn = nn.GRU(3, 16, batch_first=True, bidirectional=both)
        self.out = nn.Linear(32 if both else 16, 1)
    def forward(self, x):
        states, _ = self.rnn(x)
        return self.out(states)
net = Forecaster(False)
opt = optim.Adam(net.parameters(), lr=0.01)
for _ in range(10):
    s = S[torch.randperm(40)[:16]]
    opt.zero_grad()
    F.l1_loss(net(s[:, :-1]), s[:, :-1, :1]).backward()  # <-
    opt.step()
""",
    "loss-not-finite: in the first two batches": """
model, seen = mlp(), []
def loss_of(x, y):
    seen.append(y)
    sure = F.relu(model(x) + (10 if len(seen) > 2 else -100))
    return -(F.one_hot(y, 3) * sure.log()).sum(1).mean()  # <-
learn(model, loss_of, X, Y)
""",
}

SILENT = {
    "distillation": """
model, teacher = mlp(), mlp().eval()
def loss_of(x, y):
    with torch.no_grad():
        wanted = F.softmax(teacher(x) / 2, 1)
    logits = model(x)
    return F.kl_div(F.log_softmax(logits / 2, 1), wanted, reduction="batchmean") * 4 + F.cross_entropy(logits, y)
learn(model, loss_of, X, Y)
""",
    "attention pools the nodes of one graph": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.score, self.out = nn.Linear(8, 1), nn.Linear(8, 3)
    def forward(self, x):
        w = torch.softmax(self.score(x), dim=0)
        return self.out(x + (w * x).sum(0))
model = Net()
opt = optim.Adam(model.parameters())
for _ in range(20):
    opt.zero_grad()
    F.cross_entropy(model(X), Y).backward()
    opt.step()
""",
    "contrastive both ways": """
a, b = nn.Linear(8, 4), nn.Linear(8, 4)
both = nn.ModuleList([a, b])
def loss_of(x):
    sim = F.normalize(a(x), dim=1) @ F.normalize(b(x + 0.1 * torch.randn_like(x)), dim=1).T / 0.1
    return -(F.log_softmax(sim, 0).diag() + F.log_softmax(sim, 1).diag()).mean()
learn(both, loss_of, X)
""",
    "the energy distance of samples to data": """
model = mlp(out=1)
def loss_of(x, v):
    s = model(x).squeeze(1)
    return 2 * (s.unsqueeze(1) - v).abs().mean() - (s.unsqueeze(1) - s).abs().mean()
learn(model, loss_of, X, V)
""",
    "all pairs of quantiles and samples, weighted": """
model, taus = mlp(out=4), torch.tensor([0.1, 0.4, 0.6, 0.9])
def loss_of(x, v):
    samples = v.unsqueeze(1) + torch.linspace(-1, 1, 5)
    far = F.smooth_l1_loss(model(x).unsqueeze(2).expand(-1, -1, 5), samples.unsqueeze(1).expand(-1, 4, -1), reduction="none")
    below = (samples.unsqueeze(1) < model(x).unsqueeze(2).detach()).float()
    return ((taus.view(1, 4, 1) - below).abs() * far).mean()
learn(model, loss_of, X, V)
""",
    "members of an ensemble, each with all targets": """
members = nn.ModuleList([mlp(out=1) for _ in range(3)])
def loss_of(x, v):
    return (torch.stack([one(x).squeeze(1) for one in members]) - v).pow(2).mean()
learn(members, loss_of, X, V)
""",
    "pairs are ranked on purpose": """
model = mlp(out=1)
def loss_of(x, v):
    s = model(x)
    return (torch.sigmoid(s - s.T) - (v[:, None] > v).float()).pow(2).mean()
learn(model, loss_of, X, V)
""",
    "tanh for images in [-1, 1], and a reverse divergence": """
model, prior = mlp(nn.Tanh(), out=8), mlp()
inner = mlp()
both = nn.ModuleList([model, inner])
images = X.clamp(-1, 1)
def loss_of(x):
    p = F.softmax(inner(x), 1)
    q = F.log_softmax(prior(x), 1).detach()
    return F.mse_loss(model(x), x) + F.kl_div(q, p, reduction="batchmean") + (p * p.log()).sum(1).mean()
learn(both, loss_of, images)
""",
    "a text with time first": """
class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.out = nn.Embedding(30, 16), nn.LSTM(16, 16), nn.Linear(16, 30)
    def forward(self, tokens):
        states, _ = self.rnn(self.embed(tokens))
        return self.out(states)
model = LM()
data = torch.randint(30, (121, 4))
opt = optim.SGD(model.parameters(), lr=0.1)
for i in range(0, 120, 10):
    opt.zero_grad()
    F.cross_entropy(model(data[i:i+10]).view(-1, 30), data[i+1:i+11].view(-1)).backward()
    opt.step()
""",
    "masked language model": """
class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(31, 16)
        self.body = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 31)
    def forward(self, tokens):
        return self.head(self.body(self.embed(tokens)))
model = Bert()
T = torch.randint(30, (96, 12))
def loss_of(t):
    hidden = torch.rand(t.shape) < 0.2
    return F.cross_entropy(model(t.masked_fill(hidden, 30)).transpose(1, 2), t.masked_fill(~hidden, -100))
learn(model, loss_of, T)
""",
    "an autoencoder of texts": """
class Auto(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(30, 16), nn.GRU(16, 16, batch_first=True)
        self.back, self.out = nn.GRU(16, 16, batch_first=True), nn.Linear(16, 30)
    def forward(self, tokens):
        _, h = self.rnn(self.embed(tokens))
        states, _ = self.back(h[0].unsqueeze(1).expand(-1, tokens.shape[1], -1))
        return self.out(states)
model = Auto()
T = torch.randint(30, (96, 12))
learn(model, lambda t: F.cross_entropy(model(t).transpose(1, 2), t), T)
""",
    "translation: the encoder sees everything": """
class Translate(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.body = nn.Transformer(16, 2, 1, 1, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 30)
    def forward(self, src, tgt):
        mask = nn.Transformer.generate_square_subsequent_mask(tgt.shape[1])
        return self.head(self.body(self.embed(src), self.embed(tgt), tgt_mask=mask))
model = Translate()
T = torch.randint(30, (96, 13))
learn(model, lambda t: F.cross_entropy(model(t.flip(1)[:, :12], t[:, :-1]).transpose(1, 2), t[:, 1:]), T)
""",
    "padding left out by a mask": """
model = nn.Sequential(nn.Embedding(30, 16, padding_idx=0), nn.Linear(16, 30))
lengths = torch.randint(3, 14, (96, 1))
T = torch.randint(1, 30, (96, 13)) * (torch.arange(13) < lengths)
def loss_of(t):
    each = F.cross_entropy(model(t[:, :-1]).transpose(1, 2), t[:, 1:], reduction="none")
    mask = (t[:, 1:] != 0).float()
    return (each * mask).sum() / mask.sum()
learn(model, loss_of, T)
""",
    "nodes of a graph": """
A = (torch.rand(96, 96) < 0.05).float() + torch.eye(96)
class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 3)
    def forward(self, x):
        return self.two(A @ self.one(A @ x).relu())
model = GCN()
opt = optim.Adam(model.parameters())
for _ in range(20):
    opt.zero_grad()
    F.cross_entropy(model(X), Y).backward()
    opt.step()
""",
    "policy gradient with the loss as a gather": """
policy = mlp()
opt = optim.Adam(policy.parameters())
for _ in range(20):
    d = torch.distributions.Categorical(logits=policy(X[:16]))
    a = d.sample()
    loss = -(d.log_prob(a) * torch.randn(16)).mean() - 0.01 * d.entropy().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
""",
    "counts of a squeeze network": """
model = nn.Sequential(nn.Conv1d(1, 8, 3), nn.ReLU(), nn.Conv1d(8, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
learn(model, lambda x, y: F.cross_entropy(model(x.unsqueeze(1)), y), X, Y)
""",
    "forecasts that see the past": """
torch.manual_seed(1)
S = torch.randn(40, 13, 3).cumsum(1)
class Forecaster(nn.Module):
    def __init__(self, both):
        super().__init__()
        self.rnn = nn.GRU(3, 16, batch_first=True, bidirectional=both)
        self.out = nn.Linear(32 if both else 16, 3)
    def forward(self, x):
        states, _ = self.rnn(x)
        return self.out(states)
net = Forecaster(False)
opt = optim.Adam(net.parameters(), lr=0.01)
for _ in range(10):
    s = S[torch.randperm(40)[:16]]
    opt.zero_grad()
    F.mse_loss(net(s[:, :-1]), s[:, 1:]).backward()
    opt.step()
""",
    "an autoencoder of series, one step at a time": """
torch.manual_seed(1)
S = torch.randn(40, 13, 3).cumsum(1)
class Forecaster(nn.Module):
    def __init__(self, both):
        super().__init__()
        self.rnn = nn.GRU(3, 16, batch_first=True, bidirectional=both)
        self.out = nn.Linear(32 if both else 16, 3)
    def forward(self, x):
        states, _ = self.rnn(x)
        return self.out(states)
net = Forecaster(False)
opt = optim.Adam(net.parameters(), lr=0.01)
for _ in range(10):
    s = S[torch.randperm(40)[:16]]
    opt.zero_grad()
    F.mse_loss(net(s), s).backward()
    opt.step()
""",
    "numbers of a series that were left out": """
torch.manual_seed(1)
S = torch.randn(40, 13, 3).cumsum(1)
class Forecaster(nn.Module):
    def __init__(self, both):
        super().__init__()
        self.rnn = nn.GRU(3, 16, batch_first=True, bidirectional=both)
        self.out = nn.Linear(32 if both else 16, 3)
    def forward(self, x):
        states, _ = self.rnn(x)
        return self.out(states)
net = Forecaster(True)
opt = optim.Adam(net.parameters(), lr=0.01)
for _ in range(10):
    s = S[torch.randperm(40)[:16]]
    opt.zero_grad()
    F.mse_loss(net(s * (torch.rand(16, 13, 1) < 0.8)), s).backward()
    opt.step()
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
