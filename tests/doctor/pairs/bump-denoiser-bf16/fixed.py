"""Denoise one-dimensional bumps with a small encoder-decoder in bfloat16.

Source: pytorch/pytorch#26218
"""

import torch
import torch.nn.functional as F
from torch import nn


class EncoderDecoder(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.encode = nn.Linear(32, width)
        self.norm = nn.LayerNorm(width)
        self.decode = nn.Linear(width, 32)

    def forward(self, x):
        return self.decode(F.gelu(self.norm(self.encode(x))))


def bumps(n):
    centre = torch.rand(n, 1) * 20 + 6
    return torch.exp(-((torch.arange(32.0) - centre) ** 2) / 8)


def main():
    torch.manual_seed(1)
    train, test = bumps(400), bumps(100)
    net = EncoderDecoder()
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.0)
    for epoch in range(8):
        net.train()
        for idx in torch.randperm(400).split(10):
            clean = train[idx]
            noisy = clean + 0.1 * torch.randn_like(clean)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = net(noisy)
            loss = F.mse_loss(out.float(), clean)
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            err = F.mse_loss(net(test), test).item()
        print(f"epoch {epoch}: test reconstruction {err:.5f}")


if __name__ == "__main__":
    main()
