# needs: lightning
"""Lightning model of an encoder and a decoder for noisy signals."""

import logging
import warnings

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Denoiser(L.LightningModule):
    def __init__(self, width=24):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(1, width, 5, stride=2, padding=2), nn.ReLU())
        self.decoder = nn.ConvTranspose1d(width, 1, 4, stride=2, padding=1)

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def training_step(self, batch, batch_idx):
        noisy, clean = batch
        loss = nn.functional.mse_loss(self(noisy), clean)
        self.log("train_mse", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        noisy, clean = batch
        self.log("val_mse", nn.functional.mse_loss(self(noisy), clean))

    def configure_optimizers(self):
        return torch.optim.Adam(self.decoder.parameters(), lr=1e-2)  # expect: parameters-not-in-optimizer


if __name__ == "__main__":
    L.seed_everything(7, verbose=False)
    t = torch.linspace(0, 6.28, 32)
    clean = ((torch.rand(400, 1) * 3 + 1) * t + torch.rand(400, 1) * 6.28).sin().unsqueeze(1)
    noisy = clean + 0.4 * torch.randn_like(clean)
    train, val = TensorDataset(noisy[:320], clean[:320]), TensorDataset(noisy[320:], clean[320:])
    trainer = L.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Denoiser(), DataLoader(train, batch_size=32, shuffle=True), DataLoader(val, batch_size=80))
    print({k: round(v.item(), 4) for k, v in trainer.callback_metrics.items()})
