"""In a Lightning module: the metrics of truestep take its tensors. Needs `pip install lightning`."""

import logging

import torch
import torch.nn.functional as F
from lightning import LightningModule, Trainer, seed_everything
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import truestep as ts

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


class Digits(LightningModule):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.figures = {}

    def training_step(self, batch, _):
        inputs, targets = batch
        return F.cross_entropy(self.network(inputs), targets)

    def on_validation_epoch_start(self):
        self.loss, self.metrics = ts.RunningMean(), ts.metrics.MulticlassMetrics(num_classes=10)

    def validation_step(self, batch, _):
        inputs, targets = batch
        outputs = self.network(inputs)
        self.loss.add(F.cross_entropy(outputs, targets), weight=len(targets))
        self.metrics.update(outputs.softmax(1), targets)

    def on_validation_epoch_end(self):
        self.loss.gather()  # of all processes
        self.metrics.gather()
        self.figures = {"valid_loss": self.loss.compute(), **self.metrics.compute()}

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


seed_everything(0, verbose=False)
pixels, labels = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels))
train = DataLoader(torch.utils.data.Subset(data, range(1400)), batch_size=32, shuffle=True)
valid = DataLoader(torch.utils.data.Subset(data, range(1400, len(data))), batch_size=64)
module = Digits()
Trainer(
    max_epochs=8,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    num_sanity_val_steps=0,
).fit(module, train, valid)
print(f"valid_loss {module.figures['valid_loss']:.4f}")
print(f"accuracy {module.figures['accuracy']:.4f}")
