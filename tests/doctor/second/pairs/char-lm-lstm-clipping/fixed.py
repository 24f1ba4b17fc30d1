"""Character level LSTM language model on a rhyme, with gradient clipping.

Source: VGraphRNN/VGRNN#4
"""

import torch
import torch.nn as nn

torch.manual_seed(5)
TEXT = (
    "the rain fell on the plain and the train ran again in the rain "
    "and the man in the lane sang a plain refrain to the crane "
) * 12
chars = sorted(set(TEXT))
stoi = {c: i for i, c in enumerate(chars)}
data = torch.tensor([stoi[c] for c in TEXT])
n = int(0.85 * len(data))
train_data, val_data = data[:n], data[n:]
block_size, batch_size = 24, 16


def get_batch(split):
    source = train_data if split == "train" else val_data
    ix = torch.randint(len(source) - block_size - 1, (batch_size,))
    x = torch.stack([source[i : i + block_size] for i in ix])
    y = torch.stack([source[i + 1 : i + block_size + 1] for i in ix])
    return x, y


class CharLSTM(nn.Module):
    def __init__(self, vocab, dim=24):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(dim, vocab)

    def forward(self, idx, targets=None):
        h, _ = self.lstm(self.emb(idx))
        logits = self.head(self.drop(h))
        loss = None
        if targets is not None:
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


@torch.no_grad()
def estimate_loss(model, iters=5):
    model.eval()
    out = {}
    for split in ("train", "val"):
        out[split] = torch.stack([model(*get_batch(split))[1] for _ in range(iters)]).mean().item()
    model.train()
    return out


model = CharLSTM(len(chars))
optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
for it in range(60):
    if it % 20 == 0:
        print(it, {k: round(v, 4) for k, v in estimate_loss(model).items()})
    xb, yb = get_batch("train")
    _, loss = model(xb, yb)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    optimizer.step()
print("end", {k: round(v, 4) for k, v in estimate_loss(model).items()})
