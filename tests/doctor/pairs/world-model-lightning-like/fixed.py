"""Latent world model trained with a small module/trainer split (training_step returns the loss).

Source: simchowitzlabpublic/nano-world-model#22
"""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(2)


class WorldModel(nn.Module):
    def __init__(self, obs=6, act=2, hidden=32, grad_clip=0.1):
        super().__init__()
        self.encoder = nn.Linear(obs, hidden)
        self.dynamics = nn.GRUCell(act, hidden)
        self.decoder = nn.Linear(hidden, obs)
        self.grad_clip = grad_clip

    def forward(self, obs, actions):
        h = torch.tanh(self.encoder(obs[:, 0]))
        preds = []
        for t in range(actions.size(1)):
            h = self.dynamics(actions[:, t], h)
            preds.append(self.decoder(h))
        return torch.stack(preds, dim=1)

    def training_step(self, batch):
        obs, actions = batch
        loss = F.mse_loss(self(obs, actions), obs[:, 1:])
        return loss

    def on_before_optimizer_step(self):
        torch.nn.utils.clip_grad_norm_(self.parameters(), self.grad_clip)

    @torch.no_grad()
    def validation_loss(self, batch):
        self.eval()
        obs, actions = batch
        value = F.mse_loss(self(obs, actions), obs[:, 1:]).item()
        self.train()
        return value


class Trainer:
    def __init__(self, module, lr=0.2):
        self.module = module
        self.optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=0.9)

    def fit(self, train_batches, valid_batch, epochs):
        self.module.train()
        for epoch in range(epochs):
            for k in torch.randperm(len(train_batches)).tolist():
                loss = self.module.training_step(train_batches[k])
                loss.backward()
                self.module.on_before_optimizer_step()
                self.optimizer.step()
                # the next step starts from zeros, not None
                self.optimizer.zero_grad(set_to_none=False)
            print(f"epoch {epoch}: valid {self.module.validation_loss(valid_batch):.5f}")


A, B = 0.9 * torch.eye(6) + 0.1 * torch.randn(6, 6), torch.randn(2, 6)


def rollouts(n, steps=6):
    x, acts = [torch.randn(n, 6)], torch.randn(n, steps, 2)
    for t in range(steps):
        x.append(torch.tanh(x[-1] @ A + acts[:, t] @ B))
    return torch.stack(x, dim=1), acts


Trainer(WorldModel()).fit([rollouts(32) for _ in range(12)], rollouts(64), epochs=4)
