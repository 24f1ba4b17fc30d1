"""Random search: many short-lived models, the best one on the validation part is trained again and tested.

Source: pytorch discuss: random search of hyperparameters
"""

import random

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

random.seed(0)
torch.manual_seed(0)
x, y = load_diabetes(return_X_y=True)
order = torch.randperm(len(y))
x, y = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y, dtype=torch.float32)[order].unsqueeze(1)
x, y = (x - x[:250].mean(0)) / x[:250].std(0), (y - y[:250].mean()) / y[:250].std()
train, valid, test = (x[:250], y[:250]), (x[250:340], y[250:340]), (x[340:], y[340:])


def fit(config, data, epochs=4):
    model = nn.Sequential(
        nn.Linear(10, config["width"]), config["act"](), nn.Dropout(config["dropout"]), nn.Linear(config["width"], 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    loader = DataLoader(TensorDataset(*data), batch_size=25, shuffle=True)
    for _ in range(epochs):
        model.train()
        for xb, yb in loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(xb), yb).backward()
            optimizer.step()
    return model


@torch.no_grad()
def score(model, data):
    model.eval()
    return nn.functional.mse_loss(model(data[0]), data[1]).item()


best = (float("inf"), None)
for trial in range(6):
    config = {
        "width": random.choice([8, 32, 64]),
        "lr": 10 ** random.uniform(-3.0, -1.8),
        "dropout": random.uniform(0, 0.3),
        "act": random.choice([nn.ReLU, nn.Tanh]),
    }
    result = score(fit(config, train), valid)
    print(f"trial {trial}: width {config['width']} lr {config['lr']:.4f} -> {result:.4f}")
    if result < best[0]:
        best = (result, config)

final = fit(best[1], (x[:340], y[:340]), epochs=6)
print("test mse of the chosen setting", round(score(final, test), 4))
