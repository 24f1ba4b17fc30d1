"""Linear SVM trained with the hinge loss on two noisy blobs.

Source: kazuto1011/svm-pytorch#4
"""

import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import make_blobs


def train(X, Y, model, args):
    X = torch.FloatTensor(X)
    Y = torch.FloatTensor(Y)
    N = len(Y)

    optimizer = optim.SGD(model.parameters(), lr=args.lr)

    for epoch in range(args.epoch):
        model.train()
        perm = torch.randperm(N)
        sum_loss = 0

        for i in range(0, N, args.batchsize):
            x = X[perm[i : i + args.batchsize]]
            y = Y[perm[i : i + args.batchsize]]

            optimizer.zero_grad()
            output = model(x).squeeze(1)
            weight = model.weight.squeeze()
            loss = torch.mean(torch.clamp(1 - y * output, min=0))
            loss += args.c * (weight @ weight) / 2.0
            loss.backward()
            optimizer.step()

            sum_loss += float(loss.detach())  # expect: loss-not-averaged-as-reported

        print("Epoch: {:4d}\tloss: {:.4f}".format(epoch, sum_loss / N))  # expect: loss-not-averaged-as-reported


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--c", type=float, default=0.01)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--batchsize", type=int, default=10)
    parser.add_argument("--epoch", type=int, default=6)
    args = parser.parse_args()

    torch.manual_seed(0)
    X, Y = make_blobs(n_samples=500, centers=2, random_state=0, cluster_std=0.6)
    X = (X - X[:400].mean(axis=0)) / X[:400].std(axis=0)
    Y = np.where(Y == 0, -1.0, 1.0)
    model = nn.Linear(2, 1)
    train(X[:400], Y[:400], model, args)
    with torch.no_grad():
        margin = model(torch.FloatTensor(X[400:])).squeeze(1) * torch.FloatTensor(Y[400:])
    print("held-out accuracy", (margin > 0).float().mean().item())
