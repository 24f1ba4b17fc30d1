"""A variational autoencoder: digits squeezed into eight numbers, and drawn anew from them."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import truestep as ts

pixels, _ = load_digits(return_X_y=True)
digits = torch.tensor(pixels / 16, dtype=torch.float32)
train = ts.Batches(digits[:1400], batch_size=64, shuffle=True)


class VAE(nn.Module):
    def __init__(self, width=128, latent=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, 64))

    def forward(self, images):
        mean, log_variance = self.encoder(images).chunk(2, 1)
        latent = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.decoder(latent), mean, log_variance


def loss_of(model, images):
    """The negative evidence lower bound of an image, in nats: what it costs to draw it, and to say which."""
    logits, mean, log_variance = model(images)
    drawing = F.binary_cross_entropy_with_logits(logits, images, reduction="none").sum(1)
    saying = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
    return (drawing + saying).mean()


torch.manual_seed(0)
model = VAE()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(40):
    mean = ts.RunningMean()
    model.train()
    for step in ts.train_steps(model, train.epoch(epoch), loss_of, optimizer):
        mean.add(step.loss, step.count)
    if epoch % 10 == 9:
        print(f"epoch {epoch + 1}: loss {mean.compute():.3f}")

torch.manual_seed(1)
test_loss = ts.evaluate(model, ts.Batches(digits[1400:], batch_size=64), loss_of)["loss"]
average = digits[:1400].mean(0).clamp(0.001, 0.999).expand(len(digits) - 1400, 64)  # the same for every digit
print(f"test_loss {test_loss:.3f}")
print(f"average_loss {F.binary_cross_entropy(average, digits[1400:], reduction='sum') / len(average):.3f}")
