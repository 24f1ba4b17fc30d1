"""In a Hugging Face Trainer: `compute_metrics` with truestep's. Needs `pip install transformers accelerate`."""

from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from transformers import Trainer, TrainingArguments, set_seed

import truestep as ts


class Network(nn.Module):
    """Returns the loss and the logits, as the Trainer wants them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, pixels, labels):
        logits = self.layers(pixels)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def compute_metrics(prediction):
    metrics = ts.metrics.MulticlassMetrics(num_classes=10, keep_rows=True)
    metrics.update(torch.tensor(prediction.predictions).softmax(1), torch.tensor(prediction.label_ids))
    return metrics.compute()


set_seed(0)
pixels, labels = load_digits(return_X_y=True)
pixels = torch.tensor(pixels / 16, dtype=torch.float32)
rows = [{"pixels": image, "labels": int(label)} for image, label in zip(pixels, labels, strict=True)]
with TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        num_train_epochs=8,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=64,
        learning_rate=3e-3,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        Network(), arguments, train_dataset=rows[:1400], eval_dataset=rows[1400:], compute_metrics=compute_metrics
    )
    trainer.train()
    figures = trainer.evaluate()
print(f"accuracy {figures['eval_accuracy']:.4f}")
print(f"roc_auc {figures['eval_roc_auc']:.4f}")
