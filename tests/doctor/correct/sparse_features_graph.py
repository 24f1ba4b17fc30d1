"""Graph convolution whose features and neighbourhoods are sparse tensors, features first.

Source: pytorch/examples
"""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(42)
NODES, WORDS, KINDS = 180, 40, 3


def papers():
    kinds = torch.randint(KINDS, (NODES,))
    topics = torch.rand(KINDS, WORDS) < 0.2
    words = (torch.rand(NODES, WORDS) < 0.05) | (topics[kinds] & (torch.rand(NODES, WORDS) < 0.4))
    features = words.float() / words.sum(1, keepdim=True).clamp(min=1)
    cites = torch.rand(NODES, NODES) < torch.where(kinds[:, None] == kinds, 0.05, 0.005)
    near = (cites | cites.T | torch.eye(NODES, dtype=torch.bool)).float()
    degree = near.sum(1).rsqrt()
    return features.to_sparse(), (degree[:, None] * near * degree).to_sparse(), kinds


class Convolution(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.kernel = nn.Parameter(nn.init.xavier_normal_(torch.empty(inputs, outputs)))

    def forward(self, features, near):
        return torch.mm(near, torch.mm(features, self.kernel))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Convolution(WORDS, 16), Convolution(16, KINDS)
        self.dropout = nn.Dropout(0.5)

    def forward(self, features, near):
        hidden = self.dropout(F.relu(self.first(features, near)))
        return F.log_softmax(self.second(hidden, near), dim=1)


features, near, kinds = papers()
order = torch.randperm(NODES)
train, test = order[:120], order[120:]
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4)
for epoch in range(40):
    net.train()
    optimizer.zero_grad()
    loss = F.nll_loss(net(features, near)[train], kinds[train])
    loss.backward()
    optimizer.step()
    if epoch % 10 == 9:
        net.eval()
        with torch.no_grad():
            right = (net(features, near)[test].argmax(1) == kinds[test]).float().mean()
        print(f"epoch {epoch + 1} loss {loss.item():.4f} test accuracy {right.item():.4f}")
