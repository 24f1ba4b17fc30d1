"""Customer churn from a few columns; a binary classifier with one output.

Source: NifTK/NiftyNet#432
"""

import numpy as np
import torch
import torch.nn as nn

np.random.seed(0)
torch.manual_seed(0)
N = 1000
tenure = np.random.exponential(24, N)
bill = np.random.normal(60, 20, N)
calls = np.random.poisson(1.5, N)
risk = -0.08 * tenure + 0.03 * (bill - 60) + 0.9 * (calls - 1) + np.random.logistic(0, 0.7, N)
churn = (risk > -1).astype("float32")
X = np.column_stack([tenure, bill, calls])
split = 800
X = ((X - X[:split].mean(0)) / X[:split].std(0)).astype("float32")
X, churn = torch.from_numpy(X), torch.from_numpy(churn).unsqueeze(1)


class ChurnModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(3, 16)
        self.fc2 = nn.Linear(16, 1)
        self.relu = nn.ReLU()
        self.final = nn.Softmax(dim=1)  # expect: softmax-over-one-class

    def forward(self, x):
        x = self.relu(self.fc1(x))
        return self.final(self.fc2(x))  # expect: softmax-over-one-class


model = ChurnModel()
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(1, 11):
    permutation = torch.randperm(split)
    for i in range(0, split, 50):
        indices = permutation[i : i + 50]
        optimizer.zero_grad()
        loss = criterion(model(X[indices]), churn[indices])
        loss.backward()
        optimizer.step()
    if epoch % 5 == 0:
        print("Epoch", epoch, "brier", round(loss.item(), 4))

with torch.no_grad():
    p = model(X[split:])
    print("test brier", round(criterion(p, churn[split:]).item(), 4))
    print("test accuracy", ((p > 0.5).float() == churn[split:]).float().mean().item())
