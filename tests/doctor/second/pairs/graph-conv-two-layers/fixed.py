"""Two-layer graph convolution by hand on a stochastic block graph, full batch.

Source: wangle53/CSA-CDGAN#5
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
N, C = 150, 3
label = torch.arange(N) % C
same = label[:, None] == label[None, :]
adj = (torch.rand(N, N) < torch.where(same, 0.12, 0.02)).float().triu(1)
adj = adj + adj.t() + torch.eye(N)
deg = adj.sum(1)
A = adj / (deg[:, None] * deg[None, :]).sqrt()
features = 0.8 * F.one_hot(label, C).float() + torch.randn(N, C)
features = torch.cat([features, torch.randn(N, 5)], 1)
perm = torch.randperm(N)
train_mask, test_mask = perm[:60], perm[60:]


class GCNLayer(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.lin = nn.Linear(d_in, d_out)

    def forward(self, A, h):
        return A @ self.lin(h)


class GCN(nn.Module):
    def __init__(self, d_in, d_hidden, n_classes):
        super().__init__()
        self.conv1 = GCNLayer(d_in, d_hidden)
        self.conv2 = GCNLayer(d_hidden, n_classes)
        self.last_embedding = None

    def forward(self, A, x):
        h = F.relu(self.conv1(A, x))
        self.last_embedding = h.detach()
        return self.conv2(A, h)


model = GCN(features.shape[1], 16, C)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)
for epoch in range(40):
    model.train()
    optimizer.zero_grad()
    out = model(A, features)
    loss = F.cross_entropy(out[train_mask], label[train_mask])
    loss.backward()
    optimizer.step()
    if epoch % 10 == 9:
        print(f"epoch {epoch + 1} loss {loss.item():.4f}")

model.eval()
with torch.no_grad():
    pred = model(A, features).argmax(1)
print("test acc", (pred[test_mask] == label[test_mask]).float().mean().item())
print("embedding norm", round(model.last_embedding.norm().item(), 4))
