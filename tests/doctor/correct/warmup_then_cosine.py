"""Linear warm-up over the first dozen steps, then cosine decay to zero, stepped after every update.

Source: huggingface/transformers#24088
"""

import math

import torch
import torch.nn as nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset


def get_cosine_schedule_with_warmup(optimizer, num_warmup_steps, num_training_steps):
    def lr_lambda(step):
        if step < num_warmup_steps:
            return step / max(1, num_warmup_steps)
        progress = (step - num_warmup_steps) / max(1, num_training_steps - num_warmup_steps)
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))

    return LambdaLR(optimizer, lr_lambda)


class TinyTransformer(nn.Module):
    """Which of the first and the last token is larger?"""

    def __init__(self, vocab=40, dim=32):
        super().__init__()
        self.embed, self.pos = nn.Embedding(vocab, dim), nn.Parameter(torch.randn(8, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.head = nn.Linear(dim, 2)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens) + self.pos)[:, 0])


if __name__ == "__main__":
    torch.manual_seed(0)
    tokens = torch.randint(0, 40, (1000, 8))
    labels = (tokens[:, 0] > tokens[:, -1]).long()
    train_dl = DataLoader(TensorDataset(tokens[:800], labels[:800]), batch_size=40, shuffle=True)
    val_dl = DataLoader(TensorDataset(tokens[800:], labels[800:]), batch_size=100)
    model, num_epochs = TinyTransformer(), 4
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    lr_scheduler = get_cosine_schedule_with_warmup(optimizer, 12, num_epochs * len(train_dl))
    for epoch in range(num_epochs):
        model.train()
        total = 0.0
        for batch, target in train_dl:
            loss = nn.functional.cross_entropy(model(batch), target)
            loss.backward()
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
            total += loss.item() * len(target)
        model.eval()
        with torch.no_grad():
            right = sum((model(b).argmax(-1) == t).sum().item() for b, t in val_dl)
        print(f"epoch {epoch} loss {total / 800:.4f} acc {right / 200:.3f} lr {lr_scheduler.get_last_lr()[0]:.2e}")
