"""Layers in a plain list or dict are not found by `parameters()`, and so never learn.

A module registers what is assigned to its attributes, but does not look into lists, dicts or plain objects. Such layers
compute and get gradients, but no optimizer has them, `to(device)` and `eval()` pass them by, and `state_dict` leaves them
out.

A layer that is made inside `forward` is a new one in each call, with new random weights: nothing can ever train it.

Bad::

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(8, 8) for _ in range(2)]  # <- here
            self.head = nn.Linear(8, 3)

        def forward(self, inputs):
            for layer in self.layers:
                inputs = layer(inputs).relu()
            return self.head(inputs)


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Good::

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
            self.head = nn.Linear(8, 3)

        def forward(self, inputs):
            for layer in self.layers:
                inputs = layer(inputs).relu()
            return self.head(inputs)


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Not a mistake: layers in a list whose parameters are added to the optimizer by hand; frozen ones, and those whose weights
were loaded, such as a network that only measures similarity.

Source: https://github.com/pytorch/pytorch/issues/1053
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import optimizers_beside, unowned
from truestep.doctor.record import HiddenIn, ParameterFacts, Record, Site

SEVERITY = "error"
HIDES = ["parameters-not-in-optimizer", "randomness-left-on-in-evaluation"]


def look(record: Record) -> Iterator[Finding]:
    groups: defaultdict[HiddenIn, list[ParameterFacts]] = defaultdict(list)
    for p in unowned(record):
        if p.hidden is not None and not p.loaded and not p.moved and optimizers_beside(record, p):
            groups[p.hidden].append(p)
    for hidden, parameters in groups.items():
        elements = sum(p.elements for p in parameters)
        yield Finding(
            f"{hidden.owner}.{hidden.attribute} is a plain {hidden.kind}: the {len(parameters)} parameters in it ({elements:,} "
            "numbers) get gradients, but parameters() does not find them, and no optimizer has them.",
            hidden.site,
            "nn.ModuleList, nn.ModuleDict or nn.ParameterList in place of the plain container; nn.Parameter for a tensor",
            {"parameters": len(parameters), "numbers": elements},
        )
    yield from _made_anew(record)


def _made_anew(record: Record) -> Iterator[Finding]:
    """Look for layers that each call of a model makes for itself."""
    groups: defaultdict[Site, list[ParameterFacts]] = defaultdict(list)
    for p in record.parameters:
        fresh = p.parameter and p.reached == p.called == 1 and p.model < 0 and p.hidden is None
        if fresh and not (p.optimizers or p.loaded or p.moved) and p.call_sites and optimizers_beside(record, p):
            groups[p.call_sites[0]].append(p)
    for site, parameters in groups.items():
        alike = [p for p in parameters if p.shape == parameters[0].shape]
        if len(alike) < 3:
            continue
        yield Finding(
            f"{len(parameters)} parameters met on this line were new in each backward pass that reached them: the layer is made "
            "in each call, with random weights that no optimizer has.",
            site,
            "make the layer once, in __init__, and keep it as an attribute",
            {"parameters": len(parameters), "shape": parameters[0].shape},
        )
