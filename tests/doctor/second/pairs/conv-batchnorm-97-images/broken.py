"""Small convolutional net with batch norm on 97 training images.

Source: NRCan/geo-deep-learning#113
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def cells(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = 0.4 * torch.randn(n, 1, 10, 10, generator=g)
    y = torch.arange(n) % 2
    for i in range(n):
        r, c = torch.randint(1, 7, (2,), generator=g).tolist()
        x[i, 0, r : r + 3, c : c + 3] += 1.0
        if y[i]:
            x[i, 0, r + 1, c + 1] -= 2.0
    return TensorDataset(x, y)


net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.BatchNorm2d(8, momentum=0.3),
    nn.ReLU(),
    nn.Conv2d(8, 8, 3, padding=1),
    nn.BatchNorm2d(8, momentum=0.3),
    nn.ReLU(),
    nn.AdaptiveMaxPool2d(1),
    nn.Flatten(),
    nn.Linear(8, 2),
)
loader = DataLoader(cells(97, 0), batch_size=16, shuffle=True)  # expect: last-batch-of-one
test_x, test_y = cells(120, 1).tensors
opt = torch.optim.AdamW(net.parameters(), lr=1e-2)
for epoch in range(8):
    net.train()
    for x, y in loader:
        loss = nn.functional.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        out = net(test_x)
        test_loss = nn.functional.cross_entropy(out, test_y).item()
    if epoch % 2:
        print(f"epoch {epoch} test loss {test_loss:.4f} acc {(out.argmax(1) == test_y).float().mean().item():.4f}")
