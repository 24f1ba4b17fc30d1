"""Customer churn with a scikit-learn like estimator around a PyTorch network.

Source: rsommerfeld/trocr#9
"""

import numpy as np
import torch
from torch import nn


class ChurnClassifier:
    def __init__(self, hidden=32, dropout=0.5, lr=0.01, epochs=6, batch_size=64, seed=0):
        self.hidden, self.dropout, self.lr = hidden, dropout, lr
        self.epochs, self.batch_size, self.seed = epochs, batch_size, seed

    def _build(self, n_features):
        return nn.Sequential(
            nn.Linear(n_features, self.hidden), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, 1)
        )

    def fit(self, X, y):
        torch.manual_seed(self.seed)
        self.mean_, self.std_ = X.mean(0), X.std(0)
        X, y = self._tensor(X), torch.as_tensor(y, dtype=torch.float32)
        self.net_ = self._build(X.shape[1])
        opt = torch.optim.Adam(self.net_.parameters(), lr=self.lr)
        loss_fn = nn.BCEWithLogitsLoss()
        self.net_.train()
        for _ in range(self.epochs):
            for idx in torch.randperm(len(X)).split(self.batch_size):
                opt.zero_grad()
                loss_fn(self.net_(X[idx]).squeeze(1), y[idx]).backward()
                opt.step()
        return self

    def _tensor(self, X):
        return torch.as_tensor((X - self.mean_) / self.std_, dtype=torch.float32)

    def predict_proba(self, X):
        self.net_.eval()
        with torch.no_grad():
            logits = self.net_(self._tensor(X)).squeeze(1)
        return torch.sigmoid(logits).numpy()

    def score(self, X, y):
        return float(((self.predict_proba(X) > 0.5) == y).mean())


rng = np.random.default_rng(1)
X = rng.normal(size=(900, 8)) * [1, 10, 5, 1, 2, 3, 1, 1] + [0, 30, 2, 0, 1, 0, 5, 0]
logit = 1.5 * X[:, 0] - 0.15 * (X[:, 1] - 30) + 0.8 * X[:, 3] * X[:, 7]
y = rng.random(900) < 1 / (1 + np.exp(-logit))

clf = ChurnClassifier().fit(X[:700], y[:700])
print(f"accuracy  {clf.score(X[700:], y[700:]):.3f}")
probs = clf.predict_proba(X[700:])
brier = float(((probs - y[700:]) ** 2).mean())
print(f"brier     {brier:.4f}")
print("riskiest customers:", np.argsort(-probs)[:5].tolist())
