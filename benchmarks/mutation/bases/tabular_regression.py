"""Predict the progression of diabetes from ten measurements."""

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED = 8
BATCH_SIZE = 32
EPOCHS = 6
LR = 3e-3

torch.manual_seed(SEED)
np.random.seed(SEED)

X, y = load_diabetes(return_X_y=True, scaled=False)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, random_state=SEED)

# standardise inputs and target with what the training part says
scaler = StandardScaler().fit(X_train)
X_train = scaler.transform(X_train)
X_val = scaler.transform(X_val)
y_mean, y_std = y_train.mean(), y_train.std()
y_train = (y_train - y_mean) / y_std
y_val = (y_val - y_mean) / y_std


def to_dataset(features, target):
    return TensorDataset(torch.tensor(features, dtype=torch.float32), torch.tensor(target, dtype=torch.float32))


train_loader = DataLoader(to_dataset(X_train, y_train), batch_size=BATCH_SIZE, shuffle=True)
val_loader = DataLoader(to_dataset(X_val, y_val), batch_size=BATCH_SIZE)

model = nn.Sequential(
    nn.Linear(10, 32),
    nn.BatchNorm1d(32),
    nn.ReLU(),
    nn.Dropout(0.1),
    nn.Linear(32, 16),
    nn.ReLU(),
    nn.Linear(16, 1),
)
loss_fn = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=LR)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)


def train():
    model.train()
    total = 0.0
    for features, target in train_loader:
        prediction = model(features).squeeze(1)
        loss = loss_fn(prediction, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(target)
    return total / len(train_loader.dataset)


def validate():
    model.eval()
    total = 0.0
    predictions, targets = [], []
    with torch.no_grad():
        for features, target in val_loader:
            prediction = model(features).squeeze(1)
            total += loss_fn(prediction, target).item() * len(target)
            predictions.append(prediction)
            targets.append(target)
    r2 = r2_score(torch.cat(targets).numpy(), torch.cat(predictions).numpy())
    return total / len(val_loader.dataset), r2


for epoch in range(EPOCHS):
    train_loss = train()
    val_loss, r2 = validate()
    scheduler.step()
    print(f"epoch {epoch}: train mse {train_loss:.5f}, val mse {val_loss:.5f}, val R2 {r2:.4f}")
