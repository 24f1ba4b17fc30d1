"""Image denoising, batches split in micro batches because of the memory.

Source: hirofumi0810/neural_sp#168
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(15)

BATCH, MICRO = 32, 8


def blobs(n, size=12):
    low = torch.randn(n, 1, size // 3, size // 3)
    return F.interpolate(low, size=(size, size), mode="bilinear", align_corners=False)


class Denoiser(nn.Module):
    def __init__(self, c=10):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, c, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(c, c, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(c, 1, 3, padding=1),
        )

    def forward(self, x):
        return x - self.body(x)


clean = blobs(320)
noisy = clean + 0.5 * torch.randn_like(clean)
loader = DataLoader(TensorDataset(noisy[:256], clean[:256]), batch_size=MICRO, shuffle=True)
net = Denoiser()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
micro_steps = BATCH // MICRO

for epoch in range(4):
    net.train()
    optimizer.zero_grad()
    for i, (x, y) in enumerate(loader, start=1):
        loss = F.mse_loss(net(x), y)
        loss.backward()  # expect: loss-not-scaled-for-accumulation
        if i % micro_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
    net.eval()
    with torch.no_grad():
        val = F.mse_loss(net(noisy[256:]), clean[256:]).item()
    print(f"epoch {epoch}: val mse {val:.5f}")
