"""Linear forecaster of the long-term kind, data provider with a flag per split.

Source: thuml/Autoformer#104
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser()
parser.add_argument("--seq_len", type=int, default=36)
parser.add_argument("--pred_len", type=int, default=12)
parser.add_argument("--batch_size", type=int, default=64)
args = parser.parse_args([])
torch.manual_seed(2021)


class Hourly(Dataset):
    def __init__(self, flag):
        t = torch.arange(900, dtype=torch.float32)
        g = torch.Generator().manual_seed(0)
        raw = torch.sin(t * 2 * torch.pi / 24) + 0.002 * t + 0.2 * torch.randn(900, generator=g)
        raw[-40:] += 1.5
        lo, hi = {"train": (0, 600), "val": (564, 700), "test": (664, 900)}[flag]
        mean, std = raw[:600].mean(), raw[:600].std()
        self.data = ((raw - mean) / std)[lo:hi]

    def __len__(self):
        return len(self.data) - args.seq_len - args.pred_len + 1

    def __getitem__(self, i):
        j = i + args.seq_len
        return self.data[i:j], self.data[j : j + args.pred_len]


def data_provider(flag):
    if flag == "train":
        return DataLoader(Hourly(flag), args.batch_size, shuffle=True, drop_last=True)
    return DataLoader(Hourly(flag), args.batch_size, shuffle=False, drop_last=True)  # expect: evaluation-data-dropped


def vali(model, loader):
    model.eval()
    preds, trues = [], []
    with torch.no_grad():
        for x, y in loader:
            preds.append(model(x)), trues.append(y)
    return nn.functional.mse_loss(torch.cat(preds), torch.cat(trues)).item()


model = nn.Linear(args.seq_len, args.pred_len)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
train_loader, val_loader, test_loader = (data_provider(f) for f in ("train", "val", "test"))
for epoch in range(4):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    print(f"Epoch {epoch + 1} train {loss.item():.4f} vali {vali(model, val_loader):.4f}")
print("test mse", round(vali(model, test_loader), 4))
