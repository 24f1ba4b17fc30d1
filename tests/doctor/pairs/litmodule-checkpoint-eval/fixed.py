"""Trains with a wrapper module, saves its checkpoint, then loads it in the plain network and fine-tunes.

Source: pytorch/examples#1029
"""

import io

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(44)

centers = torch.randn(5, 10)


def draw(n):
    y = torch.randint(0, 5, (n,))
    return centers[y] + 0.8 * torch.randn(n, 10), y


def make_net():
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 5))


class Module(nn.Module):
    """training logic around a network"""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.loss = nn.CrossEntropyLoss()

    def training_step(self, batch):
        x, y = batch
        return self.loss(self.model(x), y)


def fit(module, loader, epochs, lr):
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    module.train()
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad()
            module.training_step(batch).backward()
            optimizer.step()


@torch.no_grad()
def accuracy(net, x, y):
    net.eval()
    return (net(x).argmax(1) == y).float().mean().item()


loader = DataLoader(TensorDataset(*draw(600)), batch_size=30, shuffle=True)
x_test, y_test = draw(300)
module = Module(make_net())
fit(module, loader, epochs=4, lr=5e-3)
print(f"after training {accuracy(module.model, x_test, y_test):.3f}")
checkpoint = io.BytesIO()
torch.save({"state_dict": module.state_dict()}, checkpoint)

# another day
checkpoint.seek(0)
state_dict = torch.load(checkpoint, weights_only=True)["state_dict"]
state_dict = {k.removeprefix("model."): v for k, v in state_dict.items()}
net = make_net()
net.load_state_dict(state_dict)
print(f"after loading  {accuracy(net, x_test, y_test):.3f}")
fit(Module(net), DataLoader(TensorDataset(*draw(90)), batch_size=30, shuffle=True), epochs=2, lr=1e-3)
print(f"fine-tuned     {accuracy(net, x_test, y_test):.3f}")
