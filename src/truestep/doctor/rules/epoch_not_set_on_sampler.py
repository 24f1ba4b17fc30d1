"""A distributed sampler is never told the epoch, so that each epoch goes through the same order.

`DistributedSampler` shuffles by its seed and its epoch, for all processes to agree. Without `set_epoch` the epoch stays 0:
the batches are the same ones in each epoch, as if nothing were shuffled after the first.

Bad::

    dataset = loader.dataset
    sampler = torch.utils.data.distributed.DistributedSampler(dataset, num_replicas=1, rank=0, shuffle=True)
    own = DataLoader(dataset, batch_size=16, sampler=sampler)  # <- here
    for epoch in range(3):
        for inputs, targets in own:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Good::

    dataset = loader.dataset
    sampler = torch.utils.data.distributed.DistributedSampler(dataset, num_replicas=1, rank=0, shuffle=True)
    own = DataLoader(dataset, batch_size=16, sampler=sampler)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for inputs, targets in own:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Not a mistake: a sampler with `shuffle=False`, or of a loader that only evaluates.

Source: https://github.com/pytorch/pytorch/issues/31771
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for loader in record.loaders:
        epochs = loader.sampler_facts.get("epochs", [])
        trained = [epoch for epoch, one in zip(epochs, loader.passes, strict=False) if one.backwards]
        if loader.sampler_facts.get("shuffle") and "num_replicas" in loader.sampler_facts and len(trained) >= 2:
            firsts = {one.fingerprints[0] for one in loader.passes if one.backwards and one.fingerprints}
            if len(set(trained)) == 1 and len(firsts) <= 1:
                yield Finding(
                    f"The sampler was in epoch {trained[0]} in all of {len(trained)} passes of training: each came in the "
                    "same order.",
                    loader.site,
                    "sampler.set_epoch(epoch)  # before each pass",
                    {"passes": len(trained), "different first batches": len(firsts)},
                )
