"""Regression with uncertainty: dropout stays active at prediction time and many passes are averaged.

Source: yaringal/DropoutUncertaintyExps
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def enable_dropout(model):
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()


def predict_mc(model, x, passes=30):
    """Mean and standard deviation over stochastic forward passes."""
    model.eval()
    enable_dropout(model)
    with torch.no_grad():
        samples = torch.stack([model(x) for _ in range(passes)])
    return samples.mean(0), samples.std(0)


def main():
    torch.manual_seed(0)
    data = load_diabetes()
    x_train, x_test, y_train, y_test = train_test_split(data.data, data.target[:, None], test_size=0.3, random_state=1)
    x_scaler, y_scaler = StandardScaler().fit(x_train), StandardScaler().fit(y_train)
    as_tensor = lambda scaler, a: torch.tensor(scaler.transform(a), dtype=torch.float32)
    train = TensorDataset(as_tensor(x_scaler, x_train), as_tensor(y_scaler, y_train))
    x_test, y_test = as_tensor(x_scaler, x_test), as_tensor(y_scaler, y_test)

    model = nn.Sequential(
        nn.Linear(10, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)
    loader = DataLoader(train, batch_size=32, shuffle=True)
    for epoch in range(8):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        mean, std = predict_mc(model, x_test)
        rmse = (mean - y_test).pow(2).mean().sqrt().item()
        inside = ((mean - y_test).abs() < 2 * std).float().mean().item()
        print(f"epoch {epoch}: rmse {rmse:.3f} mean std {std.mean().item():.3f} covered {inside:.2f}")


main()
