"""Denoising of random crops of one long signal, crops drawn by numpy in loader workers.

Source: open-mmlab/OpenPCDet#886
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, get_worker_info


class Crops(Dataset):
    def __init__(self, signal, n, size, seed):
        self.signal, self.n, self.size = signal, n, size
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        start = self.rng.integers(0, len(self.signal) - self.size)
        clean = self.signal[start : start + self.size]
        noisy = clean + 0.4 * self.rng.standard_normal(self.size)
        return torch.from_numpy(noisy).float().unsqueeze(0), torch.from_numpy(clean).float().unsqueeze(0)


def main():
    torch.manual_seed(0)
    t = np.arange(6000)
    signal = np.sin(t / 9) + 0.5 * np.sin(t / 23 + 1)
    train = Crops(signal[:5000], 256, 64, 0)
    loader = DataLoader(train, batch_size=16, shuffle=True, num_workers=2)  # expect: same-random-numbers-in-workers
    net = nn.Sequential(nn.Conv1d(1, 8, 9, padding=4), nn.ReLU(), nn.Conv1d(8, 1, 9, padding=4))
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for epoch in range(2):
        seen = []
        for noisy, clean in loader:
            loss = nn.functional.mse_loss(net(noisy), clean)
            opt.zero_grad()
            loss.backward()
            opt.step()
            seen.append(noisy)
        print(f"epoch {epoch} mse {loss.item():.4f} mean of the crops {torch.cat(seen).mean().item():.5f}")
    net.eval()
    test = Crops(signal[5000:], 64, 64, 1)
    with torch.no_grad():
        noisy, clean = (torch.stack(v) for v in zip(*[test[i] for i in range(64)]))
        print("test mse", round(nn.functional.mse_loss(net(noisy), clean).item(), 5))


if __name__ == "__main__":
    main()
