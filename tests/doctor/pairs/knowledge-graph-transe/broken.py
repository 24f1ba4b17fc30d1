"""TransE embeddings of a small knowledge graph; the best model by mean rank is kept for the test.

Source: thunlp/OpenKE#131
"""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(29)

N_ENT, N_REL, DIM = 40, 4, 8


class TransE(nn.Module):
    def __init__(self):
        super().__init__()
        self.ent = nn.Embedding(N_ENT, DIM)
        self.rel = nn.Embedding(N_REL, DIM)

    def forward(self, h, r, t):
        return (self.ent(h) + self.rel(r) - self.ent(t)).norm(p=1, dim=-1)


def build_graph():
    """entities on a circle, a relation is a step of fixed length"""
    h = torch.arange(N_ENT).repeat(N_REL)
    r = torch.arange(N_REL).repeat_interleave(N_ENT)
    t = (h + torch.tensor([1, 3, 7, 20])[r]) % N_ENT
    return torch.stack([h, r, t], 1)[torch.randperm(N_ENT * N_REL)]


triples = build_graph()
train, valid, test = triples[:110], triples[110:135], triples[135:]


@torch.no_grad()
def mean_rank(model, facts):
    model.eval()
    h, r, t = facts.unsqueeze(2).unbind(1)
    scores = model(h, r, torch.arange(N_ENT).expand(len(facts), N_ENT))
    true = scores.gather(1, t)
    return (scores < true).sum(1).float().mean().item() + 1


class Trainer:
    def __init__(self, model, lr=0.1, margin=2.0):
        self.model, self.margin = model, margin
        self.optimizer = torch.optim.Adagrad(model.parameters(), lr=lr)
        self.best_model, self.best_rank = None, float("inf")

    def train_one_epoch(self):
        self.model.train()
        for facts in train[torch.randperm(len(train))].split(22):
            h, r, t = facts.unbind(1)
            corrupt = torch.randint(0, N_ENT, (len(t),))
            loss = F.relu(self.margin + self.model(h, r, t) - self.model(h, r, corrupt)).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def run(self, epochs):
        for epoch in range(epochs):
            self.train_one_epoch()
            rank = mean_rank(self.model, valid)
            if rank < self.best_rank:
                self.best_rank = rank
                self.best_model = self.model.state_dict()  # expect: best-weights-not-copied
                print(f"epoch {epoch} has the best validation rank so far: {rank:.2f}")
        self.model.load_state_dict(self.best_model)


trainer = Trainer(TransE())
trainer.run(30)
print(f"kept model: valid {mean_rank(trainer.model, valid):.2f} test {mean_rank(trainer.model, test):.2f}")
