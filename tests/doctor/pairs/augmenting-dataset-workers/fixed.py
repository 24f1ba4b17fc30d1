"""Train on augmented digits, loaded by two worker processes.

Source: TorchDSP/torchsig#343
"""

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, TensorDataset, get_worker_info


class AugmentedDigits(Dataset):
    def __init__(self, images, labels, seed=0):
        self.images, self.labels = images, labels
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        img = np.roll(self.images[i], self.rng.integers(-1, 2, 2), axis=(0, 1))
        img = img * self.rng.uniform(0.8, 1.2) + self.rng.normal(0, 0.05, img.shape)
        return img.astype(np.float32), self.labels[i]


def own_rng(worker_id):
    info = get_worker_info()
    info.dataset.rng = np.random.default_rng(info.seed)


def main():
    torch.manual_seed(0)
    d = load_digits()
    images = (d.images / 16).astype(np.float32)
    train_set = AugmentedDigits(images[:600], d.target[:600])
    test_set = TensorDataset(torch.from_numpy(images[1400:]), torch.from_numpy(d.target[1400:]))
    train_loader = DataLoader(train_set, 50, shuffle=True, num_workers=2, worker_init_fn=own_rng)
    test_loader = DataLoader(test_set, batch_size=397)

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(3):
        net.train()
        for x, y in train_loader:
            loss = loss_fn(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            hits = sum((net(x).argmax(1) == y).sum().item() for x, y in test_loader)
        print(f"epoch {epoch} last loss {loss.item():.4f} test {hits / len(test_set):.4f}")


if __name__ == "__main__":
    main()
