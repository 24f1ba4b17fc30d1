"""A metric of one process's share of the evaluation data is reported as if it were of all.

`DistributedSampler` gives each process a part of the data. What a process sums over its part is the metric of that part;
the whole needs the sums of all processes. The metric looks noisier than it is, and changes with the number of processes.

Bad::

    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore  # two processes, of which one is there
    from torch.utils.data.distributed import DistributedSampler

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    rank = dist.get_rank()
    own = DataLoader(held_out.dataset, batch_size=16, sampler=DistributedSampler(held_out.dataset, shuffle=False))
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    hits = torch.zeros(2)
    with torch.no_grad():
        for inputs, targets in own:
            hits += torch.tensor([(model(inputs).argmax(1) == targets).sum(), len(targets)])
    if rank == 0:
        print("accuracy", (hits[0] / hits[1]).item())  # <- here
    dist.destroy_process_group()

Good::

    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore  # two processes, of which one is there
    from torch.utils.data.distributed import DistributedSampler

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    rank = dist.get_rank()
    own = DataLoader(held_out.dataset, batch_size=16, sampler=DistributedSampler(held_out.dataset, shuffle=False))
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    hits = torch.zeros(2)
    with torch.no_grad():
        for inputs, targets in own:
            hits += torch.tensor([(model(inputs).argmax(1) == targets).sum(), len(targets)])
    dist.all_reduce(hits)
    if rank == 0:
        print("accuracy", (hits[0] / hits[1]).item())
    dist.destroy_process_group()

Not a mistake: a process that evaluates on all the data, each process's numbers under its own name, and processes that
tell each other their numbers at any time outside of training.

Source: https://github.com/pytorch/examples/issues/905
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import identifiers
from truestep.doctor.record import LoaderFacts, Record, Site

SEVERITY = "warning"
ONE_OF_ALL = re.compile(r"rank|(is|on)_?(main|master)|process_index|is_(local_)?(main|world)", re.IGNORECASE)
OWN = re.compile(r"rank|shard|local|partial|own|process|worker|gpu", re.IGNORECASE)


def look(record: Record) -> Iterator[Finding]:
    if record.exchanges:
        return
    for loader in record.loaders:
        shares = loader.sampler_facts.get("num_replicas", 1)
        if not 1 < shares == loader.processes or loader.trained or not loader.evaluated:
            continue
        if site := said_by_one(loader):
            yield Finding(
                f"Each of {shares} processes evaluated its own share of {loader.examples} examples, and they never told one "
                "another what they found: this is said of one share alone.",
                site,
                "dist.all_reduce(sums)  # of hits or losses, and of counts, before they are divided",
                {"processes": shares, "examples": loader.examples, "passes": len(loader.passes)},
                SEVERITY,
                related=[loader.site] if loader.site else [],
            )


def said_by_one(loader: LoaderFacts) -> Site | None:
    """Return the line where one process alone says what it made of the batches of a loader, not by name of its own."""
    place = loader.used[0] if loader.used else None
    loop, module = sites.statement(place), sites.tree(place.file) if place else None
    if place is None or module is None or not isinstance(loop, ast.For):
        return None
    for branch in ast.walk(module):
        if not isinstance(branch, ast.If) or not ONE_OF_ALL.search(identifiers(branch.test)):
            continue
        for statement in (one for part in branch.body for one in ast.walk(part) if isinstance(one, ast.Expr)):
            call = statement.value
            if not isinstance(call, ast.Call) or OWN.search(ast.unparse(call)):
                continue
            line = Site(place.file, statement.lineno)
            names = {name for one in (*call.args, *call.keywords) for name in source.names_in(one)}
            made = (site for _, site in source.made_by(line, names)) if names else ()
            if any(loop.lineno < site.line <= (loop.end_lineno or 0) for site in made):
                return line
    return None
