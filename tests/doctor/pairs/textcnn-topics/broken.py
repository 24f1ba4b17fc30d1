"""TextCNN topic classifier on synthetic token sequences.

Source: AnubhavGupta3377/Text-Classification-Models-Pytorch#9
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(5)

VOCAB, LENGTH, TOPICS = 200, 20, 5


def synth(n):
    labels = torch.randint(TOPICS, (n,))
    tokens = torch.randint(TOPICS * 10, VOCAB, (n, LENGTH))
    # a handful of topical words somewhere in each document
    for row, topic in enumerate(labels.tolist()):
        where = torch.randperm(LENGTH)[:4]
        tokens[row, where] = topic * 10 + torch.randint(10, (4,))
    return TensorDataset(tokens, labels)


train_iter = DataLoader(synth(600), batch_size=40, shuffle=True)
test_iter = DataLoader(synth(200), batch_size=100)


class TextCNN(nn.Module):
    def __init__(self, embed=24, filters=16, kernels=(2, 3, 4)):
        super().__init__()
        self.embeddings = nn.Embedding(VOCAB, embed)
        self.convs = nn.ModuleList([nn.Conv1d(embed, filters, k) for k in kernels])
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(filters * len(kernels), TOPICS)
        self.softmax = nn.Softmax(dim=1)  # expect: probabilities-expected

    def forward(self, x):
        x = self.embeddings(x).transpose(1, 2)
        x = torch.cat([F.relu(conv(x)).amax(dim=2) for conv in self.convs], dim=1)
        x = self.fc(self.dropout(x))
        return self.softmax(x)  # expect: probabilities-expected


model = TextCNN()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
NLLLoss = nn.NLLLoss()

for epoch in range(5):
    model.train()
    train_loss = 0.0
    for x, y in train_iter:
        optimizer.zero_grad()
        y_pred = model(x)
        loss = NLLLoss(y_pred, y)  # expect: probabilities-expected
        loss.backward()
        optimizer.step()
        train_loss += loss.item() * y.size(0)

    model.eval()
    hits = 0
    with torch.no_grad():
        for x, y in test_iter:
            hits += (model(x).argmax(1) == y).sum().item()
    print(f"Epoch: {epoch}  loss: {train_loss / 600:.4f}  test acc: {hits / 200:.3f}")
