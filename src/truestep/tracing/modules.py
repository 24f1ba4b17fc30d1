"""Line 2, forward, from inside: what each module of a model gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from truestep.device import widest
from truestep.nest import tensors_of

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

# What may be called in a `forward` without being a module; and, in lower case, the modules that do the same.
ACTIVATIONS = {
    *("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "celu", "gelu", "silu", "mish"),
    *("hardtanh", "hardswish", "hardsigmoid", "sigmoid", "sigmoid_", "tanh", "tanh_", "softplus", "softmax"),
    "log_softmax",
}
MODULES = {"leakyrelu", "logsoftmax", "logsigmoid", "softsign", "threshold", "prelu", "rrelu", "glu"}
CHANNELS_FIRST = ("Conv", "BatchNorm", "InstanceNorm", "GroupNorm", "Pool", "Upsample", "PixelShuffle")
FEATURES_LAST = ("Linear", "LayerNorm", "RMSNorm", "Embedding", "RNN", "LSTM", "GRU", "MultiheadAttention")
UNIT_DIM = "_truestep_unit_dim"  # an attribute that goes with an activation from module to module


@dataclass
class Row:
    """What came out of one module, over all its calls in one forward pass."""

    name: str
    kind: str
    parameters: int
    is_activation: bool
    calls: int = 0
    shape: list[int] | None = None  # of the last call; of the first tensor, where there are several
    dtype: str = ""
    tensors: int = 1
    nonfinite: int = 0
    began: bool = False  # whether numbers that are not finite came out where none had gone in
    numbers: int = 0
    sums: tuple[float, float] = (0.0, 0.0)  # of the numbers and of their squares
    alive: dict[int, Tensor] = field(default_factory=dict[int, Tensor])  # by how many units: which was ever not 0

    def add(self, output: Any, inputs: Any, unit_dim: Callable[[Tensor], int]) -> None:
        tensors = list(tensors_of(output))
        self.calls += 1
        self.tensors = len(tensors)
        if not tensors:
            return
        first = tensors[0].detach()
        self.shape, self.dtype = list(first.shape), str(first.dtype).removeprefix("torch.")
        if not first.is_floating_point() or not first.numel():
            return
        wide = widest(first.device)
        mean = first.mean(dtype=wide)
        squares = (first - mean.to(first.dtype) if bool(mean.isfinite()) else first).square().mean(dtype=wide)
        finite = bool(torch.isfinite(mean + squares))
        if not finite:
            self.nonfinite += int((~first.isfinite()).sum())
            came = [t for t in tensors_of(inputs) if t.is_floating_point()]
            self.began |= bool(self.nonfinite) and all(bool(t.isfinite().all()) for t in came)
        number, count = float(mean), first.numel()
        self.numbers += count
        self.sums = self.sums[0] + count * number, self.sums[1] + count * (float(squares) + number * number)
        if first.ndim:
            dim = unit_dim(first)
            others = [d for d in range(first.ndim) if d != dim % first.ndim]
            alive = (first != 0).any(dim=others) if others else first != 0
            before = self.alive.get(len(alive))
            self.alive[len(alive)] = alive if before is None else alive | before

    @property
    def mean(self) -> float | None:
        return self.sums[0] / self.numbers if self.numbers else None

    @property
    def std(self) -> float | None:
        if not self.numbers:
            return None
        mean = self.sums[0] / self.numbers
        variance = self.sums[1] / self.numbers - mean * mean
        return max(variance, 0.0) ** 0.5 if variance == variance else variance  # noqa: PLR0124  NaN stays NaN

    @property
    def units(self) -> int:
        return sum(self.alive)

    @property
    def dead(self) -> float | None:
        """The share of units that are 0 for every example."""
        if not self.units:
            return None
        return 1 - sum(int(alive.sum()) for alive in self.alive.values()) / self.units

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.kind,
            "calls": self.calls,
            "shape": self.shape,
            "dtype": self.dtype,
            "tensors": self.tensors,
            "parameters": self.parameters,
            "mean": self.mean,
            "std": self.std,
            "units": self.units,
            "dead": self.dead,
            "activation": self.is_activation,
            "nonfinite": self.nonfinite,
            "began": self.began,
        }


class Watch(TorchFunctionMode):
    """Looks at every module of a model, and at activation functions called between them, while it is in a `with`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.rows: dict[str, Row] = {}  # in the order of the first calls
        self.inside: list[tuple[str, nn.Module, Any]] = []  # the calls under way, with what they were given
        self.handles: list[RemovableHandle] = []
        self.counted: set[int] = set()  # parameters that a row has counted

    def __enter__(self) -> Self:
        for name, module in self.model.named_modules():
            self.handles.append(module.register_forward_pre_hook(self._begins(name), with_kwargs=True))
            self.handles.append(module.register_forward_hook(self._ends(name), with_kwargs=True))
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for handle in self.handles:
            handle.remove()
        for name, module in self.model.named_modules():  # what nobody called, where it is a layer
            if name and name not in self.rows and not any(True for _ in module.children()) and not _is_list(module):
                self.rows[name] = self._row(name, module)

    def table(self) -> list[dict[str, Any]]:
        """Return the rows that say something: layers, what has parameters of its own, and last the model itself."""
        whole = self.rows.get("")
        modules = dict(self.model.named_modules())
        shown = [
            row
            for name, row in self.rows.items()
            if name and (row.parameters or name not in modules or not any(True for _ in modules[name].children()))
        ]
        return [row.to_json() for row in [*shown, *([whole] if whole else [])]]

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name not in ACTIVATIONS or not self.inside or not isinstance(result, Tensor):
            return result
        if not result.is_floating_point():
            return result
        place, module, _ = self.inside[-1]
        if type(module).__module__.startswith("torch.nn.modules."):  # that is how nn.ReLU does it
            return result
        word = name.rstrip("_")
        called = [row for row in self.rows if row.startswith(f"{place}:{word}")]
        key = f"{place}:{word}:{len(called)}" if place else f":{word}:{len(called)}"
        title = f"{place}.{word}()" if place else f"{word}()"
        row = self.rows[key] = Row(title, f"in {type(module).__name__}", 0, is_activation=True)
        row.add(result, args, self._unit_dim(None, args))
        _carry(result, self._unit_dim(None, args)(result))
        return result

    def _begins(self, name: str) -> Callable[..., None]:
        def begins(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.inside.append((name, module, (args, kwargs)))

        return begins

    def _ends(self, name: str) -> Callable[..., None]:
        def ends(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            while self.inside and self.inside.pop()[1] is not module:  # those in between died, and someone caught it
                pass
            if name not in self.rows:
                self.rows[name] = self._row(name, module)
            elif not self.rows[name].calls:
                self.rows[name] = self.rows.pop(name)
            given = (args, kwargs)
            with torch.no_grad():
                self.rows[name].add(output, given, self._unit_dim(module, given))
                for tensor in tensors_of(output):
                    if tensor.ndim:
                        _carry(tensor, self._unit_dim(module, given)(tensor))

        return ends

    def _row(self, name: str, module: nn.Module) -> Row:
        own = [p for p in module.parameters(recurse=False) if id(p) not in self.counted]
        self.counted |= {id(p) for p in own}
        kind = type(module).__name__
        is_activation = kind.lower() in ACTIVATIONS | MODULES and type(module).__module__.startswith("torch.nn.modules")
        return Row(name, kind, sum(p.numel() for p in own), is_activation)

    def _unit_dim(self, module: nn.Module | None, given: Any) -> Callable[[Tensor], int]:
        """Return what says which dimension of an output has the units: channels of images, else the last one."""
        kind = type(module).__name__ if module is not None else ""

        def unit_dim(output: Tensor) -> int:
            if output.ndim > 2 and any(word in kind for word in CHANNELS_FIRST):
                return 1
            if any(word in kind for word in FEATURES_LAST):
                return output.ndim - 1
            for tensor in tensors_of(given):
                if tensor.ndim == output.ndim and hasattr(tensor, UNIT_DIM):
                    return cast("int", getattr(tensor, UNIT_DIM))
            return 1 if output.ndim > 3 else output.ndim - 1

        return unit_dim


def _carry(tensor: Tensor, dim: int) -> None:
    setattr(tensor, UNIT_DIM, dim)


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList | nn.ModuleDict | nn.ParameterList | nn.ParameterDict | nn.Sequential)
