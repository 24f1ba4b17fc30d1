"""Tag every token of packed, padded sequences with a bidirectional GRU."""

import torch
import torch.nn as nn
import torch.optim as optim
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

PAD_TAG = 4


class TagDataset(Dataset):
    # the tag says whether a token is larger than both, one or none of its neighbours
    def __init__(self, n):
        self.items = []
        for _ in range(n):
            length = int(torch.randint(5, 15, (1,)))
            tokens = torch.randint(1, 40, (length,))
            left = tokens > torch.roll(tokens, 1)
            right = tokens > torch.roll(tokens, -1)
            self.items.append((tokens, left.long() * 2 + right.long()))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate_fn(batch):
    lengths = torch.tensor([len(t) for t, _ in batch])
    tokens = pad_sequence([t for t, _ in batch], batch_first=True, padding_value=0)
    tags = pad_sequence([t for _, t in batch], batch_first=True, padding_value=PAD_TAG)
    return tokens, tags, lengths


class Tagger(nn.Module):
    def __init__(self, vocab=40, emb=16, hidden=24, tags=5):
        super().__init__()
        self.emb = nn.Embedding(vocab, emb, padding_idx=0)
        self.gru = nn.GRU(emb, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(2 * hidden, tags)

    def forward(self, tokens, lengths):
        x = self.emb(tokens)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, _ = self.gru(packed)
        out, _ = pad_packed_sequence(out, batch_first=True)
        out = self.dropout(out)
        return self.fc(out)


def run_epoch(model, loader, criterion, optimizer=None):
    training = optimizer is not None
    model.train(training)
    loss_total, right, count = 0.0, 0, 0
    with torch.set_grad_enabled(training):
        for tokens, tags, lengths in loader:
            logits = model(tokens, lengths)
            loss = criterion(logits.flatten(0, 1), tags.flatten())
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            real = tags != PAD_TAG
            n = real.sum().item()
            loss_total += loss.item() * n
            right += (logits.argmax(dim=-1)[real] == tags[real]).sum().item()
            count += n
    return loss_total / count, right / count


def main():
    torch.manual_seed(11)
    train_loader = DataLoader(TagDataset(200), batch_size=20, shuffle=True, collate_fn=collate_fn)
    test_loader = DataLoader(TagDataset(50), batch_size=20, shuffle=False, collate_fn=collate_fn)
    model = Tagger()
    criterion = nn.CrossEntropyLoss(ignore_index=PAD_TAG)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(3):
        train_loss, train_acc = run_epoch(model, train_loader, criterion, optimizer)
        test_loss, test_acc = run_epoch(model, test_loader, criterion)
        print("epoch %d train %.5f %.4f test %.5f %.4f" % (epoch, train_loss, train_acc, test_loss, test_acc))


main()
