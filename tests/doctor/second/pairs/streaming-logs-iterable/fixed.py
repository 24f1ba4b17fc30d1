"""Click-through model on a stream of log lines, read with worker processes.

Source: pytorch/pytorch#30599
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info


class Logs(IterableDataset):
    def __init__(self, lines):
        self.lines = lines

    def __iter__(self):
        info = get_worker_info()
        step, start = (info.num_workers, info.id) if info else (1, 0)
        for line in self.lines[start::step]:
            *features, clicked = line.split(",")
            yield torch.tensor([float(f) for f in features]), torch.tensor(float(clicked))


def write_lines(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=g)
    p = torch.sigmoid(x @ torch.tensor([1.5, -1.0, 0.7, 0.0]) - 0.5)
    y = torch.bernoulli(p, generator=g)
    return [",".join(f"{v:.4f}" for v in row) + f",{int(c)}" for row, c in zip(x.tolist(), y.tolist())]


if __name__ == "__main__":
    torch.manual_seed(0)
    logs = Logs(write_lines(800, 0))
    train_loader = DataLoader(logs, batch_size=32, num_workers=2)
    test_loader = DataLoader(Logs(write_lines(300, 1)), batch_size=100)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.2)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(2):
        seen = 0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x).squeeze(1), y)
            loss.backward()
            optimizer.step()
            seen += len(y)
        print(f"epoch {epoch} examples {seen} loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        hits = sum(((model(x).squeeze(1) > 0).float() == y).sum().item() for x, y in test_loader)
    print("test accuracy", hits / 300)
