"""Sequence to sequence: spell a word backwards. Encoder and decoder are separate modules.

Source: cabralpinto/modular-diffusion#17
"""

import random

import torch
import torch.nn as nn

SOS = 26
random.seed(0)
torch.manual_seed(0)


class EncoderRNN(nn.Module):
    def __init__(self, hidden_size):
        super(EncoderRNN, self).__init__()
        self.embedding = nn.Embedding(26, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True)

    def forward(self, words):
        _, hidden = self.gru(self.embedding(words))
        return hidden


class DecoderRNN(nn.Module):
    def __init__(self, hidden_size):
        super(DecoderRNN, self).__init__()
        self.embedding = nn.Embedding(27, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.out = nn.Linear(hidden_size, 26)

    def forward(self, inputs, hidden):
        output, hidden = self.gru(self.embedding(inputs), hidden)
        return self.out(output), hidden


def draw(length, held_out):
    """a random word; every fourth is kept for the test"""
    while True:
        word = [random.randrange(8) for _ in range(length)]
        if (sum(word) % 4 == 0) == held_out:
            return word


def get_batch(n, length=3, held_out=False):
    words = torch.tensor([draw(length, held_out) for _ in range(n)])
    target = words.flip(1)
    dec_in = torch.cat([torch.full((n, 1), SOS), target[:, :-1]], dim=1)
    return words, dec_in, target


encoder, decoder = EncoderRNN(32), DecoderRNN(32)
optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)  # expect: parameters-not-in-optimizer
criterion = nn.CrossEntropyLoss()

for i in range(1, 101):
    encoder.train()
    decoder.train()
    encoder.zero_grad()
    decoder.zero_grad()
    words, dec_in, target = get_batch(32)
    logits, _ = decoder(dec_in, encoder(words))
    loss = criterion(logits.reshape(-1, 26), target.reshape(-1))
    loss.backward()
    optimizer.step()
    if i % 25 == 0:
        encoder.eval()
        decoder.eval()
        with torch.no_grad():  # greedy decoding
            words, _, target = get_batch(64, held_out=True)
            hidden, token, spelled = encoder(words), torch.full((64, 1), SOS), []
            for _ in range(target.size(1)):
                logits, hidden = decoder(token, hidden)
                token = logits.argmax(dim=2)
                spelled.append(token)
        right = (torch.cat(spelled, 1) == target).all(1).float().mean().item()
        print(f"{i:4d} loss {loss.item():.3f} words right {right:.3f}")
