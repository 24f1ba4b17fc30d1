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

import ast
import re
from collections import Counter
from collections.abc import Iterator

from truestep.doctor import flow, sites
from truestep.doctor.findings import Finding
from truestep.doctor.reading import ON_PURPOSE
from truestep.doctor.record import CallFacts, ModelFacts, Record, Site

SEVERITY = "warning"


TEACHER = re.compile(r"(^|[\W_])teacher\w*\s*\(|\bself\.teacher\w*\(", re.IGNORECASE)
TARGET = re.compile(r"\b(self\.)?(target_\w+|\w+_target)\s*\(", re.IGNORECASE)


def look(record: Record) -> Iterator[Finding]:
    loads = Counter(load.site for load in record.loads if load.what == "model" and load.step)
    for model in record.models:
        calls = [call for call in model.calls if call.stepped and call.site is not None and model.owned_by]
        earlier = lessons(record, model)
        calls = [call for call in calls if call not in earlier]
        steps = sum(call.stepped for call in calls)
        texts = [flow.text_of(call.site) for call in calls if call.site is not None]
        still = all(not call.training for call in calls)
        copied = any(n >= 2 and site and "target" in flow.text_of(site).lower() for site, n in loads.items())
        teacher = still and any(TEACHER.search(text) for text in texts)
        target = copied and any(TARGET.search(text) for text in texts)
        if (
            steps < 3
            or not (teacher or target)
            or any(call.training and call.trained and call not in earlier for call in model.calls if teacher)
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
    yield from averaged(record)
    for model in record.models:
        yield from noisy(record, model)
    yield from one_object(record)


def lessons(record: Record, model: ModelFacts) -> list[CallFacts]:
    """Return the calls of a model's own training, in training mode, if all came before it stood still beside a student."""
    lively = [call for call in model.calls if call.stepped and call.training]
    still = [call for call in model.calls if call.stepped and not call.training]
    if not (lively and still) or max(call.last_step for call in lively) >= min(call.stepped_first for call in still):
        return []
    losses = {number for call in still for number in call.losses}
    students = [
        other
        for other in record.models
        if other is not model
        and any(call.training and losses & set(call.losses) for call in other.calls)
        and set(other.owned_by) & set(model.owned_by)
    ]
    return lively if students and not losses & {number for call in lively for number in call.losses} else []


def averaged(record: Record) -> Iterator[Finding]:
    """Yield weights that are a running average of others, and that the optimizer of those moves, too."""
    for optimizer in record.optimizers:
        own = [p for p in record.parameters if optimizer.number in p.optimizers and p.drawn >= 2 and p.gradients >= 2]
        models = sorted({record.models[p.model].kind for p in own if p.model >= 0})
        if len(own) >= 2:
            yield Finding(
                f"{len(own)} parameters{' of ' + ', '.join(models) if models else ''} follow others as their running average, and "
                f"{optimizer.kind}, which has both, moved them by gradients of their own in {optimizer.steps} steps.",
                optimizer.site,
                "give the optimizer the student's parameters only, and call the teacher under torch.no_grad()",
                {"parameters": len(own), "steps": optimizer.steps},
                "warning",
            )


def noisy(record: Record, model: ModelFacts) -> Iterator[Finding]:
    """Yield a teacher that was trained, and now teaches with its dropout and batch norm still in training mode."""
    trained = [call for call in model.calls if call.stepped]
    taught = [
        call
        for call in model.calls
        if call.training and not call.gradients and call.restless and call.site and not call.trained
    ]
    taught = [
        call
        for call in taught
        if TEACHER.search(flow.text_of(call.site)) and not flow.speaks_of(call.stack, ON_PURPOSE)  # pyright: ignore[reportArgumentType]
    ]
    times, change = sum(call.times for call in taught), model.probes.get("modes")
    if not trained or times < 3 or sum(call.repeated for call in taught) or change is None or change < 1e-3:
        return
    first, last = min(call.first_step for call in taught), max(call.last_step for call in trained)
    students = [
        other
        for other in record.models
        if other is not model and any(call.stepped >= 3 and call.last_step >= first for call in other.calls)
    ]
    if last >= first or any(call.stepped and call.last_step < first for other in students for call in other.calls):
        return
    if students and any(flow.learnt_from(call.stack, record.losses) for call in taught):
        yield Finding(
            f"{model.kind}, a teacher that was trained before, was asked {times} times with "
            f"{', '.join(taught[0].restless[:3])} in training mode: in evaluation mode its answers move by up to "
            f"{change:.2g} of their standard deviation.",
            taught[0].site,
            "teacher.eval()  # before the student is trained",
            {"calls": times, "change in evaluation mode": change},
            "warning",
        )


def one_object(record: Record) -> Iterator[Finding]:
    """Yield a target network that is the very model that it is copied from again and again."""
    times = Counter(load.site for load in record.loads if load.what == "model" and load.itself and load.step)
    for site, n in times.items():
        statement = sites.statement(site)
        if site is None or n < 2 or not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
            continue
        call = statement.value
        given = call.args[0] if call.args else None
        if not isinstance(call.func, ast.Attribute) or not isinstance(given, ast.Call):
            continue
        if not isinstance(given.func, ast.Attribute) or given.func.attr != "state_dict":
            continue
        one, other = ast.unparse(call.func.value), ast.unparse(given.func.value)
        if one == other or "target" not in one.lower():
            continue
        yield Finding(
            f"{n} times '{one}' was given the weights of '{other}', and both are one object: what shall stay fixed in between "
            "moves with every step.",
            renamed(site, one) or site,
            f"{one} = copy.deepcopy({other})",
            {"copies": n},
            "warning",
            [site],
        )


def renamed(site: Site, name: str) -> Site | None:
    """Return where a name is given to what has another name."""
    module = sites.tree(site.file)
    for node in ast.walk(module) if module else ():
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Name | ast.Attribute)
            and any(ast.unparse(target) == name for target in node.targets)
        ):
            return Site(site.file, node.lineno)
    return None
