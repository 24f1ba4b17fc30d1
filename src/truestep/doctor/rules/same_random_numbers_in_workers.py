"""All workers of a loader draw the same random numbers for augmentation.

A loader seeds `random`, NumPy and PyTorch differently in each worker. A generator that the dataset owns is copied with it:
each worker begins with the same state, and begins so again in each epoch. Examples that are read at the same place in
different workers get the same noise, flips and crops, and every epoch repeats them: there is far less variety than there
seems to be.

Bad::

    class Noisy(torch.utils.data.Dataset):
        def __init__(self):
            self.generator = torch.Generator().manual_seed(0)

        def __len__(self):
            return len(features)

        def __getitem__(self, i):
            return features[i] + 0.1 * torch.randn(8, generator=self.generator), labels[i]


    for inputs, targets in DataLoader(Noisy(), batch_size=16, shuffle=True, num_workers=2):  # <- here
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Good::

    class Noisy(torch.utils.data.Dataset):
        def __len__(self):
            return len(features)

        def __getitem__(self, i):
            return features[i] + 0.1 * torch.randn(8), labels[i]


    for inputs, targets in DataLoader(Noisy(), batch_size=16, shuffle=True, num_workers=2):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Not a mistake: a `worker_init_fn` or a dataset that seeds by the worker's number; a generator that only chooses what the
dataset holds, when it is made.

Source: https://github.com/pytorch/pytorch/issues/5059
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for loader in record.loaders:
        if loader.same_randomness and loader.workers >= 2 and loader.trained:
            yield Finding(
                f"Each of {loader.workers} workers got a copy of {loader.dataset_kind}.{loader.same_randomness} in one state, "
                "from which it draws when an example is read: all draw the same numbers, in each epoch again.",
                loader.site,
                "draw from torch's own generator, or seed the dataset's in worker_init_fn by the worker's number",
                {"workers": loader.workers, "generator": loader.same_randomness},
            )
