"""Two tasks on one shared trunk, with separate optimizers for trunk and heads."""

import torch
from torch import nn
from torch.optim import SGD, Adam
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, TensorDataset, random_split

gen = torch.Generator().manual_seed(99)
torch.manual_seed(99)

x = torch.randn(420, 12)
hidden = torch.tanh(x @ torch.randn(12, 6))
kind = (hidden @ torch.randn(6, 3)).argmax(dim=1)
amount = 0.6 * (hidden @ torch.randn(6, 1)).squeeze(1) + 0.1 * torch.randn(420)

dataset = TensorDataset(x, kind, amount)
train_set, valid_set = random_split(dataset, [310, 110], generator=gen)
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
valid_loader = DataLoader(valid_set, batch_size=32)


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Dropout(p=0.1), nn.Linear(32, 32), nn.ReLU())

    def forward(self, x):
        return self.layers(x)


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.classify = nn.Linear(32, 3)
        self.regress = nn.Linear(32, 1)

    def forward(self, h):
        return self.classify(h), self.regress(h).squeeze(-1)


trunk, heads = Trunk(), Heads()
trunk_optimizer = Adam(trunk.parameters(), lr=2e-3)
heads_optimizer = SGD(heads.parameters(), lr=0.05)
trunk_scheduler = torch.optim.lr_scheduler.StepLR(trunk_optimizer, step_size=2, gamma=0.5)


def losses(batch):
    x, kind, amount = batch
    features = trunk(x)
    scores, value = heads(features)
    return cross_entropy(scores, kind), mse_loss(value, amount), scores


epoch = 0
while epoch < 4:
    trunk.train()
    heads.train()
    sums = [0.0, 0.0]
    for batch in train_loader:
        class_loss, value_loss, _ = losses(batch)
        loss = class_loss + 0.5 * value_loss
        trunk_optimizer.zero_grad()
        heads_optimizer.zero_grad()
        loss.backward()
        trunk_optimizer.step()
        heads_optimizer.step()
        sums[0] += class_loss.item() * len(batch[0])
        sums[1] += value_loss.item() * len(batch[0])
    trunk_scheduler.step()

    trunk.eval()
    heads.eval()
    valid_sums, hits = [0.0, 0.0], 0
    with torch.no_grad():
        for batch in valid_loader:
            class_loss, value_loss, scores = losses(batch)
            valid_sums[0] += class_loss.item() * len(batch[0])
            valid_sums[1] += value_loss.item() * len(batch[0])
            hits += (scores.argmax(dim=1) == batch[1]).sum().item()
    epoch += 1
    print(
        f"{epoch}: train {sums[0] / len(train_set):.5f} {sums[1] / len(train_set):.5f} "
        f"valid {valid_sums[0] / len(valid_set):.5f} {valid_sums[1] / len(valid_set):.5f} acc {hits / len(valid_set):.4f}"
    )
