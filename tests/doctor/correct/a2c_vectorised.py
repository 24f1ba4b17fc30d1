"""A2C with n-step returns on a batch of grid worlds; one network with two heads, one optimizer.

Source: ikostrikov/pytorch-a2c-ppo-acktr-gail
"""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F


class GridWorlds:
    SIDE = 4
    MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])

    def __init__(self, n):
        self.pos = torch.randint(0, self.SIDE, (n, 2))

    def observation(self):
        return F.one_hot(self.pos[:, 0] * self.SIDE + self.pos[:, 1], self.SIDE**2).float()

    def step(self, actions):
        self.pos = (self.pos + self.MOVES[actions]).clamp(0, self.SIDE - 1)
        done = (self.pos == self.SIDE - 1).all(1)
        self.pos[done] = torch.randint(0, self.SIDE - 1, (int(done.sum()), 2))
        return self.observation(), done.float() - 0.02, done.float()


class Policy(nn.Module):
    def __init__(self, n_in, n_actions):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, 64), nn.Tanh())
        self.pi = nn.Linear(64, n_actions)
        self.v = nn.Linear(64, 1)

    def forward(self, obs):
        h = self.body(obs)
        return F.log_softmax(self.pi(h), dim=-1), self.v(h).squeeze(-1)


def main(args):
    torch.manual_seed(args.seed)
    envs = GridWorlds(args.envs)
    policy = Policy(16, 4)
    optimizer = torch.optim.RMSprop(policy.parameters(), lr=args.lr, eps=1e-5, alpha=0.99)
    obs = envs.observation()
    for update in range(args.updates):
        log_probs, values, rewards, masks, entropies = [], [], [], [], []
        for _ in range(args.n_steps):
            logp, value = policy(obs)
            action = torch.multinomial(logp.detach().exp(), 1)
            obs, reward, done = envs.step(action.squeeze(1))
            log_probs.append(logp.gather(1, action).squeeze(1))
            entropies.append(-(logp.exp() * logp).sum(-1))
            values.append(value)
            rewards.append(reward)
            masks.append(1 - done)

        with torch.no_grad():
            ret = policy(obs)[1]
        returns = []
        for reward, mask in zip(reversed(rewards), reversed(masks)):
            ret = reward + args.gamma * mask * ret
            returns.insert(0, ret)

        advantage = torch.stack(returns) - torch.stack(values)
        value_loss = advantage.pow(2).mean()
        action_loss = -(advantage.detach() * torch.stack(log_probs)).mean()
        entropy = torch.stack(entropies).mean()

        optimizer.zero_grad()
        (value_loss * 0.5 + action_loss - 0.01 * entropy).backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
        optimizer.step()
        if update % 25 == 24:
            print(f"update {update + 1}: mean reward {torch.stack(rewards).mean():.3f} entropy {entropy.item():.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--envs", type=int, default=16)
    parser.add_argument("--n-steps", type=int, default=5)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--gamma", type=float, default=0.97)
    parser.add_argument("--seed", type=int, default=1)
    main(parser.parse_args())
