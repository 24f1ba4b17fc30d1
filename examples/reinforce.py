"""REINFORCE: a policy learns to balance a pole on a cart, from nothing but how long it stood."""

import torch
from torch import nn

import truestep as ts

CARTS, LONGEST = 64, 200  # carts that are tried side by side; steps after which a try ends


class Poles:
    """Poles on carts, pushed left or right at every step (Barto, Sutton and Anderson 1983)."""

    def __init__(self, count):
        self.position, self.speed, self.angle, self.turning = (torch.rand(4, count) - 0.5) / 10
        self.standing = torch.ones(count, dtype=torch.bool)

    def state(self):
        return torch.stack([self.position, self.speed, self.angle, self.turning], dim=1)

    def push(self, right):
        """Push each cart for 1/50 s with 10 N: 1 kg carts, 100 g poles of 1 m."""
        force, sine, cosine = 20.0 * right - 10.0, self.angle.sin(), self.angle.cos()
        pull = (force + 0.05 * self.turning.square() * sine) / 1.1
        falling = (9.8 * sine - cosine * pull) / (0.5 * (4 / 3 - 0.1 * cosine.square() / 1.1))
        driving = pull - 0.05 * falling * cosine / 1.1
        self.position, self.speed = self.position + self.speed / 50, self.speed + driving / 50
        self.angle, self.turning = self.angle + self.turning / 50, self.turning + falling / 50
        self.standing = self.standing & (self.position.abs() < 2.4) & (self.angle.abs() < 0.21)


def play(policy, count):
    """Return the log-probabilities of what was done, and whether a pole then stood: both (steps, count)."""
    poles, chosen, stood = Poles(count), [], []
    for _ in range(LONGEST):
        if not poles.standing.any():
            break
        acting = poles.standing
        choices = torch.distributions.Bernoulli(logits=policy(poles.state()).squeeze(1))
        right = choices.sample()
        poles.push(right)
        chosen.append(choices.log_prob(right) * acting)
        stood.append(poles.standing.float())
    return torch.stack(chosen), torch.stack(stood)


torch.manual_seed(0)
policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(policy.parameters(), lr=2e-2)
best = ts.Best("steps", higher=True)
for update in range(60):
    chosen, stood = play(policy, CARTS)
    best.update({"steps": stood.sum(0).mean().item()}, update, policy)
    if update % 10 == 9:
        print(f"update {update + 1}: stood for {stood.sum(0).mean():.1f} steps")
    to_come = stood.flip(0).cumsum(0).flip(0)  # from each step on
    advantage = (to_come - to_come.mean(1, keepdim=True)) / (to_come.std() + 1e-6)  # better than the others just then
    optimizer.zero_grad()
    loss = -(chosen * advantage).sum() / CARTS
    loss.backward()
    optimizer.step()
    if best.value > 0.99 * LONGEST:
        break

policy.load_state_dict(best.weights)
policy.eval()
with torch.no_grad():
    _, stood = play(policy, 256)
print(f"steps {stood.sum(0).mean():.1f}")
