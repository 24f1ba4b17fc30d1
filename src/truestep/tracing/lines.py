"""The five lines on one batch, and everything about them that can be read off in passing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm
from torch.optim import LBFGS

from truestep.code import place_of, told
from truestep.device import Precision, draw_again, drawn, widest
from truestep.errors import InputError
from truestep.nest import map_tensors, tensors_of
from truestep.objectives import Multiclass, Objective
from truestep.tracing.modules import Watch

if TYPE_CHECKING:
    from torch.optim import Optimizer

LONGEST = 300  # letters of another's error
SHAPES_ONLY = {  # in autograd's words: what changes no number
    *("View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "Alias", "Transpose", "Permute"),
    *("T", "Expand", "Clone", "ToCopy", "Slice", "Select", "AsStrided"),
}


@dataclass
class Subject:
    """What is looked at: copies, that may be changed."""

    model: nn.Module
    batch: Any
    objective: Objective
    optimizer: Optimizer | None  # None where there is nothing to train
    precision: Precision = field(default_factory=Precision)
    max_grad_norm: float = math.inf
    max_grad_value: float = math.inf
    trained: bool = False  # then nobody knows what its loss should be at the start
    targets: Tensor | None = None  # of all training rows, to guess from; None: those of the batch
    left_over: int = 0  # parameters that held a gradient before
    head: dict[str, str] = field(default_factory=dict[str, str])  # where all of this is from, in words

    @property
    def device(self) -> torch.device:
        tensors = [*self.model.parameters(), *self.model.buffers(), *tensors_of(self.batch)]
        return tensors[0].device if tensors else torch.device("cpu")

    def parts(self) -> tuple[Any, Any]:
        """Return inputs and targets anew: a model may write into what it is given."""
        return self.objective.unpack(fresh(self.batch))


def fresh(nest: Any) -> Any:
    """Return a copy of a nest of tensors."""
    return map_tensors(lambda tensor: tensor.detach().clone(), nest)


def died_of(error: BaseException) -> str:
    """Return what someone's code died of, in one line; torch can say more than anybody reads."""
    said, place = told(error), place_of(error)
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}...{f' ({place})' if place else ''}"


def check_examples(batch: Any) -> None:
    """Raise InputError for a batch of nothing."""
    tensors = [tensor for tensor in tensors_of(batch) if tensor.ndim]
    if (tensors and not any(map(len, tensors))) or (isinstance(batch, tuple | list | Mapping) and not batch):
        raise InputError("batch: expected examples, found none.")


def check_place(subject: Subject) -> None:
    """Raise InputError for a batch that is elsewhere than the model."""
    for tensor in tensors_of(subject.batch):
        if tensor.device != subject.device:
            raise InputError(
                f"batch: expected it on {subject.device}, where the model is, found a tensor on {tensor.device}. "
                f'Move it: tensor.to("{subject.device}").'
            )


def check_targets(subject: Subject) -> None:
    """Raise InputError for the first target that does not fit the objective; probabilities of classes do."""
    _, targets = subject.parts()
    is_soft = isinstance(subject.objective, Multiclass) and isinstance(targets, Tensor) and targets.is_floating_point()
    if isinstance(targets, Tensor) and not is_soft:
        subject.objective.check(targets)


def forward(subject: Subject, inputs: Any, watch: Watch | None = None) -> Any:
    """Call the model.

    Raises:
        InputError: it died; it says in which of its modules, of what it was given, and in which line.
    """
    try:
        with subject.precision.autocast():
            return subject.objective.forward(subject.model, inputs)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        name = type(subject.model).__name__
        where, given = f"model '{name}'", inputs
        if watch and watch.inside:
            place, module, (args, kwargs) = watch.inside[-1]
            given = (*args, *kwargs.values())
            where = f"{where}, module '{place}', a {_short(module)}" if place else where
        raise InputError(f"{where}: failed on {_shapes(given)}; {died_of(error)}.") from error


def loss_of(subject: Subject, outputs: Any, targets: Any) -> tuple[Tensor, float | Tensor]:
    """Return the mean loss, (), and how much it is the mean of.

    Raises:
        InputError: the objective can't make a loss of these outputs.
    """
    try:
        with subject.precision.autocast():
            count = subject.objective.count(targets)
            loss = subject.objective.loss_sum(outputs, targets) / count
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        found = f"outputs {_shapes(outputs)}"
        if not isinstance(outputs, Tensor):
            found = f"a {type(outputs).__name__} as outputs, {_shapes(outputs)}; expected one tensor"
        raise InputError(
            f"objective '{subject.objective.name}': can't make a loss of {found}, and targets {_shapes(targets)}; {died_of(error)}."
        ) from error
    return loss, count


def backward(subject: Subject, loss: Tensor) -> None:
    """Take the gradients of a loss.

    Raises:
        InputError: autograd can't.
    """
    try:
        loss.backward()
    except (Exception, SystemExit) as error:
        raise InputError(f"model '{type(subject.model).__name__}': backward failed; {died_of(error)}.") from error


def five_lines(subject: Subject) -> dict[str, Any]:
    """Take the batch through the five lines, and return what each did. The model comes back one step further."""
    model, optimizer, device = subject.model, subject.optimizer, subject.device
    parameters = dict(model.named_parameters())
    others = _other_names(model)
    inputs, targets = subject.parts()
    found: dict[str, Any] = {
        "inputs": list(described(inputs, "inputs")),
        "targets": list(described(targets, "targets")),
    }
    weights = {name: p.detach().clone() for name, p in parameters.items()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    before, random_before = fresh(inputs), drawn(device)

    model.zero_grad()  # 1
    with Watch(model) as watch:
        outputs = forward(subject, inputs, watch)  # 2
    loss, count = loss_of(subject, outputs, targets)  # 3
    found["modules"], found["outputs"] = watch.table(), list(described(outputs, "outputs"))
    found["written"] = {
        "inputs": any(not _same(a, b) for a, b in zip(tensors_of(before), tensors_of(inputs), strict=True)),
        "buffers": [
            name for name, buffer in model.named_buffers() if name in buffers and not _same(buffer, buffers[name])
        ],
    }
    found["loss"] = {"value": float(loss.detach()), "count": float(count)}
    found["last"] = last_operation(outputs)
    found["first_output"] = outputs.detach() if isinstance(outputs, Tensor) else None

    trains = loss.requires_grad
    if trains:
        backward(subject, subject.precision.scaler.scale(loss))  # 4
        if optimizer is not None:
            subject.precision.scaler.unscale_(optimizer)
    gradients = {name: _dense(p.grad) for name, p in parameters.items()}
    given = [gradient for gradient in gradients.values() if gradient is not None]
    norm = get_total_norm(given) if given else torch.zeros(())
    rows = {name: _row(name, p, gradients[name], others.get(name, [])) for name, p in parameters.items()}
    found["gradients"] = {"norm": float(norm), "left_over": subject.left_over, "clipped": False}

    loss_after = None
    finite = math.isfinite(found["loss"]["value"]) and math.isfinite(norm)
    if trains and finite and optimizer is not None and given:
        if norm > subject.max_grad_norm:
            clip_grads_with_norm_(model.parameters(), subject.max_grad_norm, norm)
            found["gradients"]["clipped"] = True
        if subject.max_grad_value < math.inf:
            clip_grad_value_(model.parameters(), subject.max_grad_value)
        _step(subject, random_before)  # 5
        for name, parameter in parameters.items():
            _moved(rows[name], weights[name], parameter.detach())
        draw_again(random_before, device)  # the same dropout masks, so that the weights alone make the difference
        with torch.no_grad():
            again, wanted = subject.parts()
            loss_after = float(loss_of(subject, forward(subject, again), wanted)[0])
    found["parameters"] = list(rows.values())
    found["step"] = {
        "taken": loss_after is not None,
        "loss_after": loss_after,
        "weights_moved": sum(row["moved"] or 0 for row in rows.values()),
        "update_norm": _length([row["update_norm"] for row in rows.values()]),
        "weight_norm": _length([row["weight_norm"] for row in rows.values()]),
    }
    model.zero_grad()  # 1 again
    return found


def _step(subject: Subject, random_before: list[Tensor]) -> None:
    optimizer = cast("Optimizer", subject.optimizer)
    if not isinstance(optimizer, LBFGS):
        try:
            subject.precision.scaler.step(optimizer)
        except (Exception, SystemExit) as error:
            raise InputError(f"optimizer '{type(optimizer).__name__}': its step failed; {died_of(error)}.") from error
        return

    def again() -> float:  # it asks for the loss and its gradients several times a step
        optimizer.zero_grad()
        draw_again(random_before, subject.device)
        inputs, targets = subject.parts()
        loss = loss_of(subject, forward(subject, inputs), targets)[0]
        backward(subject, loss)
        return float(loss.detach())

    optimizer.step(again)


def _row(name: str, parameter: nn.Parameter, gradient: Tensor | None, others: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "also": others,
        "shape": list(parameter.shape),
        "trainable": parameter.requires_grad,
        "weight_norm": _norm(parameter.detach()),
        "gradient_norm": None if gradient is None else _norm(gradient),
        "gradient_zeros": None if gradient is None or not gradient.numel() else float((gradient == 0).double().mean()),
        "update_norm": None,
        "update_ratio": None,
        "moved": None,
    }


def _moved(row: dict[str, Any], before: Tensor, after: Tensor) -> None:
    change = _norm(after.to(widest(after.device)) - before.to(widest(before.device)))
    row["update_norm"], row["moved"] = change, int((after != before).sum())
    row["update_ratio"] = change / row["weight_norm"] if row["weight_norm"] else None


def described(nest: Any, name: str) -> Iterator[dict[str, Any]]:
    """Yield what each tensor of a nest is: its shape, type, place and numbers."""
    if isinstance(nest, Tensor):
        yield _described(nest, name)
    elif isinstance(nest, Mapping):
        for key, part in cast("Mapping[Any, Any]", nest).items():
            yield from described(part, str(key) if name == "inputs" else f"{name}.{key}")
    elif isinstance(nest, tuple | list):
        for place, part in enumerate(cast("list[Any]", nest)):
            yield from described(part, f"{name}.{place}")


def _described(tensor: Tensor, name: str) -> dict[str, Any]:
    tensor = tensor.detach()
    said: dict[str, Any] = {
        "name": name,
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "device": str(tensor.device),
        "min": None,
        "max": None,
        "mean": None,
        "std": None,
        "nonfinite": 0,
    }
    if not tensor.numel() or tensor.is_complex():
        return said
    if not tensor.is_floating_point():
        low, high = tensor.min(), tensor.max()
        return said | {"min": int(low), "max": int(high)}
    finite = tensor[tensor.isfinite()]
    said["nonfinite"] = tensor.numel() - finite.numel()
    if finite.numel():
        values = finite.to(widest(tensor.device))
        said |= {"min": float(values.min()), "max": float(values.max())}
        said |= {"mean": float(values.mean()), "std": float(values.std(correction=0))}
    return said


def last_operation(outputs: Any) -> str:
    """Return the name of what made the outputs, in autograd's words, such as "Softmax"; "" if nobody knows."""
    tensor = next(tensors_of(outputs), None)
    node = None if tensor is None else tensor.grad_fn
    while node is not None:
        name = type(node).__name__.partition("Backward")[0]
        if name not in SHAPES_ONLY:
            return name
        node = node.next_functions[0][0] if node.next_functions else None
    return ""


def _other_names(model: nn.Module) -> dict[str, list[str]]:
    """Return the further names of parameters that have several."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {first: more for first, *more in names.values() if more}


def _dense(gradient: Tensor | None) -> Tensor | None:
    return gradient.to_dense() if gradient is not None and gradient.is_sparse else gradient


def _norm(tensor: Tensor) -> float:
    return float(tensor.to(widest(tensor.device)).norm()) if not tensor.is_complex() else float(tensor.abs().norm())


def _length(norms: list[float | None]) -> float:
    return math.sqrt(sum(norm * norm for norm in norms if norm is not None))


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())  # noqa: PLR0124


def _short(module: nn.Module) -> str:
    text = " ".join(repr(module).split())
    return text if len(text) <= 80 else type(module).__name__


def _shapes(nest: Any) -> str:
    tensors = [f"{str(t.dtype).removeprefix('torch.')} of shape {tuple(t.shape)}" for t in tensors_of(nest)]
    return " and ".join(tensors) or "no tensor"
