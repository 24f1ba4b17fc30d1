"""Graph convolutional network on a small synthetic citation graph, full batch, masks for train/val/test.

Source: sinhasam/vaal#2
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(18)

N, CLASSES = 240, 4
labels = torch.randint(0, CLASSES, (N,))
same = labels.unsqueeze(0) == labels.unsqueeze(1)
adj = (torch.rand(N, N) < torch.where(same, 0.06, 0.01)).float()
adj = ((adj + adj.t()) > 0).float().fill_diagonal_(1.0)
degree = adj.sum(1)
adj = adj / (degree.sqrt().unsqueeze(0) * degree.sqrt().unsqueeze(1))
features = 0.35 * F.one_hot(labels, CLASSES).float() @ torch.randn(CLASSES, 30) + torch.randn(N, 30)

order = torch.randperm(N)
idx_train, idx_val, idx_test = order[:60], order[60:140], order[140:]


class GraphConvolution(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, adj):
        return adj @ (x @ self.weight) + self.bias


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super().__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, adj):
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        return F.log_softmax(self.gc2(x, adj), dim=1)


def accuracy(output, idx):
    return (output[idx].argmax(1) == labels[idx]).float().mean().item()


model = GCN(30, 16, CLASSES, dropout=0.5)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)

for epoch in range(60):
    model.train()
    optimizer.zero_grad()
    output = model(features, adj)
    loss_train = F.nll_loss(output[idx_train], labels[idx_train])
    loss_train.backward()
    optimizer.step()

    if (epoch + 1) % 15 == 0:
        with torch.no_grad():
            output = model(features, adj)  # expect: evaluated-in-training-mode
        loss_val = F.nll_loss(output[idx_val], labels[idx_val])
        print(f"Epoch: {epoch + 1:04d} loss_val: {loss_val.item():.4f} acc_val: {accuracy(output, idx_val):.4f}")

model.eval()
with torch.no_grad():
    print(f"Test accuracy: {accuracy(model(features, adj), idx_test):.4f}")
