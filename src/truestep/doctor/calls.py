"""Sees calls of models: in which mode, with or without gradients, and whether a backward follows."""

from __future__ import annotations

import inspect
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from truestep.doctor import sites
from truestep.doctor.graph import MARK
from truestep.doctor.probes import Probes, tensors_in
from truestep.doctor.record import CallFacts, HiddenModules, LossFacts, ModelFacts, Site

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch

NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
DROPOUTS = (nn.modules.dropout._DropoutNd,)


class Known:
    """What is known of one model while it lives."""

    def __init__(self, module: nn.Module, facts: ModelFacts) -> None:
        self.module, self.facts = weakref.ref(module), facts
        self.restless = [(name, weakref.ref(part)) for name, part in module.named_modules() if restless(part)]
        self.by_key: dict[tuple[Site | None, bool, bool], CallFacts] = {}
        self.size = sum(1 for _ in module.modules())

    def active(self) -> list[str]:
        """Return the names of the parts that act as in training now."""
        found: list[str] = []
        for name, reference in self.restless:
            part = reference()
            if part is not None and part.training:
                found.append(f"{name} ({type(part).__name__})" if name else type(part).__name__)
        return found


class Calls:
    """The sensor of model calls."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.known: dict[int, Known] = {}
        self.inside = 0
        self.unknown = False  # a manner of calling that no looked-at backward has told of yet
        self.pending: list[CallFacts] = []  # calls with gradients since the last backward
        self.last_tokens: Tensor | None = None  # (B, T) integers that a model was given last, while gradients are on
        self.row: tuple[int, int] = (-1, 0)  # of calls one after another without a backward
        self.probes = Probes(watch)

    def install(self) -> None:
        original = nn.Module.__call__
        calls, watch = self, self.watch

        def __call__(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            noting = watch.steps.parameters.noting
            if torch.compiler.is_compiling() or (calls.inside and not noting) or not watch.watching():
                return original(module, *args, **kwargs)
            if noting:
                watch.guarded(watch.steps.parameters.called, module)
            if calls.inside or not is_model(module):
                return original(module, *args, **kwargs)
            calls.inside = 1
            try:
                said = watch.guarded(calls.before, module, args, kwargs)
                outputs = original(module, *args, **kwargs)
            finally:
                calls.inside = 0
            watch.guarded(calls.after, said, module, args, kwargs, outputs)
            return outputs

        watch._replace(nn.Module, "__call__", lambda _: __call__)
        watch.wrap(nn.Module, "train", after=self._mode)
        watch.wrap(nn.Module, "eval", after=self._evaluation_mode)

    def of(self, module: nn.Module) -> Known:
        module = unwrapped(module)
        found = self.known.get(id(module))
        if found is None or found.module() is not module:
            record = self.watch.record
            facts = ModelFacts(len(record.models), type(module).__name__, sum(1 for _ in module.parameters()))
            record.models.append(facts)
            found = self.known[id(module)] = Known(module, facts)
            facts.restless = [name for name, _ in found.restless]
        return found

    def before(self, module: nn.Module, args: Any, kwargs: Any) -> tuple[Known, CallFacts]:
        known = self.of(module)
        gradients, site, bare = torch.is_grad_enabled(), sites.here(), unwrapped(module)
        key = (site, bare.training, gradients)
        facts = known.by_key.get(key)
        if facts is None:
            facts = known.by_key[key] = CallFacts(*key, first_step=self.watch.record.steps)
            known.facts.calls.append(facts)
            self.unknown = self.unknown or gradients
        if gradients and self.watch.record.backwards < 3:
            self.watch.losses.trace(on=True)
        facts.times += 1
        facts.last_step = self.watch.record.steps
        if facts.times <= 50 or facts.times % 20 == 0:
            active = known.active()
            if active and len(facts.restless) < len(active):
                facts.restless = active
        place = self.watch.loaders.current
        facts.passes[place] += 1
        inputs = tensors_in((args, kwargs))
        if inputs and inputs[0].ndim:
            facts.batch_sizes[inputs[0].shape[0]] += 1
        if gradients:
            self.last_tokens = next(
                (t for t in inputs if t.ndim == 2 and t.dtype in (torch.int64, torch.int32) and t.shape[1] > 1), None
            )
        return known, facts

    def after(self, said: tuple[Known, CallFacts] | None, module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
        if said is None:
            return
        known, facts = said
        found = tensors_in(outputs)
        if facts.gradients and any(t.grad_fn is not None for t in found):
            for tensor in found:
                if tensor.grad_fn is not None:
                    tensor.grad_fn.metadata.setdefault(MARK, []).append(facts)
            if len(self.pending) < 64:
                self.pending.append(facts)
            self.watch.event("forward", known.facts.number, training=facts.training)
        else:
            self.watch.event("evaluate", known.facts.number, training=facts.training)
        number = id(facts)
        self.row = (number, self.row[1] + 1) if self.row[0] == number else (number, 1)
        facts.consecutive = max(facts.consecutive, self.row[1])
        self.probes.call(known, facts, module, args, kwargs, outputs)

    # What the sensor of losses tells.

    def reached(self, loss: LossFacts, leaves: list[Tensor], marks: list[CallFacts]) -> None:
        ids = {id(leaf) for leaf in leaves}
        for facts in dict.fromkeys(map(id, marks)):
            for one in marks:
                if id(one) == facts:
                    one.trained += 1
                    break
        for known in self.known.values():
            module = known.module()
            if module is not None:
                loss.reached_of_models[known.facts.number] = sum(id(p) in ids for p in module.parameters())
        self.pending.clear()
        self.row = (-1, 0)
        for known in list(self.known.values()):
            if not known.facts.hidden and self.watch.record.backwards <= 3:
                known.facts.hidden = self._hidden(known)

    def assume_trained(self) -> None:
        for facts in self.pending:
            facts.trained += bool(facts.trained)
        self.pending.clear()
        self.row = (-1, 0)

    # Modes.

    def _mode(self, _: Any, __: Any, module: nn.Module, mode: bool = True) -> None:
        known = self.known.get(id(unwrapped(module)))
        if known is not None and known.module() is unwrapped(module):
            (known.facts.train_sites if mode else known.facts.eval_sites)[sites.here()] += 1

    def _evaluation_mode(self, _: Any, __: Any, module: nn.Module) -> None:
        self._mode(None, None, module, mode=False)

    # Parameters.

    def names(self) -> dict[int, str]:
        """Return the name of every parameter of every model that lives, by its id."""
        found: dict[int, str] = {}
        for known in self.known.values():
            module = known.module()
            if module is not None:
                for name, parameter in module.named_parameters():
                    found.setdefault(id(parameter), name)
        return found

    def _hidden(self, known: Known) -> list[HiddenModules]:
        """Find modules in plain lists and dicts, which `parameters()` and `to()` pass by."""
        root = known.module()
        if root is None:
            return []
        registered = {id(part) for part in root.modules()}
        owned = {id(p) for seen in self.watch.steps.seen.values() for p in seen.parameters()}
        found: list[HiddenModules] = []
        for part in root.modules():
            for attribute, value in vars(part).items():
                if attribute.startswith("_") and attribute in ("_modules", "_parameters", "_buffers"):
                    continue
                modules = [m for m in _modules_in(value) if id(m) not in registered]
                parameters = [p for module in modules for p in module.parameters()]
                if parameters:
                    found.append(
                        HiddenModules(
                            type(part).__name__,
                            attribute,
                            assignment(type(part), attribute),
                            len(parameters),
                            any(id(p) in self.watch.losses.reached for p in parameters),
                            all(id(p) in owned for p in parameters),
                        )
                    )
        return found

    def conclude(self) -> None:
        """Write down whose parameters are whose."""
        owners: dict[int, list[int]] = {}
        for seen in self.watch.steps.seen.values():
            for parameter in seen.parameters():
                owners.setdefault(id(parameter), []).append(seen.facts.number)
        reached = self.watch.losses.reached
        for known in self.known.values():
            module = known.module()
            if module is None:
                continue
            facts = known.facts
            facts.owned_by = sorted({number for p in module.parameters() for number in owners.get(id(p), ())})
            facts.unowned = [
                name for name, p in module.named_parameters() if p.requires_grad and id(p) in reached and id(p) not in owners
            ]
            facts.frozen = [name for name, p in module.named_parameters() if not p.requires_grad]
            facts.hidden = self._hidden(known) or facts.hidden
        self.probes.conclude()


def is_model(module: nn.Module) -> bool:
    """Whether a module can be a model: it has parameters, and is no loss."""
    return not isinstance(module, nn.modules.loss._Loss) and next(module.parameters(), None) is not None


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the user's module inside of what parallelises or compiles it."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and type(module).__name__ in ("DataParallel", "DistributedDataParallel", "AveragedModel"):
            inner = getattr(module, "module", None)
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def restless(part: nn.Module) -> bool:
    """Whether a module computes otherwise in training mode."""
    if isinstance(part, NORMS):
        return bool(part.track_running_stats)
    if isinstance(part, DROPOUTS):
        return part.p > 0
    if isinstance(part, nn.RNNBase):
        return part.dropout > 0 and part.num_layers > 1
    if isinstance(part, nn.MultiheadAttention):
        return part.dropout > 0
    if isinstance(part, nn.RReLU):
        return True
    return type(part).__module__.split(".")[0] != "torch" and _asks(type(part))


_asking: dict[type, bool] = {}


def _asks(kind: type) -> bool:
    """Whether a class's forward asks `self.training`."""
    if kind not in _asking:
        try:
            _asking[kind] = "self.training" in inspect.getsource(kind.forward)  # pyright: ignore[reportAttributeAccessIssue]
        except (OSError, TypeError, AttributeError):
            _asking[kind] = False
    return _asking[kind]


def _modules_in(value: Any, depth: int = 0) -> list[nn.Module]:
    if isinstance(value, nn.Module):
        return [value] if depth else []  # a plain attribute is registered by itself
    if depth > 2 or isinstance(value, str | bytes | Tensor):
        return []
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple) and len(value) < 1000:
        return [module for part in value for module in _modules_in(part, depth + 1)]
    return []


def assignment(kind: type, attribute: str) -> Site | None:
    """Return the line in a class where `self.attribute = ...` is written."""
    try:
        lines, first = inspect.getsourcelines(kind)
        file = inspect.getsourcefile(kind)
    except (OSError, TypeError):
        return None
    for number, line in enumerate(lines):
        words = line.strip().replace(" ", "")
        if words.startswith((f"self.{attribute}=", f"self.{attribute}:")) and file and sites.is_users(file):
            return Site(file, first + number)
    return None


def counted(values: Counter[Any]) -> int:
    return sum(values.values())
