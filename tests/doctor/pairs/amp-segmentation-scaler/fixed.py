"""Mixed precision training of a small fully convolutional net with a gradient scaler.

Source: milesial/Pytorch-UNet#468
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)

device = torch.device("cpu")
amp_dtype = torch.float16

net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(8, 8, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(8, 3, 1),
).to(device)
optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
grad_scaler = torch.amp.GradScaler(device.type, init_scale=1024.0)


def batch(n=8, size=16):
    """noisy images with three gray levels, the classes are the levels"""
    coarse = torch.randint(0, 3, (n, 1, size // 4, size // 4)).float()
    target = F.interpolate(coarse, scale_factor=4).squeeze(1).long()
    image = target.unsqueeze(1).float() - 1 + 0.7 * torch.randn(n, 1, size, size)
    return image, target


val_images, val_true = batch(32)

for epoch in range(1, 4):
    net.train()
    for _ in range(10):
        images, true_masks = batch()
        with torch.autocast(device.type, dtype=amp_dtype):
            masks_pred = net(images)
            loss = F.cross_entropy(masks_pred.float(), true_masks)
        optimizer.zero_grad(set_to_none=True)
        grad_scaler.scale(loss).backward()
        grad_scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        grad_scaler.step(optimizer)
        grad_scaler.update()

    net.eval()
    with torch.no_grad(), torch.autocast(device.type, dtype=amp_dtype):
        val_pred = net(val_images).float()
    val_loss = F.cross_entropy(val_pred, val_true).item()
    acc = (val_pred.argmax(dim=1) == val_true).float().mean().item()
    print(f"Epoch {epoch}: validation loss {val_loss:.4f}, pixel accuracy {acc:.3f}")
