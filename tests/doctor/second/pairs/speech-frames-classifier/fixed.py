"""Frame classifier; validation accuracy and loss over batches of unequal size.

Source: udacity/deep-learning-v2-pytorch#74
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
centres = torch.randn(6, 12)
label = torch.arange(6).repeat_interleave(90)
frames = centres[label] + 1.3 * torch.randn(540, 12)
held = torch.arange(540) % 5 == 0
train_loader = DataLoader(TensorDataset(frames[~held], label[~held]), batch_size=36, shuffle=True)
# the classes lie one after the other, the last batch is a short one
valid_loader = DataLoader(TensorDataset(frames[held], label[held]), batch_size=50)

net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 6))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()
for epoch in range(4):
    net.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
    net.eval()
    valid_loss, valid_acc = 0.0, 0.0
    with torch.no_grad():
        for x, y in valid_loader:
            out = net(x)
            valid_loss += criterion(out, y).item() * len(y)
            valid_acc += (out.argmax(1) == y).float().sum().item()
    n = len(valid_loader.dataset)
    print(f"epoch {epoch} valid loss {valid_loss / n:.4f} acc {valid_acc / n:.4f}")
