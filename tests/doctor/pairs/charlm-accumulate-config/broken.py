"""Character language model, effective batch size by gradient accumulation (config in a dataclass).

Source: huggingface/accelerate#1299
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy as ce


@dataclass
class Config:
    block: int = 24
    micro_batch: int = 8
    accumulate: int = 4
    updates: int = 20
    width: int = 32
    lr: float = 1e-2
    seed: int = 1337


cfg = Config()
torch.manual_seed(cfg.seed)

text = "the quick brown fox jumps over the lazy dog. " * 60
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
data = torch.tensor([stoi[c] for c in text])
n = int(0.9 * len(data))
train_data, val_data = data[:n], data[n:]


def get_batch(source):
    starts = torch.randint(0, len(source) - cfg.block - 1, (cfg.micro_batch,))
    x = torch.stack([source[s : s + cfg.block] for s in starts])
    y = torch.stack([source[s + 1 : s + cfg.block + 1] for s in starts])
    return x, y


class CharLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(len(chars), cfg.width)
        self.rnn = nn.LSTM(cfg.width, cfg.width, batch_first=True)
        self.head = nn.Linear(cfg.width, len(chars))

    def forward(self, x):
        return self.head(self.rnn(self.emb(x))[0])


model = CharLSTM()
optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr)


@torch.no_grad()
def estimate_loss(batches=4):
    model.eval()
    losses = torch.zeros(batches)
    for k in range(batches):
        x, y = get_batch(val_data)
        losses[k] = ce(model(x).flatten(0, 1), y.flatten())
    model.train()
    return losses.mean().item()


for update in range(cfg.updates):
    for micro in range(cfg.accumulate):
        x, y = get_batch(train_data)
        logits = model(x)
        loss = ce(logits.flatten(0, 1), y.flatten()) / cfg.accumulate
        optimizer.zero_grad()  # expect: accumulation-zeroed
        loss.backward()
    optimizer.step()
    if update % 5 == 4:
        print(f"update {update + 1}: val loss {estimate_loss():.4f}")
