"""Asks a model what it would have said otherwise: in evaluation mode, with one example changed, with later tokens changed.

A probe runs a copy of the model, once, on copies of the inputs, with every random generator put back behind it. What the
run itself computes is not touched.
"""

from __future__ import annotations

import copy
import io
import random
import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from truestep.doctor import sites
from truestep.doctor.record import CallFacts, Site

if TYPE_CHECKING:
    from truestep.doctor.calls import Known
    from truestep.doctor.observe import Watch

LARGEST = 30_000_000  # elements of a model that is copied
MIXED = 1e-3  # of the outputs' deviation: how far other examples may move by rounding
AT_CALL = 2  # of a manner of calling a model: the first may still build lazy layers and caches
RANDOM = ("bernoulli", "dropout", "rand", "normal", "multinomial", "poisson", "exponential_", "uniform_")


class Probes:
    """Replays, each once for a model."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def call(self, known: Known, facts: CallFacts, module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
        """Do what has not been done yet after a call of a model."""
        from truestep.doctor.calls import unwrapped

        probes, root = known.facts.probes, unwrapped(module)
        training = facts.training and facts.gradients
        wanted = [
            name
            for name, now in (
                ("batch", training and facts.times == AT_CALL),
                ("future", training and known.next_place is not None),
                ("random", facts.times == AT_CALL),
                ("modes", facts.training and bool(facts.restless) and facts.times <= AT_CALL),
            )
            if now and name not in probes
        ]
        if not wanted or not _can_be_copied(root):
            return
        with _aside(), suppress(Exception):  # a model that can't be copied, or needs gradients inside, is left alone
            twin = copy.deepcopy(root).eval()
            if "random" in wanted:
                probes["random"] = _randomness(twin, args, kwargs)
            if "batch" in wanted:
                probes["batch"] = _mixing(twin, args, kwargs)
            if "future" in wanted:
                probes["future"] = _future(twin, args, kwargs, known.next_place or 0)
            if "modes" in wanted:
                probes["modes"] = _distance(outputs, _run(twin, args, kwargs))

    def conclude(self) -> None:
        """Nothing is left over."""


def _can_be_copied(root: nn.Module) -> bool:
    if isinstance(root, torch.jit.ScriptModule) or sum(p.numel() for p in root.parameters()) > LARGEST:
        return False
    for part in root.modules():
        hooks = [*part._forward_hooks.values(), *part._forward_pre_hooks.values()]
        if any(not getattr(hook, "__module__", "").startswith(("torch", "truestep.")) for hook in hooks):
            return False  # a hook of the user's would be called once more
    return all(p.grad_fn is None for p in root.parameters())


@contextmanager
def _aside() -> Generator[None]:
    """Put every random generator back, take no gradients and print nothing."""
    states = torch.get_rng_state(), random.getstate()
    numpy = sys.modules.get("numpy")
    numpys = numpy.random.get_state() if numpy is not None else None
    cudas = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    anomaly = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    torch.set_anomaly_enabled(False, False)
    try:
        with torch.no_grad(), redirect_stdout(io.StringIO()):
            yield
    finally:
        torch.set_anomaly_enabled(*anomaly)
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        if numpy is not None:
            numpy.random.set_state(numpys)
        if cudas is not None:
            torch.cuda.set_rng_state_all(cudas)


def tensors_in(value: Any, depth: int = 0) -> list[Tensor]:
    """Return the tensors in a nest of tuples, lists, dicts and objects such as the outputs of transformers."""
    if isinstance(value, Tensor):
        return [value]
    if depth > 3:
        return []
    if isinstance(value, dict):
        value = list(value.values())
    elif hasattr(value, "__dataclass_fields__"):
        value = [getattr(value, name, None) for name in value.__dataclass_fields__]
    if isinstance(value, list | tuple):
        return [tensor for part in list(value)[:64] for tensor in tensors_in(part, depth + 1)]
    return []


def _mapped(value: Any, change: Any, depth: int = 0) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if depth > 3:
        return value
    if isinstance(value, dict):
        return (
            type(value)({k: _mapped(v, change, depth + 1) for k, v in value.items()}) if type(value) is dict else value
        )
    if type(value) in (list, tuple):
        return type(value)(_mapped(part, change, depth + 1) for part in value)
    return value


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _run(twin: nn.Module, args: Any, kwargs: Any, change: Any = _copied, steps: TorchFunctionMode | None = None) -> Any:
    given, named = _mapped(args, change), _mapped(dict(kwargs), change)
    with steps or nullcontext():
        return nn.Module.__call__(twin, *given, **named)


def _distance(one: Any, other: Any) -> float | None:
    """Return the largest difference between two outputs, in deviations of the first."""
    largest = None
    for a, b in zip(tensors_in(one), tensors_in(other), strict=False):
        if a.shape == b.shape and a.is_floating_point() and a.numel() > 1:
            far = float(
                (a.detach().float() - b.detach().float()).abs().max() / a.detach().float().std().clamp(min=1e-12)
            )
            largest = far if largest is None else max(largest, far)
    return largest


class _Random(TorchFunctionMode):
    """Notes the lines that draw random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.dropouts: list[tuple[str, Site | None]] = []
        self.others: list[tuple[str, Site | None]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        if name == "scaled_dot_product_attention" and (kwargs.get("dropout_p") or (len(args) > 4 and args[4])):
            self.dropouts.append((name, sites.here()))
        elif "dropout" in name and name != "scaled_dot_product_attention":
            chance = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
            training = kwargs.get("training", args[2] if len(args) > 2 else True)
            if training and chance:
                self.dropouts.append((name, sites.here()))
        elif any(word in name for word in RANDOM):
            self.others.append((name, sites.here()))
        return function(*args, **kwargs)


def _randomness(twin: nn.Module, args: Any, kwargs: Any) -> dict[str, Any]:
    """Say whether the model in evaluation mode gives one answer, and which dropout is still on if not."""
    noted = _Random()
    first = _run(twin, args, kwargs, steps=noted)
    torch.rand(7)  # on to other random numbers
    second = _run(twin, args, kwargs)
    return {
        "change": _distance(first, second),
        "dropouts": [(name, site) for name, site in noted.dropouts if site is not None],
        "others": [name for name, _ in noted.others],
    }


Output = tuple[str, Site | None, Tensor, tuple[int, ...]]  # operation, line, output, shape given


class _Steps(TorchFunctionMode):
    """Keeps the output of every operation, with its line."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Output] = []
        self.elements = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tensors_in(result)[:1]:
            if tensor.is_floating_point() and tensor.ndim:
                self.elements += tensor.numel()
                if self.elements > LARGEST:
                    continue
                name = getattr(function, "__name__", None) or resolve_name(function) or "?"
                given = next((tuple(t.shape) for t in tensors_in(args)), ())
                self.outputs.append((name, sites.here(), tensor.detach().clone(), given))
        return result


def _twice(
    twin: nn.Module,
    args: Any,
    kwargs: Any,
    change: Any,
    steps: tuple[_Steps, _Steps] | tuple[None, None] = (None, None),
) -> tuple[Any, Any]:
    """Run a model on inputs and on changed ones, with the same random numbers."""
    states = torch.get_rng_state()
    first = _run(twin, args, kwargs, steps=steps[0])
    torch.set_rng_state(states)
    return first, _run(twin, args, kwargs, change, steps[1])


def _operations(twin: nn.Module, args: Any, kwargs: Any, change: Any) -> list[tuple[Output, Output]]:
    """Do that once more, and return the operations side by side.

    It takes memory for all that is in between, so it is done only once there is something to be explained.
    """
    steps = _Steps(), _Steps()
    _twice(twin, args, kwargs, change, steps)
    return (
        [*zip(steps[0].outputs, steps[1].outputs, strict=True)]
        if len(steps[0].outputs) == len(steps[1].outputs)
        else []
    )


def _mixing(twin: nn.Module, args: Any, kwargs: Any, dim: int = 0) -> dict[str, Any]:
    """Change the first example, and say how far the outputs of the others move and which operation mixed them.

    Args:
        twin: a copy of the model.
        args: what it is given.
        kwargs: likewise.
        dim: the dimension of the batch in the inputs: 1 of (time, batch, features).
    """
    inputs = tensors_in((args, dict(kwargs)))
    if not inputs or inputs[0].ndim < 2 or inputs[0].shape[dim] < 3:
        return {}
    batch = inputs[0].shape[dim]

    def changed(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().clone()
        if tensor.ndim > dim and tensor.shape[dim] == batch:
            tensor.select(dim, 0).copy_(tensor.select(dim, batch // 2))
        return tensor

    if torch.equal(inputs[0].select(dim, 0), inputs[0].select(dim, batch // 2)):
        return {}
    first, second = _twice(twin, args, kwargs, changed)
    moved: float | None = None
    own = 0.0
    for a, b in zip(tensors_in(first), tensors_in(second), strict=False):
        if a.ndim and a.shape == b.shape and a.shape[0] == batch and a.is_floating_point():
            scale = a.float().std().clamp(min=1e-12)
            moved = max(moved or 0.0, float((a[1:].float() - b[1:].float()).abs().max() / scale))
            own = max(own, float((a[0].float() - b[0].float()).abs().max() / scale))
    shape = tuple(inputs[0].shape)
    if moved is None and dim == 0 and len(shape) == 3 and len(tensors_in((args, dict(kwargs)))) == 1:
        shapes = [tuple(t.shape) for t in tensors_in(first)]
        if len(shapes) == 1 and len(shapes[0]) == 2 and shapes[0][0] == shape[1] != shape[0]:
            return _mixing(twin, args, kwargs, 1)
    if moved is None:
        return {"batch": batch, "shapes": [tuple(t.shape) for t in tensors_in(first)][:3]}
    output = next(tuple(t.shape) for t in tensors_in(first) if t.ndim and t.shape[0] == batch)
    found: dict[str, Any] = {
        "batch": batch,
        "moved": moved,
        "own": own,
        "input": shape,
        "dim": dim,
        "output": output,
    }
    if moved > MIXED / 100 or own < MIXED:
        statistic = ""  # what was last made of all examples together
        for (name, site, a, given), (_, _, b, _) in _operations(twin, args, kwargs, changed):
            if a.shape == b.shape and not _confined(a, b, batch):
                seen = {"operation": name, "site": site, "given": given, "gave": tuple(a.shape), "statistic": statistic}
                return found | seen
            if given[:1] == (batch,) != a.shape[:1] or (given[:1] == (batch,) and a.shape[:1] == (1,)):
                statistic = name
    return found


def _confined(a: Tensor, b: Tensor, batch: int) -> bool:
    """Whether two tensors differ in what belongs to the first example alone."""
    differ = (a - b).abs() > MIXED * a.float().std().clamp(min=1e-12)
    if not bool(differ.any()):
        return True
    dims = [dim for dim, size in enumerate(a.shape) if size == batch]
    if dims:
        return any(not bool(differ.transpose(0, dim)[1:].any()) for dim in dims)
    flat = differ.flatten()
    return len(flat) % batch != 0 or not bool(flat[len(flat) // batch :].any())


def _confined_to(a: Tensor, b: Tensor, batch: int, length: int, cut: int) -> bool:
    """Whether two tensors differ at later places alone; where the place of the text is not clear, they do."""
    places = [dim for dim, size in enumerate(a.shape) if size == length and not (dim == 0 and batch == length)]
    if tuple(a.shape) == (batch, length, length):  # scores of all places with all, or as many features by chance
        return not bool(((a - b)[:, :cut, :cut].abs() > MIXED * a.float().std().clamp(min=1e-12)).any())
    if len(places) != 1:
        return True  # scores of all places with all, for one
    early = (a - b).transpose(0, places[0])[:cut]
    return not bool((early.abs() > MIXED * a.float().std().clamp(min=1e-12)).any())


def _future(twin: nn.Module, args: Any, kwargs: Any, place: int) -> dict[str, Any]:
    """Change the later tokens of each text, or numbers of each series, and say how far the outputs of the earlier ones move."""
    inputs = tensors_in((args, dict(kwargs)))
    tokens = inputs[place]
    series = tokens.ndim == 3 and tokens.is_floating_point()
    if not (series or tokens.ndim == 2) or tokens.shape[1] < 3:
        return {}
    batch, length = tokens.shape[:2]
    cut = length // 2

    def changed(tensor: Tensor) -> Tensor:
        copied = tensor.detach().clone()
        if tensor is tokens:
            copied[:, cut:] = copied[:, cut:].roll(1, 0)
        return copied

    if batch < 2 or torch.equal(changed(tokens), tokens):
        return {}
    first, second = _twice(twin, args, kwargs, changed)

    def by_text(tensor: Tensor) -> Tensor:
        if series and tuple(tensor.shape) == (batch, length):
            return tensor.unsqueeze(2)
        return tensor.reshape(batch, length, -1) if tensor.ndim == 2 and tensor.shape[0] == batch * length else tensor

    pairs = zip(tensors_in(first), tensors_in(second), strict=False)
    for a, b in ((by_text(one), by_text(other)) for one, other in pairs):
        if a.ndim == 3 and a.shape == b.shape and tuple(a.shape[:2]) == (batch, length) and a.is_floating_point():
            scale = a.float().std().clamp(min=1e-12)
            found: dict[str, Any] = {
                "moved": float((a[:, :cut] - b[:, :cut]).abs().max() / scale),
                "own": float((a[:, cut:] - b[:, cut:]).abs().max() / scale),
                "length": length,
            }
            if found["moved"] > MIXED:
                for (name, site, c, _), (_, _, d, _) in _operations(twin, args, kwargs, changed):
                    if c.shape == d.shape and c.ndim >= 3 and not _confined_to(c, d, batch, length, cut):
                        return found | {"operation": name, "site": site}
            return found
    return {}
