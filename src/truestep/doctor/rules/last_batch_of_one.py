"""The last batch of each epoch holds one example, of which batch norm takes the mean and deviation.

One example has no deviation. Batch norm of plain features ends the run with "Expected more than 1 value per channel";
between convolutions it goes on with the statistics of one picture, and one bad step an epoch.

Bad::

    torch.manual_seed(1)
    dataset = TensorDataset(torch.randn(33, 1, 6, 6), torch.arange(33) % 3)
    pictures = DataLoader(dataset, batch_size=8, shuffle=True)  # <- here
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(3):
        for inputs, targets in pictures:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Good::

    torch.manual_seed(1)
    dataset = TensorDataset(torch.randn(33, 1, 6, 6), torch.arange(33) % 3)
    pictures = DataLoader(dataset, batch_size=8, shuffle=True, drop_last=True)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(3):
        for inputs, targets in pictures:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Not a mistake: batches of one on purpose; a last batch of one in evaluation.

Source: https://github.com/pytorch/pytorch/issues/4534
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    for loader in record.loaders:
        ones = [one for one in loader.passes if one.backwards and one.smallest == 1 and one.batches >= 2]
        if not ones or (loader.batch_size or 0) <= 2 or loader.drop_last or loader.iterable:
            continue
        norms = {
            part
            for given in record.inputs
            if given.loader == loader.number and given.call.training and given.call.gradients
            for part in given.call.restless
            if "(BatchNorm" in part
        }
        crashed = not record.finished and any("(BatchNorm1d" in part for part in norms)
        if norms and (len(ones) >= 2 or crashed):
            yield Finding(
                f"In {len(ones)} of {len(loader.passes)} passes a batch held one example of {loader.examples}, and "
                f"{len(norms)} layers of batch norm took its statistics.",
                loader.site,
                "DataLoader(..., drop_last=True), or another batch size",
                {"examples": loader.examples, "batch size": loader.batch_size, "layers of batch norm": len(norms)},
                severity="error" if crashed else SEVERITY,
            )
