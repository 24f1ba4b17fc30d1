"""A transformer of two layers on letters, with gradients of two batches a step: about 5 ms a backward."""

import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = int(sys.argv[1])
LENGTH, KINDS, ACCUMULATE = 32, 28, 2


class Letters(nn.Module):
    def __init__(self):
        super().__init__()
        self.letters = nn.Embedding(KINDS, 48)
        self.places = nn.Embedding(LENGTH, 48)
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(48, KINDS)

    def forward(self, tokens):
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        x = self.letters(tokens) + self.places(torch.arange(tokens.shape[1]))
        return self.head(self.layers(x, mask=mask, is_causal=True))


torch.manual_seed(0)
steps = torch.randint(1, 4, (2560, 1))
text = (torch.randint(KINDS, (2560, 1)) + steps * torch.arange(LENGTH + 1)) % KINDS
train = DataLoader(TensorDataset(text[:2048, :-1], text[:2048, 1:]), batch_size=16, shuffle=True)
valid = DataLoader(TensorDataset(text[2048:, :-1], text[2048:, 1:]), batch_size=32)
model = Letters()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()

for _ in range(EPOCHS):
    began = time.process_time()
    model.train()
    total = 0.0
    for number, (x, y) in enumerate(train, 1):
        loss = criterion(model(x).flatten(0, 1), y.flatten())
        (loss / ACCUMULATE).backward()
        if number % ACCUMULATE == 0:
            optimizer.step()
            optimizer.zero_grad()
        total += loss.item() * len(x)
    model.eval()
    lost = 0.0
    with torch.no_grad():
        for x, y in valid:
            lost += criterion(model(x).flatten(0, 1), y.flatten()).item() * len(x)
    print(time.process_time() - began, len(train), total / 2048, lost / 512)
