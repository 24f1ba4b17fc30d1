"""Sequence classification with a small transformer, linear warm-up then decay.

Source: huggingface/accelerate#963
"""

import torch
import torch.nn as nn
from torch.optim.lr_scheduler import LambdaLR

torch.manual_seed(3)
EPOCHS, BATCH, VOCAB, LENGTH = 6, 25, 12, 10


def data(n):
    # does the sequence hold more small than large symbols?
    x = torch.randint(VOCAB, (n, LENGTH))
    return x, ((x < VOCAB // 2).sum(1) > LENGTH // 2).long()


class Classifier(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.tok = nn.Embedding(VOCAB, d)
        self.pos = nn.Parameter(0.02 * torch.randn(LENGTH, d))
        self.layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.0, batch_first=True)
        self.fc = nn.Linear(d, 2)

    def forward(self, x):
        return self.fc(self.layer(self.tok(x) + self.pos).mean(1))


def get_linear_schedule(optimizer, num_warmup_steps, num_training_steps):
    def lr_lambda(step):
        if step < num_warmup_steps:
            return (step + 1) / num_warmup_steps
        return max(0.0, (num_training_steps - step) / (num_training_steps - num_warmup_steps))

    return LambdaLR(optimizer, lr_lambda)


x_train, y_train = data(500)
x_dev, y_dev = data(200)
num_training_steps = EPOCHS * (500 // BATCH)
model = Classifier()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
scheduler = get_linear_schedule(optimizer, num_training_steps // 5, num_training_steps)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(EPOCHS):
    model.train()
    for idx in torch.randperm(500).split(BATCH):
        loss = loss_fn(model(x_train[idx]), y_train[idx])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    scheduler.step()  # expect: scheduler-per-epoch-meant-per-batch
    model.eval()
    with torch.no_grad():
        acc = (model(x_dev).argmax(1) == y_dev).float().mean().item()
    print(f"epoch {epoch} lr {scheduler.get_last_lr()[0]:.2e} loss {loss.item():.4f} dev acc {acc:.4f}")
