# needs: accelerate
"""Accelerate loop with gradient accumulation, clipping, a prepared scheduler and gathered metrics."""

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main():
    set_seed(42)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(y))
    x, y = torch.tensor(x / 16, dtype=torch.float32)[order], torch.tensor(y)[order]
    train_dl = DataLoader(TensorDataset(x[:1280], y[:1280]), batch_size=32, shuffle=True)
    eval_dl = DataLoader(TensorDataset(x[1280:], y[1280:]), batch_size=64)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    epochs = 3
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=epochs * len(train_dl) // 2)
    model, optimizer, train_dl, eval_dl, scheduler = accelerator.prepare(model, optimizer, train_dl, eval_dl, scheduler)

    for epoch in range(epochs):
        model.train()
        for inputs, targets in train_dl:
            with accelerator.accumulate(model):
                loss = F.cross_entropy(model(inputs), targets)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()

        model.eval()
        correct = seen = 0
        for inputs, targets in eval_dl:
            with torch.no_grad():
                predictions = model(inputs).argmax(dim=-1)
            predictions, targets = accelerator.gather_for_metrics((predictions, targets))
            correct += (predictions == targets).sum().item()
            seen += len(targets)
        accelerator.print(f"epoch {epoch}: loss {loss.item():.4f} accuracy {100 * correct / seen:.2f}")


if __name__ == "__main__":
    main()
