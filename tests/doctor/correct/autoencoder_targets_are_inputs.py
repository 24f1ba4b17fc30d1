"""Autoencoder for anomaly detection; the target of every batch is the batch itself.

Source: L1aoXingyu/pytorch-beginner autoencoder
"""

import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16.0, dtype=torch.float32), torch.tensor(y)
normal, odd = X[y != 7], X[y == 7]
normal = normal[torch.randperm(len(normal))]
train, held_out = normal[:1300], normal[1300:]


class autoencoder(nn.Module):
    def __init__(self):
        super(autoencoder, self).__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(True), nn.Linear(32, 6))
        self.decoder = nn.Sequential(nn.Linear(6, 32), nn.ReLU(True), nn.Linear(32, 64), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x))


model = autoencoder()
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5)
dataloader = DataLoader(TensorDataset(train), batch_size=65, shuffle=True)
for epoch in range(5):
    model.train()
    for (img,) in dataloader:
        output = model(img)
        loss = criterion(output, img)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        both = torch.cat([held_out, odd])
        error = (model(both) - both).pow(2).mean(1)
    is_odd = torch.cat([torch.zeros(len(held_out)), torch.ones(len(odd))])
    print(
        "epoch [{}/5], loss:{:.4f}, held out:{:.4f}, AUROC of sevens:{:.3f}".format(
            epoch + 1, loss.item(), error[: len(held_out)].mean().item(), roc_auc_score(is_odd, error)
        )
    )
