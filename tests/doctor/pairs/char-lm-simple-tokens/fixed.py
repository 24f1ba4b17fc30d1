"""Next character prediction with a tiny feed-forward language model.

The training text is made up; the model sees each character and predicts the next one.

Source: bkitano/llama-from-scratch#5
"""

import torch
import torch.nn as nn
from torch.nn import functional as F

CONFIG = {"batch_size": 16, "context_window": 16, "d_model": 48, "epochs": 60, "log_interval": 20}

torch.manual_seed(1337)
words = ["the cat sat", "on the mat", "and the dog", "ran to the", "small tree", "near a pond"]
g = torch.Generator().manual_seed(0)
text = ". ".join(words[i] for i in torch.randint(len(words), (400,), generator=g))
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
dataset = torch.tensor([stoi[c] for c in text])
n = int(0.8 * len(dataset))
splits = {"train": dataset[:n], "val": dataset[n:]}


def get_batches(split):
    d = splits[split]
    ix = torch.randint(0, len(d) - CONFIG["context_window"] - 1, (CONFIG["batch_size"],))
    x = torch.stack([d[i : i + CONFIG["context_window"]] for i in ix])
    y = torch.stack([d[i + 1 : i + CONFIG["context_window"] + 1] for i in ix])
    return x, y


class SimpleModel(nn.Module):
    def __init__(self, vocab_size, d_model):
        super().__init__()
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.linear = nn.Sequential(nn.Linear(d_model, d_model), nn.ReLU(), nn.Linear(d_model, vocab_size))

    def forward(self, idx, targets=None):
        x = self.embedding(idx)
        logits = self.linear(x)
        if targets is None:
            return logits
        loss = F.cross_entropy(logits.view(-1, self.vocab_size), targets.view(-1))
        return logits, loss


@torch.no_grad()
def evaluate_loss(model, batches=10):
    model.eval()
    out = {split: sum(model(*get_batches(split))[1].item() for _ in range(batches)) / batches for split in splits}
    model.train()
    return out


model = SimpleModel(len(chars), CONFIG["d_model"])
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(CONFIG["epochs"]):
    optimizer.zero_grad()
    xs, ys = get_batches("train")
    logits, loss = model(xs, targets=ys)
    loss.backward()
    optimizer.step()
    if epoch % CONFIG["log_interval"] == CONFIG["log_interval"] - 1:
        x = evaluate_loss(model)
        print(f"epoch {epoch + 1} | val loss {x['val']:.3f} | train loss {x['train']:.3f}")
