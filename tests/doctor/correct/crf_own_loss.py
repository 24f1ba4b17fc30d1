"""Sequence tagging with a linear-chain CRF written by hand, forward algorithm and Viterbi.

Source: pytorch/tutorials advanced_tutorial (BiLSTM-CRF)
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class CRF(nn.Module):
    def __init__(self, n_tags):
        super().__init__()
        self.transitions = nn.Parameter(torch.empty(n_tags, n_tags).uniform_(-0.1, 0.1))

    def log_partition(self, emissions):
        alpha = emissions[:, 0]
        for t in range(1, emissions.size(1)):
            alpha = torch.logsumexp(alpha.unsqueeze(2) + self.transitions, dim=1) + emissions[:, t]
        return torch.logsumexp(alpha, dim=1)

    def score(self, emissions, tags):
        unary = emissions.gather(2, tags.unsqueeze(2)).squeeze(2).sum(1)
        return unary + self.transitions[tags[:, :-1], tags[:, 1:]].sum(1)

    def neg_log_likelihood(self, emissions, tags):
        return (self.log_partition(emissions) - self.score(emissions, tags)).mean()

    @torch.no_grad()
    def viterbi(self, emissions):
        score, back = emissions[:, 0], []
        for t in range(1, emissions.size(1)):
            best, arg = (score.unsqueeze(2) + self.transitions).max(1)
            score = best + emissions[:, t]
            back.append(arg)
        path = [score.argmax(1)]
        for arg in reversed(back):
            path.append(arg.gather(1, path[-1].unsqueeze(1)).squeeze(1))
        return torch.stack(path[::-1], 1)


class Tagger(nn.Module):
    def __init__(self, vocab, n_tags):
        super().__init__()
        self.embed = nn.Embedding(vocab, 16)
        self.lstm = nn.LSTM(16, 12, bidirectional=True, batch_first=True)
        self.emit = nn.Linear(24, n_tags)
        self.crf = CRF(n_tags)

    def emissions(self, words):
        return self.emit(self.lstm(self.embed(words))[0])

    def loss(self, words, tags):
        return self.crf.neg_log_likelihood(self.emissions(words), tags)


torch.manual_seed(1)
words = torch.randint(0, 20, (460, 9))
tags = ((words >= 10).long().cumsum(1) + (words % 2)) % 3
train, test_words, test_tags = TensorDataset(words[:360], tags[:360]), words[360:], tags[360:]
model = Tagger(20, 3)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
for epoch in range(6):
    model.train()
    for w, t in DataLoader(train, batch_size=30, shuffle=True):
        model.zero_grad()
        loss = model.loss(w, t)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        nll = model.loss(test_words, test_tags).item()
        predicted = model.crf.viterbi(model.emissions(test_words))
    print(f"epoch {epoch}: nll {nll:.3f} tag accuracy {(predicted == test_tags).float().mean():.3f}")
