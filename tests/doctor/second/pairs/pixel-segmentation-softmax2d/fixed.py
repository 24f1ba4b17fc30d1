"""Per-pixel classification of synthetic shapes into three classes, notebook style.

Source: bowang-lab/Transformer-GCN-QA#32
"""

# %% imports
import torch
from torch import nn

torch.manual_seed(0)


# %% data: background, stripes to the left, disc to the right
def scene(n):
    yy, xx = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    masks = torch.zeros(n, 16, 16, dtype=torch.long)
    for m in masks:
        c = torch.randint(2, 6, (1,)).item()
        m[:, c : c + 3] = 1
        r, q = torch.randint(3, 13, (1,)).item(), torch.randint(9, 14, (1,)).item()
        m[(yy - r) ** 2 + (xx - q) ** 2 < 8] = 2
    colours = torch.tensor([[0.0, 0, 0], [1.0, 0.2, 0], [0, 0.3, 1.0]])
    images = colours[masks].permute(0, 3, 1, 2) + 0.6 * torch.randn(n, 3, 16, 16)
    return images, masks


images, masks = scene(160)
val_images, val_masks = scene(40)

# %% model
net = nn.Sequential(
    nn.Conv2d(3, 12, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(12, 12, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(12, 3, 1),
)
criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.5, 1.0, 1.5]))
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)

# %% training
for epoch in range(4):
    for idx in torch.randperm(160).split(20):
        logits = net(images[idx])
        loss = criterion(logits, masks[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        pred = net(val_images).argmax(1)
    iou = [((pred == k) & (val_masks == k)).sum() / ((pred == k) | (val_masks == k)).sum() for k in range(3)]
    print(f"epoch {epoch} loss {loss.item():.4f} mean IoU {torch.stack(iou).mean().item():.4f}")
