"""Reading an example changes the one that the dataset keeps, so that it is another one the next time.

`x = self.data[i]` gives a view of what the dataset holds, and an operation in place writes through it. An example that is
divided by 255, shifted or augmented that way is so once more in each epoch: the inputs drift, towards nothing or towards
noise, while the labels stay. Training gets worse the longer it lasts, and the first epoch looks fine.

Bad::

    class Rows(torch.utils.data.Dataset):
        def __init__(self, rows):
            self.rows = rows

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, i):
            row = self.rows[i]
            row -= self.rows.mean(0)  # <- here
            return row, labels[i]


    for inputs, targets in DataLoader(Rows(features + 3), batch_size=16, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Good::

    class Rows(torch.utils.data.Dataset):
        def __init__(self, rows):
            self.rows = rows

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, i):
            row = self.rows[i]
            row = row - self.rows.mean(0)
            return row, labels[i]


    for inputs, targets in DataLoader(Rows(features + 3), batch_size=16, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Not a mistake: a dataset that fills a cache when an example is read for the first time; augmentation of a copy.

Source: https://github.com/pytorch/vision/issues/1068
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for loader in record.loaders:
        if loader.changed_by_reading is not None:
            yield Finding(
                f"An example of {loader.dataset_kind} that was read again after a whole epoch was changed by that where the "
                "dataset keeps it: each epoch gets other numbers.",
                loader.changed_by_reading,
                "work on a copy: x = self.data[i].clone(), or x = x / 255 in place of x /= 255",
                {"examples": loader.examples, "passes": len(loader.passes)},
            )
