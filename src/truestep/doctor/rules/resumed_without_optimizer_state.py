"""Training goes on from a file whose optimizer state is not loaded.

Momentum and Adam's averages begin at zero, so that the first updates after a restart have the wrong size and direction:
the loss jumps, and the run is not the one that was interrupted.

Bad::

    import io

    optimizer = torch.optim.Adam(model.parameters())
    F.cross_entropy(model(features), labels).backward()
    optimizer.step()
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters())
    model.load_state_dict(saved["model"])  # <- here
    for epoch in range(saved["epoch"], 3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Good::

    import io

    optimizer = torch.optim.Adam(model.parameters())
    F.cross_entropy(model(features), labels).backward()
    optimizer.step()
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters())
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    for epoch in range(saved["epoch"], 3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Not a mistake: weights that another training begins with, which does not count on from the file's epoch; a file that is
loaded to be evaluated.

Source: https://github.com/ultralytics/yolov5/issues/292
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.record import LoadFacts, Record

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    for load in record.loads:
        if load.what != "model" or not load.has_optimizer or load.matched < load.own or not counts_on(load):
            continue
        if any(other.what == "optimizer" and other.step >= load.step for other in record.loads):
            continue
        fresh = [o for o in record.optimizers if o.first_step >= load.step and o.steps >= 3 and o.has_state]
        trained = [o for o in fresh if any(p.loaded for p in record.parameters if o.number in p.optimizers)]
        for optimizer in trained[:1]:
            yield Finding(
                f"The file holds an optimizer's state, from which training goes on, but it was not loaded with the weights; "
                f"{optimizer.kind} went on for {optimizer.steps} steps without its averages.",
                load.site,
                'optimizer.load_state_dict(saved["optimizer"])  # after this line',
                {"steps since": optimizer.steps},
                SEVERITY,
            )


def scheduler_loaded(load: LoadFacts) -> bool:
    """Whether the function around also loads a schedule's state: training goes on where it was."""
    function = sites.function(load.site)
    return function is not None and any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "load_state_dict"
        and "sched" in ast.unparse(node.func.value).lower()
        for statement in source.own_statements(function)
        for node in source.expressions(statement)
    )


def counts_on(load: LoadFacts) -> bool:
    """Whether the script reads a counter of the file, such as its epoch, from where training goes on."""
    if load.site is not None and scheduler_loaded(load):
        return True
    counters = {name for name in load.counters if any(word in name.lower() for word in ("epoch", "step", "iter"))}
    module = sites.tree(load.site.file) if load.site else None
    return any(
        isinstance(node.slice, ast.Constant) and node.slice.value in counters and isinstance(node.ctx, ast.Load)
        for node in ast.walk(module or ast.Module([], []))
        if isinstance(node, ast.Subscript)
    )
