"""Species counts from climate series: an encoder and a regression head that are kept as two modules.

Source: citoverse/cito#55
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(23)

weeks = torch.linspace(0, 6.28, 26)


def sites(n):
    phase, level = 6.28 * torch.rand(n, 1), torch.randn(n, 1)
    climate = torch.sin(weeks + phase) + level + 0.3 * torch.randn(n, 26)
    rate = torch.exp(0.6 * level + 0.5 * torch.cos(phase) + 0.5)
    return climate.unsqueeze(1), torch.poisson(rate)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 8, 5, stride=2)
        self.bn1 = nn.BatchNorm1d(8)
        self.conv2 = nn.Conv1d(8, 16, 5, stride=2)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.conv2(x)).flatten(1)


encoder = Encoder()
regressor = nn.Sequential(nn.Dropout(0.3), nn.Linear(64, 24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 1))
optimizer = torch.optim.Adam([*encoder.parameters(), *regressor.parameters()], lr=5e-3)
poisson_nll = nn.PoissonNLLLoss(log_input=True)

train_loader = DataLoader(TensorDataset(*sites(400)), batch_size=40, shuffle=True)
climate_test, count_test = sites(200)

for epoch in range(5):
    encoder.train()
    regressor.train()
    for climate, count in train_loader:
        optimizer.zero_grad()
        poisson_nll(regressor(encoder(climate)), count).backward()
        optimizer.step()
    encoder.eval()
    with torch.no_grad():
        log_rate = regressor(encoder(climate_test))  # expect: evaluated-in-training-mode
        print(f"epoch {epoch} test nll {poisson_nll(log_rate, count_test).item():.4f}")
