"""A weighted sampler is given one weight for each class, where it needs one for each example.

`WeightedRandomSampler` draws the numbers 0 to `len(weights) - 1`. With a weight for each of three classes it draws the
first three examples of the dataset, again and again: training sees nothing else. The loss falls to zero quickly, and the
model has learnt three examples by heart.

Bad::

    weights = 1 / torch.bincount(labels).float()
    sampler = torch.utils.data.WeightedRandomSampler(weights, num_samples=96)  # <- here
    balanced = DataLoader(loader.dataset, batch_size=16, sampler=sampler)
    for inputs, targets in balanced:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Good::

    weights = 1 / torch.bincount(labels).float()
    sampler = torch.utils.data.WeightedRandomSampler(weights[labels], num_samples=96)
    balanced = DataLoader(loader.dataset, batch_size=16, sampler=sampler)
    for inputs, targets in balanced:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Not a mistake: one weight for each example, many of them alike.

Source: https://github.com/deep-voice/soundbay/issues/49
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"
HIDES = ["train-and-evaluation-overlap"]


def look(record: Record) -> Iterator[Finding]:
    for sampler in record.samplers:
        if sampler.loader < 0:
            continue
        loader = record.loaders[sampler.loader]
        if loader.examples and loader.trained and sampler.weights <= 0.25 * loader.examples:
            drawn = loader.sampler_facts.get("num_samples", 0)
            yield Finding(
                f"{sampler.weights} weights for a dataset of {loader.examples}: only its first {sampler.weights} examples "
                f"were drawn, {drawn} times an epoch.",
                sampler.site,
                "WeightedRandomSampler(class_weights[labels], len(labels))  # one weight for each example",
                {"weights": sampler.weights, "examples": loader.examples, "drawn in an epoch": drawn},
            )
