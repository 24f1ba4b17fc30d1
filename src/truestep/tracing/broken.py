"""Five classic mistakes, each beside the right way: what it does to the numbers, and how one would know it.

Every number is measured in the call, on copies of one model that begin with the same weights, see the same batches and
draw the same dropout masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import LBFGS

from truestep.device import draw_again, drawn
from truestep.errors import InputError, did_you_mean
from truestep.evaluation import evaluation_mode
from truestep.objectives import Binary, Multiclass, Multilabel, NextToken, Objective
from truestep.tracing import text
from truestep.tracing.copying import copied
from truestep.tracing.lines import Subject, check_place, forward, loss_of

if TYPE_CHECKING:
    from torch.optim import Optimizer

STEPS = 20  # of training, where one step does not show it
TIMES = 5  # that something is evaluated
TOO_HIGH = 100  # times the learning rate, and the same part of it
LUCKY = "It is lower so far: old gradients are like momentum, which helps until they point the wrong way."
LINES = (
    "optimizer.zero_grad()",
    "outputs = model(inputs)",
    "loss = objective(outputs, targets)",
    "loss.backward()",
    "optimizer.step()",
)


@dataclass(frozen=True)
class Lesson:
    """A mistake beside the right way. Printed, it is the whole text."""

    word: str
    title: str
    code: list[tuple[str, str]]  # lines of the right way, and of the broken one
    measured: str  # what the rows below are, in words
    rows: list[dict[str, Any]]  # numbers by column
    seen: list[str]  # in these rows
    known_by: str  # wherever it happens
    remedy: str
    rule: str  # of the doctor, which finds it in a script
    head: dict[str, str] = field(default_factory=dict[str, str])

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain lists and dicts; `truestep trace --broken ... --json` prints these."""
        return {"version": 1, **vars(self), "code": [{"right": a, "broken": b} for a, b in self.code]}

    def lines(self, width: int = 80) -> list[str]:
        """Return the text, of lines no longer than `width`."""
        return list(text.lesson(self.to_json(), width))

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass
class Runs:
    """What each way begins with."""

    model: nn.Module
    batches: Callable[[int], list[Any]]
    objective: Objective
    optimizer: Callable[[nn.Module], Optimizer]

    def __post_init__(self) -> None:
        self.batch_list = self.batches(STEPS + TIMES)
        self.random = drawn(Subject(self.model, self.batch_list[0], self.objective, None).device)

    def begin(self) -> tuple[nn.Module, Optimizer]:
        """Return a copy of the model and its optimizer, and put the random numbers back to the beginning."""
        model, _ = copied(self.model, None)
        subject = Subject(model, self.batch_list[0], self.objective, None)
        check_place(subject)
        optimizer = self.optimizer(model)
        if isinstance(optimizer, LBFGS):
            raise InputError("broken: expected an optimizer that takes one gradient a step, found lbfgs. Try adamw.")
        draw_again(self.random, subject.device)
        return model.train(), optimizer

    def train(
        self, *, clears: bool = True, squash: Callable[[Tensor], Tensor] | None = None, faster: float = 1.0
    ) -> tuple[nn.Module, list[dict[str, float]]]:
        """Train a copy for `STEPS` steps, and return it and its numbers."""
        model, optimizer = self.begin()
        for group in optimizer.param_groups:
            group["lr"] *= faster
        parameters = [p for p in model.parameters() if p.requires_grad]
        rows: list[dict[str, float]] = []
        for batch in self.batch_list[:STEPS]:
            if clears:
                optimizer.zero_grad()
            loss = _loss(Subject(model, batch, self.objective, None), squash)
            if not loss.requires_grad:
                raise InputError(
                    "model: expected a loss that gradients can be taken of, found one that depends on no weight."
                )
            held = [None if p.grad is None else p.grad.clone() for p in parameters]
            loss.backward()
            given = [(p.grad, was) for p, was in zip(parameters, held, strict=True) if p.grad is not None]
            norm = get_total_norm([gradient for gradient, _ in given])
            own = get_total_norm([gradient if was is None else gradient - was for gradient, was in given])
            before = [p.detach().clone() for p in parameters]
            optimizer.step()
            moved = get_total_norm([p.detach() - was for p, was in zip(parameters, before, strict=True)])
            rows.append(
                {
                    "loss": float(loss.detach()),
                    "gradient_norm": float(norm),  # of what the optimizer found
                    "own_norm": float(own),  # of what this batch has added to it
                    "update_ratio": float(moved / length) if (length := get_total_norm(before)) else math.nan,
                }
            )
        return model, rows


def teach(
    word: str,
    model: nn.Module,
    batches: Callable[[int], list[Any]],
    objective: Objective,
    optimizer: Callable[[nn.Module], Optimizer],
    *,
    head: dict[str, str] | None = None,
) -> Lesson:
    """Return one of `LESSONS`, measured.

    Args:
        word: its name.
        model: stays as it is.
        batches: returns so many training batches.
        objective: of the model.
        optimizer: makes a new one for a copy of the model.
        head: where all of this is from, in words.

    Raises:
        InputError: there is no such mistake, or it can't be made here.
    """
    check_word(word)
    lesson = LESSONS[word](Runs(model, batches, objective, optimizer))
    lesson.head.update(head or {})
    return lesson


def check_word(word: str) -> None:
    """Raise InputError unless there is a lesson of this name."""
    if word not in LESSONS:
        raise InputError(f"broken: expected one of {', '.join(LESSONS)}, found '{word}'.{did_you_mean(word, LESSONS)}")


def _zero_grad(runs: Runs) -> Lesson:
    right, broken = runs.train()[1], runs.train(clears=False)[1]
    rows = _beside(right, broken, ("loss", "gradient_norm"))
    for row, values in zip(rows, broken, strict=True):
        row["gradient_norm_own"] = values["own_norm"]
    norms = broken[-1]["gradient_norm"], broken[-1]["own_norm"]
    return Lesson(
        word="zero-grad",
        title="the gradients are never cleared",
        code=[(line, "" if line == LINES[0] else line) for line in LINES],
        measured=_same_start(
            "the norm is of what the optimizer finds in .grad, and of what the batch itself put there"
        ),
        rows=rows,
        seen=[
            "The first step is the same: there is nothing to clear yet.",
            f"At step {STEPS} the optimizer finds gradients of norm {_n(norms[0])}, of which the batch gave {_n(norms[1])}; the rest is of the batches before.",
            _compared(right, broken),
            *([LUCKY] if _ends(broken) < _ends(right) else []),
        ],
        known_by="From the second step on .grad is not empty when backward begins, and steps go where long gone batches "
        "pointed. From outside it looks like a learning rate that is too high.",
        remedy="optimizer.zero_grad() ahead of every backward, or of the first of those that one step accumulates.",
        rule="gradients-not-cleared",
    )


def _softmax(runs: Runs) -> Lesson:
    squash, name, loss = _squashing(runs.objective)
    right, broken = runs.train()[1], runs.train(squash=squash)[1]
    classes = _plain_classes(runs.objective)
    floor = (
        ""
        if not classes
        else f" The broken one can't fall below {math.log(math.e + classes - 1) - 1:.4f} with {classes:,} classes, however right the answers are."
    )
    norms = [_mean([row["gradient_norm"] for row in rows]) for rows in (right, broken)]
    return Lesson(
        word="softmax",
        title=f"{name} before a loss that applies it itself",
        code=[(line, f"outputs = {name}(model(inputs))" if line == LINES[1] else line) for line in LINES],
        measured=_same_start(),
        rows=_beside(right, broken, ("loss", "gradient_norm")),
        seen=[
            f"{_compared(right, broken)}{floor}",
            f"The gradient norm is {_n(norms[1])} on average, beside {_n(norms[0])}: what is squashed twice passes less back.",
        ],
        known_by="The loss starts where it should, falls slowly, and stays far above 0 though predictions are right. Outputs are "
        "all between 0 and 1 and sum to 1."
        if name == "softmax"
        else f"Outputs are all between 0 and 1, so that the loss takes them for odds from even to {math.e:.2f} to 1: it can't fall "
        f"below {math.log(2):.4f} for a no, nor below {math.log1p(math.exp(-1)):.4f} for a yes of weight 1, however right they are.",
        remedy=f"Hand the model's outputs to {loss} as they are, and apply {name} where probabilities are read.",
        rule="softmax-before-cross-entropy" if name == "softmax" else "sigmoid-before-bce-logits",
    )


def _lr(runs: Runs) -> Lesson:
    right, high, low = (runs.train(faster=times)[1] for times in (1.0, TOO_HIGH, 1 / TOO_HIGH))
    _, optimizer = runs.begin()
    lr = optimizer.param_groups[0]["lr"]
    rows = [
        {
            "step": step,
            **{f"{name}_{way}": values[name] for name in ("loss", "update_ratio") for way, values in ways.items()},
        }
        for step, ways in enumerate(
            ({"right": a, "broken": b, "low": c} for a, b, c in zip(right, high, low, strict=True)), start=1
        )
    ]
    ratios = [_mean([row["update_ratio"] for row in rows[1:]]) for rows in (right, high, low)]  # weights may begin at 0
    ends = [f"{_n(rows[0]['loss'])} to {_n(rows[-1]['loss'])}" for rows in (right, high, low)]
    peak = max((row["loss"] for row in high), key=lambda loss: math.inf if math.isnan(loss) else loss)
    return Lesson(
        word="lr",
        title=f"a learning rate that is {TOO_HIGH} times too high, or too low",
        code=[(f"lr={lr:g}", f"lr={lr * TOO_HIGH:g}   or   lr={lr / TOO_HIGH:g}")],
        measured=_same_start("update/weights is how long the step is beside the weights"),
        rows=rows,
        seen=[
            f"Too high: the loss goes from {ends[1]}, by way of {_n(peak)}, beside {ends[0]}; from step 2 on, a step is {_n(ratios[1])} of the weights' length on average, beside {_n(ratios[0])}.",
            f"Too low: the loss goes from {ends[2]}; from step 2 on, a step is {_n(ratios[2])} of the weights' length.",
        ],
        known_by="Too high: the loss jumps above where it started, then stays there, swings or goes NaN. Too low: it hardly "
        "moves from step to step, and nothing else is odd. A step of about a thousandth of the weights' length is usual, "
        "more at the start of Adam.",
        remedy="Try rates a factor of 3 apart, and take the largest one with which the loss falls steadily; warm up to it.",
        rule="learning-rate-too-high",
    )


def _eval(runs: Runs) -> Lesson:
    model, _ = runs.train()
    subject = Subject(model, runs.batch_list[STEPS], runs.objective, None)
    with torch.no_grad():
        with evaluation_mode(model):
            right = [float(_loss(subject)) for _ in range(TIMES)]
        model.train()
        broken = [float(_loss(subject)) for _ in range(TIMES)]
    spread = max(broken) - min(broken)
    if right == broken:
        seen = [
            "No difference here: this model has neither dropout nor batch norm, so that both modes do the same. Try a model that has, such as --model mlp."
        ]
    else:
        range_ = f"another each time, {_n(min(broken), 5)} to {_n(max(broken), 5)}" if spread else _n(broken[0], 5)
        seen = [
            f"With model.eval() the loss is {_n(right[0], 5)} {'each time' if len(set(right)) == 1 else 'at first'}; without, it is {range_}.",
            f"On average it is {_n(_mean(broken), 5)}, {_word(_mean(broken), right[0])}: that tells of {'dropout' if spread else 'the batch'}, not of the model.",
        ]
    return Lesson(
        word="eval",
        title="evaluated without model.eval()",
        code=[
            ("model.eval()", ""),
            ("with torch.no_grad():", "with torch.no_grad():"),
            ("  outputs = model(inputs)", "  outputs = model(inputs)"),
            ("  loss = objective(outputs, targets)", "  loss = objective(outputs, targets)"),
            ("model.train()", ""),
        ],
        measured=f"the loss of one and the same batch, {TIMES} times, after {STEPS} steps of training",
        rows=[
            {"time": n, "loss_right": a, "loss_broken": b}
            for n, (a, b) in enumerate(zip(right, broken, strict=True), start=1)
        ],
        seen=seen,
        known_by="Evaluating twice gives two results, validation is worse than training on the same rows, or predictions change with "
        "the other rows of the batch. Batch norm also goes on learning its statistics, from data that are to be held out.",
        remedy="model.eval() ahead of evaluating and predicting, and model.train() before training goes on.",
        rule="evaluated-in-training-mode",
    )


def _no_grad(runs: Runs) -> Lesson:
    ways: list[list[int]] = []
    for without in (True, False):
        model, _ = runs.begin()
        model.eval()
        total: Any = 0.0
        kept = Kept(model)
        held: list[int] = []
        for batch in runs.batch_list[:TIMES]:
            with kept, torch.set_grad_enabled(not without):
                loss = _loss(Subject(model, batch, runs.objective, None))
            total = total + (float(loss) if without else loss)  # what the mistake is: the graph of each batch stays
            held.append(kept.bytes)
        ways.append(held)
        del total
    right, broken = ways
    weights = sum(p.numel() * p.element_size() for p in runs.model.parameters())
    return Lesson(
        word="no-grad",
        title="evaluated without torch.no_grad(), and the losses added up with their graphs",
        code=[
            ("model.eval()", "model.eval()"),
            ("with torch.no_grad():", ""),
            ("  outputs = model(inputs)", "outputs = model(inputs)"),
            ("  loss = objective(outputs, targets)", "loss = objective(outputs, targets)"),
            ("total += loss.item()", "total += loss"),
        ],
        measured=f"bytes kept for a backward that never comes, after each of {TIMES} batches; the weights themselves have {weights:,}",
        rows=[
            {"batch": n, "bytes_right": a, "bytes_broken": b}
            for n, (a, b) in enumerate(zip(right, broken, strict=True), start=1)
        ],
        seen=[
            f"After {TIMES} batches {_bytes(broken[-1])} are kept, {_bytes(broken[0])} after the first one; with no_grad {_bytes(right[-1])}.",
            "The loss itself is right: nothing but memory and time tells.",
        ],
        known_by="Memory grows batch by batch while evaluating, until it runs out, and evaluating needs about as much as training. "
        "total has requires_grad=True.",
        remedy="with torch.no_grad(): around evaluating, and loss.item() or loss.detach() for what is kept.",
        rule="gradients-kept-in-evaluation",
    )


LESSONS: dict[str, Callable[[Runs], Lesson]] = {
    "zero-grad": _zero_grad,
    "eval": _eval,
    "no-grad": _no_grad,
    "softmax": _softmax,
    "lr": _lr,
}


class Kept(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes that graphs keep for backward, besides the weights, over all `with` blocks. Each memory once."""

    def __init__(self, model: nn.Module) -> None:
        self.seen = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
        self.bytes = 0
        super().__init__(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.seen:  # kept, so that no other can come to be at its place
            self.seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


def _loss(subject: Subject, squash: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    inputs, targets = subject.parts()
    outputs = forward(subject, inputs)
    return loss_of(subject, outputs if squash is None else squash(outputs), targets)[0]


def _squashing(objective: Objective) -> tuple[Callable[[Tensor], Tensor], str, str]:
    match objective:
        case Multiclass():
            return lambda outputs: outputs.softmax(1), "softmax", "cross-entropy"
        case NextToken():
            return lambda outputs: outputs.softmax(-1), "softmax", "cross-entropy"
        case Binary() | Multilabel():
            return torch.sigmoid, "sigmoid", "the binary cross-entropy of logits"
        case _:
            raise InputError(
                f"broken softmax: expected classes, labels or tokens to predict, found {objective.name}. "
                "Try: truestep trace digits --broken softmax"
            )


def _plain_classes(objective: Objective) -> int:
    """Return how many classes share the loss evenly; 0 where something else is in it."""
    if isinstance(objective, NextToken):
        return objective.num_tokens
    if isinstance(objective, Multiclass) and objective.class_weights is None and not objective.label_smoothing:
        return objective.num_classes
    return 0


def _beside(
    right: list[dict[str, float]], broken: list[dict[str, float]], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    return [
        {"step": step, **{f"{name}_{way}": row[name] for name in names for way, row in (("right", a), ("broken", b))}}
        for step, (a, b) in enumerate(zip(right, broken, strict=True), start=1)
    ]


def _same_start(more: str = "") -> str:
    said = f"{STEPS} steps, both from the same weights, on the same batches, with the same dropout masks"
    return f"{said}; {more}" if more else said


def _ends(rows: list[dict[str, float]]) -> float:
    """Return the mean loss of the last five steps: those of single batches go up and down."""
    return _mean([row["loss"] for row in rows[-5:]])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _compared(right: list[dict[str, float]], broken: list[dict[str, float]]) -> str:
    return f"Over the last 5 steps the loss is {_n(_ends(broken))} on average, {_word(_ends(broken), _ends(right))}."


def _word(found: float, wanted: float) -> str:
    if not math.isfinite(found):
        return f"no number any more, beside {_n(wanted)}"
    how = "higher than" if found > wanted else "lower than" if found < wanted else "as"
    return f"{how} {_n(wanted)}"


def _n(value: float, digits: int = 4) -> str:
    return text.number(value, digits)


def _bytes(count: int) -> str:
    return (
        f"{count:,} bytes"
        if count < 10_000
        else f"{count / 1000:,.0f} kB"
        if count < 10_000_000
        else f"{count / 1e6:,.0f} MB"
    )
