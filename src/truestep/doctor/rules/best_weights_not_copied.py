"""The weights kept as the best ones are the model's own, and went on changing.

`state_dict()` returns references, not copies, and so do `.copy()` of that dict and `best = model`. Training goes on in
place, so that in the end the "best" weights are the last ones, and what is reported for them is not what was measured.
Weights from before and after some steps are the same ones then, and their difference is 0.

Bad::

    best = float("inf")
    for epoch in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
        if loss.item() < best or epoch == 0:
            best, weights = loss.item(), model.state_dict()  # <- here
    optimizer.zero_grad()
    F.cross_entropy(model(inputs), targets).backward()
    optimizer.step()
    model.load_state_dict(weights)

Good::

    import copy

    best = float("inf")
    for epoch in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
        if loss.item() < best or epoch == 0:
            best, weights = loss.item(), copy.deepcopy(model.state_dict())
    optimizer.zero_grad()
    F.cross_entropy(model(inputs), targets).backward()
    optimizer.step()
    model.load_state_dict(weights)

Not a mistake: a dict that is taken before training to be saved as it is then; weights that are saved to a file at once.

Source: https://github.com/thunlp/OpenKE/issues/131
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for kept in record.snapshots:
        again = sum(one.site == kept.site for one in record.snapshots)
        mine = kept.loaded_at is not None and (kept.into_itself or (kept.step > 0 and kept.loads < 3))
        if mine or (kept.saved_at is not None and kept.step > 0 and kept.saves < 3):
            used = kept.loaded_step if kept.loaded_at else kept.saved_step
            yield Finding(
                f"The weights taken here at step {kept.step} were {'loaded' if kept.loaded_at else 'saved'} at step {used}, and "
                "had changed with the model in between: they are references to it.",
                kept.site,
                "copy.deepcopy(model.state_dict())",
                {"taken at step": kept.step, "used at step": used, "taken": again},
                related=[site for site in (kept.loaded_at or kept.saved_at,) if site],
            )
        vain = sum(one.in_vain_at is not None for one in record.snapshots if one.site == kept.site)
        if kept.in_vain_at is not None and vain >= 2:
            yield Finding(
                f"The weights taken here changed with the model, {vain} times before something computed of them was loaded: it "
                "gave the model the very numbers that it had.",
                kept.site,
                "copy.deepcopy(model.state_dict())",
                {"loaded without a change": vain, "taken": again},
                related=[kept.in_vain_at],
            )
    for model in record.models:
        if any(call.trained and call.training for call in model.calls) and model.renamed is not None:
            name, original, assigned, used, step = model.renamed
            yield Finding(
                f"'{name}', used at line {used.line} after step {step}, is the {model.kind} that was being trained, not a copy "
                "of what it was when it was best.",
                assigned,
                f"{name} = copy.deepcopy({original})",
                {"used at step": step},
                related=[used],
            )
