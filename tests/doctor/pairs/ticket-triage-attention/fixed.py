"""Sort short support tickets by mood with an attentive two-way LSTM, all of them in one batch.

Source: graykode/nlp-tutorial
"""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(5)
good = ["thanks it works", "really happy now", "great quick answer", "love this tool"]
bad = ["still does not start", "very slow again", "lost all my files", "it broke twice"]
tickets = [line.split() for line in good + bad]
vocabulary = {word: i for i, word in enumerate(sorted({word for line in tickets for word in line}))}
length = min(len(line) for line in tickets)
words = torch.tensor([[vocabulary[word] for word in line[:length]] for line in tickets])
moods = torch.tensor([1] * len(good) + [0] * len(bad))


class Triage(nn.Module):
    def __init__(self, size=6):
        super().__init__()
        self.size = size
        self.embed = nn.Embedding(len(vocabulary), 5)
        self.lstm = nn.LSTM(5, size, bidirectional=True, batch_first=True)
        self.out = nn.Linear(2 * size, 2)

    def forward(self, text):
        states, (last, _) = self.lstm(self.embed(text))
        query = last.transpose(0, 1).reshape(-1, 2 * self.size, 1)
        weights = torch.softmax(torch.bmm(states, query).squeeze(2), dim=1)
        read = torch.bmm(states.transpose(1, 2), weights.unsqueeze(2)).squeeze(2)
        return self.out(read), weights


model = Triage()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
for epoch in range(40):
    optimizer.zero_grad()
    scores, _ = model(words)
    loss = F.cross_entropy(scores, moods)
    loss.backward()
    optimizer.step()
    if epoch % 10 == 0:
        print(f"epoch {epoch:2d} loss {loss.item():.4f}")

model.eval()
with torch.no_grad():
    print("one by one:", [model(line[None])[0].argmax(1).item() for line in words])
