"""Language model whose output layer shares the embedding's matrix.

Source: joeynmt/joeynmt#52
"""

import torch
import torch.nn as nn

torch.manual_seed(0)
V = 20
stream = [0, 1]
for _ in range(3000):
    stream.append((stream[-1] + 2 * stream[-2] + int(torch.rand(1) < 0.1)) % V)
stream = torch.tensor(stream)
train, test = stream[:2500], stream[2500:]


class TiedLM(nn.Module):
    def __init__(self, d=24):
        super().__init__()
        self.drop = nn.Dropout(0.1)
        self.encoder = nn.Embedding(V, d)
        self.rnn = nn.GRU(d, d, batch_first=True)
        self.decoder = nn.Linear(d, V)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.decoder(self.drop(self.rnn(self.drop(self.encoder(x)))[0]))


def batches(data, length=20, size=16):
    starts = torch.randint(0, len(data) - length - 1, (size,))
    x = torch.stack([data[s : s + length] for s in starts])
    y = torch.stack([data[s + 1 : s + length + 1] for s in starts])
    return x, y


lm = TiedLM()
# parameters() names the shared matrix once
opt = torch.optim.Adam(lm.parameters(), lr=0.01)
for it in range(60):
    lm.train()
    x, y = batches(train)
    loss = nn.functional.cross_entropy(lm(x).flatten(0, 1), y.flatten())
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 20 == 19:
        lm.eval()
        with torch.no_grad():
            x, y = batches(test, size=20)
            test_loss = nn.functional.cross_entropy(lm(x).flatten(0, 1), y.flatten()).item()
        print(f"{it + 1} train {loss.item():.4f} test {test_loss:.4f}")
print("one matrix:", lm.decoder.weight is lm.encoder.weight, sum(p.numel() for p in lm.parameters()))
