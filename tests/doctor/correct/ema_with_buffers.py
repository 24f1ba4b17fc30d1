"""Keep an exponential moving average of weights and copy the buffers; evaluate with the average swapped in.

Source: lucidrains/ema-pytorch#8
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class EMA:
    def __init__(self, model, decay=0.95):
        self.decay = decay
        self.shadow = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.backup = None

    @torch.no_grad()
    def update(self, model):
        for k, v in model.state_dict().items():
            if v.dtype.is_floating_point:
                self.shadow[k].lerp_(v, 1 - self.decay)
            else:
                self.shadow[k].copy_(v)

    def apply_to(self, model):
        self.backup = {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(self.shadow)

    def restore(self, model):
        model.load_state_dict(self.backup)
        self.backup = None


torch.manual_seed(8)
W = torch.randn(10, 3)
X = torch.randn(700, 10)
T = ((X**2 - 1) @ W).argmax(1)
train_dl = DataLoader(TensorDataset(X[:512], T[:512]), batch_size=64, shuffle=True)
val_dl = DataLoader(TensorDataset(X[512:], T[512:]), batch_size=64)
net = nn.Sequential(nn.Linear(10, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
ema = EMA(net)


def validate():
    net.eval()
    correct, loss_sum = 0, 0.0
    with torch.no_grad():
        for xb, yb in val_dl:
            out = net(xb)
            loss_sum += criterion(out, yb).item() * len(yb)
            correct += (out.argmax(-1) == yb).sum().item()
    net.train()
    return loss_sum / 188, correct / 188


for epoch in range(8):
    net.train()
    for xb, yb in train_dl:
        optimizer.zero_grad()
        criterion(net(xb), yb).backward()
        optimizer.step()
        ema.update(net)
    plain = validate()
    ema.apply_to(net)
    averaged = validate()
    ema.restore(net)
    if epoch % 2:
        print("epoch %d: loss %.4f acc %.3f | ema loss %.4f acc %.3f" % (epoch, *plain, *averaged))
