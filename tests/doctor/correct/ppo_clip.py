"""PPO with several epochs of minibatches over each rollout, on a vectorised toy environment.

Source: vwxyzjn/cleanrl ppo.py
"""

import torch
import torch.nn as nn
from torch.distributions import Categorical


class Envs:
    """Keep a drifting ball near zero: action 0 pushes left, 1 nothing, 2 right."""

    def __init__(self, n):
        self.n = n
        self.x, self.v, self.t = torch.randn(n), torch.zeros(n), torch.randint(0, 40, (n,))

    def obs(self):
        return torch.stack([self.x, self.v], 1)

    def step(self, action):
        self.v = 0.95 * self.v + 0.2 * (action.float() - 1) + 0.05 * torch.randn(self.n)
        self.x = self.x + 0.2 * self.v
        self.t += 1
        reward = 1.0 - self.x.abs().clamp(max=2)
        done = (self.x.abs() > 3) | (self.t >= 40)
        self.x = torch.where(done, torch.randn(self.n), self.x)
        self.v = torch.where(done, torch.zeros(self.n), self.v)
        self.t = torch.where(done, torch.zeros_like(self.t), self.t)
        return self.obs(), reward, done.float()


def layer_init(layer, std=2**0.5):
    nn.init.orthogonal_(layer.weight, std)
    nn.init.constant_(layer.bias, 0.0)
    return layer


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(layer_init(nn.Linear(2, 32)), nn.Tanh(), layer_init(nn.Linear(32, 1), std=1.0))
        self.actor = nn.Sequential(layer_init(nn.Linear(2, 32)), nn.Tanh(), layer_init(nn.Linear(32, 3), std=0.01))

    def get_value(self, x):
        return self.critic(x)

    def get_action_and_value(self, x, action=None):
        probs = Categorical(logits=self.actor(x))
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action), probs.entropy(), self.critic(x)


if __name__ == "__main__":
    torch.manual_seed(1)
    num_envs, num_steps, update_epochs, num_minibatches, gamma, lam, clip = 16, 32, 4, 4, 0.99, 0.95, 0.2
    envs, agent = Envs(num_envs), Agent()
    optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-3, eps=1e-5)
    obs = torch.zeros(num_steps, num_envs, 2)
    actions, logprobs, rewards, dones, values = (torch.zeros(num_steps, num_envs) for _ in range(5))
    next_obs, next_done = envs.obs(), torch.zeros(num_envs)
    updates = 8

    for update in range(updates):
        optimizer.param_groups[0]["lr"] = (1.0 - update / updates) * 2.5e-3
        for step in range(num_steps):
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                action, logprob, _, value = agent.get_action_and_value(next_obs)
            values[step], actions[step], logprobs[step] = value.flatten(), action, logprob
            next_obs, rewards[step], next_done = envs.step(action)

        with torch.no_grad():
            next_value = agent.get_value(next_obs).flatten()
            advantages, last = torch.zeros_like(rewards), 0.0
            for t in reversed(range(num_steps)):
                nonterminal = 1.0 - (next_done if t == num_steps - 1 else dones[t + 1])
                following = next_value if t == num_steps - 1 else values[t + 1]
                delta = rewards[t] + gamma * following * nonterminal - values[t]
                advantages[t] = last = delta + gamma * lam * nonterminal * last
            returns = advantages + values

        b_obs, b_actions, b_logprobs = obs.reshape(-1, 2), actions.reshape(-1), logprobs.reshape(-1)
        b_adv, b_returns = advantages.reshape(-1), returns.reshape(-1)
        for _ in range(update_epochs):
            for mb in torch.randperm(num_steps * num_envs).chunk(num_minibatches):
                _, newlogprob, entropy, newvalue = agent.get_action_and_value(b_obs[mb], b_actions[mb])
                ratio = (newlogprob - b_logprobs[mb]).exp()
                adv = (b_adv[mb] - b_adv[mb].mean()) / (b_adv[mb].std() + 1e-8)
                pg_loss = torch.max(-adv * ratio, -adv * ratio.clamp(1 - clip, 1 + clip)).mean()
                v_loss = 0.5 * (newvalue.view(-1) - b_returns[mb]).pow(2).mean()
                loss = pg_loss - 0.01 * entropy.mean() + 0.5 * v_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        print(f"update {update}: reward {rewards.mean():.3f} policy {pg_loss.item():.4f} value {v_loss.item():.3f}")
