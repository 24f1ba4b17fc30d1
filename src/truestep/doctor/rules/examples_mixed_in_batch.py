"""The model mixes the examples of a batch: one example's output depends on the others.

A `view` that does not keep the batch first, or a recurrent layer or attention without `batch_first=True`, takes examples
for time steps. A mean over dimension 0 that is taken from the inputs ties examples together too, in evaluation as well. The
loss still falls, but part of it comes from neighbours in the batch, and each prediction changes with
what it is batched with.

Bad::

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(2, 16)
            self.out = nn.Linear(16, 3)

        def forward(self, x):
            states, _ = self.rnn(x.view(-1, 4, 2))  # <- here
            return self.out(states[:, -1])


    reader = Reader()
    optimizer = torch.optim.SGD(reader.parameters(), lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(reader(inputs), targets).backward()
        optimizer.step()

Good::

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(2, 16, batch_first=True)
            self.out = nn.Linear(16, 3)

        def forward(self, x):
            states, _ = self.rnn(x.view(-1, 4, 2))
            return self.out(states[:, -1])


    reader = Reader()
    optimizer = torch.optim.SGD(reader.parameters(), lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(reader(inputs), targets).backward()
        optimizer.step()

Not a mistake: batch norm in training mode, contrastive losses over the batch, the nodes of a graph, attention between
examples by design, inputs whose first dimension is time, the spread of a batch that a discriminator looks at.

Source: https://github.com/zhouhaoyi/Informer2020/issues/59
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from truestep.doctor import flow, sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import mixed
from truestep.doctor.record import Record, Site

SEVERITY = "error"


RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
ATTENTION = {
    "multi_head_attention_forward",
    "scaled_dot_product_attention",
    "_transformer_encoder_layer_fwd",
    "_native_multi_head_attention",
}
SCALING = {"sub", "rsub", "div", "true_divide", "sub_", "div_"}
STATISTICS = {"mean", "std", "var", "std_mean", "var_mean", "sum", "amax", "max", "norm"}
BY_DESIGN = re.compile(
    r"mini_?batch|stddev|batch_?norm|pair_?norm|whiten|discrimin|critic|contrast|simclr|running_", re.IGNORECASE
)
SHAPES = {"view", "reshape", "flatten", "unflatten", "view_as", "reshape_as", "contiguous", "resize_"}


def look(record: Record) -> Iterator[Finding]:
    for model in record.models:
        probe = model.probes.get("batch") or {}
        given = probe.get("given", ())
        if (
            model.reached
            and probe.get("operation") in RECURRENT | ATTENTION
            and max(probe["moved"], probe["own"]) < 1e-6
            and len(given) == 3
            and given[0] == probe["batch"] != given[1] > 1
        ):
            yield Finding(
                f"The outputs do not depend on the inputs: '{probe['operation']}' was given {given}, and took the "
                f"{probe['batch']} examples for places.",
                probe["site"],
                "batch_first=True, or give it (time, batch, features)",
                {"batch": probe["batch"], "itself moved": probe["own"], "operation": probe["operation"]},
            )
    for _, probe in mixed(record):
        operation, given = probe["operation"], probe["given"]
        if operation in RECURRENT | ATTENTION:
            if len(given) == 3 and (given[1] == 1 and operation in ATTENTION):
                continue  # one sequence of all examples: attention between them, by design
            fix = "batch_first=True, or give it (time, batch, features)"
        elif operation in SHAPES:
            fix = "keep the batch as dimension 0: permute or transpose first, then reshape"
        elif _of_the_batch(probe):
            fix = (
                "nn.BatchNorm1d, or a mean and deviation of the training data: an example may know nothing of its batch"
            )
        else:
            continue
        batch_first = given[1:2] == (probe["batch"],) == probe["gave"][:1]
        if probe["dim"] and (operation not in SHAPES or not batch_first):
            continue  # it may mean to: the nodes of a graph over time
        yield Finding(
            f"With the first of {probe['batch']} examples changed, the outputs of the others moved by {probe['moved']:.2g} of "
            f"their standard deviation; '{operation}' mixed them, given {given}.",
            probe["site"],
            fix,
            {
                "batch": probe["batch"],
                "others moved": probe["moved"],
                "itself moved": probe["own"],
                "operation": operation,
            },
            severity="warning" if operation in SCALING | STATISTICS else SEVERITY,
        )


def _taken_off(site: Site) -> bool:
    """Whether a line, or one after it by a name, subtracts what it makes or divides by it."""
    function, statement = sites.function(site), sites.statement(site)
    if function is None or statement is None:
        return False
    made = {source.name_of(target) for target in statement.targets} if isinstance(statement, ast.Assign) else set()
    for line in (one for one in source.own_statements(function) if one.lineno >= site.line):
        for node in source.expressions(line):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div):
                inside = list(ast.walk(node.right))
                called = any(isinstance(one, ast.Call) and source.name_of(one.func) in STATISTICS for one in inside)
                if (line is statement and called) or any(
                    isinstance(one, ast.Name) and one.id in made for one in inside
                ):
                    return line is statement or isinstance(node.right, ast.Name | ast.BinOp)
    return False


def _of_the_batch(probe: dict[str, Any]) -> bool:
    """Whether examples are centred or scaled, with everything that follows, by a mean or deviation over their own batch."""
    site = probe["site"]
    scaled = probe["operation"] in SCALING and probe.get("statistic") in STATISTICS
    if probe["dim"] or not (scaled or (probe["operation"] in STATISTICS and _taken_off(site))):
        return False
    kinds = [
        one.name
        for one in ast.walk(sites.tree(site.file) or ast.Module([], []))
        if isinstance(one, ast.ClassDef) and one.lineno <= site.line <= (one.end_lineno or 0)
    ]
    return not BY_DESIGN.search(" ".join((*kinds, flow.around(site))))
