"""Filter the trained parameters once, keep them as a list, hand them to the optimizer and to clipping.

Source: pytorch/pytorch#148259
"""

import torch
import torch.nn as nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
embed = nn.Embedding.from_pretrained(torch.randn(50, 12), freeze=True)
gru, out = nn.GRU(12, 24, batch_first=True), nn.Linear(24, 1)
model = nn.ModuleDict({"embed": embed, "gru": gru, "out": out})
tokens = torch.randint(0, 50, (500, 10))
target = embed(tokens)[:, :, 0].mean(1, keepdim=True) * 3
loader = DataLoader(TensorDataset(tokens[:400], target[:400]), batch_size=40, shuffle=True)

trainable = list(filter(lambda p: p.requires_grad, model.parameters()))
optimizer = torch.optim.Adam(trainable, lr=1e-2)


def forward(x):
    _, h = gru(embed(x))
    return out(h[-1])


for epoch in range(4):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = (forward(x) - y).pow(2).mean()
        loss.backward()
        norm = clip_grad_norm_(trainable, 1.0)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        test = (forward(tokens[400:]) - target[400:]).pow(2).mean().item()
    print(f"epoch {epoch}: train {loss.item():.4f} norm {norm.item():.3f} test {test:.4f}")
