"""Mixed precision with gradient accumulation, clipping and a warm-up schedule."""

import torch
import torch.nn as nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

config = {
    "seed": 17,
    "batch_size": 16,
    "accumulation_steps": 4,
    "lr": 4e-3,
    "epochs": 4,
    "max_norm": 1.0,
    "warmup_steps": 4,
}


def make_split(n, teacher):
    x = torch.randn(n, 16)
    with torch.no_grad():
        y = teacher(x).argmax(dim=1)
    return TensorDataset(x, y)


class MLP(nn.Module):
    def __init__(self, n_in=16, width=48, n_out=4, p=0.1):
        super().__init__()
        self.inp = nn.Linear(n_in, width)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, width)
        self.dropout = nn.Dropout(p)
        self.out = nn.Linear(width, n_out)

    def forward(self, x):
        x = torch.relu(self.norm(self.inp(x)))
        x = self.dropout(x)
        x = torch.relu(self.hidden(x))
        return self.out(x)


def train(model, loader, optimizer, scheduler, scaler, criterion):
    model.train()
    k = config["accumulation_steps"]
    loss_sum, count = 0.0, 0
    optimizer.zero_grad()
    for i, (x, y) in enumerate(loader):
        with torch.autocast("cpu", dtype=torch.float16):
            logits = model(x)
            loss = criterion(logits, y)
        # the last window may hold fewer than k batches
        window = min(k, len(loader) - i // k * k)
        scaler.scale(loss / window).backward()
        if (i + 1) % k == 0 or i + 1 == len(loader):
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), config["max_norm"])
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            scheduler.step()
        loss_sum += loss.item() * len(x)
        count += len(x)
    return loss_sum / count


def evaluate(model, loader, criterion):
    model.eval()
    loss_sum, hits, count = 0.0, 0, 0
    with torch.inference_mode():
        for x, y in loader:
            logits = model(x)
            loss_sum += criterion(logits, y).item() * len(x)
            hits += (logits.argmax(dim=-1) == y).sum().item()
            count += len(x)
    return loss_sum / count, hits / count


def main():
    torch.manual_seed(config["seed"])
    teacher = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))
    train_loader = DataLoader(make_split(420, teacher), batch_size=config["batch_size"], shuffle=True, drop_last=True)
    test_loader = DataLoader(make_split(150, teacher), batch_size=64)
    model = MLP()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
    warmup = config["warmup_steps"]
    scheduler = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for epoch in range(config["epochs"]):
        train_loss = train(model, train_loader, optimizer, scheduler, scaler, criterion)
        test_loss, accuracy = evaluate(model, test_loader, criterion)
        print(f"epoch {epoch}: train {train_loss:.5f} test {test_loss:.5f} accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
