"""Text-like features are whitened with numpy between the encoder and the classifier.

Source: ronghuaiyang/arcface-pytorch#56
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
np.random.seed(0)
tokens = torch.randint(0, 50, (500, 12))
good_words = torch.randperm(50)[:15]
score = torch.isin(tokens, good_words).sum(1)
labels = (score > 3).long()

embedding = nn.EmbeddingBag(50, 16, mode="mean")
encoder = nn.Sequential(nn.Linear(16, 16), nn.Tanh())
classifier = nn.Linear(16, 2)
params = [*embedding.parameters(), *encoder.parameters(), *classifier.parameters()]
optimizer = torch.optim.Adam(params, lr=0.01)


def forward(batch):
    h = encoder(embedding(batch))
    h = h.detach().numpy()  # expect: parameters-never-reached
    h = (h - h.mean(axis=1, keepdims=True)) / (h.std(axis=1, keepdims=True) + 1e-5)
    return classifier(torch.from_numpy(h))  # expect: parameters-never-reached


for epoch in range(8):
    for idx in torch.randperm(400).split(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(tokens[idx]), labels[idx])
        loss.backward()
        optimizer.step()
    if epoch % 2:
        with torch.no_grad():
            acc = (forward(tokens[400:]).argmax(1) == labels[400:]).float().mean().item()
        print(f"epoch {epoch} loss {loss.item():.4f} acc {acc:.4f}")
