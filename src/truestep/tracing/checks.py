"""What a careful person tries by hand before a long run, each with what was found and what to do about it."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # what all batch norms are

from truestep.device import draw_again, drawn
from truestep.errors import InputError
from truestep.evaluation import evaluation_mode
from truestep.nest import map_tensors, tensors_of
from truestep.objectives import Binary, FromFunction, Multiclass, Multilabel, NextToken, Regression
from truestep.optimizers import build_optimizer
from truestep.progress import digits
from truestep.tracing.copying import copied
from truestep.tracing.guess import blind_guess
from truestep.tracing.lines import Subject, backward, forward, fresh, loss_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

OK, WRONG, NOTE, SKIPPED = "ok", "wrong", "note", "skipped"
# How much more a fresh model may lose than one that knows nothing: nats, or times as much for squared errors. Torch's own
# initial weights have up to 0.5 and 3 on the bundled tables.
ODD_START, WRONG_START = 0.5, 1.0
ODD_NUMBERS, WRONG_NUMBERS = 4.0, 10.0
FAR = 10.0  # times the variance, from which on values have to be standardised
KNOWN_START = 0.25  # of a guess's loss; by luck alone torch's own initial weights reach half of it
DEAD, MANY_DEAD = 0.9, 0.5  # shares of the units of an activation
LARGE_INPUT = 30.0  # inputs are best of about deviation 1
LARGE_STEP = 1.0  # of all weights, by their length; Adam's first one may be a third of a layer that begins small
BY_HEART = 0.1  # of the way from the least loss there can be to that of a blind guess
LEARNT = 0.5  # of the same way: a small model may stay above the other
FEW, FEW_TEXTS = 8, 2  # examples to learn by heart
RATES = (1e-3, 1e-2, 1e-1)  # of Adam, tried one after the other
STEPS = 200  # with each
LONGEST = 20.0  # seconds for it all; what then is unfinished is called that, and never wrong


@dataclass(frozen=True)
class Check:
    """One of them."""

    name: str
    status: str  # ok, wrong, note or skipped
    found: str
    advice: str = ""


def checks(subject: Subject, found: dict[str, Any]) -> list[Check]:
    """Return all of them, in the order of the five lines.

    Args:
        subject: a model that nobody has trained since `found`.
        found: of `five_lines`, on a copy.
    """
    made: dict[str, Callable[[], Check | None]] = {
        "inputs": lambda: _inputs(found),
        "finite": lambda: _finite(found),
        "outputs": lambda: _outputs(subject, found),
        "loss at the start": lambda: start(subject, found),
        "gradients": lambda: _gradients(subject, found),
        "units alive": lambda: _alive(found),
        "step": lambda: _step(subject, found),
        "examples apart": lambda: _apart(subject),
        "future unseen": lambda: _future(subject),
        "overfits one batch": lambda: _by_heart(subject, found),
    }
    return [check for name, make in made.items() if (check := _tried(name, make)) is not None]


def _tried(name: str, make: Callable[[], Check | None]) -> Check | None:
    try:
        return make()
    except InputError as error:  # it has been through the five lines: what fails now is another mode, or another step
        return Check(name, NOTE, f"could not be tried: {error}")


def _inputs(found: dict[str, Any]) -> Check:
    name, tensors = "inputs", found["inputs"]
    bad = [t for t in tensors if t["nonfinite"]]
    if bad:
        return Check(
            name,
            WRONG,
            f"{bad[0]['nonfinite']:,} of the numbers in '{bad[0]['name']}' are NaN or infinite",
            "Fill or leave out what is missing before it reaches the model.",
        )
    large = [t for t in tensors if t["dtype"].startswith(("float", "bfloat")) and _largest(t) > LARGE_INPUT]
    if large:
        return Check(
            name,
            NOTE,
            f"'{large[0]['name']}' goes from {large[0]['min']:.4g} to {large[0]['max']:.4g}",
            "Numbers of about mean 0 and deviation 1 train best: divide bytes by 255, standardise columns.",
        )
    written = found["written"]["inputs"]
    if written:
        return Check(name, NOTE, "the model writes into its inputs", "Whoever uses the batch again sees other numbers.")
    return Check(name, OK, "finite, and of a size that trains well")


def _largest(tensor: dict[str, Any]) -> float:
    return max(abs(tensor["min"] or 0.0), abs(tensor["max"] or 0.0))


def _finite(found: dict[str, Any]) -> Check | None:
    if math.isfinite(found["loss"]["value"]) and math.isfinite(found["gradients"]["norm"]):
        return None
    first = next((row for row in found["modules"] if row["nonfinite"]), None)
    weights = [row["name"] for row in found["parameters"] if not math.isfinite(row["weight_norm"])]
    if any(tensor["nonfinite"] for tensor in found["inputs"]):
        place = "they are in the batch already"
    elif weights:
        place = f"the weights have some already: {_some(weights)}"
    elif first and first["began"] and first["name"]:
        place = f"they begin in '{first['name']}' ({first['type']}), whose inputs were finite"
    elif first:
        place = f"they begin between modules: '{first['name'] or 'the model'}' is the first to give some"
    elif not math.isfinite(found["loss"]["value"]):
        place = "every module's outputs are finite, so it is the loss that makes them"
    else:
        place = "the loss is finite, so that backward makes them: often a square root, a logarithm or a division at 0"
    return Check(
        "finite",
        WRONG,
        f"the loss is {found['loss']['value']:g}, the gradient norm {found['gradients']['norm']:g}; {place}",
        "No step was taken. Look for a logarithm, a root or a division there, and for weights that are too large.",
    )


def _outputs(subject: Subject, found: dict[str, Any]) -> Check | None:
    """Whether outputs are what the objective takes: logits or values, and not what somebody made of them."""
    if isinstance(subject.objective, FromFunction):
        return None
    name, last = "outputs", found["last"]
    expects = "values without bounds" if isinstance(subject.objective, Regression) else "logits"
    activation = {"Softmax": "softmax", "Sigmoid": "sigmoid", "Relu": "relu"}.get(last)
    if isinstance(subject.objective, Multiclass | NextToken) and activation is None:
        inputs, _ = subject.parts()
        with torch.no_grad(), evaluation_mode(subject.model), quiet(subject):
            outputs = next(tensors_of(forward(subject, inputs)), None)
        dim = 1 if isinstance(subject.objective, Multiclass) else -1
        if outputs is not None and outputs.ndim > 1 and bool((outputs >= 0).all()):
            sums = outputs.float().sum(dim)
            activation = "softmax" if bool(torch.isclose(sums, torch.ones_like(sums), atol=1e-3).all()) else None
    if activation is None:
        return Check(name, OK, f"{expects}, as the loss expects")
    if activation == "relu":
        return Check(
            name,
            WRONG,
            "the model ends in a relu: its outputs can't be below 0",
            f"Take it away: the loss expects {expects}.",
        )
    own = "softmax" if isinstance(subject.objective, Multiclass | NextToken) else "sigmoid"
    if isinstance(subject.objective, Regression):
        why = "targets are outside of 0 to 1 as the loss sees them, standardised"
    else:
        applies = (
            "applies it itself" if activation == own else f"applies a {own} to outputs that are between 0 and 1 then"
        )
        why = f"the loss {applies}: " + (
            "every difference between classes is flattened"
            if own == "softmax"
            else "no answer can be surer than 50 % of no, or 73 % of yes"
        )
    return Check(name, WRONG, f"the model ends in a {activation}; {why}", f"Take it away: the loss expects {expects}.")


def start(subject: Subject, found: dict[str, Any]) -> Check | None:
    name = "loss at the start"
    _, targets = subject.parts()
    if isinstance(subject.objective, FromFunction) or found["loss"]["even"] is None:
        return Check(name, SKIPPED, "for an objective of one's own nobody knows what it should be")
    if subject.trained:
        return Check(name, SKIPPED, "the model is trained already")
    start, unsure = _at_start(subject, targets, evaluation_mode)
    even, blind = found["loss"]["even"], blind_guess(subject.objective, targets)
    assert blind is not None
    if not math.isfinite(start):
        return Check(name, SKIPPED, f"it is {start:g}")
    normed = any(isinstance(m, _BatchNorm) and m.track_running_stats for m in subject.model.modules())
    mode = "in evaluation mode, that is with dropout off" + (" and batch norm's running statistics" if normed else "")
    said = f"{start:.4f} {mode}; a model that knows nothing yet has about {even:.4f}"
    if isinstance(subject.objective, Regression):
        power = 1.0 if subject.objective.loss == "mse" else 0.5
        excess, odd, bad = unsure / (even or 1.0), ODD_NUMBERS**power, WRONG_NUMBERS**power
        scaled = any(subject.objective.mean) or {*subject.objective.std} != {1.0}
        if not scaled and even > FAR * blind:
            return Check(
                name,
                WRONG,
                f"outputs of 0 lose {even:.4g}, and the mean of these targets would lose {blind:.4g}",
                "The targets are far from 0: standardise them, as ts.Regression.of(targets) does.",
            )
    else:
        excess, odd, bad = unsure - even, ODD_START, WRONG_START
    if excess > odd:
        sure = f"{mode}, its outputs lose {unsure:.4f} on average with targets of any example; knowing nothing has {even:.4f}"
        if normed:
            _, with_batch = _at_start(subject, targets, _learning_mode)
            if (with_batch / (even or 1.0) if isinstance(subject.objective, Regression) else with_batch - even) <= odd:
                return Check(
                    name,
                    NOTE,
                    f"{sure}, and with the batch's own statistics it is {with_batch:.4f}",
                    "The running statistics are not learnt yet, and inputs are of another scale than theirs: mean 0 and "
                    "deviation 1 at first. Scale the inputs, or evaluate after more steps.",
                )
        advice = "It begins sure, and wrong: look for large initial weights, or a bias, in the last layer."
        return Check(name, WRONG if excess > bad else NOTE, sure, advice)
    if start < KNOWN_START * min(even, blind):
        return Check(
            name,
            WRONG,
            said,
            "It knows answers before it has learnt any: is the target among the inputs, or the model trained already?",
        )
    return Check(name, OK, said)


def _at_start(subject: Subject, targets: Tensor, mode: Callable[[nn.Module], Any]) -> tuple[float, float]:
    """Return the loss in this mode, and its mean over targets of other examples, too.

    What a random model happens to get right on easy data says nothing.
    """
    with torch.no_grad(), mode(subject.model), quiet(subject):
        inputs, _ = subject.parts()
        outputs = forward(subject, inputs)
        shifts = [place * len(targets) // 8 for place in range(8)]
        others = [float(loss_of(subject, outputs, targets.roll(shift, 0))[0]) for shift in shifts]
        return float(loss_of(subject, outputs, targets)[0]), sum(others) / len(others)


def _gradients(subject: Subject, found: dict[str, Any]) -> Check:
    name = "gradients"
    rows = found["parameters"]
    trainable = [row for row in rows if row["trainable"]]
    frozen = len(rows) - len(trainable)
    aside = f"; {frozen} frozen" if frozen else ""
    if not trainable:
        return Check(
            name, WRONG, f"nothing to train: {len(rows)} parameters, all frozen", "Unfreeze what should learn."
        )
    none = [row["name"] for row in trainable if row["gradient_norm"] is None]
    if len(none) == len(trainable):
        return Check(
            name,
            WRONG,
            "no parameter gets one: the loss depends on none of them",
            "Something cuts the path: .detach(), .item(), torch.no_grad() or argmax between the model and the loss.",
        )
    if none:
        return Check(
            name,
            WRONG,
            f"{len(none)} of {len(trainable)} parameters get none: {_some(none)}",
            "They never learn: their module is not used in forward, or .detach() or no_grad() cuts them off.",
        )
    odd = [row["name"] for row in trainable if not math.isfinite(row["gradient_norm"])]
    if odd:
        return Check(
            name,
            WRONG,
            f"{len(odd)} of {len(trainable)} parameters get one with NaN or infinite numbers: {_some(odd)}",
            "A step with them would spoil every weight it reaches; 'finite' says where they begin.",
        )
    zero = [row["name"] for row in trainable if row["gradient_zeros"] == 1]
    still = [row for row in zero if row in _zero_later(subject)] if zero else []
    if still:
        return Check(
            name,
            WRONG,
            f"{len(still)} of {len(trainable)} parameters get one of 0, still so after three steps: {_some(still)}",
            "Nothing comes back to them: units that are dead or cut off, or a factor of 0 behind them.",
        )
    later = f"; {len(zero)} only from a later step on, since what follows them begins at 0" if zero else ""
    return Check(name, OK, f"each of {len(trainable)} parameters gets one{later}{aside}")


def _zero_later(subject: Subject) -> set[str]:
    """Return the parameters whose gradient is 0 after three steps too: layers that begin at 0 let it through by then."""
    later = _stepped(subject)
    with quiet(later):
        loss = _loss(later)
        if loss.requires_grad:
            backward(later, loss)
    gradients = {name: p.grad for name, p in later.model.named_parameters()}
    return {name for name, g in gradients.items() if g is None or not bool((g.to_dense() != 0).any())}


def _stepped(subject: Subject) -> Subject:
    """Return a copy that is three steps further."""
    model, _ = copied(subject.model, None)
    other = replace(subject, model=model, optimizer=None)
    optimizer = build_optimizer("adam", model, lr=1e-3)
    with quiet(other):
        for _ in range(3):
            loss = _loss(other)
            if not loss.requires_grad or not bool(loss.isfinite()):
                break
            _descend(other, optimizer, loss)
    model.zero_grad()
    return other


def _descend(subject: Subject, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    backward(subject, loss)
    for parameter in subject.model.parameters():
        if parameter.grad is not None and parameter.grad.is_sparse:  # which Adam does not take
            parameter.grad = parameter.grad.to_dense()
    optimizer.step()


def _alive(found: dict[str, Any]) -> Check | None:
    rows = [row for row in found["modules"] if row["activation"] and row["dead"] is not None]
    examples = found["targets"][0]["shape"][:1] if found["targets"] else []
    if not rows or not examples or examples[0] < 2:
        return None
    worst = max(rows, key=lambda row: row["dead"])
    said = f"{worst['dead']:.0%} of the {worst['units']:,} units of '{worst['name']}' are 0 for every example"
    if worst["dead"] >= DEAD:
        return Check(
            "units alive",
            WRONG,
            said,
            "They pass nothing on and get no gradient: look for a large negative bias, or steps that were too large.",
        )
    if worst["dead"] >= MANY_DEAD and examples[0] >= FEW:
        return Check("units alive", NOTE, said, "If it grows while training, take a smaller learning rate.")
    return Check(
        "units alive", OK, f"at most {worst['dead']:.0%} of the units of an activation are 0 for every example"
    )


def _step(subject: Subject, found: dict[str, Any]) -> Check:
    name, step = "step", found["step"]
    if not step["taken"]:
        return Check(name, SKIPPED, "there was nothing to apply")
    before, after = found["loss"]["value"], step["loss_after"]
    ratio = step["update_norm"] / step["weight_norm"] if step["weight_norm"] else 0.0
    length = f"the update is {ratio:.2g} of the weights" if ratio else "all weights were 0"
    said = f"the loss of this batch went from {digits(before)} to {digits(after)}; {length}"
    rows = [row for row in found["parameters"] if row["gradient_norm"]]
    if not rows and before and after == before:
        return Check(name, WRONG, said, "Every gradient is 0, so that no step changes anything: see gradients.")
    still = [row["name"] for row in rows if not row["moved"]]
    if still:
        advice = "Was the optimizer made from model.parameters(), of this very model?"
        if subject.optimizer and all(group["lr"] == 0 for group in subject.optimizer.param_groups):
            advice = "The learning rate is 0."
        if len(still) < len(rows):
            advice = "Are they in the optimizer? Layers that were added or replaced later are not."
        return Check(
            name, WRONG, f"{len(still)} of {len(rows)} parameters with a gradient stay: {_some(still)}", advice
        )
    if subject.trained and math.isfinite(after) and after > before:
        advice = "A new Adam goes its full rate in every weight, however small the gradient: warm up after training."
        return Check(name, NOTE, said, advice)
    if not math.isfinite(after) or after > 2 * max(before, found["loss"]["even"] or 0.0):
        return Check(name, WRONG, said, "Far too large a step: lower the learning rate.")
    if ratio > LARGE_STEP:
        return Check(name, NOTE, said, "That is as long as the weights themselves: lower the learning rate.")
    if after > before:
        return Check(name, NOTE, said, "A step should lower the loss of its own batch: try a lower learning rate.")
    return Check(name, OK, said)


def _apart(subject: Subject) -> Check:
    """Whether other examples of the batch make a difference to an example's outputs."""
    name = "examples apart"
    if isinstance(subject.objective, FromFunction):
        return Check(name, SKIPPED, "an objective of one's own gives a loss only")
    inputs, targets = subject.parts()
    count = len(targets) if isinstance(targets, Tensor) and targets.ndim else 0
    if count < 2:
        return Check(name, SKIPPED, "takes a batch of two examples at least")
    if count > FEW:  # as good as all of them, in less time
        subject = replace(subject, batch=_taken(subject.batch, torch.arange(FEW), count))
        (inputs, targets), count = subject.parts(), FEW
    first = _outputs_of(subject, inputs)
    if not any(t.ndim and len(t) == count for t in first):
        found = ", ".join(str(tuple(t.shape)) for t in first) or "no tensor"
        return Check(
            name,
            WRONG,
            f"expected outputs of {count} examples, found {found}",
            "Look for a view or reshape that changes the first dimension.",
        )
    if not all(bool(t.isfinite().all()) for t in first):
        return Check(name, SKIPPED, "the outputs are not finite")
    second = _outputs_of(subject, subject.parts()[0], again=True)
    if _differ(first, second, torch.ones(count, dtype=torch.bool)):
        return Check(
            name,
            WRONG,
            "in evaluation mode the same inputs give other outputs the second time",
            "Something random is left on: F.dropout needs training=self.training.",
        )
    if not _swapped_matters(subject, count, first):
        subject = _stepped(subject)  # a last layer that begins at 0 answers everything alike
        first = _outputs_of(subject, subject.parts()[0])
    if not _swapped_matters(subject, count, first):
        return Check(name, NOTE, "other inputs make no difference to any output", "Are the inputs used at all?")
    mixed = _mixes(subject, count)
    norms = [n for n, m in subject.model.named_modules() if isinstance(m, _BatchNorm)]
    if mixed is not None:
        own = [n for n, m in subject.model.named_modules() if isinstance(m, _BatchNorm) and not m.track_running_stats]
        if own:
            return Check(
                name,
                WRONG,
                f"in evaluation mode too, outputs depend on the other examples: {_some(own)} keep no running statistics",
                "Predictions will change with the batch: leave track_running_stats on.",
            )
        return Check(
            name,
            WRONG,
            f"example {mixed[0]}'s outputs change when only others, such as example {mixed[1]}, do",
            "Look for a view, reshape, transpose, softmax or mean over the batch: dimension 0.",
        )
    if not _mixes_in_training(subject, count):
        return Check(name, OK, "each example's outputs depend on its own inputs alone")
    if norms:
        return Check(
            name,
            OK,
            f"in evaluation mode yes; in training they depend on the batch, as batch norm has it ({_some(norms)})",
        )
    return Check(
        name,
        NOTE,
        "in evaluation mode yes, but in training they depend on the other examples, without a batch norm",
        "If that is not meant, look for a mean or softmax over dimension 0.",
    )


def _swapped_matters(subject: Subject, count: int, first: list[Tensor]) -> bool:
    """Whether examples that get each other's inputs have other outputs; else nothing below could be seen."""
    rolled = torch.arange(count).roll(1)
    inputs = _taken(subject.parts()[0], rolled, count)
    return bool(_differ(first, _outputs_of(subject, inputs), torch.ones(count, dtype=torch.bool)))


def _groups(count: int) -> list[Tensor]:
    """Return which examples to keep as they are: odd, even, the first half, the second."""
    places = torch.arange(count)
    return [places % 2 == 0, places % 2 == 1, places < count // 2, places >= count // 2]


def _mixes(subject: Subject, count: int) -> tuple[int, int] | None:
    """Return an example whose outputs changed though only others did, and one of those."""
    base = _outputs_of(subject, subject.parts()[0])
    for kept in _groups(count):
        inputs = _taken(subject.parts()[0], _with_others(kept), count)
        changed = _differ(base, _outputs_of(subject, inputs), kept)
        if changed:
            others = (~kept).nonzero().flatten()
            nearest = others[(others - changed[0]).abs().argmin()]
            return changed[0], int(nearest)
    return None


def _with_others(kept: Tensor) -> Tensor:
    """Return indices that keep these examples, and give the others inputs of one of them."""
    places = torch.arange(len(kept))
    mine = places[kept]
    return torch.where(kept, places, mine[(places * 7 + 3) % len(mine)])


def _mixes_in_training(subject: Subject, count: int) -> bool:
    model, _ = copied(subject.model, None)
    other = replace(subject, model=model, optimizer=None)
    base = _outputs_of(other, other.parts()[0], training=True)
    for kept in _groups(count)[:2]:
        model.load_state_dict(subject.model.state_dict())
        inputs = _taken(other.parts()[0], _with_others(kept), count)
        if _differ(base, _outputs_of(other, inputs, training=True), kept):
            return True
    return False


def _future(subject: Subject) -> Check | None:
    """Whether a model of the next token sees the tokens that it is to guess."""
    if not isinstance(subject.objective, NextToken):
        return None
    name = "future unseen"
    inputs, targets = subject.parts()
    steps = targets.shape[1] if targets.ndim > 1 else 0
    if steps < 2:
        return Check(name, SKIPPED, "takes two tokens at least")
    half = steps // 2

    def other_future(tensor: Tensor) -> Tensor:
        if tensor.ndim > 1 and tensor.shape[1] == steps and not tensor.is_floating_point():
            return torch.cat([tensor[:, :half], tensor[:, half:].flip(1).roll(1, 0)], 1)
        return tensor

    base, changed = _outputs_of(subject, inputs), _outputs_of(subject, map_tensors(other_future, subject.parts()[0]))
    if any(t.ndim < 2 or t.shape[1] != steps for t in base):
        return Check(name, SKIPPED, "the outputs are not one for each token")
    rows = torch.ones(len(base[0]), dtype=torch.bool)
    if _differ([t[:, :half] for t in base], [t[:, :half] for t in changed], rows):
        return Check(
            name,
            WRONG,
            f"outputs at the first {half} tokens change when later tokens do",
            "It copies what it should guess: give attention a causal mask, and read in one direction.",
        )
    return Check(name, OK, "a token's outputs depend on it and those before it alone")


def _by_heart(subject: Subject, found: dict[str, Any]) -> Check:
    name = "overfits one batch"
    if not math.isfinite(found["loss"]["value"]):
        return Check(name, SKIPPED, "the loss is not finite")
    if not any(p.requires_grad for p in subject.model.parameters()) or not found["gradients"]["norm"]:
        return Check(name, SKIPPED, "no gradient to learn by")
    _, targets = subject.parts()
    few = subject.batch
    if isinstance(targets, Tensor) and targets.ndim and not isinstance(subject.objective, FromFunction):
        rows = _varied(targets, FEW_TEXTS if isinstance(subject.objective, NextToken) else FEW)
        few = _taken(subject.batch, rows, len(targets))
    else:
        rows = None
    some = replace(subject, batch=few, optimizer=None)
    few_inputs, few_targets = some.parts()
    blind = blind_guess(subject.objective, few_targets) if isinstance(few_targets, Tensor) else None
    if rows is not None and _contradict(few_inputs, few_targets):
        return Check(name, SKIPPED, "equal inputs in this batch have different targets: no model could")
    least = _least(subject.objective, few_targets)
    goal = None if blind is None else least + BY_HEART * (blind - least)
    if blind is not None and blind - least < 1e-6:
        return Check(name, SKIPPED, "all targets of this batch are the same")
    begun, tries, unfinished = time.monotonic(), list[tuple[float, float, int]](), False
    for rate in RATES:
        first, last, steps, unfinished = _learnt(some, rate, goal, begun)
        tries.append((last, first, steps))
        if unfinished or (goal is not None and last <= goal):
            break
    last, first, steps = min(tries)
    what = "batch" if rows is None else f"{len(rows)} example{'s' * (len(rows) != 1)}"
    said = f"{what}: the loss went from {first:.4g} to {last:.3g} in {steps} steps"
    if steps == 0 and goal is not None:
        said = f"{what}: known already, with a loss of {first:.3g}"
    if goal is None:
        status = OK if last < first else NOTE
        return Check(name, status, f"{said}; how low it can go, only its objective knows")
    said += f"; a blind guess has {blind:.4g}"
    if last <= goal:
        return Check(name, OK, said)
    if unfinished:
        return Check(name, NOTE, f"{said}, and time was up", "Not known: this model takes long.")
    weights = sum(p.numel() for p in subject.model.parameters() if p.requires_grad)
    numbers = few_targets.numel() if isinstance(few_targets, Tensor) else 0
    if weights < numbers * _outputs_per_target(subject):
        return Check(name, NOTE, said, f"It has {weights:,} weights to learn with, which may be too few.")
    if blind is not None and last < least + LEARNT * (blind - least):
        advice = "It learns, if not by heart: a small model, or one that sees little of its inputs at once, may not be able to."
        return Check(name, NOTE, said, advice)
    return Check(
        name,
        WRONG,
        said,
        "It can't even learn these by heart: look at outputs, gradients and dead units above, then at the inputs.",
    )


def _least(objective: Any, targets: Any) -> float:
    """Return the least mean loss that knowing every answer leaves: above 0 where targets are smoothed or mixed."""
    soft = isinstance(objective, Multiclass | Binary | Multilabel) and targets.is_floating_point()
    if not soft and not (isinstance(objective, Multiclass) and objective.label_smoothing):
        return 0.0
    rows = targets.split(1) if soft else targets.flatten().split(1)
    counts = [float(objective.count(row)) for row in rows]
    losses = [blind_guess(objective, row) or 0.0 for row in rows]
    return sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)


def _outputs_per_target(subject: Subject) -> int:
    return 1 if isinstance(subject.objective, Regression | Binary | Multilabel) else 2


def _learnt(subject: Subject, rate: float, goal: float | None, begun: float) -> tuple[float, float, int, bool]:
    """Train a copy, and return the first loss, the last, the steps between, and whether time was up."""
    model, _ = copied(subject.model, None)
    some = replace(subject, model=model, optimizer=None)
    optimizer = build_optimizer("adam", model, lr=rate)
    first = last = math.nan
    with quiet(some), _learning_mode(model):
        for step in range(STEPS + 1):
            loss = _loss(some)
            last = float(loss.detach())
            first = last if step == 0 else first
            if step == STEPS or not math.isfinite(last) or (goal is not None and last <= goal):
                return first, last if math.isfinite(last) else math.inf, step, False
            if time.monotonic() - begun > LONGEST:
                return first, last, step, True
            _descend(some, optimizer, loss)
    raise AssertionError


@contextmanager
def _learning_mode(model: nn.Module) -> Generator[None]:
    """Have dropout off, but batch norm on the batch's own statistics, and RNNs as cuDNN wants them for backward."""
    dropouts: list[tuple[nn.RNNBase, float]] = []
    with evaluation_mode(model):
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.train()
            elif isinstance(module, nn.RNNBase):
                dropouts.append((module, module.dropout))
                module.dropout, module.training = 0.0, True
        try:
            yield
        finally:
            for module, share in dropouts:
                module.dropout = share


@contextmanager
def quiet(subject: Subject) -> Generator[None]:
    """Leave the generators of dropout and the buffers of the model as they are."""
    state, buffers = drawn(subject.device), {n: b.clone() for n, b in subject.model.named_buffers()}
    try:
        yield
    finally:
        draw_again(state, subject.device)
        for name, buffer in subject.model.named_buffers():
            if name in buffers:
                with torch.no_grad():
                    buffer.copy_(buffers[name])


def _loss(subject: Subject) -> Tensor:
    inputs, targets = subject.parts()
    return loss_of(subject, forward(subject, inputs), targets)[0]


def _outputs_of(subject: Subject, inputs: Any, *, training: bool = False, again: bool = False) -> list[Tensor]:
    """Return the outputs in evaluation mode, (N, ...) each.

    Args:
        training: in training mode instead, with the same dropout masks each time.
        again: draw other random numbers than the first time.
    """
    model = subject.model
    with quiet(subject), torch.no_grad():
        if again:
            torch.rand(1, device=subject.device)
        if training:
            return list(tensors_of(forward(subject, inputs)))
        with evaluation_mode(model):
            return list(tensors_of(forward(subject, inputs)))


def _taken(nest: Any, rows: Tensor, count: int) -> Any:
    """Return these examples of a nest; what is not one for each example stays."""

    def take(tensor: Tensor) -> Tensor:
        return tensor[rows.to(tensor.device)] if tensor.ndim and len(tensor) == count else tensor

    return map_tensors(take, fresh(nest))


def _differ(one: list[Tensor], other: list[Tensor], rows: Tensor) -> list[int]:
    """Return the examples, of these, whose outputs differ by more than rounding; what is not one for each is left out."""
    found: set[int] = set()
    for a, b in zip(one, other, strict=True):
        if not a.ndim or len(a) != len(rows):
            continue
        if a.shape != b.shape:
            return rows.nonzero().flatten().tolist()
        rounding = 1e-4 if a.dtype in (torch.float32, torch.float64) else 2e-2
        away = (a.float() - b.float()).abs() > rounding * (a.float().abs().max() + 1e-6)
        mine = away.reshape(len(a), -1).any(1).cpu() & rows
        found |= set(mine.nonzero().flatten().tolist())
    return sorted(found)


def _varied(targets: Tensor, most: int) -> Tensor:
    """Return rows of as many different targets as there are: one of each class, then the next of each."""
    if targets.is_floating_point() or targets.ndim != 1:
        return torch.arange(min(most, len(targets)))
    seen: dict[int, int] = {}
    turns: list[tuple[int, int]] = []
    for row, target in enumerate(targets.tolist()):
        seen[target] = seen.get(target, 0) + 1
        turns.append((seen[target], row))
    return torch.tensor(sorted(row for _, row in sorted(turns)[:most]))


def _contradict(inputs: Any, targets: Tensor) -> bool:
    """Whether examples with equal inputs have different targets."""
    count = len(targets)
    leaves = [t.reshape(count, -1).double() for t in tensors_of(inputs) if t.ndim and len(t) == count]
    known, answers = torch.cat(leaves, 1) if leaves else torch.empty(count, 0), targets.reshape(count, -1)
    return any(bool((answers[(known == known[row]).all(1)] != answers[row]).any()) for row in range(count))


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
