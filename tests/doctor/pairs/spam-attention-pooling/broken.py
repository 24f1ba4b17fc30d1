"""Flags short messages of word ids by attention over their words.

Source: KEQA_WSDM19#2
"""

import torch
from torch import nn

torch.manual_seed(1)
words = torch.randint(0, 40, (700, 9))
spam = (words < 3).any(1).float()


class AttentionPooling(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 1))
        self.softmax = nn.Softmax(dim=0)  # expect: softmax-over-batch

    def forward(self, x):
        return (self.softmax(self.score(x)) * x).sum(1)


class Filter(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.pool, self.out = nn.Embedding(40, 16), AttentionPooling(16), nn.Linear(16, 1)

    def forward(self, ids):
        return self.out(self.pool(self.embedding(ids))).squeeze(1)


def train_one_epoch(model, optimizer):
    model.train()
    for rows in torch.randperm(600).split(50):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(words[rows]), spam[rows])
        loss.backward()
        optimizer.step()
    return loss.item()


def main():
    model = Filter()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for epoch in range(4):
        loss = train_one_epoch(model, optimizer)
        model.eval()
        with torch.no_grad():
            right = ((model(words[600:]) > 0).float() == spam[600:]).float().mean().item()
        print(f"epoch {epoch} last loss {loss:.4f} accuracy {right:.3f}")


if __name__ == "__main__":
    main()
