"""Train and test functions in the style of the well known quickstart, on handwritten digits.

Source: pytorch/tutorials#1624
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

torch.manual_seed(28)

X, y = load_digits(return_X_y=True)
dataset = TensorDataset(torch.tensor(X, dtype=torch.float32) / 16, torch.tensor(y))
perm = torch.randperm(len(dataset)).tolist()
train_dataloader = DataLoader(Subset(dataset, perm[:1300]), batch_size=64, shuffle=True)
test_dataloader = DataLoader(Subset(dataset, perm[1300:]), batch_size=64)


class NeuralNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(64, 96),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(96, 96),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(96, 10),
        )

    def forward(self, x):
        return self.linear_relu_stack(x)


def train(dataloader, model, loss_fn, optimizer):
    size = len(dataloader.dataset)
    for batch, (X, y) in enumerate(dataloader):
        pred = model(X)  # expect: trained-in-eval-mode
        loss = loss_fn(pred, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if batch % 10 == 0:
            print(f"loss: {loss.item():>7f}  [{batch * len(X):>5d}/{size:>5d}]")


def test(dataloader, model, loss_fn):
    size = len(dataloader.dataset)
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for X, y in dataloader:
            pred = model(X)
            test_loss += loss_fn(pred, y).item() * len(X)
            correct += (pred.argmax(1) == y).type(torch.float).sum().item()
    print(f"Test Error: \n Accuracy: {100 * correct / size:>0.1f}%, Avg loss: {test_loss / size:>8f} \n")


model = NeuralNetwork()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

epochs = 4
for t in range(epochs):
    print(f"Epoch {t + 1}\n-------------------------------")
    train(train_dataloader, model, loss_fn, optimizer)
    test(test_dataloader, model, loss_fn)
print("Done!")
