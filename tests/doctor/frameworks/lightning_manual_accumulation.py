# needs: lightning
"""Manual optimization in Lightning with gradient accumulation over four batches."""

import logging
import warnings

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Model(L.LightningModule):
    def __init__(self, n_accumulate=4):
        super().__init__()
        self.automatic_optimization = False
        self.n = n_accumulate
        self.net = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        opt = self.optimizers()
        loss = nn.functional.binary_cross_entropy_with_logits(self.net(x), y)
        opt.zero_grad()  # expect: accumulation-zeroed
        self.manual_backward(loss / self.n)
        if (batch_idx + 1) % self.n == 0:
            opt.step()
        self.log("loss", loss, on_step=False, on_epoch=True)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        out = self.net(x)
        self.log("val_acc", ((out > 0).float() == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


L.seed_everything(0, verbose=False)
x = torch.randn(600, 8)
y = ((x[:, :4].sum(1) * x[:, 4]) > 0).float().unsqueeze(1)
trainer = L.Trainer(
    max_epochs=5,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(
    Model(),
    DataLoader(TensorDataset(x[:480], y[:480]), batch_size=20, shuffle=True),
    DataLoader(TensorDataset(x[480:], y[480:]), batch_size=60),
)
print({k: round(v.item(), 4) for k, v in trainer.callback_metrics.items()})
