"""Character bigram model trained from a small configuration dictionary.

Source: rajveermalviya/language-modeling#3
"""

import torch
import torch.nn as nn

config = {
    "lr": 1.0,  # expect: learning-rate-too-high
    "epochs": 5,
    "batch_size": 32,
    "hidden": 48,
}

torch.manual_seed(0)
text = ("abacabadabacaba" * 60)[:800]
noise = torch.rand(800) < 0.1
symbols = torch.tensor([ord(c) - 97 for c in text])
symbols[noise] = torch.randint(4, (int(noise.sum()),))
x = torch.stack([symbols[i : i + 6] for i in range(794)])
y = symbols[6:]
train_x, train_y, valid_x, valid_y = x[:640], y[:640], x[640:], y[640:]


class LM(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embed = nn.Embedding(4, 8)
        self.mlp = nn.Sequential(nn.Linear(48, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.out = nn.Linear(hidden, 4)

    def forward(self, x):
        return self.out(self.mlp(self.embed(x).flatten(1)))


model = LM(config["hidden"])
optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])  # expect: learning-rate-too-high
criterion = nn.CrossEntropyLoss()

for epoch in range(config["epochs"]):
    model.train()
    total = 0.0
    for idx in torch.randperm(640).split(config["batch_size"]):
        optimizer.zero_grad()
        loss = criterion(model(train_x[idx]), train_y[idx])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(idx)
    model.eval()
    with torch.no_grad():
        valid = criterion(model(valid_x), valid_y).item()
    print(f"epoch {epoch}: train loss {total / 640:.4f}, valid loss {valid:.4f}")
