"""Bag of words topic classifier that starts from pretrained word vectors.

Source: openvinotoolkit/nncf#327
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(6)

VOCAB, DIM, TOPICS, LEN = 120, 12, 4, 15
topic_words = torch.rand(TOPICS, VOCAB).pow(4)


def articles(n):
    topics = torch.randint(0, TOPICS, (n,))
    return torch.multinomial(topic_words[topics], LEN, replacement=True), topics


class TextClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, DIM)
        self.classifier = nn.Linear(DIM, TOPICS)

    def forward(self, tokens):
        return self.classifier(self.embedding(tokens).mean(dim=1))


def load_vectors():
    # stands for the vectors of a big corpus, a little informative about the topics
    return 0.05 * (topic_words.t() @ torch.randn(TOPICS, DIM)) + 0.1 * torch.randn(VOCAB, DIM)


model = TextClassifier()
model.embedding.weight = nn.Parameter(load_vectors())  # fine-tuned with the rest
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
criterion = nn.CrossEntropyLoss()

train_loader = DataLoader(TensorDataset(*articles(800)), batch_size=50, shuffle=True)
test_tokens, test_topics = articles(300)
before = model.embedding.weight.detach().clone()

for epoch in range(4):
    model.train()
    for tokens, topics in train_loader:
        optimizer.zero_grad()
        criterion(model(tokens), topics).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        acc = (model(test_tokens).argmax(1) == test_topics).float().mean().item()
    moved = (model.embedding.weight.detach() - before).norm().item()
    print(f"epoch {epoch + 1}: test accuracy {acc:.3f}, vectors moved by {moved:.3f}")
