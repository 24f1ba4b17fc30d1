"""Classify padded token sequences with a small BERT-like encoder."""

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

PAD, CLS = 0, 1
VOCAB, TOPICS = 60, 3


def make_documents(n):
    """Every topic likes its own third of the vocabulary."""
    documents = []
    for _ in range(n):
        topic = torch.randint(TOPICS, (1,)).item()
        length = torch.randint(6, 18, (1,)).item()
        common = torch.randint(2, VOCAB, (length,))
        special = torch.randint(2 + topic * 19, 2 + (topic + 1) * 19, (length,))
        words = torch.where(torch.rand(length) < 0.6, special, common)
        documents.append((torch.cat([torch.tensor([CLS]), words]), topic))
    return documents


def collate(batch):
    ids = pad_sequence([ids for ids, _ in batch], batch_first=True, padding_value=PAD)
    topics = torch.tensor([topic for _, topic in batch])
    return ids, ids == PAD, topics


class Accuracy:
    def __init__(self):
        self.reset()

    def reset(self):
        self.correct = 0
        self.count = 0

    def update(self, logits, targets):
        self.correct += (logits.argmax(dim=-1) == targets).sum().item()
        self.count += len(targets)

    def compute(self):
        return self.correct / max(self.count, 1)


class Classifier(nn.Module):
    def __init__(self, dim=24, heads=2, layers=2):
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, dim, padding_idx=PAD)
        self.positions = nn.Embedding(32, dim)
        layer = nn.TransformerEncoderLayer(dim, heads, dim_feedforward=48, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.pooler = nn.Linear(dim, dim)
        self.head = nn.Linear(dim, TOPICS)

    def forward(self, ids, padding):
        x = self.tokens(ids) + self.positions(torch.arange(ids.size(1)))
        x = self.encoder(x, src_key_padding_mask=padding)
        pooled = torch.tanh(self.pooler(x[:, 0]))
        return self.head(pooled)


class Trainer:
    def __init__(self, model, train_loader, valid_loader, epochs=3, lr=5e-3):
        self.model = model
        self.train_loader = train_loader
        self.valid_loader = valid_loader
        self.epochs = epochs
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=lr, total_steps=epochs * len(train_loader)
        )
        self.accuracy = Accuracy()

    def fit(self):
        for epoch in range(self.epochs):
            train_loss = self.train_epoch()
            valid_loss, valid_accuracy = self.validate()
            print(f"{epoch}: {train_loss:.5f} {valid_loss:.5f} {valid_accuracy:.4f}")

    def train_epoch(self):
        self.model.train()
        loss_sum, count = 0.0, 0
        for ids, padding, topics in self.train_loader:
            self.optimizer.zero_grad()
            logits = self.model(ids, padding)
            loss = self.criterion(logits, topics)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=1.0)
            self.optimizer.step()
            self.scheduler.step()
            loss_sum += loss.item() * len(topics)
            count += len(topics)
        return loss_sum / count

    def validate(self):
        self.model.eval()
        self.accuracy.reset()
        loss_sum, count = 0.0, 0
        with torch.no_grad():
            for ids, padding, topics in self.valid_loader:
                logits = self.model(ids, padding)
                loss_sum += self.criterion(logits, topics).item() * len(topics)
                count += len(topics)
                self.accuracy.update(logits, topics)
        return loss_sum / count, self.accuracy.compute()


if __name__ == "__main__":
    torch.manual_seed(7)
    train_docs, valid_docs = make_documents(180), make_documents(50)
    train_loader = DataLoader(train_docs, batch_size=16, shuffle=True, collate_fn=collate)
    valid_loader = DataLoader(valid_docs, batch_size=16, collate_fn=collate)
    trainer = Trainer(Classifier(), train_loader, valid_loader)
    trainer.fit()
