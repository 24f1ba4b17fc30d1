"""Non-saturating GAN with lazy R1 regularisation and an exponential moving average of the generator.

Source: rosinality/stylegan2-pytorch training loop
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn, optim


def requires_grad(model, flag=True):
    for p in model.parameters():
        p.requires_grad = flag


def accumulate(model1, model2, decay=0.99):
    par1 = dict(model1.named_parameters())
    par2 = dict(model2.named_parameters())
    for k in par1.keys():
        par1[k].data.mul_(decay).add_(par2[k].data, alpha=1 - decay)


def d_logistic_loss(real_pred, fake_pred):
    return F.softplus(-real_pred).mean() + F.softplus(fake_pred).mean()


def d_r1_loss(real_pred, real):
    (grad_real,) = torch.autograd.grad(outputs=real_pred.sum(), inputs=real, create_graph=True)
    return grad_real.pow(2).reshape(grad_real.shape[0], -1).sum(1).mean()


def g_nonsaturating_loss(fake_pred):
    return F.softplus(-fake_pred).mean()


torch.manual_seed(5)
latent, r1_weight, d_reg_every = 6, 2.0, 8
means = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
generator = nn.Sequential(
    nn.Linear(latent, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 2)
)
discriminator = nn.Sequential(
    nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1)
)
g_ema = copy.deepcopy(generator)
requires_grad(g_ema, False)
g_optim = optim.Adam(generator.parameters(), lr=2e-3, betas=(0.0, 0.99))
d_optim = optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.0, 0.99))
test_z = torch.randn(300, latent)

for i in range(120):
    real_img = means[torch.randint(0, 3, (64,))] + 0.1 * torch.randn(64, 2)

    requires_grad(generator, False)
    requires_grad(discriminator, True)
    fake_img = generator(torch.randn(64, latent))
    d_loss = d_logistic_loss(discriminator(real_img), discriminator(fake_img))
    discriminator.zero_grad()
    d_loss.backward()
    d_optim.step()

    if i % d_reg_every == 0:
        real_img.requires_grad = True
        real_pred = discriminator(real_img)
        r1_loss = d_r1_loss(real_pred, real_img)
        discriminator.zero_grad()
        # the zero keeps every parameter in the graph
        (r1_weight / 2 * r1_loss * d_reg_every + 0 * real_pred[0].sum()).backward()
        d_optim.step()

    requires_grad(generator, True)
    requires_grad(discriminator, False)
    g_loss = g_nonsaturating_loss(discriminator(generator(torch.randn(64, latent))))
    generator.zero_grad()
    g_loss.backward()
    g_optim.step()
    accumulate(g_ema, generator)

    if i % 40 == 39:
        with torch.no_grad():
            sample = g_ema(test_z)
        nearest = torch.cdist(sample, means).min(1).values.mean()
        print(
            f"{i + 1}: d {d_loss.item():.3f} g {g_loss.item():.3f} r1 {r1_loss.item():.4f} ema distance to a mode {nearest:.3f}"
        )
