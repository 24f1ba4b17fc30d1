"""VQ-VAE on digits: the quantised code is passed through with the straight-through estimator.

Source: zalandoresearch/pytorch-vq-vae
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader


class VectorQuantizer(nn.Module):
    def __init__(self, num_embeddings, embedding_dim, commitment_cost):
        super().__init__()
        self._embedding = nn.Embedding(num_embeddings, embedding_dim)
        self._embedding.weight.data.uniform_(-0.5, 0.5)
        self._commitment_cost = commitment_cost

    def forward(self, inputs):
        inputs = inputs.permute(0, 2, 3, 1).contiguous()  # BCHW -> BHWC
        flat = inputs.view(-1, self._embedding.embedding_dim)
        distances = (
            flat.pow(2).sum(1, keepdim=True)
            + self._embedding.weight.pow(2).sum(1)
            - 2 * flat @ self._embedding.weight.t()
        )
        indices = distances.argmin(dim=1)
        quantized = self._embedding(indices).view(inputs.shape)
        e_latent_loss = F.mse_loss(quantized.detach(), inputs)
        q_latent_loss = F.mse_loss(quantized, inputs.detach())
        loss = q_latent_loss + self._commitment_cost * e_latent_loss
        quantized = inputs + (quantized - inputs).detach()
        usage = F.one_hot(indices, self._embedding.num_embeddings).float().mean(0)
        perplexity = torch.exp(-torch.sum(usage * torch.log(usage + 1e-10)))
        return loss, quantized.permute(0, 3, 1, 2).contiguous(), perplexity


class VQVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 8, 3, 1, 1))
        self.vq = VectorQuantizer(32, 8, 0.25)
        self.decoder = nn.Sequential(nn.Conv2d(8, 16, 3, 1, 1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1))

    def forward(self, x):
        loss, quantized, perplexity = self.vq(self.encoder(x))
        return loss, self.decoder(quantized), perplexity


torch.manual_seed(0)
x = torch.tensor(load_digits().images / 16.0, dtype=torch.float32).unsqueeze(1)
x = x[torch.randperm(len(x))]
training_loader, validation = DataLoader(x[:1500], batch_size=50, shuffle=True), x[1500:]
data_variance = x[:1500].var()
model = VQVAE()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, amsgrad=False)

for epoch in range(3):
    model.train()
    for data in training_loader:
        optimizer.zero_grad()
        vq_loss, data_recon, perplexity = model(data)
        recon_error = F.mse_loss(data_recon, data) / data_variance
        (recon_error + vq_loss).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        _, reconstruction, valid_perplexity = model(validation)
        error = F.mse_loss(reconstruction, validation) / data_variance
    print(
        f"epoch {epoch}: recon {recon_error.item():.3f}, valid {error:.3f}, codes in use (perplexity) {valid_perplexity:.1f}"
    )
