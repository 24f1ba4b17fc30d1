"""ALBERT-like encoder: one block applied several times, and one head shared by all depths.

Source: fundamentalvision/Deformable-DETR shared heads, google-research/albert
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class SharedEncoder(nn.Module):
    def __init__(self, vocab=20, d=32, depth=3, classes=2):
        super().__init__()
        self.embed = nn.Embedding(vocab, d)
        self.pos = nn.Parameter(torch.randn(12, d) * 0.1)
        block = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.ModuleList([block] * depth)  # the same weights at every depth
        head = nn.Linear(d, classes)
        self.heads = nn.ModuleList([head for _ in range(depth)])

    def forward(self, x):
        h, outputs = self.embed(x) + self.pos, []
        for block, head in zip(self.blocks, self.heads):
            h = block(h)
            outputs.append(head(h.mean(1)))
        return outputs


torch.manual_seed(0)
x = torch.randint(0, 20, (700, 12))
y = ((x < 3).sum(1) > (x > 16).sum(1)).long()
train = TensorDataset(x[:560], y[:560])
model = SharedEncoder()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
print("parameters", sum(p.numel() for p in model.parameters()))
for epoch in range(3):
    model.train()
    for xb, yb in DataLoader(train, batch_size=40, shuffle=True):
        loss = sum(nn.functional.cross_entropy(out, yb) for out in model(xb)) / 3
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        acc = [(out.argmax(1) == y[560:]).float().mean().item() for out in model(x[560:])]
    print(f"epoch {epoch} loss {loss.item():.3f} accuracy by depth {[round(a, 3) for a in acc]}")
