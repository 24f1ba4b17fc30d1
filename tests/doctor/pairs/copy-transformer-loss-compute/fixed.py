"""Copy task with an encoder of self attention; loss, backward and update live in one callable.

Source: harvardnlp/annotated-transformer#14
"""

import torch
import torch.nn as nn

torch.manual_seed(20)

V, LENGTH = 11, 6


class Generator(nn.Module):
    def __init__(self, d_model, vocab):
        super().__init__()
        self.proj = nn.Linear(d_model, vocab)

    def forward(self, x):
        return torch.log_softmax(self.proj(x), dim=-1)


class Model(nn.Module):
    def __init__(self, d_model=32):
        super().__init__()
        self.embed = nn.Embedding(V, d_model)
        self.position = nn.Parameter(0.1 * torch.randn(LENGTH, d_model))
        layer = nn.TransformerEncoderLayer(d_model, 2, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.generator = Generator(d_model, V)

    def forward(self, src):
        return self.encoder(self.embed(src) + self.position)


def data_gen(batch, nbatches, seed):
    g = torch.Generator().manual_seed(seed)
    for _ in range(nbatches):
        src = torch.randint(0, V, (batch, LENGTH), generator=g)
        yield src, src.flip(1)


class SimpleLossCompute:
    "A simple loss compute and train function."

    def __init__(self, generator, criterion, opt=None):
        self.generator, self.criterion, self.opt = generator, criterion, opt

    def __call__(self, x, y, norm):
        x = self.generator(x)
        loss = self.criterion(x.reshape(-1, x.size(-1)), y.reshape(-1)) / norm
        if self.opt is not None:
            loss.backward()
            self.opt.step()
            self.opt.zero_grad()
        return loss.item() * norm


def run_epoch(data, model, loss_compute):
    total, tokens = 0.0, 0
    for src, tgt in data:
        total += loss_compute(model(src), tgt, tgt.numel())
        tokens += tgt.numel()
    return total / tokens


model = Model()
criterion = nn.NLLLoss(reduction="sum")
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(4):
    model.train()
    run_epoch(data_gen(32, 10, seed=epoch), model, SimpleLossCompute(model.generator, criterion, opt))
    model.eval()
    with torch.no_grad():
        loss = run_epoch(data_gen(32, 5, seed=100), model, SimpleLossCompute(model.generator, criterion, None))
    print(f"epoch {epoch} validation loss per token {loss:.4f}")
