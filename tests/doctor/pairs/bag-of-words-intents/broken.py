"""Intent classification on a toy command corpus with an embedding bag.

Source: lansinuote/Huggingface_Toturials#6
"""

import random

import torch
from torch import nn
from torch.nn.functional import cross_entropy as ce

random.seed(1)
torch.manual_seed(1)

VERBS = {
    0: ["play", "start", "listen", "hear"],
    1: ["book", "reserve", "order", "get"],
    2: ["show", "tell", "check", "read"],
    3: ["set", "wake", "remind", "alarm"],
}
NOUNS = {
    0: ["song", "album", "jazz", "radio"],
    1: ["table", "flight", "ticket", "room"],
    2: ["weather", "news", "forecast", "score"],
    3: ["seven", "tomorrow", "timer", "morning"],
}
FILLER = ["please", "the", "a", "me", "for", "now", "could", "you", "to", "my"]


def make_sentence(label):
    words = random.choices(FILLER, k=random.randint(4, 8))
    words.append(random.choice(VERBS[label]))
    words.append(random.choice(NOUNS[label]) if random.random() < 0.8 else random.choice(NOUNS[random.randint(0, 3)]))
    random.shuffle(words)
    return words


data = [(make_sentence(c), c) for c in range(4) for _ in range(150)]
random.shuffle(data)
vocab = {w: i for i, w in enumerate(sorted({w for s, _ in data for w in s}))}
train_data, valid_data = data[:480], data[480:]


def collate(batch):
    ids, offsets, labels = [], [], []
    for words, label in batch:
        offsets.append(len(ids))
        ids.extend(vocab[w] for w in words)
        labels.append(label)
    return torch.tensor(ids), torch.tensor(offsets), torch.tensor(labels)


class IntentClassifier(nn.Module):
    def __init__(self, n_vocab, dim, n_class):
        super().__init__()
        self.emb = nn.EmbeddingBag(n_vocab, dim, mode="mean")
        self.head = nn.Sequential(
            nn.Linear(dim, dim),
            nn.Tanh(),
            nn.Linear(dim, n_class),
            nn.Softmax(dim=-1),  # expect: softmax-before-cross-entropy
        )

    def forward(self, ids, offsets):
        return self.head(self.emb(ids, offsets))  # expect: softmax-before-cross-entropy


model = IntentClassifier(len(vocab), 24, 4)
opt = torch.optim.Adam(model.parameters(), lr=5e-3)

for epoch in range(8):
    model.train()
    random.shuffle(train_data)
    running = 0.0
    for i in range(0, len(train_data), 32):
        ids, offsets, labels = collate(train_data[i : i + 32])
        logits = model(ids, offsets)
        loss = ce(logits, labels)
        opt.zero_grad()
        loss.backward()
        opt.step()
        running += loss.item() * labels.numel()

    model.eval()
    with torch.no_grad():
        ids, offsets, labels = collate(valid_data)
        acc = (model(ids, offsets).argmax(-1) == labels).float().mean()
    print(f"epoch {epoch}: train loss {running / len(train_data):.3f}, valid acc {acc:.3f}")
