"""Read the digits row by row with an LSTM, eight steps of eight pixels.

Source: pytorch/pytorch#1538
"""

import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

batch_size = 50
learning_rate = 1e-2
num_epochs = 3

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)
train_loader = DataLoader(TensorDataset(images[:1200], labels[:1200]), batch_size=batch_size, shuffle=True)
test_loader = DataLoader(TensorDataset(images[1200:], labels[1200:]), batch_size=199, shuffle=False)


class Rnn(nn.Module):
    def __init__(self, in_dim, hidden_dim, n_layer, n_class):
        super().__init__()
        self.lstm = nn.LSTM(in_dim, hidden_dim, n_layer, batch_first=True)
        self.classifier = nn.Linear(hidden_dim, n_class)

    def forward(self, x):
        # x: (batch, rows, pixels)
        out, _ = self.lstm(x)
        return self.classifier(out[:, -1, :])


model = Rnn(8, 32, 1, 10)
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=learning_rate)

for epoch in range(num_epochs):
    model.train()
    running_loss = 0.0
    for img, label in train_loader:
        out = model(img)
        loss = criterion(out, label)
        running_loss += loss.item() * label.size(0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("Finish {} epoch, Loss: {:.6f}".format(epoch + 1, running_loss / 1200))

    model.eval()
    num_correct = 0
    with torch.no_grad():
        for img, label in test_loader:
            num_correct += (model(img).argmax(1) == label).sum().item()
    print("Test Acc: {:.6f}".format(num_correct / 597))
