"""Language modelling with nn.TransformerEncoder on a cyclic toy corpus.

Source: pytorch/tutorials#2478
"""

import math

import torch
import torch.nn as nn

torch.manual_seed(0)


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=64):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(1, max_len, d_model)
        pe[0, :, 0::2] = torch.sin(position * div_term)
        pe[0, :, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return x + self.pe[:, : x.size(1)]


class TransformerModel(nn.Module):
    def __init__(self, ntoken, d_model=32, nhead=2, d_hid=64):
        super().__init__()
        self.embedding = nn.Embedding(ntoken, d_model)
        self.pos_encoder = PositionalEncoding(d_model)
        layer = nn.TransformerEncoderLayer(d_model, nhead, d_hid, dropout=0.1, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(layer, 1)
        self.linear = nn.Linear(d_model, ntoken)

    def forward(self, src):
        x = self.pos_encoder(self.embedding(src))
        mask = nn.Transformer.generate_square_subsequent_mask(src.size(1))
        return self.linear(self.transformer_encoder(x, mask=mask))


def markov_text(n, ntoken=12):
    out = [0]
    for _ in range(n - 1):
        jump = 1 if torch.rand(()) < 0.6 else int(torch.randint(ntoken, ()))
        out.append((out[-1] + jump) % ntoken)
    return torch.tensor(out)


seq = 20
text = markov_text(4001)
blocks_x, blocks_y = text[:-1].view(-1, seq), text[1:].view(-1, seq)
train_x, train_y, val_x, val_y = blocks_x[:160], blocks_y[:160], blocks_x[160:], blocks_y[160:]

model = TransformerModel(12)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)

for epoch in range(1, 13):
    model.train()
    for idx in torch.randperm(160).split(10):
        loss = criterion(model(train_x[idx]).view(-1, 12), train_y[idx].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    if epoch % 4 == 0:
        model.eval()
        with torch.no_grad():
            val = criterion(model(val_x).view(-1, 12), val_y.reshape(-1))
        print(f"epoch {epoch} valid loss {val:.3f} ppl {val.exp():.2f}")
