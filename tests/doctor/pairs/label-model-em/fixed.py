"""Label model for weak supervision: estimate the accuracy of labeling functions by maximum likelihood.

Source: BatsResearch/labelmodels#4
"""

import logging
import sys

import torch
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
torch.manual_seed(4)


class NaiveBayes(nn.Module):
    """votes in {0 (abstain), 1, 2} of m labeling functions"""

    def __init__(self, m):
        super().__init__()
        self.accuracy = nn.Parameter(torch.full((m,), 0.5))
        self.propensity = nn.Parameter(torch.zeros(m))
        self.class_balance = nn.Parameter(torch.zeros(2))

    def forward(self, votes):
        log_acc = nn.functional.logsigmoid(self.accuracy)
        log_err = nn.functional.logsigmoid(-self.accuracy)
        log_vote = nn.functional.logsigmoid(self.propensity)
        log_abstain = nn.functional.logsigmoid(-self.propensity)
        joint = torch.log_softmax(self.class_balance, 0).expand(len(votes), 2)
        parts = []
        for c in (1, 2):
            given = torch.where(votes == c, log_acc, log_err) + log_vote
            parts.append(torch.where(votes == 0, log_abstain, given).sum(1))
        return torch.logsumexp(joint + torch.stack(parts, 1), dim=1)


truth = torch.randint(1, 3, (600,))
skill = torch.tensor([0.9, 0.8, 0.7, 0.85, 0.6])
right = torch.rand(600, 5) < skill
votes = torch.where(right, truth.unsqueeze(1), 3 - truth.unsqueeze(1))
votes[torch.rand(600, 5) < 0.3] = 0

model = NaiveBayes(5)
optimizer = SGD(model.parameters(), lr=0.2, momentum=0.9)
for epoch in range(5):
    logging.info("Epoch %d/5", epoch + 1)
    running_loss = 0.0
    for batch in DataLoader(votes, batch_size=60, shuffle=True):
        optimizer.zero_grad()
        loss = -model(batch).mean()
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    logging.info(f"Train Loss: {running_loss / 10:.6f}")

print("estimated accuracies:", [round(a, 3) for a in model.accuracy.detach().sigmoid().tolist()])
