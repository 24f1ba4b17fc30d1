# needs: skorch
"""A skorch classifier in a scikit-learn pipeline and a small grid search."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn


class Net(nn.Module):
    def __init__(self, hidden=16, dropout=0.1):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2))

    def forward(self, x):
        return self.layers(x)


torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X.astype("float32"), y, test_size=0.3, random_state=0, stratify=y)
net = NeuralNetClassifier(
    Net,
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.Adam,
    lr=5e-3,
    max_epochs=4,
    batch_size=32,
    iterator_train__shuffle=True,
    train_split=None,
    verbose=0,
)
pipe = Pipeline([("scale", StandardScaler()), ("net", net)])
search = GridSearchCV(pipe, {"net__module__hidden": [8, 24]}, cv=3, scoring="accuracy")
search.fit(X_train, y_train)
print(search.best_params_, round(search.best_score_, 4), "test", round(search.score(X_test, y_test), 4))
