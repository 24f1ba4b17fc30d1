"""Word-level GRU language model on sentences of very different lengths.

Four micro-batches make one update.
Source: huggingface/transformers#34191
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
PAD, VOCAB = 0, 30


def sentence(length, g):
    out = [int(torch.randint(1, VOCAB, (1,), generator=g))]
    while len(out) < length:
        out.append(1 + (out[-1] * 3 + int(torch.randint(0, 2, (1,), generator=g))) % (VOCAB - 1))
    return out


g = torch.Generator().manual_seed(1)
corpus = [sentence(int(n), g) for n in torch.cat([torch.randint(3, 6, (96,)), torch.randint(20, 40, (96,))])]
corpus = [corpus[i] for i in torch.randperm(len(corpus), generator=g).tolist()]
train, valid = corpus[:160], corpus[160:]


def collate(sentences):
    return nn.utils.rnn.pad_sequence([torch.tensor(s) for s in sentences], batch_first=True, padding_value=PAD)


class LM(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, dim, padding_idx=PAD)
        self.rnn = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, VOCAB)

    def forward(self, tokens):
        return self.out(self.rnn(self.emb(tokens))[0])


model = LM()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
accumulate, micro = 4, 4
for epoch in range(2):
    order = torch.randperm(len(train)).tolist()
    groups = [order[i : i + micro * accumulate] for i in range(0, len(order), micro * accumulate)]
    for group in groups:
        optimizer.zero_grad()
        parts = [collate([train[j] for j in group[i : i + micro]]) for i in range(0, len(group), micro)]
        tokens_in_update = sum((p[:, 1:] != PAD).sum() for p in parts)
        for tokens in parts:
            logits, wanted = model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
            loss = F.cross_entropy(logits, wanted, ignore_index=PAD, reduction="sum")
            (loss / tokens_in_update).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        tokens = collate(valid)
        logits = model(tokens[:, :-1]).flatten(0, 1)
        valid_loss = F.cross_entropy(logits, tokens[:, 1:].flatten(), ignore_index=PAD)
    model.train()
    print(f"epoch {epoch} valid loss {valid_loss.item():.4f}")
