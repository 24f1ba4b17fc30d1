"""Part-of-speech tagger on a generated grammar, sentences padded to the longest of the batch.

Source: DaoyuanLi2816/Molecule-Generator#20
"""

import random

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

random.seed(4)
torch.manual_seed(4)

lexicon = {
    "DET": ["the", "a", "some"],
    "ADJ": ["red", "old", "small", "light"],
    "NOUN": ["cat", "light", "fish", "house", "walk"],
    "VERB": ["sees", "walk", "fish", "likes"],
    "ADV": ["often", "slowly"],
}
tag_to_ix = {"<pad>": 0, **{t: i + 1 for i, t in enumerate(lexicon)}}
word_to_ix = {"<pad>": 0}
for ws in lexicon.values():
    for w in ws:
        word_to_ix.setdefault(w, len(word_to_ix))


def sentence():
    tags = ["DET", *["ADJ"] * random.randint(0, 2), "NOUN", "VERB"]
    if random.random() < 0.4:
        tags += ["DET", *["ADJ"] * random.randint(0, 4), "NOUN"]
    tags += ["ADV"] * random.randint(0, 1)
    words = [random.choice(lexicon[t]) for t in tags]
    return torch.tensor([word_to_ix[w] for w in words]), torch.tensor([tag_to_ix[t] for t in tags])


def collate(samples):
    words, tags = zip(*samples)
    return pad_sequence(words, batch_first=True), pad_sequence(tags, batch_first=True)


corpus = list({tuple(words.tolist()): (words, tags) for words, tags in (sentence() for _ in range(1200))}.values())
random.shuffle(corpus)
train_loader = DataLoader(corpus[:500], batch_size=25, shuffle=True, collate_fn=collate)
test_loader = DataLoader(corpus[500:620], batch_size=60, collate_fn=collate)


class LSTMTagger(nn.Module):
    def __init__(self, dim=16, hidden=16):
        super().__init__()
        self.word_embeddings = nn.Embedding(len(word_to_ix), dim, padding_idx=0)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True)
        self.hidden2tag = nn.Linear(hidden, len(tag_to_ix))

    def forward(self, sentence):
        out, _ = self.lstm(self.word_embeddings(sentence))
        return self.hidden2tag(out)


model = LSTMTagger()
loss_function = nn.CrossEntropyLoss(ignore_index=0)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

for epoch in range(4):
    model.train()
    loss_sum = tokens = 0
    for sentences, tags in train_loader:
        model.zero_grad()
        tag_scores = model(sentences)
        loss = loss_function(tag_scores.view(-1, len(tag_to_ix)), tags.view(-1))
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * (tags != 0).sum().item()
        tokens += (tags != 0).sum().item()

    model.eval()
    right = count = 0
    with torch.no_grad():
        for sentences, tags in test_loader:
            keep = tags != 0
            right += (model(sentences).argmax(-1) == tags)[keep].sum().item()
            count += keep.sum().item()
    print(f"epoch {epoch}  train loss {loss_sum / tokens:.4f}  test tagging accuracy {right / count:.4f}")
