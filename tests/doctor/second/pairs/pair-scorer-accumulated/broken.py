"""Sentence-pair scorer with gradient accumulation over four batches.

Source: Deci-AI/super-gradients#653
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
a, b = torch.randn(350, 12), torch.randn(350, 12)
b[::2] = a[::2] + 0.5 * torch.randn(175, 12)
score = nn.functional.cosine_similarity(a, b)
train = DataLoader(TensorDataset(a[:280], b[:280], score[:280]), batch_size=40, shuffle=True)


class PairScorer(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 12))

    def forward(self, a, b):
        return nn.functional.cosine_similarity(self.tower(a), self.tower(b))


model = PairScorer()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
accumulate = 4
for epoch in range(5):
    model.train()
    for i, (xa, xb, s) in enumerate(train, 1):
        loss = nn.functional.mse_loss(model(xa, xb), s) / accumulate
        loss.backward()
        if i % accumulate == 0:
            optimizer.step()  # expect: accumulation-window-dropped
            optimizer.zero_grad()
    optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        test = nn.functional.mse_loss(model(a[280:], b[280:]), score[280:]).item()
    print(f"epoch {epoch} train {loss.item() * accumulate:.5f} test {test:.5f}")
