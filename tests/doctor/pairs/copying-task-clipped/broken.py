"""Copy a few symbols over a stretch of blanks with a recurrent network, gradients clipped.

Source: locuslab/TCN
"""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(33)
SYMBOLS, KEEP, BLANK, CLIP = 6, 3, 5, 0.5


def task(n):
    signs = torch.randint(1, SYMBOLS, (n, KEEP))
    given = torch.cat([signs, torch.zeros(n, BLANK, dtype=torch.long), torch.full((n, KEEP), SYMBOLS)], 1)
    wanted = torch.cat([torch.zeros(n, KEEP + BLANK, dtype=torch.long), signs], 1)
    return given, wanted


class Copier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(SYMBOLS + 1, 16)
        self.rnn = nn.GRU(16, 32, batch_first=True)
        self.out = nn.Linear(32, SYMBOLS)

    def forward(self, given):
        return self.out(self.rnn(self.embed(given))[0])


net = Copier()
optimizer = torch.optim.RMSprop(net.parameters(), lr=3e-3)
train_given, train_wanted = task(320)
test_given, test_wanted = task(64)

for epoch in range(16):
    net.train()
    total = 0.0
    for start in range(0, 320, 32):
        given, wanted = train_given[start : start + 32], train_wanted[start : start + 32]
        optimizer.zero_grad()
        loss = F.cross_entropy(net(given).flatten(0, 1), wanted.flatten())
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)  # expect: gradients-clipped-before-backward
        loss.backward()
        optimizer.step()
        total += loss.item()
    if epoch % 5 == 0:
        net.eval()
        with torch.no_grad():
            hits = (net(test_given).argmax(2) == test_wanted)[:, -KEEP:].float().mean().item()
        print(f"epoch {epoch} loss {total / 10:.4f} recalled {hits:.3f}")
