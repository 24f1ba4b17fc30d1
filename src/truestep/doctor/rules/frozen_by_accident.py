"""Most of a model is frozen, though its weights are the random ones that it was made with.

Freezing is for weights that were learnt elsewhere. Where they were never loaded, or where the loop freezes more than was
meant, the rest of the model learns from random features.

Bad::

    for parameter in model[0].parameters():
        parameter.requires_grad = False  # <- here
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Good::

    model[0].load_state_dict(nn.Linear(8, 16).state_dict())
    for parameter in model[0].parameters():
        parameter.requires_grad = False
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Not a mistake: reservoirs and random features, which are meant to be random. That is why this is a note.

Source: https://github.com/jfzhang95/pytorch-deeplab-xception/issues/140
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import named_to_stay
from truestep.doctor.record import Record, Site

SEVERITY = "note"


def look(record: Record) -> Iterator[Finding]:
    for model in record.models:
        own = [p for p in record.parameters if p.model == model.number and p.looks >= 3]
        frozen = [
            p
            for p in own
            if p.frozen == p.looks
            and len(p.shape) > 1
            and not (p.loaded or p.foreign or p.moved or p.evaluating or named_to_stay(record, p))
        ]
        elements, everything = sum(p.elements for p in frozen), sum(p.elements for p in own)
        line = freezing(next((call.site for call in model.calls if call.trained), None))
        if not frozen or elements < 0.5 * everything or model.pretrained or line is None:
            continue
        if not any(p.moved for p in own):  # another part is being trained: this one is only used
            continue
        yield Finding(
            f"{elements:,} of {everything:,} numbers of {model.kind} are frozen at the random values that they were made with: "
            f"{', '.join(p.name for p in frozen[:3])}{' ...' if len(frozen) > 3 else ''}.",
            line,
            "load weights before freezing them, or freeze less",
            {"frozen": elements, "of": everything},
            SEVERITY,
        )


def freezing(call: Site | None) -> Site | None:
    """Return the line of a file that sets `requires_grad` to False."""
    module = sites.tree(call.file) if call is not None else None
    for node in ast.walk(module or ast.Module([], [])):
        set_off = isinstance(node, ast.Assign) and any(source.name_of(one) == "requires_grad" for one in node.targets)
        called = isinstance(node, ast.Call) and source.name_of(node.func) == "requires_grad_"
        value = (
            node.value
            if isinstance(node, ast.Assign)
            else node.args[0]
            if isinstance(node, ast.Call) and node.args
            else None
        )
        if call is not None and (set_off or called) and isinstance(value, ast.Constant) and value.value is False:
            return Site(call.file, getattr(node, "lineno", 0))
    return None
