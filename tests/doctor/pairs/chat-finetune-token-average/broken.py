"""Fine-tunes a small language model on replies of very different length, prompts are not scored.

Source: huggingface/transformers#34191
"""

import random
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

IGNORE = -100


@dataclass
class TrainArgs:
    micro_batch: int = 4
    accumulation: int = 4
    steps: int = 16
    lr: float = 3e-2
    vocab: int = 20
    seed: int = 0


args = TrainArgs()
random.seed(args.seed)
torch.manual_seed(args.seed)


def example():
    """prompt: a start token and a count; reply: counting up from there, short or long"""
    start, n = random.randrange(args.vocab), random.choice([2, 2, 3, 24])
    tokens = [(start + k) % args.vocab for k in range(n + 2)]
    labels = [IGNORE] * 2 + tokens[2:]
    return torch.tensor(tokens), torch.tensor(labels)


def batch():
    tokens, labels = zip(*[example() for _ in range(args.micro_batch)])
    x = pad_sequence(tokens, batch_first=True)
    y = pad_sequence(labels, batch_first=True, padding_value=IGNORE)
    return x[:, :-1], y[:, 1:]


class CountLM(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.tok = nn.Embedding(args.vocab, dim)
        self.rnn = nn.GRU(dim, dim, batch_first=True)
        self.lm_head = nn.Linear(dim, args.vocab)

    def forward(self, x):
        return self.lm_head(self.rnn(self.tok(x))[0])


model = CountLM()
optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
val = [batch() for _ in range(4)]

for step in range(1, args.steps + 1):
    model.train()
    micro = [batch() for _ in range(args.accumulation)]
    num_items = sum((y != IGNORE).sum().item() for _, y in micro)
    optimizer.zero_grad()
    for x, y in micro:
        logits = model(x)
        loss = F.cross_entropy(logits.transpose(1, 2), y, ignore_index=IGNORE)  # expect: token-mean-over-micro-batches
        loss = loss / args.accumulation
        loss.backward()
    optimizer.step()
    if step % 4 == 0:
        model.eval()
        with torch.no_grad():
            total = sum(F.cross_entropy(model(x).transpose(1, 2), y, reduction="sum").item() for x, y in val)
        print(
            f"step {step}: {num_items} tokens, val loss {total / sum((y != IGNORE).sum().item() for _, y in val):.4f}"
        )
