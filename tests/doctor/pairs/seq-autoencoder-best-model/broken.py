"""Sequence autoencoder for anomaly detection that returns the model of the best epoch.

Source: zhangj111/astnn#8
"""

import numpy as np
import torch
from torch import nn

torch.manual_seed(33)
np.random.seed(33)


class RecurrentAutoencoder(nn.Module):
    def __init__(self, seq_len, embedding_dim=6):
        super().__init__()
        self.seq_len = seq_len
        self.encoder = nn.GRU(1, embedding_dim, batch_first=True)
        self.decoder = nn.GRU(embedding_dim, embedding_dim, batch_first=True)
        self.output_layer = nn.Linear(embedding_dim, 1)

    def forward(self, x):
        _, h = self.encoder(x)
        z = h[-1].unsqueeze(1).repeat(1, self.seq_len, 1)
        return self.output_layer(self.decoder(z)[0])


def heartbeats(n, seq_len=16):
    t = np.linspace(0, 2 * np.pi, seq_len)
    width = np.random.uniform(0.8, 1.4, (n, 1))
    beats = np.exp(-((t - np.random.uniform(2, 4, (n, 1))) ** 2) / width**2) + 0.05 * np.random.randn(n, seq_len)
    return torch.tensor(beats, dtype=torch.float32).unsqueeze(2)


def train_model(model, train_x, val_x, n_epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=6e-2)
    criterion = nn.L1Loss()
    best_model, best_loss = None, np.inf
    for epoch in range(1, n_epochs + 1):
        model.train()
        for idx in torch.randperm(len(train_x)).split(40):
            optimizer.zero_grad()
            loss = criterion(model(train_x[idx]), train_x[idx])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_loss = criterion(model(val_x), val_x).item()
        if val_loss < best_loss:
            best_loss = val_loss
            best_model = model  # expect: best-weights-not-copied
        print(f"Epoch {epoch}: val loss {val_loss:.4f}")
    return best_model.eval(), best_loss


val_x = heartbeats(80)
model, best_loss = train_model(RecurrentAutoencoder(16), heartbeats(240), val_x, n_epochs=14)
with torch.no_grad():
    print(f"best {best_loss:.4f}, returned {nn.functional.l1_loss(model(val_x), val_x).item():.4f}")
