"""LSTM on a synthetic share price, prices squeezed into [0, 1].

Source: huseinzol05/Stock-Prediction-Models#126
"""

import numpy as np
import torch
import torch.nn as nn
from sklearn.preprocessing import MinMaxScaler

np.random.seed(7)
torch.manual_seed(7)

# load the closing prices
close = 100 * np.exp(np.cumsum(np.random.normal(0.002, 0.01, 600)))
train_size = int(len(close) * 0.7)
look_back = 8

scaler = MinMaxScaler(feature_range=(0, 1))
scaled = scaler.fit_transform(close.reshape(-1, 1))  # expect: statistics-from-evaluation-data
train, test = scaled[:train_size], scaled[train_size:]


def create_dataset(series):
    X = np.array([series[i : i + look_back] for i in range(len(series) - look_back)])
    Y = np.array([series[i + look_back] for i in range(len(series) - look_back)])
    return torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)


trainX, trainY = create_dataset(train)
testX, testY = create_dataset(test)


class LSTM(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, x):
        h, _ = self.lstm(x)
        return self.linear(h[:, -1])


model = LSTM()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(6):
    for idx in torch.randperm(len(trainX)).split(64):
        loss = nn.functional.mse_loss(model(trainX[idx]), trainY[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("Epoch", epoch, "MSE", round(loss.item(), 6))

model.eval()
with torch.no_grad():
    pred = scaler.inverse_transform(model(testX).numpy())
true = scaler.inverse_transform(testY.numpy())
print("Test RMSE", round(float(np.sqrt(((pred - true) ** 2).mean())), 3))
