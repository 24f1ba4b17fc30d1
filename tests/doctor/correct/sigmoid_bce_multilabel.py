"""Multi-label classification with sigmoid outputs and BCELoss; thresholds at one half.

Source: pytorch discuss: BCELoss for multi-label classification
"""

import torch
import torch.nn as nn
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, Y = make_multilabel_classification(n_samples=800, n_features=16, n_classes=5, random_state=0)
X_train, X_test, Y_train, Y_test = train_test_split(X, Y, test_size=0.25, random_state=0)
mean, std = X_train.mean(0), X_train.std(0)
X_train, X_test = (torch.tensor((a - mean) / std, dtype=torch.float32) for a in (X_train, X_test))
Y_train, Y_test = (torch.tensor(a, dtype=torch.float32) for a in (Y_train, Y_test))


class MultiLabelNet(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.hidden = nn.Linear(n_in, 48)
        self.output = nn.Linear(48, n_out)

    def forward(self, x):
        return torch.sigmoid(self.output(torch.relu(self.hidden(x))))


model = MultiLabelNet(16, 5)
criterion = nn.BCELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(6):
    model.train()
    for x, y in DataLoader(TensorDataset(X_train, Y_train), batch_size=50, shuffle=True):
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        predicted = model(X_test) > 0.5
    print(f"epoch {epoch} loss {loss.item():.4f} micro F1 {f1_score(Y_test, predicted, average='micro'):.4f}")
