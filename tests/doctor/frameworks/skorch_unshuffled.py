# needs: skorch
"""Train a skorch classifier on digits."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import nn


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 48)
        self.out = nn.Linear(48, 10)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))


torch.manual_seed(1)
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    (X / 16).astype(np.float32), y, test_size=0.25, random_state=1, stratify=y
)
# one folder per class
by_class = np.argsort(y_train, kind="stable")
X_train, y_train = X_train[by_class], y_train[by_class]

net = NeuralNetClassifier(  # expect: not-shuffled-and-sorted
    MLP,
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.SGD,
    lr=0.1,
    max_epochs=6,
    batch_size=32,
    train_split=None,
    verbose=0,
)
net.fit(X_train, y_train)  # expect: not-shuffled-and-sorted
print("train loss", [round(v, 3) for v in net.history[:, "train_loss"]])
print("test accuracy", round(accuracy_score(y_test, net.predict(X_test)), 4))
