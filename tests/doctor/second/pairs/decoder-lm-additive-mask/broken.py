"""Decoder-only language model built from nn.TransformerEncoder and an additive mask.

Source: jadore801120/attention-is-all-you-need-pytorch#19
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader

torch.manual_seed(0)
V, T = 16, 14


def sequences(n):
    s = torch.randint(0, V, (n, 1))
    jumps = torch.tensor([1, 3])[torch.randint(0, 2, (n, T))]
    return torch.cat([s, s + jumps.cumsum(1)], 1) % V


class LM(nn.Module):
    def __init__(self, d=32, heads=4):
        super().__init__()
        self.embed, self.position = nn.Embedding(V, d), nn.Embedding(T, d)
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(d, heads, 64, dropout=0.0, batch_first=True), 2, enable_nested_tensor=False
        )
        self.project = nn.Linear(d, V)

    def forward(self, tokens):
        n = tokens.size(1)
        mask = torch.tril(torch.full((n, n), float("-inf")), diagonal=-1)  # expect: future-seen
        x = self.embed(tokens) + self.position(torch.arange(n))
        return self.project(self.layers(x, mask=mask))  # expect: future-seen


train_loader = DataLoader(sequences(512), batch_size=32, shuffle=True)
test = sequences(128)
model = LM()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
loss_fn = nn.CrossEntropyLoss()
for epoch in range(4):
    model.train()
    for seq in train_loader:
        optimizer.zero_grad()
        loss = loss_fn(model(seq[:, :-1]).transpose(1, 2), seq[:, 1:])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        test_loss = loss_fn(model(test[:, :-1]).transpose(1, 2), test[:, 1:]).item()
    print(f"epoch {epoch} train {loss.item():.4f} test {test_loss:.4f}")
