"""Graph classification on mini-batches of small random graphs: ring-like, star-like or random."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader


def random_graph(kind):
    nodes = int(torch.randint(6, 12, (1,)))
    adjacency = (torch.rand(nodes, nodes) < 0.08).float()
    if kind == 0:
        ring = torch.arange(nodes)
        adjacency[ring, (ring + 1) % nodes] = 1.0
    elif kind == 1:
        adjacency[0, 1:] = 1.0
    else:
        adjacency = (torch.rand(nodes, nodes) < 0.25).float()
    adjacency = ((adjacency + adjacency.t()) > 0).float().fill_diagonal_(0)
    features = torch.cat([adjacency.sum(1, keepdim=True) / nodes, torch.rand(nodes, 3)], dim=1)
    return features, adjacency, kind


def make_graphs(per_kind):
    # all graphs of the first kind, then all of the second, then all of the third
    return [random_graph(kind) for kind in range(3) for _ in range(per_kind)]


def collate(graphs):
    """One big graph whose parts are not connected, as the graph libraries do."""
    features = torch.cat([g[0] for g in graphs])
    adjacency = torch.block_diag(*[g[1] for g in graphs])
    sizes = torch.tensor([len(g[0]) for g in graphs])
    belongs = torch.repeat_interleave(torch.arange(len(graphs)), sizes)
    labels = torch.tensor([g[2] for g in graphs])
    return features, adjacency, belongs, labels


class GraphConv(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.own = nn.Linear(n_in, n_out)
        self.neighbours = nn.Linear(n_in, n_out, bias=False)

    def forward(self, x, adjacency):
        return self.own(x) + self.neighbours(adjacency @ x)


class GNN(nn.Module):
    def __init__(self, n_features, hidden, n_layers, n_classes, dropout):
        super().__init__()
        widths = [n_features] + [hidden] * n_layers
        self.convs = nn.ModuleList([GraphConv(a, b) for a, b in zip(widths, widths[1:])])
        self.norm = nn.LayerNorm(hidden)
        self.lin = nn.Linear(hidden, n_classes)
        self.dropout = dropout

    def forward(self, x, adjacency, belongs):
        for conv in self.convs:
            x = F.relu(conv(x, adjacency))
        graphs = int(belongs.max()) + 1
        pooled = torch.zeros(graphs, x.size(1)).index_add(0, belongs, x)
        pooled = self.norm(pooled)
        pooled = F.dropout(pooled, p=self.dropout, training=self.training)
        return self.lin(pooled)


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--hidden", type=int, default=24)
    p.add_argument("--layers", type=int, default=2)
    p.add_argument("--lr", type=float, default=0.01)
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--seed", type=int, default=12)
    return p.parse_args()


def test(model, loader):
    model.eval()
    correct, loss = 0, 0.0
    with torch.no_grad():
        for x, adjacency, belongs, y in loader:
            out = model(x, adjacency, belongs)
            correct += int((out.argmax(dim=1) == y).sum())
            loss += F.cross_entropy(out, y, reduction="sum").item()
    return loss / len(loader.dataset), correct / len(loader.dataset)


def main():
    opt = parse()
    torch.manual_seed(opt.seed)
    train_loader = DataLoader(make_graphs(50), batch_size=16, shuffle=True, collate_fn=collate)
    test_loader = DataLoader(make_graphs(20), batch_size=16, collate_fn=collate)
    model = GNN(4, opt.hidden, opt.layers, 3, dropout=0.2)
    optimizer = torch.optim.Adam(model.parameters(), lr=opt.lr, weight_decay=5e-4)
    for epoch in range(1, opt.epochs + 1):
        model.train()
        epoch_loss = 0
        for x, adjacency, belongs, y in train_loader:
            optimizer.zero_grad()
            out = model(x, adjacency, belongs)
            loss = F.cross_entropy(out, y)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item() * len(y)
        test_loss, test_acc = test(model, test_loader)
        print(
            f"Epoch {epoch:02d} loss {epoch_loss / len(train_loader.dataset):.5f} test {test_loss:.5f} acc {test_acc:.4f}"
        )


if __name__ == "__main__":
    main()
