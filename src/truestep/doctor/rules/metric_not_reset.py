"""A metric goes on counting from one evaluation to the next.

An object with `update`, `compute` and `reset` sums what it is shown. Without `reset`, the number of each epoch is a mean
over all epochs so far: it lags behind, looks smooth, and the best epoch can't be told by it.

Bad::

    class Accuracy:
        def __init__(self):
            self.reset()

        def reset(self):
            self.right = self.total = 0

        def update(self, outputs, targets):
            self.right += (outputs.argmax(1) == targets).sum().item()
            self.total += len(targets)

        def compute(self):
            return self.right / self.total


    accuracy = Accuracy()
    for epoch in range(4):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for inputs, targets in held_out:
                accuracy.update(model(inputs), targets)
        print(accuracy.compute())  # <- here

Good::

    class Accuracy:
        def __init__(self):
            self.reset()

        def reset(self):
            self.right = self.total = 0

        def update(self, outputs, targets):
            self.right += (outputs.argmax(1) == targets).sum().item()
            self.total += len(targets)

        def compute(self):
            return self.right / self.total


    accuracy = Accuracy()
    for epoch in range(4):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        model.eval()
        accuracy.reset()
        with torch.no_grad():
            for inputs, targets in held_out:
                accuracy.update(model(inputs), targets)
        print(accuracy.compute())

Not a mistake: a running mean that is read with each batch of training, or one that clears itself in `compute`.

Source: https://github.com/Lightning-AI/torchmetrics/issues/269
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    for metric in record.metrics:
        others = [one for one in record.metrics if one is not metric and one.kind == metric.kind]
        beside = any(one.resets >= 2 for one in others) and not any(one.carried for one in others)
        if metric.carried >= 2 and not metric.mixed and not metric.resets and beside:
            yield Finding(
                f"{metric.carried} of {metric.computes} values of {metric.kind} were computed from the updates since the last one "
                f"and all before, {metric.updates} in the end; others of its kind are reset each time.",
                metric.site,
                "metric.reset()  # at the beginning of each epoch",
                {
                    "computed": metric.computes,
                    "over several epochs": metric.carried,
                    "updates": metric.updates,
                    "resets": 0,
                },
                SEVERITY,
            )
        if metric.mixed >= 2 and not metric.resets and metric.mixed >= 0.5 * metric.computes:
            yield Finding(
                f"{metric.mixed} of {metric.computes} values of {metric.kind} were computed from {metric.updates} updates of this "
                "and earlier evaluations together: it was never reset, though the model had been trained in between.",
                metric.site,
                "metric.reset()  # before each evaluation",
                {
                    "computed": metric.computes,
                    "over several evaluations": metric.mixed,
                    "updates": metric.updates,
                    "resets": 0,
                },
                SEVERITY,
            )
