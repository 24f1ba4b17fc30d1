"""Learn from the votes of several annotators: class probabilities as targets of cross-entropy.

Source: jcpeterson/cifar-10h
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, softmax
from torch.utils.data import DataLoader, Dataset


class Votes(Dataset):
    """Points near class centres; ten annotators disagree where classes overlap."""

    def __init__(self, n, centres, generator):
        k, dim = centres.shape
        self.label = torch.randint(k, (n,), generator=generator)
        self.x = centres[self.label] + torch.randn(n, dim, generator=generator)
        opinion = softmax(-torch.cdist(self.x, centres).pow(2) / 2, dim=1)
        votes = torch.multinomial(opinion, 10, replacement=True, generator=generator)
        self.target = nn.functional.one_hot(votes, k).float().mean(1)

    def __len__(self):
        return len(self.label)

    def __getitem__(self, i):
        return self.x[i], self.target[i], self.label[i]


if __name__ == "__main__":
    g = torch.Generator().manual_seed(17)
    torch.manual_seed(17)
    centres = torch.randn(4, 8, generator=g) * 1.1
    train, test = Votes(800, centres, g), Votes(400, centres, g)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(4):
        model.train()
        for x, votes, _ in DataLoader(train, batch_size=40, shuffle=True):
            loss = cross_entropy(model(x), votes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        model.eval()
        ce = hits = 0.0
        with torch.no_grad():
            for x, votes, label in DataLoader(test, batch_size=128):
                logits = model(x)
                ce += cross_entropy(logits, votes, reduction="sum").item()
                hits += (logits.argmax(1) == label).sum().item()
        print(f"epoch {epoch} soft cross-entropy {ce / len(test):.4f} accuracy {hits / len(test):.4f}")
