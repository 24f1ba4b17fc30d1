"""Train by iterations, not epochs: a global batch is drawn from an endless stream of micro-batches.

Windows of micro-batches run across the end of an epoch, as in large-scale language-model trainers.

Source: NVIDIA/Megatron-LM training loop (global batch out of micro batches)
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def cyclic(loader):
    while True:
        yield from loader


def train_step(model, optimizer, batches, n_micro, loss_func):
    optimizer.zero_grad(set_to_none=True)
    reported = 0.0
    for _ in range(n_micro):
        x, y = next(batches)
        loss = loss_func(model(x), y) / n_micro
        loss.backward()
        reported += loss.item()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return reported


def evaluate(model, loader, loss_func):
    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for x, y in loader:
            total += loss_func(model(x), y).item() * x.size(0)
            count += x.size(0)
    model.train()
    return total / count


def main(iterations=60, n_micro=4, micro_batch=10):
    torch.manual_seed(1234)
    weights = torch.randn(12, 1)
    x = torch.randn(700, 12)
    y = torch.sin(x @ weights * 0.5) + 0.05 * torch.randn(700, 1)
    train, valid = TensorDataset(x[:570], y[:570]), TensorDataset(x[570:], y[570:])
    # 57 micro-batches an epoch: no multiple of four, the window simply goes on in the next epoch
    batches = cyclic(DataLoader(train, batch_size=micro_batch, shuffle=True, drop_last=True))
    valid_loader = DataLoader(valid, batch_size=50)

    model = nn.Sequential(nn.Linear(12, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    loss_func = nn.MSELoss()

    for it in range(1, iterations + 1):
        loss = train_step(model, optimizer, batches, n_micro, loss_func)
        if it % 20 == 0:
            print(
                f" iteration {it:4d}/{iterations} | lm loss: {loss:.4f} | valid: {evaluate(model, valid_loader, loss_func):.4f}"
            )


main()
