"""Character RNN cell by hand that guesses the language of a made-up name.

Source: Text-Classification-Models-Pytorch#9
"""

import random

import torch
import torch.nn as nn

random.seed(1)
torch.manual_seed(1)
SYLLABLES = {
    "ital": ["ri", "no", "la", "gio", "ti"],
    "slav": ["ov", "ski", "mir", "vla", "ek"],
    "nip": ["ka", "shi", "to", "mu", "ri"],
}
LANGS = list(SYLLABLES)
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def random_example():
    k = random.randrange(len(LANGS))
    name = "".join(random.choice(SYLLABLES[LANGS[k]]) for _ in range(random.randint(2, 3)))
    onehot = torch.zeros(len(name), 1, len(ALPHABET))
    for i, ch in enumerate(name):
        onehot[i, 0, ALPHABET.index(ch)] = 1
    return name, onehot, torch.tensor([k])


class RNN(nn.Module):
    def __init__(self, n_in, n_hidden, n_out):
        super().__init__()
        self.n_hidden = n_hidden
        self.i2h = nn.Linear(n_in + n_hidden, n_hidden)
        self.h2o = nn.Linear(n_hidden, n_out)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, x, h):
        h = torch.tanh(self.i2h(torch.cat((x, h), 1)))
        return self.softmax(self.h2o(h)), h

    def read(self, name):
        h = torch.zeros(1, self.n_hidden)
        for ch in name:
            out, h = self(ch, h)
        return out


rnn = RNN(len(ALPHABET), 24, len(LANGS))
criterion = nn.NLLLoss()
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.05)
total = 0.0
for i in range(1, 201):
    name, x, y = random_example()
    optimizer.zero_grad()
    output = rnn.read(x)
    loss = criterion(output, y)
    loss.backward()
    optimizer.step()
    total += loss.item()
    if i % 50 == 0:
        print(f"{i} avg loss {total / 50:.4f} {name} -> {LANGS[output.argmax().item()]}")
        total = 0.0

rnn.eval()
with torch.no_grad():
    tests = [random_example() for _ in range(100)]
    print("accuracy", sum(rnn.read(x).argmax(1).eq(y).item() for _, x, y in tests) / 100)
