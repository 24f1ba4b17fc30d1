"""CTC on stretched symbol sequences: (T, N, C) log-probabilities, lengths of inputs and targets, greedy decoding.

Source: SeanNaren/deepspeech.pytorch
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader

BLANK, SYMBOLS = 0, 6


def utterance(g):
    length = int(torch.randint(2, 5, (1,), generator=g))
    target = torch.randperm(SYMBOLS - 1, generator=g)[:length] + 1  # no symbol twice in a row
    frames = target.repeat_interleave(torch.randint(2, 5, (length,), generator=g))
    spaced = torch.zeros(len(frames) + 2, dtype=torch.long)
    spaced[1:-1] = frames
    return nn.functional.one_hot(spaced, SYMBOLS).float() + 0.3 * torch.randn(len(spaced), SYMBOLS, generator=g), target


def collate(batch):
    xs, ts = zip(*batch)
    inputs = nn.utils.rnn.pad_sequence(xs, batch_first=True)
    return inputs, torch.cat(ts), torch.tensor([len(x) for x in xs]), torch.tensor([len(t) for t in ts])


class Acoustic(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(SYMBOLS, 24, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(48, SYMBOLS)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.fc(out).log_softmax(-1).transpose(0, 1)  # T, N, C


def decode(log_probs, lengths):
    result = []
    for path, n in zip(log_probs.argmax(-1).T.tolist(), lengths.tolist()):
        path = path[:n]
        result.append([s for i, s in enumerate(path) if s != BLANK and (i == 0 or s != path[i - 1])])
    return result


g = torch.Generator().manual_seed(0)
torch.manual_seed(0)
data = [utterance(g) for _ in range(300)]
train_loader = DataLoader(data[:240], batch_size=24, shuffle=True, collate_fn=collate)
test_loader = DataLoader(data[240:], batch_size=30, collate_fn=collate)
model, criterion = Acoustic(), nn.CTCLoss(blank=BLANK, zero_infinity=True)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
for epoch in range(5):
    model.train()
    for x, t, nx, nt in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x, nx), t, nx, nt)
        loss.backward()
        optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for x, t, nx, nt in test_loader:
            truth = [part.tolist() for part in t.split(nt.tolist())]
            right += sum(a == b for a, b in zip(decode(model(x, nx), nx), truth))
    print(f"epoch {epoch} ctc {loss.item():.3f} sequences right {right / 60:.3f}")
