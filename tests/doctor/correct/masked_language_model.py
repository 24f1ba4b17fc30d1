"""Masked language model: 15 % of the tokens are targets, everything else is ignored; attention sees both sides.

Source: google-research/bert, huggingface DataCollatorForLanguageModeling
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader

PAD, MASK, VOCAB = 0, 1, 30


def sentence(g):
    """Arithmetic progressions modulo the vocabulary."""
    length = int(torch.randint(8, 17, (1,), generator=g))
    start, step = torch.randint(0, VOCAB - 2, (1,), generator=g), torch.randint(1, 4, (1,), generator=g)
    words = (start + step * torch.arange(length)) % (VOCAB - 2) + 2
    return nn.functional.pad(words, (0, 16 - length), value=PAD)


def mask_tokens(inputs, probability=0.15):
    labels = inputs.clone()
    chosen = (torch.rand(inputs.shape) < probability) & (inputs != PAD)
    labels[~chosen] = -100
    replaced = chosen & (torch.rand(inputs.shape) < 0.8)
    inputs = inputs.masked_fill(replaced, MASK)
    random = chosen & ~replaced & (torch.rand(inputs.shape) < 0.5)
    return torch.where(random, torch.randint_like(inputs, 2, VOCAB), inputs), labels


class Bert(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.tok, self.pos = nn.Embedding(VOCAB, d, padding_idx=PAD), nn.Embedding(16, d)
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(d, VOCAB)

    def forward(self, x):
        h = self.tok(x) + self.pos(torch.arange(x.size(1)))
        return self.out(self.encoder(h, src_key_padding_mask=x == PAD))


g = torch.Generator().manual_seed(0)
torch.manual_seed(0)
# there are few different sentences: split before anything else
seen = {tuple(sentence(g).tolist()) for _ in range(900)}
corpus = torch.tensor(sorted(seen))[torch.randperm(len(seen), generator=g)]
n_train = int(0.8 * len(corpus))
train_loader, valid = DataLoader(corpus[:n_train], batch_size=32, shuffle=True), corpus[n_train:]
model = Bert()
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
criterion = nn.CrossEntropyLoss(ignore_index=-100)
valid_inputs, valid_labels = mask_tokens(valid)

for epoch in range(4):
    model.train()
    for batch in train_loader:
        inputs, labels = mask_tokens(batch)
        loss = criterion(model(inputs).view(-1, VOCAB), labels.view(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        logits = model(valid_inputs)
        masked = valid_labels != -100
        acc = (logits.argmax(-1)[masked] == valid_labels[masked]).float().mean().item()
        val = criterion(logits.view(-1, VOCAB), valid_labels.view(-1)).item()
    print(f"epoch {epoch}: {len(corpus)} sentences, valid loss {val:.3f}, masked accuracy {acc:.3f}")
