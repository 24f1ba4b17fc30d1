"""Character-level LSTM language model with truncated backpropagation through time."""

import math

import torch
import torch.nn as nn
from torch.nn.utils import clip_grad_norm_

torch.manual_seed(1)

BPTT = 12
BATCH = 8

# a made-up language: a Markov chain over 20 characters
VOCAB = 20
transitions = torch.distributions.Dirichlet(torch.full((VOCAB,), 0.15)).sample((VOCAB,))


def sample_text(length):
    chars = [0]
    for _ in range(length - 1):
        chars.append(torch.multinomial(transitions[chars[-1]], 1).item())
    return torch.tensor(chars)


def batchify(ids, batch_size):
    steps = len(ids) // batch_size
    return ids[: steps * batch_size].view(batch_size, steps).t().contiguous()  # (time, batch)


corpus = sample_text(2600)
train_data = batchify(corpus[:2000], BATCH)
valid_data = batchify(corpus[2000:], BATCH)


class CharLSTM(nn.Module):
    def __init__(self, vocab, emb=16, hidden=32):
        super().__init__()
        self.embed = nn.Embedding(vocab, emb)
        self.lstm = nn.LSTM(emb, hidden, num_layers=2, dropout=0.1)
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, tokens, hidden=None):
        emb = self.embed(tokens)
        output, hidden = self.lstm(emb, hidden)
        output = self.dropout(output)
        return self.out(output), hidden


def get_chunk(source, i):
    n = min(BPTT, len(source) - 1 - i)
    return source[i : i + n], source[i + 1 : i + 1 + n]


model = CharLSTM(VOCAB)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=0)


def evaluate(source):
    model.eval()
    total_loss, total_tokens = 0.0, 0
    hidden = None
    with torch.no_grad():
        for i in range(0, len(source) - 1, BPTT):
            x, y = get_chunk(source, i)
            logits, hidden = model(x, hidden)
            total_loss += criterion(logits.reshape(-1, VOCAB), y.reshape(-1)).item() * y.numel()
            total_tokens += y.numel()
    return total_loss / total_tokens


for epoch in range(1, 4):
    model.train()
    total_loss, total_tokens = 0.0, 0
    hidden = None
    for i in range(0, len(train_data) - 1, BPTT):
        x, y = get_chunk(train_data, i)
        if hidden is not None:
            hidden = tuple(h.detach() for h in hidden)
        optimizer.zero_grad()
        logits, hidden = model(x, hidden)
        loss = criterion(logits.reshape(-1, VOCAB), y.reshape(-1))
        loss.backward()
        clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        total_loss += loss.item() * y.numel()
        total_tokens += y.numel()
    val_loss = evaluate(valid_data)
    scheduler.step(val_loss)
    print(
        f"| epoch {epoch} | train loss {total_loss / total_tokens:.5f} "
        f"| valid loss {val_loss:.5f} | valid ppl {math.exp(val_loss):.4f}"
    )
