"""Examples that the model is trained on are also those that it is evaluated on.

A model may know an example by heart that it was trained on. The more of them the evaluation holds, the better its numbers
look, and the less they say about new data: overfitting stays unseen, and the best epoch is chosen by memory. It comes
from slices that overlap, from two random splits of one dataset, from a loader that is given the wrong dataset, and from
rows that are duplicated before the split.

Bad::

    everything = TensorDataset(torch.randn(120, 8), torch.arange(120) % 3)
    train_loader = DataLoader(torch.utils.data.Subset(everything, range(0, 96)), batch_size=16, shuffle=True)
    val_loader = DataLoader(torch.utils.data.Subset(everything, range(80, 120)), batch_size=16)  # <- here
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        correct = sum((model(inputs).argmax(1) == targets).sum() for inputs, targets in val_loader)

Good::

    everything = TensorDataset(torch.randn(120, 8), torch.arange(120) % 3)
    train_loader = DataLoader(torch.utils.data.Subset(everything, range(0, 96)), batch_size=16, shuffle=True)
    val_loader = DataLoader(torch.utils.data.Subset(everything, range(96, 120)), batch_size=16)
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        correct = sum((model(inputs).argmax(1) == targets).sum() for inputs, targets in val_loader)

Not a mistake: measuring on the training data too, under a name that does not claim otherwise; the folds of a
cross-validation; data of so few values that examples are alike by chance; nodes of one graph.

Source: https://github.com/HuCaoFighting/Swin-Unet/issues/135
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import (
    identifiers,
    last_trained,
    loops,
    models_of,
    outermost_calls,
    purpose,
    use,
    verdict,
    words,
)
from truestep.doctor.record import InputFacts, LoaderFacts, Record, Site

SEVERITY = "error"
FIX = "give the evaluation examples of its own: split once, and make both loaders from that split"


def look(record: Record) -> Iterator[Finding]:
    told: set[int] = set()
    for loader in record.loaders:
        finding = _by_index(record, loader)
        if finding is not None:
            told.add(loader.number)
            yield finding
    yield from _by_name(record)
    yield from _by_slice(record)
    seen: set[Site | None] = set()
    for given in record.inputs:
        if given.loader not in told or given.loader < 0:
            finding = _by_content(record, given)
            if finding is not None and finding.site not in seen:
                seen.add(finding.site)
                yield finding


def _by_name(record: Record) -> Iterator[Finding]:
    """Find the training loader where the held-out one should be: under its name, or while that one is never read."""
    told = False
    unread = [one for one in record.loaders if not one.passes and purpose(record, one)[0] == "held out"]
    held_out = [
        one for one in record.loaders if one.evaluated and not one.trained and purpose(record, one)[0] != "training"
    ]
    for given in record.inputs:
        loader = record.loaders[given.loader] if given.loader >= 0 else None
        if loader is None and not told and not given.call.gradients and not given.call.trained and given.distinct >= 8:
            finding = _without_loader(record, given)
            if finding is not None:
                told = True
                yield finding
        if loader is None or not loader.trained or not loader.evaluated or given.call.gradients or given.call.trained:
            continue
        named = next((site for site in given.stack if _held_out_from_training(site)), None)
        nothing_else = bool(unread) and not held_out and record.finished and given.read >= 8
        if named is None and not nothing_else:
            continue
        around = loops(given.call.site)
        loop = Site(given.call.site.file, around[0].lineno) if given.call.site and around else given.call.site
        if (
            nothing_else
            and len(given.stack) > 1
            and named is None
            and verdict(_arguments(given.stack[1])) == "training"
        ):
            loop = given.stack[1]
        yield Finding(
            f"The evaluation reads the loader that the model is trained on, {loader.examples} examples"
            + (
                f", and the one made for it in line {unread[0].site.line} is never read."
                if unread and unread[0].site
                else "."
            ),
            named or loop,
            "evaluate on the held-out loader",
            {"evaluated": loader.examples, "in training": loader.examples, "held-out loaders never read": len(unread)},
            severity="error" if named else "warning",
        )
        return


def _without_loader(record: Record, given: InputFacts) -> Finding | None:
    """Find a held-out number that a call makes of training data, all of which is what the model was trained on."""
    named = next((site for site in given.stack if _held_out_from_training(site)), None)
    trained = [(n, one) for n, one in enumerate(record.inputs) if one.model == given.model and one.call.stepped]
    shared = max((given.shared.get(place, 0) for place, _ in trained), default=0)
    if named is None:
        return None
    seen = shared >= 0.9 * given.distinct
    return Finding(
        "The evaluation is given what the model is trained on"
        + (f": {shared} of {given.distinct} examples." if seen else ", as the names in this line say."),
        named,
        "evaluate on the held-out examples",
        {"evaluated": given.distinct, "in training": shared},
        severity=SEVERITY if seen else "warning",
    )


def _by_slice(record: Record) -> Iterator[Finding]:
    """Find two slices of one thing, for training and for evaluation, of which the second begins before the first ends."""
    if not any(one.call.stepped for one in record.inputs) or all(one.call.trained for one in record.inputs):
        return
    for file in sorted({loss.site.file for loss in record.losses if loss.site}):
        module = sites.tree(file)
        for around in (one for one in ast.walk(module or ast.Module([], [])) if isinstance(one, source.Function)):
            slices = list(_slices(around))
            made = [(line.lineno, source.targets_of(line)) for line in source.own_statements(around)]
            for name, of, cut, begun in slices:
                if verdict(name) != "training" or cut.lower is not None or cut.upper is None or cut.step is not None:
                    continue
                for other, of_other, rest, line in slices:
                    if verdict(other) != "held out" or of_other != of or not _begins_before(rest, cut.upper):
                        continue
                    if any(of in names and min(begun, line) < at <= max(begun, line) for at, names in made):
                        continue  # of something else under the same name
                    yield Finding(
                        f"'{other}' begins before '{name}' ends: {of}[{ast.unparse(rest)}] and {of}[{ast.unparse(cut)}] overlap.",
                        Site(file, line),
                        f"{of}[{ast.unparse(cut.upper)}:]",
                        {"training": ast.unparse(cut), "evaluation": ast.unparse(rest)},
                    )
                    return


def _slices(around: source.Function) -> Iterator[tuple[str, str, ast.Slice, int]]:
    """Yield what is named after a slice of something: (name, of what, slice, line)."""
    for statement in source.own_statements(around):
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            continue
        target, value = statement.targets[0], statement.value
        both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts)
        pairs = zip(target.elts, value.elts, strict=True) if both else [(target, value)]  # pyright: ignore[reportAttributeAccessIssue]
        for name, made in pairs:
            cuts = [
                one for one in ast.walk(made) if isinstance(one, ast.Subscript) and isinstance(one.slice, ast.Slice)
            ]
            whole = not any(
                isinstance(one, ast.Subscript) and not isinstance(one.slice, ast.Slice) for one in ast.walk(made)
            )
            if isinstance(name, ast.Name) and len(cuts) == 1 and whole and isinstance(cuts[0].slice, ast.Slice):
                yield name.id, ast.unparse(cuts[0].value), cuts[0].slice, statement.lineno


def _begins_before(rest: ast.Slice, end: ast.expr) -> bool:
    """Whether a slice certainly begins well before an index, not only by the few steps that windows look back."""
    first, last = rest.lower, ast.unparse(end)
    if rest.step is not None or (rest.upper is not None and ast.unparse(rest.upper) == last):
        return False
    if first is None:
        return not (isinstance(end, ast.UnaryOp) and rest.upper is not None)
    if isinstance(first, ast.BinOp) and isinstance(first.op, ast.FloorDiv) and isinstance(first.right, ast.Constant):
        return ast.unparse(first.left) == last and isinstance(first.right.value, int) and first.right.value > 1
    if isinstance(first, ast.Constant) and isinstance(end, ast.Constant):
        numbers = first.value, end.value
        return all(isinstance(one, int) for one in numbers) and 0 <= numbers[0] < 0.8 * numbers[1]  # pyright: ignore[reportOperatorIssue]
    return False


def _arguments(site: Site) -> str:
    statement = sites.statement(site)
    calls = (
        [node for node in source.expressions(statement) if isinstance(node, ast.Call)] if statement is not None else []
    )
    return " ".join(identifiers(part) for call in calls for part in (*call.args, *call.keywords))


def _held_out_from_training(site: Site) -> bool:
    """Whether a line gives a name of held-out numbers to what a call makes of training data."""
    statement = sites.statement(site)
    if not isinstance(statement, ast.Assign):
        return False
    named = " ".join(identifiers(target) for target in statement.targets)
    return verdict(named) == "held out" and verdict(_arguments(site)) == "training"


def _by_index(record: Record, loader: LoaderFacts) -> Finding | None:
    if not loader.evaluated or loader.trained or not loader.own_indices or loader.iterable:
        return None
    models = models_of(record, loader)
    for one in loader.passes:
        trained = last_trained(record, models, one.first_step, loader.number)
        shared = loader.shared_indices.get(trained.loader, 0) if trained else 0
        if trained is None or shared < max(2, 0.01 * loader.own_indices) or not _reads_the_same_twice(record, loader):
            continue
        said, site = purpose(record, loader)
        if said != "held out":
            return None
        other = record.loaders[trained.loader]
        helper = loader.dataset_site == other.dataset_site  # one line, run once for each of them
        if loader.subset and loader.dataset_site and shared < loader.own_indices and not helper:
            site = loader.dataset_site
        return Finding(
            f"{shared} of the {loader.own_indices} examples of this {loader.dataset_kind} that are evaluated were trained "
            "on, too.",
            site,
            FIX,
            {"evaluated": loader.own_indices, "trained on": other.own_indices, "in both": shared},
            related=[site for site in (other.site,) if site],
        )
    return None


def _reads_the_same_twice(record: Record, loader: LoaderFacts) -> bool:
    """Whether an index stands for one example, and not for another random one each time."""
    if loader.holds_rows:
        return True
    if any(
        one.loader == loader.number and count and record.inputs[place].loader != loader.number
        for one in record.inputs
        for place, count in one.shared.items()
    ):
        return True
    first = [one.fingerprints for one in loader.passes[:4] if one.fingerprints]
    return len(first) >= 2 and loader.sampler == "SequentialSampler" and all(prints == first[0] for prints in first)


def _by_content(record: Record, given: InputFacts) -> Finding | None:
    call = given.call
    if (
        call.trained
        or (call.gradients and call.training)
        or given.distinct < 16
        or given.richness < 6
        or given.columns < 4
        or given.computed
    ):
        return None
    loader = record.loaders[given.loader] if given.loader >= 0 else None
    if loader is not None and loader.trained:
        return None
    training = [
        (place, one)
        for place, one in enumerate(record.inputs)
        if one.model == given.model
        and one.call.stepped
        and (one.loader == given.loader == -1 or (one.first_step < given.first_step and one.loader != given.loader))
    ]
    if not training:
        return None
    place, trained = max(training, key=lambda one: one[1].first_step)
    shared = given.shared.get(place, 0)
    least = 0.02 if given.floating else 0.3  # windows of one text repeat by nature
    if shared < max(5, least * given.distinct):
        return None
    if shared < 5 * _by_chance(record, given, trained) and not (_copied(record, given) and _copied(record, trained)):
        return None
    if loader is not None:
        said, site = purpose(record, loader)
        if loader.subset and loader.dataset_site:
            site = loader.dataset_site
    else:
        if _has_folds(given.stack) or (shared == given.distinct == trained.distinct):
            return None
        said, line = use(given.stack)
        site = _where_made(line) if line is not None else None
    if said != "held out" or site is None:
        return None
    share = shared / given.distinct
    return Finding(
        f"{shared} of {given.distinct} evaluated examples are, number by number, examples that the model was trained on.",
        site,
        FIX,
        {"evaluated": given.distinct, "trained on": trained.distinct, "in both": shared},
        severity="error" if share >= 0.2 else "warning",
        related=[one for one in (given.stack[0] if given.stack else None,) if one and one != site],
    )


def _by_chance(record: Record, given: InputFacts, trained: InputFacts) -> float:
    """Return how many examples both would share if duplicates between them were as frequent as within each."""
    alike, pairs = 3.0, 0.0
    for one in (given, trained):
        alike += one.repeated if one.loader < 0 else 0
        pairs += one.distinct**2 / 2
        if one.loader >= 0:
            loader = record.loaders[one.loader]
            if not loader.with_replacement and loader.passes:
                alike += max(0, min(loader.passes[0].examples, one.read) - one.distinct)
    return given.distinct * trained.distinct * alike / max(pairs, 1)


def _copied(record: Record, given: InputFacts) -> bool:
    """Whether an example that is there twice is a copy: its numbers are too fine to come twice, and most are different."""
    loader = record.loaders[given.loader] if given.loader >= 0 else None
    if loader is None or not loader.passes or loader.iterable or loader.with_replacement or not given.fine:
        return False
    return given.floating and given.distinct >= 64 and loader.passes[0].examples <= 2.5 * given.distinct


def _has_folds(stack: list[Site]) -> bool:
    trees = [sites.tree(site.file) for site in stack[:1]]
    return any({"fold", "folds", "kfold", "splits"} & words(identifiers(tree)) for tree in trees if tree is not None)


def _of_itself(statement: ast.Assign) -> bool:
    """Whether a statement gives a name another form of what it already stood for: `x = (x - mean) / std`."""
    return bool(source.targets_of(statement) & source.names_in(statement.value))


def _where_made(line: Site) -> Site:
    """Return the assignment to the held-out data that a line uses."""
    statement, module = sites.statement(line), sites.tree(line.file)
    if statement is None or module is None:
        return line
    names = {
        part.id
        for call in outermost_calls(statement)
        for argument in (*call.args, *(one.value for one in call.keywords))
        for part in ast.walk(argument)
        if isinstance(part, ast.Name) and verdict(part.id) == "held out"
    }
    made = [
        node.lineno
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and node.lineno < line.line and not _of_itself(node)
        for target in node.targets
        for part in ast.walk(target)
        if isinstance(part, ast.Name) and part.id in names
    ]
    return Site(line.file, max(made)) if made else line
