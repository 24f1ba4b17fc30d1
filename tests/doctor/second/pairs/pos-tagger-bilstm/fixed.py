"""BiLSTM tagger; sentences, tags and positions are all ten long.

Source: PetrochukM/PyTorch-NLP#2
"""

import torch
from torch import nn

torch.manual_seed(0)
WORDS, TAGS, LENGTH = 40, 10, 10


def corpus(n, seed):
    g = torch.Generator().manual_seed(seed)
    words = torch.randint(0, WORDS, (n, LENGTH), generator=g)
    previous = torch.cat([torch.zeros(n, 1, dtype=torch.long), words[:, :-1]], 1)
    tags = (words + 3 * (previous % 2)) % TAGS
    return words, tags


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(WORDS, 24)
        self.lstm = nn.LSTM(24, 24, batch_first=True, bidirectional=True)
        self.out = nn.Linear(48, TAGS)

    def forward(self, words):
        return self.out(self.lstm(self.emb(words))[0])


model = Tagger()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
words, tags = corpus(600, 0)
test_words, test_tags = corpus(200, 1)
for epoch in range(5):
    for idx in torch.randperm(600).split(40):
        scores = model(words[idx])
        loss = criterion(scores.transpose(1, 2), tags[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        acc = (model(test_words).argmax(-1) == test_tags).float().mean().item()
    model.train()
    print(f"epoch {epoch} loss {loss.item():.4f} tag accuracy {acc:.4f}")
