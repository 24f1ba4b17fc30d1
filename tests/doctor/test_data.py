"""Mistakes with data, schedules and several models in other styles than their pages', and correct code that looks alike."""

from __future__ import annotations

import textwrap

import pytest
from examples import findings_in

HEAD = """
import numpy as np, torch
from torch import nn, optim
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, random_split
torch.manual_seed(0)
X, y = torch.randn(240, 8), torch.arange(240) % 4
def net():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
def fit(model, loader, epochs=2, schedule=None, lr=0.05, optimizer=None):
    optimizer = optimizer or optim.SGD(model.parameters(), lr=lr)
    for epoch in range(epochs):
        model.train()
        for xb, yb in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            optimizer.step()
        if schedule: schedule.step()
@torch.no_grad()
def score(model, loader):
    model.eval()
    return sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in loader)
"""

MISTAKES = {
    "two random splits of one dataset": (
        "train-and-evaluation-overlap",
        """
        class Noisy(Dataset):
            def __init__(self, x, y, noise): self.x, self.y, self.noise = x, y, noise
            def __len__(self): return len(self.x)
            def __getitem__(self, i): return self.x[i] + self.noise * torch.randn(8), self.y[i]
        def main():
            train_set, _ = random_split(Noisy(X, y, 0.1), [180, 60])
            _, val_set = random_split(Noisy(X, y, 0.0), [180, 60])  # here
            loaders = {"train": DataLoader(train_set, 20, shuffle=True), "val": DataLoader(val_set, 20)}
            model = net()
            for epoch in range(3):
                fit(model, loaders["train"], 1)
                print(score(model, loaders["val"]))
        main()
        """,
    ),
    "slices of tensors": (
        "train-and-evaluation-overlap",
        """
        x_train, y_train = X[:180], y[:180]
        x_val, y_val = X[150:], y[150:]  # here
        model = net(); optimizer = optim.Adam(model.parameters())
        def evaluate(model, features, targets):
            with torch.no_grad():
                return (model(features).argmax(1) == targets).float().mean()
        for epoch in range(4):
            order = torch.randperm(180)
            for i in range(0, 180, 30):
                optimizer.zero_grad()
                F.cross_entropy(model(x_train[order[i:i+30]]), y_train[order[i:i+30]]).backward()
                optimizer.step()
            print(evaluate(model, x_val, y_val))
        """,
    ),
    "the wrong dataset": (
        "train-and-evaluation-overlap",
        """
        train_ds, val_ds = TensorDataset(X[:180], y[:180]), TensorDataset(X[180:], y[180:])
        train_loader = DataLoader(train_ds, batch_size=20, shuffle=True)
        val_loader = DataLoader(train_ds, batch_size=20)  # here
        model = net()
        fit(model, train_loader); print(score(model, val_loader))
        """,
    ),
    "cosine for epochs": (
        "scheduler-per-batch-meant-per-epoch",
        """
        def train(epochs):
            model = net(); opt = optim.Adam(model.parameters(), lr=1e-3)
            sched = optim.lr_scheduler.CosineAnnealingLR(opt, T_max=epochs)
            loader = DataLoader(TensorDataset(X, y), 30, shuffle=True)
            for epoch in range(epochs):
                for xb, yb in loader:
                    loss = F.cross_entropy(model(xb), yb)
                    opt.zero_grad(); loss.backward(); opt.step()
                    sched.step()  # here
        train(6)
        """,
    ),
    "milestones in epochs": (
        "scheduler-per-batch-meant-per-epoch",
        """
        model = net(); opt = optim.Adam(model.parameters(), lr=1e-3)
        sched = optim.lr_scheduler.MultiStepLR(opt, milestones=[3, 5], gamma=0.1)
        loader = DataLoader(TensorDataset(X, y), 24, shuffle=True)
        for epoch in range(8):
            for xb, yb in loader:
                loss = F.cross_entropy(model(xb), yb)
                opt.zero_grad(); loss.backward(); opt.step()
                sched.step()  # here
        """,
    ),
    "sorted without a loader": (
        "not-shuffled-and-sorted",
        """
        order = y.argsort(); X, y = X[order], y[order]
        model = net(); optimizer = optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(5):
            for i in range(0, len(X), 20):
                xb, yb = X[i:i+20], y[i:i+20]  # here
                optimizer.zero_grad()
                nn.CrossEntropyLoss()(model(xb), yb).backward()
                optimizer.step()
        """,
    ),
    "sorted binary labels": (
        "not-shuffled-and-sorted",
        """
        z = (y > 1).float().unsqueeze(1)
        order = z[:, 0].argsort()
        loader = DataLoader(TensorDataset(X[order], z[order]), batch_size=20)  # here
        model = nn.Linear(8, 1); optimizer = optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(3):
            for xb, zb in loader:
                optimizer.zero_grad(); F.binary_cross_entropy_with_logits(model(xb), zb).backward(); optimizer.step()
        """,
    ),
    "a shuffled stream": (
        "iterable-duplicated-by-workers",
        """
        class Stream(IterableDataset):
            def __iter__(self):
                for i in torch.randperm(240):
                    yield X[i], y[i]
        loader = DataLoader(Stream(), batch_size=20, num_workers=2)  # here
        fit(net(), loader)
        """,
    ),
    "pixels divided twice": (
        "inputs-not-scaled",
        """
        class Pixels(Dataset):
            def __init__(self): self.x = torch.randint(0, 256, (240, 1, 6, 6)).float() / 255
            def __len__(self): return 240
            def __getitem__(self, i): return self.x[i], y[i]
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)); opt = optim.Adam(model.parameters())
        for epoch in range(2):
            for xb, yb in DataLoader(Pixels(), 24, shuffle=True):
                xb = xb / 255.0  # here
                opt.zero_grad(); F.cross_entropy(model(xb), yb).backward(); opt.step()
        """,
    ),
    "pixels scaled in training only": (
        "inputs-not-scaled",
        """
        P = torch.randint(0, 256, (240, 1, 6, 6)).float()
        class Net(nn.Module):
            def __init__(self): super().__init__(); self.f = nn.Linear(36, 4)
            def forward(self, x): return self.f(x.flatten(1))
        model = Net(); opt = optim.Adam(model.parameters())
        train, val = DataLoader(TensorDataset(P[:180], y[:180]), 20, shuffle=True), DataLoader(TensorDataset(P[180:], y[180:]), 20)
        for epoch in range(2):
            for xb, yb in train:
                opt.zero_grad(); F.cross_entropy(model(xb / 255), yb).backward(); opt.step()
            with torch.no_grad():
                for xb, yb in val:
                    print((model(xb).argmax(1) == yb).sum())  # here
        """,
    ),
    "small numbers scaled once more, in training only": (
        "inputs-not-scaled",
        """
        P = torch.rand(240, 36)
        model = nn.Sequential(nn.Linear(36, 4)); opt = optim.Adam(model.parameters())
        train, val = DataLoader(TensorDataset(P[:180], y[:180]), 20, shuffle=True), DataLoader(TensorDataset(P[180:], y[180:]), 20)
        for epoch in range(2):
            for xb, yb in train:
                loss = F.cross_entropy(model(xb / 16.0), yb)  # here
                opt.zero_grad(); loss.backward(); opt.step()
            with torch.no_grad():
                for xb, yb in val:
                    print((model(xb).argmax(1) == yb).sum())
        """,
    ),
    "held-out rows standardised by themselves": (
        "inputs-not-scaled",
        """
        def z(rows): return (rows - rows.mean(0)) / rows.std(0)
        model = nn.Sequential(nn.Linear(8, 4)); opt = optim.Adam(model.parameters())
        train, val = DataLoader(TensorDataset(z(X[:180]), y[:180]), 20, shuffle=True), DataLoader(TensorDataset(z(X[180:]), y[180:]), 20)
        for epoch in range(2):
            for xb, yb in train:
                opt.zero_grad(); F.cross_entropy(model(xb), yb).backward(); opt.step()
            with torch.no_grad():
                for xb, yb in val:
                    print((model(xb).argmax(1) == yb).sum())  # here
        """,
    ),
    "optimizer made anew in a class": (
        "scheduler-for-another-optimizer",
        """
        class Trainer:
            def __init__(self):
                self.model = net()
                self.opt = optim.AdamW(self.model.parameters(), lr=1e-3)
                self.sched = optim.lr_scheduler.CosineAnnealingLR(self.opt, T_max=5)  # here
            def fit(self, loader):
                self.opt = optim.AdamW(self.model.parameters(), lr=1e-3)
                for epoch in range(5):
                    for xb, yb in loader:
                        self.opt.zero_grad(); F.cross_entropy(self.model(xb), yb).backward(); self.opt.step()
                    self.sched.step()
        Trainer().fit(DataLoader(TensorDataset(X, y), 40, shuffle=True))
        """,
    ),
    "two optimizers, one schedule twice": (
        "scheduler-for-another-optimizer",
        """
        a, b = net(), net()
        opt_a, opt_b = optim.SGD(a.parameters(), lr=0.1), optim.SGD(b.parameters(), lr=0.1)
        sched_a = optim.lr_scheduler.StepLR(opt_a, 2)
        sched_b = optim.lr_scheduler.StepLR(opt_a, 2)  # here
        for epoch in range(4):
            for xb, yb in DataLoader(TensorDataset(X, y), 40, shuffle=True):
                for m, o in ((a, opt_a), (b, opt_b)):
                    o.zero_grad(); F.cross_entropy(m(xb), yb).backward(); o.step()
            sched_a.step(); sched_b.step()
        """,
    ),
    "a test set dropped, made by a function": (
        "evaluation-data-dropped",
        """
        def make(x, y, train):
            return DataLoader(TensorDataset(x, y), batch_size=32, shuffle=train, drop_last=True)  # here
        train_loader, test_loader = make(X[:160], y[:160], True), make(X[160:], y[160:], False)
        model = net(); fit(model, train_loader); print(score(model, test_loader))
        """,
    ),
    "numpy generator of the dataset": (
        "same-random-numbers-in-workers",
        """
        class Augmented(Dataset):
            def __init__(self, x, y): self.x, self.y, self.rng = x, y, np.random.default_rng(1)
            def __len__(self): return len(self.x)
            def __getitem__(self, i): return self.x[i] + float(self.rng.normal(0, 0.1)), self.y[i]
        loader = DataLoader(Augmented(X, y), batch_size=40, shuffle=True, num_workers=2)  # here
        fit(net(), loader)
        """,
    ),
    "weights of classes, in a list": (
        "sampler-given-class-weights",
        """
        from torch.utils.data.sampler import WeightedRandomSampler
        counts = np.bincount(y.numpy())
        sampler = WeightedRandomSampler([1.0 / c for c in counts], len(y), replacement=True)  # here
        fit(net(), DataLoader(TensorDataset(X, y), batch_size=20, sampler=sampler))
        """,
    ),
    "arrays scaled in place": (
        "dataset-changed-by-reading",
        """
        class Images(Dataset):
            def __init__(self): self.images = [np.random.rand(8).astype("float32") * 255 for _ in range(240)]
            def __len__(self): return 240
            def __getitem__(self, i):
                image = self.images[i]
                image /= 255.0  # here
                return torch.from_numpy(image), y[i]
        fit(net(), DataLoader(Images(), batch_size=20, shuffle=True))
        """,
    ),
    "a generator under no_grad": (
        "generator-gets-no-gradient",
        """
        def train():
            G, D = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8)), nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(), nn.Linear(16, 1))
            g_opt, d_opt = optim.Adam(G.parameters(), 2e-4), optim.Adam(D.parameters(), 2e-4)
            bce = nn.BCEWithLogitsLoss()
            for epoch in range(2):
                for real, _ in DataLoader(TensorDataset(X, y), 40, shuffle=True):
                    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
                    fake = G(torch.randn(len(real), 4)).detach()  # here
                    d_loss = bce(D(real), ones) + bce(D(fake), zeros)
                    d_opt.zero_grad(); d_loss.backward(); d_opt.step()
                    g_loss = bce(D(fake), ones)
                    g_opt.zero_grad(); g_loss.backward(); g_opt.step()
        train()
        """,
    ),
}
MISTAKES |= {
    "a discriminator that is cleared after its step": (
        "discriminator-gradients-leak",
        """
        class GAN:
            def __init__(self):
                self.g, self.d = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8)), nn.Linear(8, 1)
                self.go, self.do = optim.Adam(self.g.parameters()), optim.Adam(self.d.parameters())
            def d_step(self, real):
                with torch.no_grad(): fake = self.g(torch.randn(len(real), 4))
                loss = F.softplus(-self.d(real)).mean() + F.softplus(self.d(fake)).mean()
                loss.backward()  # here
                self.do.step(); self.do.zero_grad()
            def g_step(self, n):
                self.go.zero_grad(); F.softplus(-self.d(self.g(torch.randn(n, 4)))).mean().backward(); self.go.step()
        gan = GAN()
        for real, _ in DataLoader(TensorDataset(X, y), 24, shuffle=True):
            gan.d_step(real); gan.g_step(24)
        """,
    ),
    "a scaler fitted before the split": (
        "statistics-from-evaluation-data",
        """
        from sklearn.datasets import load_iris
        from sklearn.model_selection import train_test_split
        from sklearn.preprocessing import StandardScaler
        data, target = load_iris(return_X_y=True)
        data = StandardScaler().fit_transform(data)  # here
        a, b, c, d = train_test_split(data, target, test_size=0.3, random_state=0)
        train = TensorDataset(torch.tensor(a, dtype=torch.float32), torch.tensor(c))
        model = nn.Linear(4, 3); fit(model, DataLoader(train, 15, shuffle=True))
        score(model, DataLoader(TensorDataset(torch.tensor(b, dtype=torch.float32), torch.tensor(d)), 45))
        """,
    ),
    "accuracy given to a plateau": (
        "plateau-watching-the-wrong-direction",
        """
        from sklearn.datasets import load_digits
        images, target = load_digits(return_X_y=True); images = torch.tensor(images[:900] / 16, dtype=torch.float32); target = torch.tensor(target[:900])
        class Trainer:
            def __init__(self):
                self.model = nn.Linear(64, 10); self.opt = optim.SGD(self.model.parameters(), lr=0.02)
                self.sched = optim.lr_scheduler.ReduceLROnPlateau(self.opt, factor=0.5, patience=1)  # here
            def run(self):
                for epoch in range(8):
                    fit(self.model, DataLoader(TensorDataset(images[:700], target[:700]), 50, shuffle=True), 1, optimizer=self.opt)
                    val_acc = score(self.model, DataLoader(TensorDataset(images[700:], target[700:]), 100)) / 200
                    self.sched.step(val_acc)
        Trainer().run()
        """,
    ),
    "the training loader in its place": (
        "train-and-evaluation-overlap",
        """
        train_loader, val_loader = DataLoader(TensorDataset(X[:180], y[:180]), 20, shuffle=True), DataLoader(TensorDataset(X[180:], y[180:]), 20)
        model = net()
        for epoch in range(3):
            fit(model, train_loader, 1)
            val_acc = score(model, train_loader)  # here
        """,
    ),
    "the training loader in a loop": (
        "train-and-evaluation-overlap",
        """
        def main():
            train_loader = DataLoader(TensorDataset(X[:180], y[:180]), 20, shuffle=True)
            val_loader = DataLoader(TensorDataset(X[180:], y[180:]), 20)
            model = net()
            for epoch in range(3):
                fit(model, train_loader, 1)
                model.eval(); correct = 0
                with torch.no_grad():
                    for xb, yb in train_loader:  # here
                        correct += (model(xb).argmax(1) == yb).sum()
        main()
        """,
    ),
    "steps in epochs, without a loader": (
        "scheduler-per-batch-meant-per-epoch",
        """
        EPOCHS = 6
        model = net(); opt = optim.SGD(model.parameters(), lr=0.1)
        sched = optim.lr_scheduler.StepLR(opt, 2, gamma=0.1)
        for epoch in range(EPOCHS):
            perm = torch.randperm(240)
            for i in range(0, 240, 24):
                idx = perm[i:i+24]
                opt.zero_grad(); F.cross_entropy(model(X[idx]), y[idx]).backward(); opt.step()
                sched.step()  # here
        """,
    ),
    "one seed for each epoch, an order drawn by hand": (
        "same-order-every-epoch",
        """
        model = net(); optimizer = optim.SGD(model.parameters(), 0.05)
        for epoch in range(3):
            torch.manual_seed(1)  # here
            order = torch.randperm(240)
            for rows in order.split(40):
                optimizer.zero_grad(); F.cross_entropy(model(X[rows]), y[rows]).backward(); optimizer.step()
        """,
    ),
    "two orders in one statement": (
        "inputs-and-targets-misaligned",
        """
        order = torch.randperm(240)
        inputs, targets = X[order], y[order.flip(0)]  # here
        fit(net(), DataLoader(TensorDataset(inputs, targets), 20, shuffle=True))
        """,
    ),
    "one seed for each epoch": (
        "same-order-every-epoch",
        """
        def train_epoch(model, optimizer, seed=7):
            torch.manual_seed(seed)  # here
            for xb, yb in DataLoader(TensorDataset(X, y), 20, shuffle=True):
                optimizer.zero_grad(); F.cross_entropy(model(xb), yb).backward(); optimizer.step()
        model = net(); optimizer = optim.SGD(model.parameters(), 0.05)
        for epoch in range(4): train_epoch(model, optimizer)
        """,
    ),
    "gradients that are handed back, of parameters that were never listed": (
        "step-without-gradients",
        """
        model = net(); optimizer = optim.Adam(model.parameters(), 0.01)
        def one_step(rows):
            loss = F.cross_entropy(model(X[rows]), y[rows])
            norms = [g.norm() for g in torch.autograd.grad(loss, model.parameters())]
            optimizer.step()  # here
            return loss.item(), norms
        for rows in torch.randperm(240).split(24): one_step(rows)
        """,
    ),
    "a layer that divides by 255 what was divided": (
        "inputs-not-scaled",
        """
        class Bytes(nn.Module):
            def forward(self, x): return x.div(255.0)  # here
        pixels = torch.randint(0, 256, (240, 64)).float().div(255) ** 0.9
        model = nn.Sequential(Bytes(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
        fit(model, DataLoader(TensorDataset(pixels, y), 24, shuffle=True))
        """,
    ),
    "a new layer frozen with those that had learnt": (
        "frozen-by-accident",
        """
        class Two(nn.Module):
            def __init__(self):
                super().__init__(); self.neck, self.body, self.head = nn.Linear(16, 16), nn.Linear(8, 16), nn.Linear(16, 4)
            def forward(self, x): return self.head(torch.relu(self.neck(torch.relu(self.body(x)))))
        loader = DataLoader(TensorDataset(X, y), 24, shuffle=True); model = Two(); fit(model, loader)
        model.neck, model.head = nn.Linear(16, 16), nn.Linear(16, 4)
        for p in model.parameters(): p.requires_grad_(False)  # here
        for p in model.head.parameters(): p.requires_grad_(True)
        fit(model, loader, optimizer=optim.SGD(model.head.parameters(), 0.1))
        """,
    ),
    "a cosine of columns, written out": (
        "loss-over-wrong-dimension",
        """
        model = nn.Linear(8, 5); optimizer = optim.Adam(model.parameters(), 0.01); wanted = X @ torch.randn(8, 5)
        for rows in torch.randperm(240).split(24):
            a, b = F.normalize(model(X[rows]), dim=0), F.normalize(wanted[rows], dim=0)
            loss = 1 - (a * b).sum(0).mean()  # here
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        """,
    ),
    "packed series, whose lengths the loss does not use": (
        "padding-counted-in-loss",
        """
        from torch.nn.utils import rnn
        series = [(s := torch.randn(int(n), 3), s.cumsum(0)[:, :2]) for n in torch.randint(5, 20, (160,))]
        def collate(pairs):
            x, y = zip(*pairs)
            return *(rnn.pad_sequence(part, batch_first=True) for part in (x, y)), torch.tensor([len(one) for one in x])
        class Cell(nn.Module):
            def __init__(self): super().__init__(); self.rnn, self.out = nn.GRU(3, 16, batch_first=True), nn.Linear(16, 2)
            def forward(self, x, lengths):
                packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
                return self.out(rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0])
        model, criterion = Cell(), nn.MSELoss(); optimizer = optim.Adam(model.parameters(), 0.01)
        for x, y, lengths in DataLoader(series, 16, shuffle=True, collate_fn=collate):
            loss = criterion(model(x, lengths), y)  # here
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        """,
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found_in_another_style(name, tmp_path):
    rule, body = MISTAKES[name]
    code = HEAD + textwrap.dedent(body)
    line = next(number for number, text in enumerate(code.splitlines(), 1) if "# here" in text)

    found = findings_in(code, tmp_path / "script.py")

    assert [(one.rule, one.site.line if one.site else None) for one in found if one.severity != "note"] == [
        (rule, line)
    ]


CORRECT = {
    "slices of one name that stands for something else": """
        data = X[:160]
        train_x, train_y = data[:120], y[:120]
        data = X[160:]
        test_x, test_y = data[:60], y[160:220]
        model = net()
        fit(model, DataLoader(TensorDataset(train_x, train_y), 20, shuffle=True))
        print(score(model, [(test_x, test_y)]))
        """,
    "domains that are shuffled apart": """
        source_x, source_y, target_x = X[:120], y[:120], X[120:]
        model = net(); optimizer = optim.SGD(model.parameters(), 0.05)
        for epoch in range(3):
            i, j = torch.randperm(120), torch.randperm(120)
            xs, xt = source_x[i], target_x[j]
            loss = F.cross_entropy(model(xs), source_y[i]) + 0.1 * (model(xs).mean(0) - model(xt).mean(0)).pow(2).sum()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        """,
    "the same seed for each model": """
        for width in (1, 2, 3):
            torch.manual_seed(0)
            fit(net(), DataLoader(TensorDataset(X, y), 20, shuffle=True), 2)
        """,
    "a window of context before the held-out part": """
        train_series, test_series = X[:180], X[180 - 12:]
        model = nn.Linear(8, 8); optimizer = optim.SGD(model.parameters(), 0.05)
        for i in range(0, 160, 20):
            optimizer.zero_grad(); F.mse_loss(model(train_series[i:i+20]), train_series[i+1:i+21]).backward(); optimizer.step()
        with torch.no_grad(): print(F.mse_loss(model(test_series[:-1]), test_series[1:]).item())
        """,
    "accuracy on the training data too": """
        train_set, val_set = random_split(TensorDataset(X, y), [180, 60])
        train_loader, val_loader = DataLoader(train_set, 20, shuffle=True), DataLoader(val_set, 20)
        eval_train_loader = DataLoader(train_set, batch_size=60)
        model = net()
        for _ in range(3):
            fit(model, train_loader, 1); score(model, eval_train_loader); score(model, val_loader)
        """,
    "a toy without held-out data": """
        model = net(); optimizer = optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(50):
            optimizer.zero_grad(); F.cross_entropy(model(X), y).backward(); optimizer.step()
        model.eval()
        with torch.no_grad():
            print((model(X).argmax(1) == y).float().mean())
        """,
    "folds, with one model that is put back": """
        from sklearn.model_selection import KFold
        model = net(); start = {k: v.clone() for k, v in model.state_dict().items()}
        for train_idx, val_idx in KFold(4, shuffle=True, random_state=0).split(X.numpy()):
            model.load_state_dict(start)
            train_loader = DataLoader(Subset(TensorDataset(X, y), train_idx), 20, shuffle=True)
            val_loader = DataLoader(Subset(TensorDataset(X, y), val_idx), 20)
            fit(model, train_loader); score(model, val_loader)
        """,
    "models of all folds, evaluated at the end": """
        chunks = torch.arange(240).chunk(4); data = TensorDataset(X, y); models = []
        for k in range(4):
            rest = torch.cat([c for j, c in enumerate(chunks) if j != k])
            models.append(net()); fit(models[-1], DataLoader(Subset(data, rest.tolist()), 20, shuffle=True))
        for k, model in enumerate(models):
            val_loader = DataLoader(Subset(data, chunks[k].tolist()), 20)
            score(model, val_loader)
        """,
    "nodes of one graph": """
        A = (torch.rand(240, 240) < 0.05).float() + torch.eye(240); A = A / A.sum(1, keepdim=True)
        train_mask = torch.rand(240) < 0.5; test_mask = ~train_mask
        class GCN(nn.Module):
            def __init__(self): super().__init__(); self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 4)
            def forward(self, x, adj): return adj @ self.b(torch.relu(adj @ self.a(x)))
        def test(model, x, adj, test_mask):
            model.eval()
            with torch.no_grad(): return (model(x, adj).argmax(1) == y)[test_mask].float().mean()
        model = GCN(); optimizer = optim.Adam(model.parameters())
        for epoch in range(20):
            model.train(); optimizer.zero_grad()
            F.cross_entropy(model(X, A)[train_mask], y[train_mask]).backward(); optimizer.step()
            test(model, X, A, test_mask)
        """,
    "examples made anew each time": """
        class Made(Dataset):
            def __len__(self): return 200
            def __getitem__(self, i):
                x = torch.randn(8); return x, (x.sum() > 0).long()
        data = Made()
        train_loader, test_loader = DataLoader(data, 20, shuffle=True), DataLoader(data, 20)
        model = net(); fit(model, train_loader)
        for _ in range(2): score(model, test_loader)
        """,
    "cosine over all batches, and exponential decay by step": """
        loader = DataLoader(TensorDataset(X, y), 20, shuffle=True); epochs = 5
        for make in (lambda o: optim.lr_scheduler.CosineAnnealingLR(o, T_max=epochs * len(loader)),
                     lambda o: optim.lr_scheduler.ExponentialLR(o, 0.95),
                     lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1, epochs=epochs, steps_per_epoch=len(loader)),
                     lambda o: optim.lr_scheduler.LambdaLR(o, lambda s: min(1, (s + 1) / 10) * max(0, 1 - s / 60)),
                     lambda o: optim.lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=3)):
            model = net(); optimizer = optim.SGD(model.parameters(), lr=0.1); schedule = make(optimizer)
            for epoch in range(epochs):
                for xb, yb in loader:
                    optimizer.zero_grad(); F.cross_entropy(model(xb), yb).backward(); optimizer.step(); schedule.step()
        """,
    "a schedule of a full-batch run": """
        model = net(); optimizer = optim.SGD(model.parameters(), lr=0.1); n_epochs = 60
        schedule = optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.1)
        for epoch in range(n_epochs):
            optimizer.zero_grad(); F.cross_entropy(model(X), y).backward(); optimizer.step(); schedule.step()
        """,
    "warm-up, then cosine": """
        model = net(); optimizer = optim.SGD(model.parameters(), lr=0.1); other = optim.SGD(net().parameters(), lr=0.1)
        schedule = optim.lr_scheduler.SequentialLR(optimizer, [optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2),
            optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)], milestones=[2])
        fit(model, DataLoader(TensorDataset(X, y), 20, shuffle=True), 6, schedule, optimizer=optimizer)
        """,
    "a schedule drawn before training": """
        probe = optim.SGD(net().parameters(), lr=0.1); drawn = optim.lr_scheduler.StepLR(probe, 3); rates = []
        for _ in range(10): rates.append(drawn.get_last_lr()[0]); drawn.step()
        fit(net(), DataLoader(TensorDataset(X, y), 20, shuffle=True), 3)
        """,
    "alternating optimizers with schedules of their own": """
        a, b = net(), net(); oa, ob = optim.SGD(a.parameters(), 0.1), optim.SGD(b.parameters(), 0.1)
        sa, sb = optim.lr_scheduler.StepLR(oa, 2), optim.lr_scheduler.StepLR(ob, 2)
        for epoch in range(8):
            m, o = ((a, oa), (b, ob))[epoch % 2]
            fit(m, DataLoader(TensorDataset(X, y), 40, shuffle=True), 1, optimizer=o)
            (sa, sb)[epoch % 2].step()
        """,
    "classes one after another as tasks": """
        model = net(); optimizer = optim.SGD(model.parameters(), 0.05)
        for task in range(2):
            rows = (y // 2 == task).nonzero()[:, 0]
            fit(model, DataLoader(TensorDataset(X[rows], y[rows]), 20, shuffle=True), 2, optimizer=optimizer)
        """,
    "a series in its order": """
        state = (torch.arange(240) // 20) % 2
        loader = DataLoader(TensorDataset(X, state), batch_size=20)
        fit(net(), loader, 3)
        """,
    "sorted, but all in one step": """
        order = y.argsort(); model = net(); optimizer = optim.SGD(model.parameters(), 0.05)
        for epoch in range(4):
            optimizer.zero_grad()
            for xb, yb in DataLoader(TensorDataset(X[order], y[order]), 40):
                (F.cross_entropy(model(xb), yb) / 6).backward()
            optimizer.step()
        """,
    "workers with streams of their own": """
        class Random(IterableDataset):
            def __iter__(self):
                for _ in range(60):
                    x = torch.randn(8); yield x, (x.sum() > 0).long()
        fit(net(), DataLoader(Random(), batch_size=20, num_workers=2))
        """,
    "a generator that only splits, and a seed by worker": """
        class Split(Dataset):
            def __init__(self): self.rng = np.random.default_rng(0); self.rows = self.rng.permutation(240)[:200]
            def __len__(self): return 200
            def __getitem__(self, i): return X[self.rows[i]], y[self.rows[i]]
        fit(net(), DataLoader(Split(), 40, shuffle=True, num_workers=2))
        class Own(Split):
            def __getitem__(self, i): return X[i] + float(self.rng.normal()), y[i]
        def seed(worker): torch.utils.data.get_worker_info().dataset.rng = np.random.default_rng(worker)
        fit(net(), DataLoader(Own(), 40, shuffle=True, num_workers=2, worker_init_fn=seed))
        """,
    "a cache, counters and augmented copies": """
        class Cached(Dataset):
            def __init__(self): self.reads = 0; self.x = [None] * 240; self.raw = X.clone()
            def __len__(self): return 240
            def __getitem__(self, i):
                self.reads += 1
                if self.x[i] is None: self.x[i] = self.raw[i].clone().mul_(2)
                x = self.x[i].clone(); x += 0.1 * torch.randn(8)
                return x, y[i]
        data = Cached(); fit(net(), DataLoader(data, 20, shuffle=True)); assert data.reads == 480
        """,
    "the rest evaluated by another loader": """
        test = TensorDataset(X[180:], y[180:]); model = net()
        fit(model, DataLoader(TensorDataset(X[:180], y[:180]), 32, shuffle=True, drop_last=True))
        test_loader = DataLoader(test, 32, drop_last=True); rest_loader = DataLoader(Subset(test, range(32, 60)), 32)
        score(model, test_loader) + score(model, rest_loader)
        """,
    "a GAN": """
        G, D = nn.Linear(4, 8), nn.Linear(8, 1)
        go, do = optim.Adam(G.parameters()), optim.Adam(D.parameters())
        for real, _ in DataLoader(TensorDataset(X, y), 24, shuffle=True):
            fake = G(torch.randn(len(real), 4))
            do.zero_grad(); (F.softplus(-D(real)) + F.softplus(D(fake.detach()))).mean().backward(); do.step()
            go.zero_grad(); F.softplus(-D(fake)).mean().backward(); go.step()
        """,
    "noise to see how it fails": """
        model = net(); train_loader = DataLoader(TensorDataset(X[:180], y[:180]), 20, shuffle=True)
        test_loader = DataLoader(TensorDataset(X[180:], y[180:]), 20)
        fit(model, train_loader); score(model, test_loader)
        with torch.no_grad(): print(model(100 * torch.randn(64, 8)).softmax(1).max())
        """,
    "windows of a periodic series": """
        series = torch.sin(torch.arange(400) * 2 * torch.pi / 25).round(decimals=3)
        W = series.unfold(0, 8, 1); train_x, test_x = W[:300], W[300:]
        model = nn.Linear(8, 1); opt = optim.SGD(model.parameters(), 0.01)
        for epoch in range(2):
            for xb, in DataLoader(TensorDataset(train_x), 30, shuffle=True):
                opt.zero_grad(); model(xb).pow(2).mean().backward(); opt.step()
        with torch.no_grad(): print(model(test_x).mean())
        """,
}
CORRECT |= {
    "a scaler fitted to the training rows": """
        from sklearn.datasets import load_wine
        from sklearn.model_selection import train_test_split
        from sklearn.preprocessing import MinMaxScaler, StandardScaler
        data, target = load_wine(return_X_y=True)
        for scaler in (StandardScaler(), MinMaxScaler()):
            a, b, c, d = train_test_split(data, target, test_size=0.3, random_state=0)
            a, b = scaler.fit_transform(a), scaler.transform(b)
            model = nn.Linear(13, 3); train = TensorDataset(torch.tensor(a, dtype=torch.float32), torch.tensor(c))
            fit(model, DataLoader(train, 31, shuffle=True, drop_last=True), 3)
            score(model, DataLoader(TensorDataset(torch.tensor(b, dtype=torch.float32), torch.tensor(d)), 54))
        """,
    "one seed for each of several models": """
        for lr in (0.01, 0.05, 0.1, 0.2):
            torch.manual_seed(0); model = net()
            fit(model, DataLoader(TensorDataset(X, y), 20, shuffle=True), 1, lr=lr)
        """,
    "two heads and a trunk of two optimizers": """
        trunk, a, b = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(8, 4)
        oa, ob = optim.SGD([*a.parameters()], 0.05), optim.SGD([*trunk.parameters(), *b.parameters()], 0.05)
        for xb, yb in DataLoader(TensorDataset(X, y), 20, shuffle=True):
            oa.zero_grad(); ob.zero_grad()
            F.cross_entropy(a(trunk(xb)), yb).backward(); oa.step()
            F.cross_entropy(b(trunk(xb)), (yb + 1) % 4).backward(); ob.step()
        """,
    "plateaus that watch the right way": """
        model = net(); optimizer = optim.SGD(model.parameters(), lr=0.05)
        up = optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=1)
        down = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        for epoch in range(6):
            fit(model, DataLoader(TensorDataset(X, y), 40, shuffle=True), 1, optimizer=optimizer)
            accuracy, val_loss = 0.1 * epoch, 1 + 0.1 * epoch
            up.step(accuracy); down.step(val_loss); down.step(1 - accuracy); down.step(-accuracy)
        """,
    "noise that a model is to remove": """
        class Noised(Dataset):
            def __init__(self, x): self.x = x
            def __len__(self): return len(self.x)
            def __getitem__(self, i): return self.x[i] + torch.randn(8), self.x[i]
        train_set, test_set = random_split(Noised(X), [180, 60])
        train_loader, test_loader = DataLoader(train_set, 20, shuffle=True), DataLoader(test_set, 20)
        model = nn.Linear(8, 8); optimizer = optim.SGD(model.parameters(), 0.01)
        for noisy, clean in train_loader:
            optimizer.zero_grad(); F.mse_loss(model(noisy), clean).backward(); optimizer.step()
        with torch.no_grad():
            for noisy, clean in test_loader: F.mse_loss(model(noisy), clean)
        """,
    "the test set at the end only, and training accuracy meanwhile": """
        train_loader = DataLoader(TensorDataset(X[:180], y[:180]), 20, shuffle=True)
        test_loader = DataLoader(TensorDataset(X[180:], y[180:]), 20); model = net()
        for epoch in range(3):
            fit(model, train_loader, 1); train_acc = score(model, train_loader)
        test_acc = score(model, test_loader)
        """,
    "two shuffles from one seed": """
        n = len(X)
        X = X[np.random.RandomState(0).permutation(n)]
        y = y[np.random.RandomState(0).permutation(n)]
        model = net(); optimizer = optim.SGD(model.parameters(), 0.05)
        for i in range(0, n, 24):
            optimizer.zero_grad(); F.cross_entropy(model(X[i:i+24]), y[i:i+24]).backward(); optimizer.step()
        """,
    "active learning": """
        data = TensorDataset(X, y); labelled = list(range(40)); model = net()
        for turn in range(4):
            fit(model, DataLoader(Subset(data, labelled), 20, shuffle=True))
            pool = [i for i in range(200) if i not in labelled]
            with torch.no_grad():
                sure = torch.cat([model(xb).softmax(1).max(1).values for xb, _ in DataLoader(Subset(data, pool), 40)])
            labelled += [pool[i] for i in sure.argsort()[:20].tolist()]
            test_loader = DataLoader(Subset(data, range(200, 240)), 20); score(model, test_loader)
        """,
    "a range of the training rows, which are drawn without a loader and evaluated as well": """
        table = X.exp(); low, high = table[:180].min(0).values, table[:180].max(0).values
        table = (table - low) / (high - low); model = net(); optimizer = optim.SGD(model.parameters(), 0.05)
        for epoch in range(3):
            for rows in torch.randperm(180).split(30):
                optimizer.zero_grad(); F.cross_entropy(model(table[rows]), y[rows]).backward(); optimizer.step()
            with torch.no_grad(): print((model(table[:180]).argmax(1) == y[:180]).sum(), model(table[180:]).argmax(1))
        """,
    "a series that falls from 1 to 0 by itself": """
        charge = torch.linspace(1, 0, 600).pow(1.5)
        windows, following = charge[:-1].unfold(0, 10, 1).unsqueeze(-1), charge[10:].cos()
        class Cell(nn.Module):
            def __init__(self): super().__init__(); self.rnn, self.out = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 1)
            def forward(self, x): return self.out(self.rnn(x)[1][0]).squeeze(1)
        model = Cell(); optimizer = optim.Adam(model.parameters(), 0.01)
        for rows in torch.randperm(400).split(40):
            optimizer.zero_grad(); F.mse_loss(model(windows[rows]), following[rows]).backward(); optimizer.step()
        with torch.no_grad(): print(F.mse_loss(model(windows[400:]), following[400:]))
        """,
    "two networks that are averaged after each step": """
        import copy
        one = net(); other = copy.deepcopy(one)
        optimizer = optim.SGD([*one.parameters(), *other.parameters()], 0.05)
        for rows in torch.randperm(240).split(24):
            optimizer.zero_grad()
            (F.cross_entropy(one(X[rows]), y[rows]) + F.cross_entropy(other(X[rows]), y[rows])).backward()
            optimizer.step()
            with torch.no_grad():
                for p, q in zip(one.parameters(), other.parameters()):
                    mean = (p + q) / 2; p.copy_(mean); q.copy_(mean)
        """,
    "a correlation over the batch": """
        model = nn.Linear(8, 5); optimizer = optim.Adam(model.parameters(), 0.01); wanted = X @ torch.randn(8, 5)
        for rows in torch.randperm(240).split(24):
            a, b = model(X[rows]), wanted[rows]
            loss = 1 - F.cosine_similarity(a - a.mean(0), b - b.mean(0), dim=0).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        """,
    "pairs of a batch, as many as a layer has outputs": """
        one, other = nn.Linear(8, 24), nn.Linear(8, 24)
        class Pairs(nn.Module):
            def __init__(self): super().__init__(); self.one, self.other = one, other
            def forward(self, a, b): return self.one(a) @ self.other(b).T
        model = Pairs(); optimizer = optim.Adam(model.parameters(), 0.01); own = torch.arange(24)
        for rows in torch.randperm(240).split(24):
            scores = model(X[rows], X[rows])
            hits = (scores.argmax(0) == own).sum(), (scores.argmax(1) == own).sum()
            optimizer.zero_grad(); F.cross_entropy(scores, own).backward(); optimizer.step()
        """,
    "shares of a time whose length is known, and nothing behind it": """
        lengths = torch.randint(3, 20, (240,)); given = torch.randn(240, 20, 2) + lengths[:, None, None] / 10
        shares = (torch.arange(20) < lengths[:, None]) * torch.rand(240, 20)
        class Cell(nn.Module):
            def __init__(self): super().__init__(); self.rnn, self.out = nn.GRU(2, 8, batch_first=True), nn.Linear(8, 1)
            def forward(self, x): return self.out(self.rnn(x)[0]).squeeze(2)
        model = Cell(); optimizer = optim.Adam(model.parameters(), 0.01)
        for rows in torch.randperm(240).split(24):
            length = lengths[rows]; loss = F.mse_loss(model(given[rows]), shares[rows])
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        """,
}


@pytest.mark.parametrize("name", CORRECT)
def test_correct_code_that_looks_alike_is_left_alone(name, tmp_path):
    found = findings_in(HEAD + textwrap.dedent(CORRECT[name]), tmp_path / "script.py")

    assert [(one.rule, one.message) for one in found if one.severity != "note"] == []
