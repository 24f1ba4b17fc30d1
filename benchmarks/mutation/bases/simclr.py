"""SimCLR on synthetic signals, judged by nearest neighbours on held-out signals."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

KINDS = 5
LENGTH = 32


class Signals(Dataset):
    def __init__(self, n):
        self.kinds = torch.randint(KINDS, (n,))
        t = torch.linspace(0, 6.28, LENGTH)
        phase = torch.rand(n, 1) * 6.28
        self.signals = torch.sin(t * (self.kinds[:, None] + 1) + phase) + 0.3 * torch.randn(n, LENGTH)

    def __len__(self):
        return len(self.signals)

    def __getitem__(self, i):
        return self.signals[i], self.kinds[i]


class TwoViews(Dataset):
    """Two random views of each signal, and no label."""

    def __init__(self, base):
        self.base = base

    def view(self, signal):
        signal = torch.roll(signal, int(torch.randint(LENGTH, (1,))))
        return signal * (0.8 + 0.4 * torch.rand(1)) + 0.1 * torch.randn(LENGTH)

    def __len__(self):
        return len(self.base)

    def __getitem__(self, i):
        signal, _ = self.base[i]
        return self.view(signal), self.view(signal)


class SimCLR(nn.Module):
    def __init__(self, dim=32, projection=16):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 8, 5, stride=2, padding=2)
        self.bn1 = nn.BatchNorm1d(8)
        self.conv2 = nn.Conv1d(8, dim, 5, stride=2, padding=2)
        self.bn2 = nn.BatchNorm1d(dim)
        self.projector = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, projection))

    def features(self, x):
        h = F.relu(self.bn1(self.conv1(x.unsqueeze(1))))
        h = F.relu(self.bn2(self.conv2(h)))
        return h.mean(dim=2)

    def forward(self, x):
        return F.normalize(self.projector(self.features(x)), dim=1)


def nt_xent(z1, z2, temperature=0.2):
    n = z1.size(0)
    z = torch.cat([z1, z2])
    similarity = z @ z.t() / temperature
    similarity = similarity.masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    partners = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(similarity, partners)


def knn_accuracy(model, memory, queries, k=5):
    model.eval()
    with torch.no_grad():
        bank = F.normalize(model.features(memory.signals), dim=1)
        wanted = F.normalize(model.features(queries.signals), dim=1)
        nearest = (wanted @ bank.t()).topk(k, dim=1).indices
        votes = F.one_hot(memory.kinds[nearest], KINDS).sum(dim=1)
        return (votes.argmax(dim=1) == queries.kinds).float().mean().item()


def main():
    torch.manual_seed(42)
    train_set, test_set = Signals(192), Signals(64)
    loader = DataLoader(TwoViews(train_set), batch_size=32, shuffle=True, drop_last=True)
    model = SimCLR()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-6)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)

    for epoch in range(4):
        model.train()
        losses = []
        for view1, view2 in loader:
            z1, z2 = model(view1), model(view2)
            loss = nt_xent(z1, z2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        accuracy = knn_accuracy(model, train_set, test_set)
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.5f}, kNN accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
