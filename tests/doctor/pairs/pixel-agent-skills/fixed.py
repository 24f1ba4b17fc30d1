"""Pretraining of an agent from pixels: encode the frames, predict which skill was acting.

Source: rll-research/cic#5
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(10)

N_SKILLS, SIZE = 4, 12
moves = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])


def sample_transitions(n):
    """two frames with a dot that moved in the direction of the skill"""
    skill = torch.randint(0, N_SKILLS, (n,))
    start = torch.randint(2, SIZE - 2, (n, 2))
    obs, next_obs = torch.zeros(n, 1, SIZE, SIZE), torch.zeros(n, 1, SIZE, SIZE)
    rows = torch.arange(n)
    obs[rows, 0, start[:, 0], start[:, 1]] = 1.0
    end = start + 2 * moves[skill]
    next_obs[rows, 0, end[:, 0], end[:, 1]] = 1.0
    return obs, next_obs, skill


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.convnet = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4)
        )

    def forward(self, obs):
        return self.convnet(obs)


class Agent:
    def __init__(self, lr=5e-3):
        self.encoder = Encoder()
        self.skill_net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, N_SKILLS))
        self.encoder_opt = torch.optim.Adam(self.encoder.parameters(), lr=lr)
        self.skill_opt = torch.optim.Adam(self.skill_net.parameters(), lr=lr)

    def train(self, mode=True):
        self.encoder.train(mode)
        self.skill_net.train(mode)

    def update(self, obs, next_obs, skill):
        obs = self.encoder(obs)
        next_obs = self.encoder(next_obs)
        loss = F.cross_entropy(self.skill_net(torch.cat([obs, next_obs], 1)), skill)
        self.encoder_opt.zero_grad(set_to_none=True)
        self.skill_opt.zero_grad(set_to_none=True)
        loss.backward()
        self.encoder_opt.step()
        self.skill_opt.step()
        return loss.item()

    @torch.no_grad()
    def accuracy(self, obs, next_obs, skill):
        self.train(False)
        logits = self.skill_net(torch.cat([self.encoder(obs), self.encoder(next_obs)], 1))
        self.train(True)
        return (logits.argmax(1) == skill).float().mean().item()


agent = Agent()
heldout = sample_transitions(256)
for step in range(1, 91):
    loss = agent.update(*sample_transitions(64))
    if step % 30 == 0:
        print(f"| train | step {step} | loss {loss:.4f} | heldout acc {agent.accuracy(*heldout):.3f}")
