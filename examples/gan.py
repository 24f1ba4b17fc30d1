"""A generative adversarial network: one network draws digits, the other tells them from real ones."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

import truestep as ts

EPOCHS, NOISE = 40, 16

pixels, labels = load_digits(return_X_y=True)
digits = torch.tensor(pixels / 8 - 1, dtype=torch.float32)  # from -1 to 1
train = ts.Batches(digits, batch_size=128, shuffle=True)

torch.manual_seed(0)
generator = nn.Sequential(
    nn.Linear(NOISE, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 64), nn.Tanh()
)
critic = nn.Sequential(
    nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(128, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
)
generator_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
critic_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.999))

for epoch in range(EPOCHS):
    critic_loss, generator_loss = ts.RunningMean(), ts.RunningMean()
    for real in train.epoch(epoch):
        drawn = generator(torch.randn(len(real), NOISE))

        # The critic: real ones up, drawn ones down. `detach`, for this step is not the generator's.
        critic_optimizer.zero_grad()
        loss = F.softplus(-critic(real)).mean() + F.softplus(critic(drawn.detach())).mean()
        loss.backward()
        critic_optimizer.step()
        critic_loss.add(loss, weight=len(real))

        # The generator: whatever the critic now takes for real.
        generator_optimizer.zero_grad()
        loss = F.softplus(-critic(drawn)).mean()
        loss.backward()
        generator_optimizer.step()
        generator_loss.add(loss, weight=len(real))
    if epoch % 10 == 9:
        print(f"epoch {epoch + 1}: critic {critic_loss.compute():.3f}, generator {generator_loss.compute():.3f}")

generator.eval()
with torch.no_grad():
    drawn = generator(torch.randn(1000, NOISE))
for line in ((drawn[:6].view(6, 8, 8).transpose(0, 1).reshape(8, 48) + 1) * 2).long().tolist():
    print("".join(" .:o@"[level] for level in line))
classes = LogisticRegression(max_iter=1000).fit(digits, labels).predict(drawn)
print(f"classes {len(set(classes.tolist()))}")  # it should not always draw the same
print(f"mean_gap {(drawn.mean(0) - digits.mean(0)).abs().mean():.3f}")
print(f"nearest {torch.cdist(drawn, digits).min(1).values.mean() / torch.cdist(digits, digits).median():.3f}")
