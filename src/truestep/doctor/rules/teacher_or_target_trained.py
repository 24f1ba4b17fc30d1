"""A model that is to stay fixed is trained.

A teacher whose parameters are in the optimizer moves towards its student, and the easiest agreement of the two is that
neither says anything. A target network that both is copied from the other and takes steps of its own is no target.

Bad::

    teacher = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    teacher.eval()
    optimizer = torch.optim.SGD([*model.parameters(), *teacher.parameters()], lr=0.1)  # <- here
    for inputs, targets in loader:
        optimizer.zero_grad()
        wanted = F.softmax(teacher(inputs), dim=1)
        F.kl_div(F.log_softmax(model(inputs), dim=1), wanted, reduction="batchmean").backward()
        optimizer.step()

Good::

    teacher = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    teacher.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        with torch.no_grad():
            wanted = F.softmax(teacher(inputs), dim=1)
        F.kl_div(F.log_softmax(model(inputs), dim=1), wanted, reduction="batchmean").backward()
        optimizer.step()

Not a mistake: two models that learn from each other, a teacher that is trained first, a target that only an average moves.

Source: https://github.com/garlic-byte/yolov8_distillation/issues/1
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from truestep.doctor import flow
from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "warning"


TEACHER = re.compile(r"(^|[\W_])teacher\w*\s*\(|\bself\.teacher\w*\(", re.IGNORECASE)
TARGET = re.compile(r"\b(self\.)?(target_\w+|\w+_target)\s*\(", re.IGNORECASE)


def look(record: Record) -> Iterator[Finding]:
    loads = Counter(load.site for load in record.loads if load.what == "model" and load.step)
    for model in record.models:
        calls = [call for call in model.calls if call.stepped and call.site is not None and model.owned_by]
        steps = sum(call.stepped for call in calls)
        texts = [flow.text_of(call.site) for call in calls if call.site is not None]
        still = all(not call.training for call in calls)
        copied = any(n >= 2 and site and "target" in flow.text_of(site).lower() for site, n in loads.items())
        teacher = still and any(TEACHER.search(text) for text in texts)
        target = copied and any(TARGET.search(text) for text in texts)
        if (
            steps < 3
            or not (teacher or target)
            or any(call.training and call.trained for call in model.calls if teacher)
        ):
            continue
        owner = next(one for one in record.optimizers if one.number == model.owned_by[-1])
        yield Finding(
            f"{steps} optimizer steps moved {model.kind}, "
            + ("a teacher in evaluation mode." if teacher else "a target that is also copied from another model."),
            owner.site,
            "give the optimizer the student's parameters only, and call the teacher under torch.no_grad()",
            {"steps": steps},
            "warning",
            [call.site for call in calls if call.site][:1],
        )
