"""Iris classification with a plain training function.

Source: pytorch/tutorials#3676
"""

import torch
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from torch import nn

torch.manual_seed(0)

iris = load_iris()
x_train, x_test, y_train, y_test = train_test_split(
    iris.data, iris.target, test_size=0.3, random_state=1, stratify=iris.target
)
mean, std = x_train.mean(axis=0), x_train.std(axis=0)
x_train = torch.tensor((x_train - mean) / std, dtype=torch.float)
x_test = torch.tensor((x_test - mean) / std, dtype=torch.float)
y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.layer1 = nn.Linear(4, 16)
        self.layer2 = nn.Linear(16, 3)

    def forward(self, x):
        x = torch.tanh(self.layer1(x))
        return self.layer2(x)


net = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def train(epochs):
    for epoch in range(epochs):
        net.train()
        # full batch, the data set is tiny
        optimizer.zero_grad()  # may: gradients-cleared-before-step
        y_pred = net(x_train)
        loss = criterion(y_pred, y_train)
        optimizer.step()  # expect: step-before-backward  # may: step-without-gradients
        loss.backward()
        if epoch % 10 == 9:
            print("epoch: %d, loss: %.4f" % (epoch + 1, loss.item()))


def test():
    net.eval()
    with torch.no_grad():
        predicted = net(x_test).argmax(dim=1)
    return (predicted == y_test).float().mean().item()


print("accuracy before: %.3f" % test())
train(30)
print("accuracy after: %.3f" % test())
