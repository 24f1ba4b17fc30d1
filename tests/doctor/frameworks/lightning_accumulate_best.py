# needs: lightning
"""Lightning with accumulate_grad_batches, early stopping, the best checkpoint tested at the end."""

import logging
import tempfile
import warnings

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Diabetes(L.LightningDataModule):
    def setup(self, stage=None):
        x, y = load_diabetes(return_X_y=True)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        x, y = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y, dtype=torch.float32)[order, None]
        x, y = (x - x[:260].mean(0)) / x[:260].std(0), (y - y[:260].mean()) / y[:260].std()
        cut = lambda a, b: TensorDataset(x[a:b], y[a:b])
        self.train, self.val, self.test = cut(0, 260), cut(260, 350), cut(350, None)

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=13, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val, batch_size=45)

    def test_dataloader(self):
        return DataLoader(self.test, batch_size=46)


class Regressor(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
        self.loss = nn.MSELoss()

    def step(self, batch, name):
        x, y = batch
        loss = self.loss(self.net(x), y)
        self.log(name, loss, batch_size=len(x), on_epoch=True, on_step=False)
        return loss

    def training_step(self, batch, _):
        return self.step(batch, "train_mse")

    def validation_step(self, batch, _):
        self.step(batch, "val_mse")

    def test_step(self, batch, _):
        self.step(batch, "test_mse")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


L.seed_everything(3, verbose=False)
with tempfile.TemporaryDirectory() as folder:
    best = ModelCheckpoint(dirpath=folder, monitor="val_mse", mode="min")
    trainer = L.Trainer(
        max_epochs=8,
        accelerator="cpu",
        accumulate_grad_batches=4,
        callbacks=[best, EarlyStopping("val_mse", patience=3)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data, model = Diabetes(), Regressor()
    trainer.fit(model, data)
    print("best val", round(best.best_model_score.item(), 4))
    print("test", trainer.test(model, data, ckpt_path="best", verbose=False))
