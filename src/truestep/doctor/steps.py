"""Sees optimizers, and what clears, scales and clips gradients."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from truestep.doctor import sites
from truestep.doctor.record import ClipFacts, Event, OptimizerFacts, Site, Window, looked_at

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch

WINDOWS = 24  # steps of an optimizer whose events are kept
SMALL = 1_000_000  # elements of a tensor that is worth comparing


@dataclass
class Used:
    """A gradient that a step has used, to see whether it comes back."""

    parameter: weakref.ref[Tensor]
    gradient: weakref.ref[Tensor]
    version: int

    def unchanged(self) -> Tensor | None:
        parameter, gradient = self.parameter(), self.gradient()
        if parameter is None or gradient is None or parameter.grad is not gradient:
            return None
        return gradient if gradient._version == self.version else None


@dataclass
class Seen:
    """What is going on with one optimizer."""

    facts: OptimizerFacts
    optimizer: weakref.ref[Optimizer]
    since: list[Event] = field(default_factory=list)
    used: list[Used] = field(default_factory=list)
    stale_at: Site | None = None  # where a backward added to gradients that were used already
    is_stale: bool = False
    fresh: Counter[Site | None] = field(default_factory=Counter)  # backwards since the last step or clearing
    fresh_versions: tuple[int, ...] = ()  # of a few parameters, at the last backward
    lost: Site | None = None  # where gradients that no step had used were cleared last
    lost_backward: Site | None = None
    backwards: int = 0  # since the last step
    before: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # parameters and what they were

    def parameters(self) -> Iterable[Tensor]:
        optimizer = self.optimizer()
        return () if optimizer is None else (p for group in optimizer.param_groups for p in group["params"])


class Steps:
    """The sensor of everything between two updates."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.seen: dict[int, Seen] = {}
        self.clips: dict[Site | None, ClipFacts] = {}
        self.scalers: weakref.WeakSet[Any] = weakref.WeakSet()
        self.scaled_backward = False
        self.unscaled: set[int] = set()

    def install(self) -> None:
        watch = self.watch
        watch.wrap(Optimizer, "__init__", after=self._made)
        watch.wrap(Optimizer, "zero_grad", before=self._clearing, after=self._cleared)
        watch.wrap(nn.Module, "zero_grad", before=self._clearing_module, after=self._cleared_module)
        watch.at_stop(register_optimizer_step_pre_hook(self._on_pre).remove)
        watch.at_stop(register_optimizer_step_post_hook(self._on_post).remove)
        for name in ("clip_grad_norm_", "clip_grad_value_"):
            original = getattr(nn.utils.clip_grad, name)
            watch.wrap(nn.utils.clip_grad, name, before=self._clipping)
            wrapper = getattr(nn.utils.clip_grad, name)
            if getattr(nn.utils, name) is original:
                watch._replace(nn.utils, name, lambda _, wrapper=wrapper: wrapper)
        for name, after in (
            ("scale", self._scaled),
            ("unscale_", self._unscaled),
            ("step", None),
            ("update", self._updated),
        ):
            watch.wrap(torch.amp.GradScaler, name, before=self._scaler_steps if name == "step" else None, after=after)

    # Optimizers.

    def of(self, optimizer: Optimizer) -> Seen:
        found = self.seen.get(id(optimizer))
        if found is None or found.optimizer() is not optimizer:
            facts = OptimizerFacts(len(self.watch.record.optimizers), type(optimizer).__name__, None)
            self.watch.record.optimizers.append(facts)
            found = self.seen[id(optimizer)] = Seen(facts, weakref.ref(optimizer))
        return found

    def _made(self, _: Any, __: Any, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        seen = self.of(optimizer)
        seen.facts.site = seen.facts.site or sites.here()
        seen.facts.parameters = sum(1 for _ in seen.parameters())
        seen.facts.defaults = {k: v for k, v in optimizer.defaults.items() if isinstance(v, int | float | bool | tuple)}

    def happened(self, event: Event) -> None:
        for seen in list(self.seen.values())[:8]:
            if len(seen.since) < 200 and len(seen.facts.windows) < WINDOWS:
                seen.since.append(event)

    def _on_pre(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self.watch.watching():
            self.watch.guarded(self._pre, optimizer, args, kwargs)

    def _on_post(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self.watch.watching():
            self.watch.guarded(self._post, optimizer, args, kwargs)

    def _pre(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        seen = self.of(optimizer)
        if looked_at(seen.facts.steps + 1):
            seen.before = [
                (parameter, parameter.detach().clone())
                for parameter, _ in zip((p for p in seen.parameters() if p.numel() <= SMALL), range(6), strict=False)
            ]

    def _post(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        watch, seen = self.watch, self.of(optimizer)
        facts, site = seen.facts, sites.here()
        facts.steps += 1
        watch.record.steps += 1
        watch.loaders.stepped()
        facts.step_sites[site] += 1
        facts.closures += any(callable(value) for value in (*args[1:], *kwargs.values()))
        event = watch.event("step", facts.number)
        if len(facts.windows) < WINDOWS:
            facts.windows.append(Window([*seen.since], facts.steps == 1))
        seen.since = []

        with_gradients = [
            p for p, _ in zip((p for p in seen.parameters() if p.grad is not None), range(3), strict=False)
        ]
        facts.without_gradients += not with_gradients
        if seen.is_stale and any(one.gradient() is not None and self._grew(one) for one in seen.used):
            facts.stale += 1
            facts.stale_sites[seen.stale_at] += 1
        if seen.lost is not None and not any(self._nonzero(p.grad) for p in with_gradients):
            facts.cleared_after_backward += 1
            facts.clear_sites[seen.lost] += 1
        elif seen.lost is not None and seen.lost_backward in seen.fresh:
            facts.last_values.setdefault("zeroed", Counter())[seen.lost] += 1
        facts.micro_batches[seen.backwards] += 1
        seen.is_stale, seen.stale_at, seen.lost, seen.lost_backward, seen.backwards = False, None, None, None, 0
        seen.fresh.clear()
        seen.used = [
            Used(weakref.ref(p), weakref.ref(p.grad), p.grad._version) for p in with_gradients[:2] if p.grad is not None
        ]
        rate = optimizer.param_groups[0].get("lr") if optimizer.param_groups else None
        if isinstance(rate, int | float) and (not facts.learning_rates or facts.learning_rates[-1][1] != rate):
            if len(facts.learning_rates) < 20_000:
                facts.learning_rates.append((facts.steps, float(rate)))
        if self.scaled_backward:
            facts.scaled += 1
        if seen.before:
            self._compare(seen)
        event.facts["empty"] = not with_gradients

    def _compare(self, seen: Seen) -> None:
        facts, before = seen.facts, seen.before
        seen.before = []
        facts.looked_at += 1
        grads = [p.grad for p in seen.parameters() if p.grad is not None]
        if grads and not any(self._nonzero(grad) for grad in grads):
            facts.with_zero_gradients += 1
        dense = [grad for grad in grads if not grad.is_sparse]
        if dense:
            norm = float(torch.stack([grad.detach().float().norm().cpu() for grad in dense]).norm())
            facts.gradient_norms.append((facts.steps, norm))
        ratios: list[float] = []
        for parameter, value in before:
            if parameter.shape != value.shape or not value.is_floating_point():
                continue
            change = (parameter.detach() - value).float().norm()
            if parameter.grad is not None and self._nonzero(parameter.grad):
                facts.changed += bool(change > 0)
                facts.unchanged += not bool(change > 0)
                if value.numel() > 1 and float(value.float().norm()) > 0:
                    ratios.append(float(change / value.float().norm()))
            elif bool(change > 0):
                facts.last_values["moved_without_gradient"] = facts.last_values.get("moved_without_gradient", 0) + 1
        if ratios:
            facts.update_ratios.append(sorted(ratios)[len(ratios) // 2])

    @staticmethod
    def _nonzero(gradient: Tensor | None) -> bool:
        if gradient is None:
            return False
        return bool((gradient._values() if gradient.is_sparse else gradient).detach().any())

    @staticmethod
    def _grew(used: Used) -> bool:
        parameter, gradient = used.parameter(), used.gradient()
        return (
            parameter is not None
            and parameter.grad is gradient
            and gradient is not None
            and gradient._version > used.version
        )

    # What the sensor of losses tells.

    def before_backward(self) -> list[tuple[Seen, Used]]:
        """Return the gradients that a step has used and nobody has cleared since."""
        return [
            (seen, one)
            for seen in self.seen.values()
            if not seen.is_stale
            for one in seen.used
            if (gradient := one.unchanged()) is not None and self._nonzero(gradient)
        ]

    def after_backward(self, site: Site | None, used: list[tuple[Seen, Used]]) -> None:
        for seen, one in used:
            if self._grew(one):
                seen.is_stale, seen.stale_at = True, site
        for seen in self.seen.values():
            seen.backwards += 1
            if any(p.grad is not None for p, _ in zip(seen.parameters(), range(3), strict=False)):
                seen.fresh[site] += 1
            seen.fresh_versions = self._versions(seen)

    @staticmethod
    def _versions(seen: Seen) -> tuple[int, ...]:
        return tuple(p._version for p, _ in zip(seen.parameters(), range(3), strict=False))

    # Clearing.

    def _clearing(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        self._clear(self.of(optimizer))

    def _clear(self, seen: Seen) -> None:
        if seen.fresh and seen.fresh_versions == self._versions(seen):  # else weights moved meanwhile: SAM, for one
            if any(self._nonzero(p.grad) for p, _ in zip(seen.parameters(), range(4), strict=False)):
                seen.lost, seen.lost_backward = sites.here(), next(iter(seen.fresh))
        seen.fresh.clear()
        seen.is_stale = False

    def _cleared(self, _: Any, __: Any, optimizer: Optimizer, *___: Any, **____: Any) -> None:
        self.watch.event("clear", self.of(optimizer).facts.number)

    def _clearing_module(self, module: nn.Module, *_: Any, **__: Any) -> list[Seen]:
        ids = {id(p) for p in module.parameters()}
        touched = [seen for seen in self.seen.values() if any(id(p) in ids for p in seen.parameters())]
        for seen in touched:
            self._clear(seen)
        return touched

    def _cleared_module(self, touched: list[Seen] | None, *_: Any, **__: Any) -> None:
        for seen in touched or []:
            self.watch.event("clear", seen.facts.number)

    # Clipping.

    def _clipping(self, parameters: Any, *_: Any, **__: Any) -> None:
        site = sites.here()
        facts = self.clips.get(site)
        if facts is None:
            facts = self.clips[site] = ClipFacts(site)
            self.watch.record.clips.append(facts)
        facts.times += 1
        if isinstance(parameters, Tensor):
            parameters = [parameters]
        exhausted = hasattr(parameters, "gi_frame") and parameters.gi_frame is None
        facts.empty_generator += exhausted
        if hasattr(parameters, "__next__"):  # a generator: looking into it would use it up
            owners = list(self.seen.values())
            facts.of_nothing += exhausted
        else:
            tensors = list(parameters)
            ids = {id(p) for p in tensors}
            facts.of_nothing += not any(p.grad is not None for p in tensors)
            owners = [seen for seen in self.seen.values() if any(id(p) in ids for p in seen.parameters())]
        facts.after_step += bool(owners) and not any(seen.backwards for seen in owners)
        facts.still_scaled += bool(
            self.scaled_backward and owners and not any(id(seen.optimizer()) in self.unscaled for seen in owners)
        )
        self.watch.event("clip", owners[0].facts.number if len(owners) == 1 else -1)

    # Gradient scalers.

    def _enabled(self, scaler: Any) -> bool:
        return bool(scaler.is_enabled()) and (scaler._scale is None or float(scaler._scale) != 1.0)

    def _scaled(self, _: Any, __: Any, scaler: Any, *___: Any, **____: Any) -> None:
        self.scaled_backward = self._enabled(scaler)

    def _unscaled(self, _: Any, __: Any, scaler: Any, optimizer: Any = None, **___: Any) -> None:
        self.unscaled.add(id(optimizer))
        self.watch.event("unscale", self.of(optimizer).facts.number)

    def _scaler_steps(self, scaler: Any, optimizer: Any = None, *_: Any, **__: Any) -> None:
        if optimizer is not None:
            self.of(optimizer).facts.last_values["through_scaler"] = True

    def _updated(self, *_: Any, **__: Any) -> None:
        self.unscaled.clear()
        self.scaled_backward = False

    def conclude(self) -> None:
        """Nothing is left to write down."""
