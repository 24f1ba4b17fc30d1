"""Objectives: what a model is asked to do, and how its outputs are scored.

A loss is kept as a sum and a count until the very end, because a mean of means is wrong as soon as batches differ in
size: the last batch of an epoch, padded text, gradient accumulation. Dividing is the caller's job, and is done once.

An objective says what outputs are (logits or values), so nobody applies softmax by hand, and so nobody applies it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, ClassVar, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from truestep.errors import InputError, RefusedError
from truestep.metrics import (
    BinaryMetrics,
    MulticlassMetrics,
    MultilabelMetrics,
    RegressionMetrics,
    TokenMetrics,
    perplexity,
)
from truestep.nest import tensors_of

NONE = -(2**63)  # ignores no target: torch would leave -100 out of the sum, but not out of our count
IGNORED = -100  # target value that carries no loss; PyTorch's own default for `ignore_index`


class Metrics(Protocol):
    """Numbers added up over a pass, and divided once at its end."""

    def update(self, scores: Tensor, targets: Tensor, /) -> None: ...
    def gather(self) -> None: ...
    def compute(self) -> dict[str, float]: ...
    def details(self) -> dict[str, Any]: ...
    def intervals(
        self, resamples: int = 1000, seed: int = 0, level: float = 0.95
    ) -> dict[str, tuple[float, float]]: ...


class Objective:
    """What the loop asks of an objective. Subclass it for your own; `loss_sum` and `count` are enough."""

    name: ClassVar[str] = "custom"

    def unpack(self, batch: Any) -> tuple[Any, Any]:
        """Divide a batch into inputs and targets."""
        if not isinstance(batch, tuple | list) or len(cast("list[Any]", batch)) != 2:
            raise InputError(
                f"batch: expected a pair (inputs, targets), found {_describe(batch)}. "
                "If your loss needs no such pair, pass a function of (model, batch) as the objective."
            )
        return batch[0], batch[1]

    def forward(self, model: nn.Module, inputs: Any) -> Any:
        """Call the model: a tuple holds its positional arguments, a dict its named ones."""
        if isinstance(inputs, dict):
            return model(**inputs)
        if isinstance(inputs, tuple | list):
            return model(*cast("tuple[Any, ...]", inputs))
        return model(inputs)

    def loss_sum(self, outputs: Any, targets: Any) -> Tensor:
        """Return the sum of the loss over everything that counts: () float."""
        raise NotImplementedError  # an objective of one's own must say it

    def count(self, targets: Any) -> int | float | Tensor:
        """Return how much the targets count for; the mean loss is the sum divided by this."""
        raise NotImplementedError  # an objective of one's own must say it

    def check(self, targets: Any) -> None:
        """Raise InputError naming the first row whose target does not fit."""

    def scores(self, outputs: Any) -> Tensor:
        """Turn outputs into what metrics and people read: probabilities, or values in the targets' own units."""
        return outputs

    def predictions(self, outputs: Any) -> Tensor:
        """Turn outputs into one answer each: a class, labels, or a value."""
        return outputs

    def right(self, outputs: Any, targets: Any) -> Tensor | None:
        """Return whether each answer is right: bool, of any shape; None where there is no such thing."""
        del outputs, targets
        return None

    def metrics(self, *, keep_rows: bool = False) -> Metrics | None:
        """Start a tally of metrics; None when there is nothing to report but the loss."""
        del keep_rows
        return None

    def rows(self, outputs: Any, targets: Any) -> tuple[Any, Any]:
        """Return the (scores, targets) that a tally takes: one row for each thing that counts."""
        return self.scores(outputs), targets

    def from_loss(self, loss: float) -> dict[str, float]:
        """Return what follows from the mean loss alone, by name."""
        return {"loss": loss}

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **asdict(self)}  # pyright: ignore[reportArgumentType]  # ours are dataclasses


@dataclass(frozen=True)
class Multiclass(Objective):
    """One of several classes. Outputs are logits, (N, C) or (N, C, ...); targets int64, (N,) or (N, ...) in [0, C).

    While training, targets may also be soft: the probability of each class, float in the shape of the outputs.

    Args:
        num_classes: C.
        class_weights: how much an example of each class counts, in the loss and in its mean, as in PyTorch.
        label_smoothing: probability mass taken from the true class and shared by all, in [0, 1).
    """

    num_classes: int
    class_weights: tuple[float, ...] | Tensor | None = None
    label_smoothing: float = 0.0
    name: ClassVar[str] = "multiclass"

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise InputError(f"num_classes: expected at least 2, found {self.num_classes}.")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"label_smoothing: expected a number in [0, 1), found {self.label_smoothing}.")
        if isinstance(self.class_weights, Tensor):
            object.__setattr__(self, "class_weights", tuple(self.class_weights.tolist()))
        if self.class_weights is not None and len(self.class_weights) != self.num_classes:
            raise InputError(f"class_weights: expected {self.num_classes} weights, found {len(self.class_weights)}.")

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.ndim < 2 or outputs.shape[1] != self.num_classes:
            raise InputError(f"outputs: expected (N, {self.num_classes}) logits, found shape {tuple(outputs.shape)}.")
        if targets.dtype != torch.int64 and targets.shape != outputs.shape:
            raise InputError(f"targets: expected classes as int64, found {_describe(targets)} of {targets.dtype}.")
        logits = _full(outputs)
        weights = None if self.class_weights is None else _constant(self.class_weights, logits.dtype, logits.device)
        return F.cross_entropy(
            logits, targets, weight=weights, label_smoothing=self.label_smoothing, reduction="sum", ignore_index=NONE
        )

    def count(self, targets: Tensor) -> int | Tensor:
        is_soft = targets.is_floating_point()
        if self.class_weights is None:
            return targets.numel() // self.num_classes if is_soft else targets.numel()
        weights = _constant(self.class_weights, torch.float32, targets.device)
        return (targets.movedim(1, -1) @ weights if is_soft else weights[targets]).sum()

    def check(self, targets: Tensor) -> None:
        _check_classes(targets, self.num_classes)

    def scores(self, outputs: Tensor) -> Tensor:
        return outputs.float().softmax(1)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1)

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        return None if targets.is_floating_point() else self.predictions(outputs) == targets  # None of soft ones

    def metrics(self, *, keep_rows: bool = False) -> Metrics:
        return MulticlassMetrics(self.num_classes, keep_rows=keep_rows)

    def rows(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return self.scores(outputs).movedim(1, -1).flatten(0, -2), targets.flatten()


@dataclass(frozen=True)
class Binary(Objective):
    """Yes or no. Outputs are logits, (N,) or (N, 1); targets int64 or float, (N,) in {0, 1}.

    Args:
        positive_weight: how much more an example of class 1 counts in the loss.
    """

    positive_weight: float = 1.0
    name: ClassVar[str] = "binary"

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        logits = _like(_full(outputs), targets)
        weight = _constant((self.positive_weight,), logits.dtype, logits.device) if self.positive_weight != 1 else None
        return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="sum", pos_weight=weight)

    def count(self, targets: Tensor) -> int:
        return targets.numel()

    def check(self, targets: Tensor) -> None:
        _check_classes(targets.long() if _whole(targets) else targets, 2)

    def scores(self, outputs: Tensor) -> Tensor:
        return outputs.float().sigmoid().flatten()

    def predictions(self, outputs: Tensor) -> Tensor:
        return (outputs > 0).long().flatten()

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.predictions(outputs) == targets.flatten()

    def metrics(self, *, keep_rows: bool = False) -> Metrics:
        return BinaryMetrics(keep_rows=keep_rows)

    def rows(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return self.scores(outputs), targets.flatten().long()


@dataclass(frozen=True)
class Multilabel(Objective):
    """Any number of several labels. Outputs are logits, (N, L); targets (N, L) in {0, 1}, any dtype."""

    num_labels: int
    name: ClassVar[str] = "multilabel"

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        logits = _like(_full(outputs), targets)
        return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="sum")

    def count(self, targets: Tensor) -> int:
        return targets.numel()

    def check(self, targets: Tensor) -> None:
        if targets.ndim != 2 or targets.shape[1] != self.num_labels:
            raise InputError(f"targets: expected shape (N, {self.num_labels}), found {tuple(targets.shape)}.")
        wrong = ((targets != 0) & (targets != 1)).any(1)
        _refuse_first(wrong, targets, "0 or 1 for every label")

    def scores(self, outputs: Tensor) -> Tensor:
        return outputs.float().sigmoid()

    def predictions(self, outputs: Tensor) -> Tensor:
        return (outputs > 0).long()

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.predictions(outputs) == targets

    def metrics(self, *, keep_rows: bool = False) -> Metrics:
        return MultilabelMetrics(self.num_labels, keep_rows=keep_rows)


@dataclass(frozen=True)
class Regression(Objective):
    """One or several numbers. Outputs are standardised values, (N,), (N, 1) or (N, K); targets float in their own units.

    The loss is taken between outputs and `(targets - mean) / std`, so that a fresh model starts near the right scale
    whatever the units; metrics and predictions are back in the targets' units.

    Args:
        loss: "mse", "mae" or "huber" (quadratic below one standard deviation, linear above).
        mean: of the training targets, one for each of K.
        std: likewise.
    """

    loss: str = "mse"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    name: ClassVar[str] = "regression"

    def __post_init__(self) -> None:
        if self.loss not in REGRESSION_LOSSES:
            raise InputError(f"loss: expected one of {', '.join(REGRESSION_LOSSES)}, found '{self.loss}'.")
        if not all(std > 0 for std in self.std):
            raise InputError("std: expected numbers above 0; targets that never change can't be learnt.")

    @classmethod
    def of(cls, targets: Tensor, loss: str = "mse") -> Regression:
        """Return the objective standardised by these training targets: (N,) or (N, K)."""
        columns = targets.double().reshape(len(targets), -1)
        std = columns.std(0, correction=0)
        if not bool((std > 0).all()):
            raise InputError(f"targets: expected values that differ, found {float(columns[0, 0]):g} in every row.")
        return cls(loss, tuple(columns.mean(0).tolist()), tuple(std.tolist()))

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        mean, std = self._scale(targets)
        values = _like(_full(outputs), targets)
        return REGRESSION_LOSSES[self.loss](values, ((targets - mean) / std).to(values.dtype), reduction="sum")

    def count(self, targets: Tensor) -> int:
        return targets.numel()

    def check(self, targets: Tensor) -> None:
        if not targets.is_floating_point():
            raise InputError(f"targets: expected floating point numbers, found {targets.dtype}.")
        _refuse_first(~targets.isfinite().reshape(len(targets), -1).all(1), targets, "a finite number")

    def scores(self, outputs: Tensor) -> Tensor:
        mean, std = self._scale(outputs)
        values = outputs.float() * std + mean
        return values.flatten() if values.ndim == 2 and values.shape[1] == 1 else values

    predictions = scores

    def metrics(self, *, keep_rows: bool = False) -> Metrics:
        return RegressionMetrics(keep_rows=keep_rows)

    def rows(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.scores(outputs)
        return scores, targets.reshape(scores.shape)

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return _constant(self.mean, torch.float32, like.device), _constant(self.std, torch.float32, like.device)


@dataclass(frozen=True)
class NextToken(Objective):
    """The next token of a sequence. Outputs are logits, (B, T, V); targets int64, (B, T) in [0, V) or IGNORED.

    A batch is a pair (inputs, targets), or one (B, T + 1) tensor of tokens, which is shifted here: inputs are all but
    the last, targets all but the first.
    """

    num_tokens: int
    name: ClassVar[str] = "next-token"

    def unpack(self, batch: Any) -> tuple[Any, Any]:
        if isinstance(batch, Tensor):
            return batch[:, :-1], batch[:, 1:]
        return super().unpack(batch)

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(_full(outputs).flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="sum")

    def count(self, targets: Tensor) -> Tensor:
        return (targets != IGNORED).sum()

    def check(self, targets: Tensor) -> None:
        _check_classes(targets, self.num_tokens, ignored=True)

    def scores(self, outputs: Tensor) -> Tensor:
        return outputs.float().softmax(-1)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(-1)

    def from_loss(self, loss: float) -> dict[str, float]:
        return {"loss": loss, "perplexity": perplexity(loss)}

    def metrics(self, *, keep_rows: bool = False) -> Metrics:
        del keep_rows  # nothing here needs all rows, and all tokens' probabilities would be huge
        return TokenMetrics()

    def rows(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        counted = targets != IGNORED
        return self.scores(outputs[counted]), targets[counted]


class FromFunction(Objective):
    """An objective from a plain function of (model, batch) that returns the mean loss over the batch's examples.

    For losses that are no (outputs, targets) pair, such as those of GANs and VAEs. A loss that counts something other
    than examples (tokens, pairs) is an `Objective` of its own, which says how to count them.
    """

    def __init__(self, function: Callable[[nn.Module, Any], Tensor]) -> None:
        self.function = function

    def unpack(self, batch: Any) -> tuple[Any, Any]:
        return batch, batch

    def forward(self, model: nn.Module, inputs: Any) -> Tensor:
        loss: Any = self.function(model, inputs)
        if not isinstance(loss, Tensor) or loss.ndim:
            raise InputError(f"objective: expected a function that returns the mean loss, (), found {_describe(loss)}.")
        return loss

    def loss_sum(self, outputs: Tensor, targets: Any) -> Tensor:
        return outputs * self.count(targets)

    def count(self, targets: Any) -> int:
        first = next(tensors_of(targets), None)
        if first is None:
            raise InputError(f"batch: expected a tensor in it, to count its examples, found {_describe(targets)}.")
        return len(first)


OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind for kind in (Multiclass, Binary, Multilabel, Regression, NextToken)
}
REGRESSION_LOSSES: dict[str, Callable[..., Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


def as_objective(objective: Objective | Callable[[nn.Module, Any], Tensor]) -> Objective:
    """Return an objective as it is, and a plain function of (model, batch) as one.

    Raises:
        InputError: it is a loss of PyTorch, which takes other things.
    """
    if not isinstance(objective, Objective) and not callable(objective):
        raise InputError(
            f"objective: expected one such as ts.Multiclass(10), or a function of (model, batch), found {objective!r:.80}."
        )
    if isinstance(objective, nn.Module) or getattr(objective, "__module__", None) == F.__name__:
        name = getattr(objective, "__name__", type(objective).__name__)
        raise InputError(
            f"objective: expected one such as ts.Multiclass(10), or a function of (model, batch), found {name}, which takes "
            "outputs and targets. Write lambda model, batch: loss(model(batch[0]), batch[1])."
        )
    return objective if isinstance(objective, Objective) else FromFunction(objective)


def objective_from_json(content: Mapping[str, Any]) -> Objective:
    """Return the objective that `to_json` described.

    Raises:
        RefusedError: the description names no objective of ours, or its values don't fit.
    """
    kind = OBJECTIVES.get(str(content.get("name")))
    known = {field.name: field.default for field in fields(kind)} if kind else dict[str, Any]()  # pyright: ignore[reportArgumentType]
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items() if name != "name"}
    if kind is None or not all(name in known and _is_like(value, known[name]) for name, value in values.items()):
        raise RefusedError(f"objective: expected one of {', '.join(OBJECTIVES)} and its fields, found {dict(content)}.")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise RefusedError(f"objective: {error}") from error


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value is of the kind that a field of an objective has by default: a number, numbers, or a word."""
    if isinstance(default, str):
        return isinstance(value, str)
    if default is None or isinstance(default, tuple):
        return value is default or (isinstance(value, tuple) and all(_is_like(one, 0.0) for one in cast("Any", value)))
    return isinstance(value, int | float) and not isinstance(value, bool)


@cache
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return `values` as a tensor, made once for each device: making one in every step would wait for the device."""
    with torch.inference_mode(mode=False):  # else one made while evaluating could not be trained with
        return torch.tensor(values, dtype=dtype, device=device)


def _full(outputs: Tensor) -> Tensor:
    """Return 16-bit outputs in float32: a sum of losses in bfloat16 would have three digits."""
    return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs


def _like(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return outputs in the shape of targets; (N, 1) beside (N,) would broadcast to (N, N) in silence."""
    if outputs.shape == targets.shape:
        return outputs
    if outputs.shape == (*targets.shape, 1) or targets.shape == (*outputs.shape, 1):
        return outputs.reshape(targets.shape)
    raise InputError(
        f"outputs: expected the shape of the targets, {tuple(targets.shape)}, found {tuple(outputs.shape)}."
    )


def _whole(targets: Tensor) -> bool:
    return bool((targets == targets.round()).all()) if targets.is_floating_point() else True


def _check_classes(targets: Tensor, num_classes: int, *, ignored: bool = False) -> None:
    if targets.is_floating_point() or targets.is_complex():
        _refuse_first(~targets.isfinite(), targets, f"a class in [0, {num_classes})")
        raise InputError(f"targets: expected integers in [0, {num_classes}), found {targets.dtype}.")
    wrong = (targets < 0) | (targets >= num_classes)
    if ignored:
        wrong &= targets != IGNORED
    _refuse_first(wrong.reshape(len(targets), -1).any(1), targets, f"a class in [0, {num_classes})")


def _refuse_first(wrong: Tensor, targets: Tensor, expected: str) -> None:
    """Raise for the first row of `wrong` (N,) that is true."""
    if bool(wrong.any()):
        row = int(wrong.int().argmax())
        found = targets[row].tolist()
        more = f" ({int(wrong.sum())} rows in all)" if int(wrong.sum()) > 1 else ""
        raise InputError(f"targets, row {row}: expected {expected}, found {found}{more}.")


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a dict with keys {sorted(map(str, cast('Mapping[Any, Any]', value)))}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(cast('list[Any]', value))}"
    return f"a {type(value).__name__}"
