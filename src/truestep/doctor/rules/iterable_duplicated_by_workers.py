"""Each worker reads the whole of an iterable dataset, so that every example comes several times.

A loader gives each worker a copy of an `IterableDataset`, and only the dataset can divide the work. With four workers an
epoch is four times as long and holds everything four times; evaluation counts each example four times, and what looks
like one epoch is four.

Bad::

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(zip(features, labels))


    stream = DataLoader(Stream(), batch_size=16, num_workers=2)  # <- here
    for inputs, targets in stream:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Good::

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            worker = torch.utils.data.get_worker_info()
            rows = range(len(features))[worker.id :: worker.num_workers] if worker else range(len(features))
            return iter([(features[row], labels[row]) for row in rows])


    stream = DataLoader(Stream(), batch_size=16, num_workers=2)
    for inputs, targets in stream:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Not a mistake: workers that each draw random examples of their own; a dataset that asks `get_worker_info()` which part is
its own.

Source: https://github.com/pytorch/pytorch/issues/30599
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import LoaderFacts, Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for loader in record.loaders:
        if not loader.iterable or loader.workers < 2 or not loader.passes:
            continue
        first = loader.passes[0]
        everything = (
            first.complete and loader.read == first.examples and loader.read == loader.workers * loader.distinct
        )
        if everything or _alike(loader):
            yield Finding(
                f"Each of {loader.workers} workers gave the same examples: "
                + (
                    f"{loader.distinct} different ones came as {first.examples} in an epoch."
                    if everything
                    else f"the first {len(first.fingerprints)} batches are {len(set(first.fingerprints))} different ones."
                ),
                loader.site,
                "in __iter__: info = torch.utils.data.get_worker_info(), and yield only every info.num_workers-th example",
                {"workers": loader.workers, "examples": first.examples, "different": loader.distinct},
            )


def _alike(loader: LoaderFacts) -> bool:
    """Whether batches came in rows of one for each worker, all alike within a row and other ones in the next."""
    prints, workers = loader.passes[0].fingerprints, loader.workers
    rows = [set(prints[at : at + workers]) for at in range(0, len(prints) - workers + 1, workers)]
    return len(rows) >= 3 and all(len(row) == 1 for row in rows) and len(set.union(*rows)) == len(rows)
