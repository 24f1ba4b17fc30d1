"""Sequence tagger with a bidirectional LSTM, evaluates during training every logging_steps.

Source: ThilinaRajapakse/simpletransformers#941
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

CONFIG = {"max_steps": 60, "logging_steps": 15, "batch": 24, "lr": 0.01, "seed": 5}
torch.manual_seed(CONFIG["seed"])

VOCAB, TAGS, LENGTH = 30, 3, 10


def corpus(n):
    words = torch.randint(0, VOCAB, (n, LENGTH))
    left = words.roll(1, dims=1)
    left[:, 0] = 0
    tags = (words > 14).long() + (left > 19).long()  # depends on the word and its left neighbour
    return words, tags


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, 16)
        self.drop = nn.Dropout(0.4)
        self.lstm = nn.LSTM(16, 16, batch_first=True, bidirectional=True)
        self.out = nn.Linear(32, TAGS)

    def forward(self, words):
        h, _ = self.lstm(self.drop(self.emb(words)))
        return self.out(self.drop(h))


def evaluate(model, words, tags):
    model.eval()
    with torch.no_grad():
        logits = model(words)
    return {
        "eval_loss": round(cross_entropy(logits.flatten(0, 1), tags.flatten()).item(), 4),
        "acc": round((logits.argmax(2) == tags).float().mean().item(), 3),
    }


train_words, train_tags = corpus(300)
dev_words, dev_tags = corpus(120)
model = Tagger()
optimizer = torch.optim.AdamW(model.parameters(), lr=CONFIG["lr"])

global_step = 0
model.train()
while global_step < CONFIG["max_steps"]:
    for idx in torch.randperm(300).split(CONFIG["batch"]):
        logits = model(train_words[idx])  # expect: trained-in-eval-mode
        loss = cross_entropy(logits.flatten(0, 1), train_tags[idx].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        global_step += 1
        if global_step % CONFIG["logging_steps"] == 0:
            results = evaluate(model, dev_words, dev_tags)
            print(global_step, results)
        if global_step == CONFIG["max_steps"]:
            break
