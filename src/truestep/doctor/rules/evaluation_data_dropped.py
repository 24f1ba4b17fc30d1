"""The evaluation leaves out the examples that do not fill a whole batch.

`drop_last=True` keeps batches of training alike. In evaluation it takes the last examples out of the numbers: with small
data or large batches these are many, they change with the batch size, and results can't be compared with anybody's.

Bad::

    held_out = DataLoader(held_out.dataset, batch_size=12, drop_last=True)  # <- here
    model.eval()
    correct = 0
    with torch.no_grad():
        for inputs, targets in held_out:
            correct += int((model(inputs).argmax(1) == targets).sum())

Good::

    held_out = DataLoader(held_out.dataset, batch_size=12)
    model.eval()
    correct = 0
    with torch.no_grad():
        for inputs, targets in held_out:
            correct += int((model(inputs).argmax(1) == targets).sum())

Not a mistake: `drop_last` in training, or where the rest is evaluated by another loader.

Source: https://github.com/yuqinie98/PatchTST/issues/129
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import models_of, purpose
from truestep.doctor.record import Record

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    for loader in record.loaders:
        if not loader.drop_last or loader.examples is None or loader.trained or not loader.evaluated:
            continue
        complete = [one for one in loader.passes if one.complete]
        if not complete or not models_of(record, loader):
            continue
        scored = complete[0].examples
        size = loader.batch_size or 0
        of = int(loader.sampler_facts.get("num_samples", loader.examples))
        rest = of - scored
        if not 0 < rest < size or purpose(record, loader)[0] == "training":
            continue
        others = [one for one in record.loaders if one is not loader and one.evaluated and one.examples == rest]
        if others:
            continue
        yield Finding(
            f"{scored} of {of} examples were evaluated: drop_last left {rest} out ({rest / of:.0%}).",
            loader.site,
            "DataLoader(..., drop_last=False)",
            {"examples": of, "evaluated": scored, "left out": rest, "batch size": size},
            severity="warning" if rest >= 0.01 * of else "note",
        )
