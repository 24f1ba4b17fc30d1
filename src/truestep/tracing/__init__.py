"""One batch through the five lines, slowly: what each of them takes, gives and changes, and what is wrong with it.

    print(ts.trace(model, batch, ts.Multiclass(num_classes=10)))

Everything happens on copies: the model, its optimizer and the random numbers stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from truestep import distributed
from truestep.device import Precision, reproducible
from truestep.errors import InputError
from truestep.objectives import Objective, as_objective
from truestep.optimizers import build_optimizer
from truestep.tracing import text
from truestep.tracing.checks import WRONG, Check, checks
from truestep.tracing.copying import copied
from truestep.tracing.guess import blind_guess, even_guess
from truestep.tracing.lines import Subject, check_examples, check_place, check_targets, five_lines, fresh

if TYPE_CHECKING:
    from torch.optim import Optimizer

VERSION = 1  # of the keys of the JSON


@dataclass(frozen=True)
class Trace:
    """What one batch showed. Printed, it is the whole text."""

    content: dict[str, Any]  # inputs, targets, modules, outputs, loss, gradients, parameters, step: see docs/trace.md
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether no check found something wrong."""
        return all(check.status != WRONG for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain lists and dicts; `truestep trace --json` prints these."""
        return {
            "version": VERSION,
            **self.content,
            "ok": self.ok,
            "checks": [vars(check) for check in self.checks],
        }

    def lines(self, width: int = 80) -> list[str]:
        """Return the text, of lines no longer than `width`."""
        return list(text.lines(self.to_json(), width))

    def __str__(self) -> str:
        return "\n".join(self.lines())


def trace(
    model: nn.Module,
    batch: Any,
    objective: Objective | Callable[[nn.Module, Any], Tensor],
    optimizer: Optimizer | None = None,
    *,
    trained: bool = False,
    precision: Precision | str = "fp32",
    max_grad_norm: float = math.inf,
) -> Trace:
    """Take one batch through the five lines of training, and return what each did and what is wrong with it.

    The model, the optimizer, the batch and all random numbers stay as they are, to the bit: copies are trained, with
    random numbers of seed 0.

    Args:
        model: on the device of the batch, in any mode; its copy is put in training mode.
        batch: a pair (inputs, targets), or whatever `objective` unpacks.
        objective: one of `truestep.objectives`, or a function of (model, batch) that returns the mean loss.
        optimizer: of the model's parameters, for the step; None takes AdamW as `truestep train` does.
        trained: whether the model has learnt already; else its loss is expected to be that of one that knows nothing.
        precision: "fp32", "bf16" or "fp16".
        max_grad_norm: as for `train_steps`.

    Raises:
        InputError: the model or the objective can't take the batch; it says in which module, and of what shape.
    """
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"model: expected a torch.nn.Module, found a {type(model).__name__}.")
    objective = as_objective(objective)
    check_examples(batch)
    with reproducible(seed=0, threads=torch.get_num_threads(), deterministic=False):
        twin, tool = copied(model, optimizer)
        if tool is None and any(p.requires_grad for p in twin.parameters()):
            tool = build_optimizer("adamw", twin)
        subject = Subject(
            twin,
            fresh(batch),
            objective,
            tool,
            trained=trained,
            max_grad_norm=max_grad_norm,
            left_over=sum(p.grad is not None for p in distributed.unwrap(model).parameters()),
        )
        if isinstance(precision, Precision):
            precision = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(precision.dtype, "fp32")
        subject.precision = Precision.of(precision, subject.device)  # a scaler of our own
        check_targets(subject)
        return look(subject)


def look(subject: Subject) -> Trace:
    """Trace copies, of which the optimizer's parameters are the model's; they come back as they began.

    Raises:
        InputError: as `trace`.
    """
    subject.model.train()
    check_place(subject)
    untouched, _ = copied(subject.model, None)
    found = five_lines(subject)
    _, targets = subject.parts()
    outputs = found.pop("first_output")
    loss = found["loss"]
    loss["even"] = None if outputs is None else even_guess(subject.objective, outputs, targets)
    wide = subject.targets if subject.targets is not None else targets
    loss["guess"] = blind_guess(subject.objective, wide) if isinstance(wide, Tensor) else None
    loss["guess_of"] = "training data" if subject.targets is not None else "batch"
    content: dict[str, Any] = {"head": subject.head, **_about(subject), **found}
    subject.model = untouched
    return Trace(content, tuple(checks(subject, found)))


def _about(subject: Subject) -> dict[str, Any]:
    optimizer = subject.optimizer
    parameters = list(subject.model.parameters())
    group = optimizer.param_groups[0] if optimizer is not None else {}
    return {
        "model": {
            "name": type(subject.model).__name__,
            "parameters": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad),
            "device": str(subject.device),
            "trained": subject.trained,
        },
        "objective": {
            "name": subject.objective.name,
            "type": type(subject.objective).__name__,
            "loss": getattr(subject.objective, "loss", None),
        },
        "optimizer": None
        if optimizer is None
        else {
            "name": type(optimizer).__name__.removeprefix("Fused"),  # the same steps, by one kernel
            "lr": float(group["lr"]),
            "weight_decay": max(float(g.get("weight_decay", 0.0)) for g in optimizer.param_groups),
        },
    }


__all__ = ["Check", "InputError", "Trace", "look", "trace"]
