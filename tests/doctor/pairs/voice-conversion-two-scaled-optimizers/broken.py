"""Adversarial voice conversion in mixed precision: generator, discriminator, one gradient scaler.

Source: IAHispano/Applio#860
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(24)

mix = torch.randn(16, 16) / 4


def utterances(n):
    source = torch.randn(n, 16).cumsum(1) / 3
    return source, torch.tanh(source @ mix)


net_g = nn.Sequential(nn.Linear(16, 48), nn.LeakyReLU(0.1), nn.Linear(48, 16))
net_d = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.1), nn.Linear(32, 1))
optim_g = torch.optim.SGD(net_g.parameters(), lr=0.05)
optim_d = torch.optim.SGD(net_d.parameters(), lr=0.05)
scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
source_val, target_val = utterances(128)

for step in range(1, 61):
    net_g.train(), net_d.train()
    source, target = utterances(32)

    with torch.autocast("cpu", dtype=torch.float16):
        fake = net_g(source)
        real_score, fake_score = net_d(target), net_d(fake.detach())
    loss_d = ((real_score.float() - 1) ** 2).mean() + (fake_score.float() ** 2).mean()
    optim_d.zero_grad()
    scaler.scale(loss_d).backward()
    optim_d.step()  # expect: scaled-gradients-stepped

    with torch.autocast("cpu", dtype=torch.float16):
        adv_score = net_d(fake)
    loss_g = ((adv_score.float() - 1) ** 2).mean() + 5.0 * F.l1_loss(fake.float(), target)
    optim_g.zero_grad()
    scaler.scale(loss_g).backward()
    scaler.step(optim_g)
    scaler.update()

    if step % 15 == 0:
        net_g.eval(), net_d.eval()
        with torch.no_grad():
            mel = F.l1_loss(net_g(source_val), target_val).item()
            gap = (net_d(target_val).mean() - net_d(net_g(source_val)).mean()).item()
        print(f"step {step}: loss_d {loss_d.item():.4f} loss_mel {mel:.4f} score gap {gap:+.3f}")
