"""Tag variable-length sequences; gradients are summed over micro-batches and divided by the number of tokens.

Source: huggingface/transformers#34191
"""

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

PAD = -100
MICRO_BATCHES = 3


def make_sentences(n, generator):
    sentences = []
    for _ in range(n):
        length = int(torch.randint(5, 30, (1,), generator=generator))
        words = torch.randint(1, 50, (length,), generator=generator)
        sentences.append((words, words % 5))
    return sentences


def collate(batch):
    words = pad_sequence([w for w, _ in batch], batch_first=True)
    tags = pad_sequence([t for _, t in batch], batch_first=True, padding_value=PAD)
    return words, tags


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 32, padding_idx=0)
        self.gru = nn.GRU(32, 48, batch_first=True)
        self.out = nn.Linear(48, 5)

    def forward(self, words):
        hidden, _ = self.gru(self.embed(words))
        return self.out(hidden)


def windows(loader, k):
    window = []
    for batch in loader:
        window.append(batch)
        if len(window) == k:
            yield window
            window = []
    if window:
        yield window


def main():
    g = torch.Generator().manual_seed(3)
    torch.manual_seed(3)
    data = make_sentences(500, g)
    train_loader = DataLoader(data[:400], batch_size=16, shuffle=True, collate_fn=collate)
    valid_loader = DataLoader(data[400:], batch_size=50, collate_fn=collate)
    model = Tagger()
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    total_loss = nn.CrossEntropyLoss(ignore_index=PAD, reduction="sum")

    for epoch in range(3):
        model.train()
        for window in windows(train_loader, MICRO_BATCHES):
            tokens = sum(int((tags != PAD).sum()) for _, tags in window)
            opt.zero_grad()
            for words, tags in window:
                loss = total_loss(model(words).flatten(0, 1), tags.flatten())
                loss.backward()
            for p in model.parameters():
                p.grad /= tokens
            opt.step()

        model.eval()
        loss_sum, right, n = 0.0, 0, 0
        with torch.no_grad():
            for words, tags in valid_loader:
                logits = model(words)
                loss_sum += total_loss(logits.flatten(0, 1), tags.flatten()).item()
                mask = tags != PAD
                right += (logits.argmax(-1)[mask] == tags[mask]).sum().item()
                n += mask.sum().item()
        print(f"epoch {epoch + 1}: valid loss/token {loss_sum / n:.3f}, accuracy {right / n:.3f}")


if __name__ == "__main__":
    main()
