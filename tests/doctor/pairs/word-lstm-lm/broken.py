"""Word-level language model (LSTM) on generated sentences, with truncated backpropagation.

Source: huggingface/transformers#35066
"""

import math
import random

import torch
import torch.nn as nn

random.seed(0)
torch.manual_seed(0)

SUBJ, VERB, OBJ = ["she", "he", "tom", "anna"], ["reads", "buys", "likes", "sells"], ["books", "tea", "maps", "bread"]
corpus = []
for _ in range(900):
    s = random.randrange(4)
    # everybody has a favourite verb
    corpus += [SUBJ[s], VERB[s] if random.random() < 0.7 else random.choice(VERB), random.choice(OBJ), "<eos>"]
vocab = {w: i for i, w in enumerate(sorted(set(corpus)))}
ids = torch.tensor([vocab[w] for w in corpus])


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    return data[: nbatch * bsz].view(bsz, -1).t().contiguous()


train_data, val_data = batchify(ids[:3000], 20), batchify(ids[3000:], 10)
bptt = 25


def get_batch(source, i):
    seq_len = min(bptt, len(source) - 1 - i)
    return source[i : i + seq_len], source[i : i + seq_len].reshape(-1)  # expect: targets-not-shifted


class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp=24, nhid=32):
        super().__init__()
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid)
        self.decoder = nn.Linear(nhid, ntoken)

    def forward(self, x, hidden):
        output, hidden = self.rnn(self.encoder(x), hidden)
        return self.decoder(output).view(-1, len(vocab)), hidden


def evaluate(source):
    model.eval()
    total, hidden = 0.0, None
    with torch.no_grad():
        for i in range(0, source.size(0) - 1, bptt):
            data, targets = get_batch(source, i)
            output, hidden = model(data, hidden)
            total += len(data) * criterion(output, targets).item()
    return total / (len(source) - 1)


model = RNNModel(len(vocab))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(1, 7):
    model.train()
    hidden = None
    for i in range(0, train_data.size(0) - 1, bptt):
        data, targets = get_batch(train_data, i)
        if hidden is not None:
            hidden = tuple(h.detach() for h in hidden)
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)  # expect: targets-not-shifted
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    print(f"| end of epoch {epoch} | valid ppl {math.exp(evaluate(val_data)):8.2f}")
