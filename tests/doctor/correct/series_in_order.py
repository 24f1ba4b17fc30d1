"""Forecast a seasonal series: windows in the order of time, not shuffled, split by date.

Source: thuml/Autoformer, cure-lab/LTSF-Linear
"""

import numpy as np
import torch
import torch.nn as nn
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset


class Windows(Dataset):
    def __init__(self, values, seq_len=24, pred_len=6):
        self.values, self.seq_len, self.pred_len = values, seq_len, pred_len

    def __len__(self):
        return len(self.values) - self.seq_len - self.pred_len + 1

    def __getitem__(self, i):
        mid = i + self.seq_len
        return self.values[i:mid], self.values[mid : mid + self.pred_len]


rng = np.random.default_rng(0)
torch.manual_seed(0)
hours = np.arange(900)
series = (
    0.01 * hours + 3 * np.sin(2 * np.pi * hours / 24) + np.sin(2 * np.pi * hours / 168) + 0.3 * rng.standard_normal(900)
)
border = 700
scaler = StandardScaler().fit(series[:border, None])
scaled = scaler.transform(series[:, None])[:, 0].astype(np.float32)
train_data, test_data = Windows(scaled[:border]), Windows(scaled[border - 24 :])
# batches follow each other in time
train_loader = DataLoader(train_data, batch_size=32, shuffle=False)
test_loader = DataLoader(test_data, batch_size=32, shuffle=False)

model = nn.Linear(24, 6)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(6):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    preds, trues = [], []
    with torch.no_grad():
        for x, y in test_loader:
            preds.append(model(x).numpy())
            trues.append(y.numpy())
    preds, trues = np.concatenate(preds), np.concatenate(trues)
    print(
        f"epoch {epoch} train {loss.item():.4f} test mse {np.mean((preds - trues) ** 2):.4f} mae {np.abs(preds - trues).mean():.4f}"
    )
