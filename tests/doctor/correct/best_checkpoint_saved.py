"""The best state dict so far is written to disk with torch.save and read back for the test set.

Source: LP-PDBBind#1
"""

import os
import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset, random_split


def run_epoch(model, loader, criterion, optimizer=None):
    training = optimizer is not None
    model.train(training)
    loss_sum, hits, n = 0.0, 0, 0
    with torch.set_grad_enabled(training):
        for x, y in loader:
            out = model(x)
            loss = criterion(out, y)
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss_sum += loss.item() * len(y)
            hits += (out.argmax(1) == y).sum().item()
            n += len(y)
    return loss_sum / n, hits / n


def main():
    torch.manual_seed(3)
    x, y = load_digits(return_X_y=True)
    whole = TensorDataset(torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y))
    train_ds, val_ds, test_ds = random_split(whole, [1200, 297, 300])
    train_dl = DataLoader(train_ds, batch_size=48, shuffle=True)
    val_dl, test_dl = DataLoader(val_ds, batch_size=128), DataLoader(test_ds, batch_size=128)
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    epochs, best_acc = 5, 0.0
    scheduler = CosineAnnealingLR(optimizer, T_max=epochs)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "best.pt")
        for epoch in range(epochs):
            train_loss, _ = run_epoch(model, train_dl, criterion, optimizer)
            val_loss, val_acc = run_epoch(model, val_dl, criterion)
            scheduler.step()
            if val_acc > best_acc:
                best_acc = val_acc
                torch.save(model.state_dict(), path)
            print(f"epoch {epoch}: train loss {train_loss:.4f} val loss {val_loss:.4f} val acc {val_acc:.4f}")
        model.load_state_dict(torch.load(path, weights_only=True))
    print("test acc of the best epoch: %.4f" % run_epoch(model, test_dl, criterion)[1])


if __name__ == "__main__":
    main()
