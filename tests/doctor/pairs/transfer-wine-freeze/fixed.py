"""Transfer learning: pretrain a body on one task, freeze it, train a new head for another.

Source: open-mmlab/mmdetection#4040
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

torch.manual_seed(5)

X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=5, stratify=y)
mean, std = X_train.mean(0), X_train.std(0)
X_train = torch.tensor((X_train - mean) / std, dtype=torch.float32)
X_test = torch.tensor((X_test - mean) / std, dtype=torch.float32)
y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)


class Model(nn.Module):
    def __init__(self, n_out):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU())
        self.neck = nn.Linear(24, 12)
        self.head = nn.Linear(12, n_out)

    def forward(self, x):
        return self.head(torch.relu(self.neck(self.body(x))))


def run(model, loss_fn, target, epochs, lr):
    params = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.Adam(params, lr=lr)
    model.train()
    for _ in range(epochs):
        for idx in torch.randperm(len(X_train)).split(31):
            opt.zero_grad()
            loss_fn(model(X_train[idx, :12]), target[idx]).backward()
            opt.step()


# task A: predict the last measurement (proline) from the other twelve
pretrained = Model(1)
run(pretrained, nn.MSELoss(), X_train[:, 12:], epochs=10, lr=5e-3)

# task B: the cultivar. Keep the body, new neck and head
model = Model(3)
model.body.load_state_dict(pretrained.body.state_dict())
for name, param in model.named_parameters():
    if "head" not in name and "neck" not in name:
        param.requires_grad = False
for epoch in range(1, 4):
    run(model, nn.CrossEntropyLoss(), y_train, epochs=2, lr=1e-2)
    model.eval()
    with torch.no_grad():
        acc = (model(X_test[:, :12]).argmax(1) == y_test).float().mean().item()
    print(f"round {epoch}: test accuracy {acc:.3f}")
