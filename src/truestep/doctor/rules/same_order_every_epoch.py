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

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from truestep.doctor import flow
from truestep.doctor.findings import Finding
from truestep.doctor.reading import loops
from truestep.doctor.record import Record, SeedFacts, Site

SEVERITY = "warning"
DRAWING = re.compile(r"randperm|permutation|shuffle|randint|choice|sample|multinomial|rand\(|randn|rand_like|normal")


def look(record: Record) -> Iterator[Finding]:
    for place, seeds in _by_place(record).items():
        of_models = [
            [one for one in seeds if one.model == model] for model in dict.fromkeys(one.model for one in seeds)
        ]
        epochs = [one for group in of_models if len(group) >= 2 for one in group]
        if len(epochs) < 3 or len({one.step for one in epochs}) < len(epochs):
            continue
        same = all(len({(one.seed, one.given[0]) for one in group}) == 1 for group in of_models if len(group) >= 2)
        if (
            same
            and all(len(set(one.given)) == 2 for one in epochs)
            and any(_drawn(record, one, place) for one in epochs)
        ):
            loader = record.loaders[epochs[0].loader].site if epochs[0].loader >= 0 else None
            yield Finding(
                f"All of the first {len(epochs)} epochs began with the same batches in the same order, though they are drawn at "
                f"random: the random numbers were seeded with {epochs[0].seed} before each.",
                place,
                "torch.manual_seed(...)  # once, before the loop over epochs",
                {"epochs compared": len(epochs), "seed": epochs[0].seed},
                severity=SEVERITY,
                related=[loader] if loader else [],
            )


def _by_place(record: Record) -> dict[Site, list[SeedFacts]]:
    """Return the first seeds with which an epoch of training began, by the line that set them."""
    found: defaultdict[Site, list[SeedFacts]] = defaultdict(list)
    for seed in record.seeds:
        if seed.stack and len(seed.given) == 2 and len(found[where := _reseeding(seed)]) < 6:
            found[where].append(seed)
    return found


def _reseeding(seed: SeedFacts) -> Site:
    """Return the line that seeds, where the way to it parts from the way to training: the call of a helper for seeds."""
    shared = next((place for place, site in enumerate(seed.stack) if site in seed.call), 0)
    if shared:
        return seed.stack[shared - 1]
    return next((site for site in seed.stack if loops(site)), seed.stack[0])


def _drawn(record: Record, seed: SeedFacts, place: Site) -> bool:
    """Whether what the model was given was drawn at random after the seed: by the loader, or in the loop."""
    if seed.loader >= 0:
        loader = record.loaders[seed.loader]
        return loader.sampler in ("RandomSampler", "WeightedRandomSampler", "SubsetRandomSampler")
    around = next((found for site in (place, *seed.stack) if (found := loops(site))), [])
    return any(DRAWING.search(ast.unparse(loop)) for loop in around[:1]) or flow.speaks_of(seed.call, DRAWING)
