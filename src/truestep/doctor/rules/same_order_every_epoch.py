"""Each epoch shuffles in the same way, since the random numbers begin anew.

A seed belongs at the beginning of a run. Set in every epoch, it repeats the first one: the same batches in the same order
with the same dropout and augmentation, which is no shuffling at all.

Bad::

    for epoch in range(4):
        torch.manual_seed(42)  # <- here
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Good::

    torch.manual_seed(42)
    for epoch in range(4):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Not a mistake: a seed that depends on the epoch; the same seed for each of several models that are compared.

Source: https://github.com/Lightning-AI/pytorch-lightning/issues/20412
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import loops
from truestep.doctor.record import Record, Site

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    loaders = [one for one in record.loaders if one.sampler == "RandomSampler" and one.trained]
    for site in dict.fromkeys(one.site for one in loaders):
        passes = [
            one
            for loader in loaders
            if loader.site == site
            for one in loader.passes[:4]
            if one.backwards and one.fingerprints
        ]
        passes.sort(key=lambda one: one.first_step)
        if len(passes) < 3 or len({one.model for one in passes}) != 1 or passes[0].batches < 3:
            continue
        if len({tuple(one.fingerprints) for one in passes}) != 1 or len(set(passes[0].fingerprints)) == 1:
            continue
        if len({one.first_step for one in passes}) != len(passes):
            continue
        seeded = Counter(place for one in passes[1:] for place in {_in_loop(stack) for stack in one.seeded if stack})
        where = next((place for place, times in seeded.items() if times >= len(passes) - 1), None)
        if where is not None:
            yield Finding(
                f"All of the first {len(passes)} epochs gave the same batches in the same order, though they are shuffled: the "
                "random numbers were seeded before each.",
                where,
                "torch.manual_seed(...)  # once, before the loop over epochs",
                {"epochs compared": len(passes), "batches compared": len(passes[0].fingerprints)},
                severity=SEVERITY,
                related=[site] if site else [],
            )


def _in_loop(stack: list[Site]) -> Site:
    """Return the innermost of some lines that is in a loop: a helper's own line runs as often as it is called."""
    return next((site for site in stack if loops(site)), stack[0])
