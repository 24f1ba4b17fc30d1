"""Graph convolution on one graph: the whole graph is the batch, masks select the nodes of each split.

Source: tkipf/pygcn
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parameter import Parameter


class GraphConvolution(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = Parameter(torch.empty(in_features, out_features))
        self.bias = Parameter(torch.empty(out_features))
        stdv = 1.0 / math.sqrt(out_features)
        self.weight.data.uniform_(-stdv, stdv)
        self.bias.data.uniform_(-stdv, stdv)

    def forward(self, input, adj):
        return torch.spmm(adj, input @ self.weight) + self.bias


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super().__init__()
        self.gc1, self.gc2, self.dropout = GraphConvolution(nfeat, nhid), GraphConvolution(nhid, nclass), dropout

    def forward(self, x, adj):
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        return F.log_softmax(self.gc2(x, adj), dim=1)


def block_model(n=240, k=4):
    labels = torch.arange(n) % k
    p = torch.where(labels[:, None] == labels[None], 0.06, 0.01)
    adj = (torch.rand(n, n) < p).float().triu(1)
    adj = adj + adj.T + torch.eye(n)
    degree = adj.sum(1).rsqrt()
    features = F.one_hot(labels, k).float() * 0.5 + torch.randn(n, k)
    return (degree[:, None] * adj * degree[None]).to_sparse(), torch.cat([features, torch.randn(n, 8)], 1), labels


torch.manual_seed(42)
adj, features, labels = block_model()
order = torch.randperm(len(labels))
idx_train, idx_val, idx_test = order[:80], order[80:140], order[140:]
model = GCN(features.shape[1], 16, 4, dropout=0.5)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)


def accuracy(output, idx):
    return (output[idx].argmax(1) == labels[idx]).float().mean().item()


for epoch in range(60):
    model.train()
    optimizer.zero_grad()
    loss_train = F.nll_loss(model(features, adj)[idx_train], labels[idx_train])
    loss_train.backward()
    optimizer.step()
    if epoch % 15 == 14:
        model.eval()
        with torch.no_grad():
            output = model(features, adj)
            loss_val = F.nll_loss(output[idx_val], labels[idx_val])
        print(
            "Epoch: {:04d} loss_train: {:.4f} loss_val: {:.4f} acc_val: {:.4f}".format(
                epoch + 1, loss_train.item(), loss_val.item(), accuracy(output, idx_val)
            )
        )

model.eval()
with torch.no_grad():
    print("test accuracy", round(accuracy(model(features, adj), idx_test), 4))
