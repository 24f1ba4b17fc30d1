"""Sequence reversal with an encoder and a decoder that have an optimizer each.

Source: Hsintien-Ng/idinvert_pytorch-reproduced#1
"""

import random

import torch
from torch import nn, optim
import torch.nn.functional as F

random.seed(0)
torch.manual_seed(0)
SOS = 10
VOCAB = 11
LENGTH = 5


class EncoderRNN(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)

    def forward(self, tokens):
        return self.gru(self.embedding(tokens))


class DecoderRNN(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, VOCAB)

    def forward(self, token, hidden):
        output, hidden = self.gru(self.embedding(token), hidden)
        return self.out(output[:, 0]), hidden


def train_step(src, tgt, encoder, decoder, enc_opt, dec_opt, teacher_forcing=0.7):
    enc_opt.zero_grad()
    dec_opt.zero_grad()
    _, hidden = encoder(src)
    token = torch.full((len(src), 1), SOS)
    loss = 0
    use_truth = random.random() < teacher_forcing
    for t in range(tgt.size(1)):
        logits, hidden = decoder(token, hidden)
        loss = loss + F.cross_entropy(logits, tgt[:, t])
        token = tgt[:, t : t + 1] if use_truth else logits.argmax(1, keepdim=True).detach()
    loss = loss / tgt.size(1)
    loss.backward()
    enc_opt.step()
    dec_opt.step()
    return loss.item()


def greedy(src, encoder, decoder):
    with torch.no_grad():
        _, hidden = encoder(src)
        token = torch.full((len(src), 1), SOS)
        out = []
        for _ in range(src.size(1)):
            logits, hidden = decoder(token, hidden)
            token = logits.argmax(1, keepdim=True)
            out.append(token)
    return torch.cat(out, dim=1)


if __name__ == "__main__":
    encoder, decoder = EncoderRNN(32), DecoderRNN(32)
    enc_opt = optim.Adam(encoder.parameters(), lr=0.01)
    dec_opt = optim.Adam(decoder.parameters(), lr=0.01)
    running = 0.0
    for it in range(1, 61):
        src = torch.randint(0, 10, (32, LENGTH))
        running += train_step(src, src.flip(1), encoder, decoder, enc_opt, dec_opt)
        if it % 20 == 0:
            print(f"{it:4d} {running / 20:.4f}")
            running = 0.0
    encoder.eval(), decoder.eval()
    src = torch.randint(0, 10, (200, LENGTH))
    print("tokens right", (greedy(src, encoder, decoder) == src.flip(1)).float().mean().item())
