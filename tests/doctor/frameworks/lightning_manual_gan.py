# needs: lightning
"""A GAN in Lightning with manual optimization and two optimizers."""

import logging
import warnings

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class GAN(pl.LightningModule):
    def __init__(self, latent=8):
        super().__init__()
        self.automatic_optimization = False
        self.latent = latent
        self.generator = nn.Sequential(nn.Linear(latent, 32), nn.ReLU(), nn.Linear(32, 2))
        self.discriminator = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def training_step(self, real, batch_idx):
        opt_g, opt_d = self.optimizers()
        z = torch.randn(len(real), self.latent, device=self.device)

        self.toggle_optimizer(opt_g)
        logit = self.discriminator(self.generator(z))
        g_loss = F.binary_cross_entropy_with_logits(logit, torch.ones_like(logit))
        opt_g.zero_grad()
        self.manual_backward(g_loss)
        opt_g.step()
        self.untoggle_optimizer(opt_g)

        self.toggle_optimizer(opt_d)
        real_logit = self.discriminator(real)
        fake_logit = self.discriminator(self.generator(z).detach())
        d_loss = F.binary_cross_entropy_with_logits(real_logit, torch.ones_like(real_logit))
        d_loss = d_loss + F.binary_cross_entropy_with_logits(fake_logit, torch.zeros_like(fake_logit))
        opt_d.zero_grad()
        self.manual_backward(d_loss)
        opt_d.step()
        self.untoggle_optimizer(opt_d)
        self.log_dict({"g_loss": g_loss, "d_loss": d_loss}, on_epoch=True, on_step=False)

    def configure_optimizers(self):
        opt_g = torch.optim.Adam(self.generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
        opt_d = torch.optim.Adam(self.discriminator.parameters(), lr=2e-3, betas=(0.5, 0.999))
        return opt_g, opt_d


def main():
    pl.seed_everything(0, verbose=False)
    points = torch.randn(512, 2) * torch.tensor([0.3, 1.0]) + torch.tensor([1.0, 0.0])
    trainer = pl.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = GAN()
    trainer.fit(model, DataLoader(points, batch_size=64, shuffle=True))
    print({k: round(v.item(), 3) for k, v in trainer.callback_metrics.items()})


main()
