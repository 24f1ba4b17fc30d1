"""Sees optimizers, and what clears, scales and clips gradients."""

from __future__ import annotations

import itertools
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
from truestep.doctor.parameters import Parameters
from truestep.doctor.record import CallFacts, ClipFacts, Event, OptimizerFacts, Site, Window

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch

WINDOWS = 24  # steps of an optimizer whose events are kept
READ = 50  # steps, up to which gradients are read wherever they matter
MANY = 2_000  # tensors of an optimizer whose norms are taken
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
    looks: bool = True  # whether its next step is looked at closely
    used: list[Used] = field(default_factory=list)
    stale_at: Site | None = None  # where a backward added to gradients that were used already
    is_stale: bool = False
    was_stale: bool = False  # at its last step
    was_lost: bool = False  # likewise, gradients had been cleared
    fresh: Counter[Site | None] = field(default_factory=Counter)  # backwards since the last step or clearing
    fresh_versions: tuple[int, ...] = ()  # of a few parameters, at the last backward
    fresh_values: list[tuple[Tensor, Tensor, Tensor]] = field(
        default_factory=list
    )  # parameter, its value and gradient then
    signature: tuple[tuple[int, int], ...] = ()  # of a few gradients, ahead of a backward
    by_line: Counter[Site | None] = field(
        default_factory=Counter
    )  # backwards that reached it since the last step or clearing
    learnt: list[CallFacts] = field(default_factory=list)  # calls that these backwards went through
    left: tuple[tuple[int, int], ...] = ()  # what tells a few gradients from others, right after a backward
    spent: bool = (
        False  # another optimizer has stepped since then: the backward was its, and what came here a side effect
    )
    clears: int = 0  # since the last step, of gradients that no step had used
    cleared: bool = False  # since the last step
    lost: Site | None = None  # where gradients that no step had used were cleared last
    lost_backward: Site | None = None
    backwards: int = 0  # since the last step, to whatever parameters
    clipped_scaled: bool = False  # likewise, gradients that a scaler had multiplied were clipped as they were
    asked: bool = False  # since the last step, torch.autograd.grad was asked for gradients of its parameters
    before: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # parameters and what they were

    def parameters(self) -> Iterable[Tensor]:
        optimizer = self.optimizer()
        return () if optimizer is None else (p for group in optimizer.param_groups for p in group["params"])

    def first(self, most: int) -> list[Tensor]:
        """Return the first few of its parameters that have a gradient. It is asked at every step, so it is spelled out."""
        optimizer, found = self.optimizer(), []
        for group in optimizer.param_groups if optimizer is not None else ():
            for parameter in group["params"]:
                if parameter.grad is not None:
                    found.append(parameter)
                    if len(found) == most:
                        return found
        return found

    def last(self, most: int) -> list[Tensor]:
        """Return the last few of its parameters that have a gradient, the very last one first."""
        optimizer, found = self.optimizer(), []
        for group in reversed(optimizer.param_groups) if optimizer is not None else ():
            for parameter in reversed(group["params"]):
                if parameter.grad is not None:
                    found.append(parameter)
                    if len(found) == most:
                        return found
        return found


class Steps:
    """The sensor of everything between two updates."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.seen: dict[int, Seen] = {}
        self.clips: dict[Site | None, ClipFacts] = {}
        self.scalers: weakref.WeakSet[Any] = weakref.WeakSet()
        self.scaled_backward = False
        self.in_scaler = False
        self.unscaled: set[int] = set()
        self.keeps_events = False  # whether any optimizer's windows are still being filled: the first steps of each
        self.parameters = Parameters(watch)

    def install(self) -> None:
        watch = self.watch
        self.parameters.install()
        watch.wrap(Optimizer, "add_param_group", after=self._added)
        watch.wrap(Optimizer, "__init__", after=self._made)
        watch.wrap(Optimizer, "zero_grad", before=self._clearing, after=self._cleared)
        watch.wrap(nn.Module, "zero_grad", before=self._clearing_module, after=self._cleared_module)
        watch.at_stop(register_optimizer_step_pre_hook(self._on_pre).remove)
        watch.at_stop(register_optimizer_step_post_hook(self._on_post).remove)
        for name in ("clip_grad_norm_", "clip_grad_value_"):
            original = getattr(nn.utils.clip_grad, name)
            watch.wrap(nn.utils.clip_grad, name, before=self._clipping, after=self._clipped)
            wrapper = getattr(nn.utils.clip_grad, name)
            if getattr(nn.utils, name) is original:
                watch._replace(nn.utils, name, lambda _, wrapper=wrapper: wrapper)
        scaler = torch.amp.GradScaler
        watch.wrap(scaler, "scale", after=self._scaled)
        watch.wrap(scaler, "unscale_", after=self._unscaled)
        watch.wrap(scaler, "step", before=self._scaler_steps, after=self._scaler_stepped)
        watch.wrap(scaler, "update", after=self._updated)

    # Optimizers.

    def of(self, optimizer: Optimizer) -> Seen:
        found = self.seen.get(id(optimizer))
        if found is None or found.optimizer() is not optimizer:
            facts = OptimizerFacts(len(self.watch.record.optimizers), type(optimizer).__name__, None)
            self.watch.record.optimizers.append(facts)
            found = self.seen[id(optimizer)] = Seen(facts, weakref.ref(optimizer))
            self.keeps_events = self.keeps_events or facts.number < 8
        return found

    def _made(self, _: Any, __: Any, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        seen = self.of(optimizer)
        seen.facts.site = seen.facts.site or sites.here()
        parameters = list(seen.parameters())
        seen.facts.parameters = len(parameters)
        self.parameters.owned(parameters, seen.facts.number)

    def _added(self, _: Any, __: Any, optimizer: Optimizer, *___: Any, **____: Any) -> None:
        seen = self.seen.get(id(optimizer))
        if seen is not None and seen.optimizer() is optimizer:  # else it is still being made
            self.parameters.owned(list(seen.parameters()), seen.facts.number)

    def keep(self, event: Event) -> None:
        for seen in list(self.seen.values())[:8]:
            if len(seen.since) < 200 and len(seen.facts.windows) < WINDOWS:
                seen.since.append(event)

    def _on_pre(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        seen = self.seen.get(id(optimizer))
        if (seen is None or seen.looks) and self.watch.watching():
            self.watch.guarded(self._pre, optimizer, args, kwargs)

    def _on_post(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self.watch.watching():
            self.watch.guarded(self._post, optimizer, args, kwargs)
            self.watch.guarded(self.watch.calls.stepped)

    def _pre(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        seen = self.of(optimizer)
        if seen.looks:
            self._norms(seen)
            self.parameters.stepping(seen)
            seen.before = [
                (parameter, parameter.detach().clone())
                for parameter, _ in zip((p for p in seen.parameters() if p.numel() <= SMALL), range(6), strict=False)
            ]

    @staticmethod
    def _norms(seen: Seen) -> None:
        """Note how large the gradients are that a step is about to apply, and their weights."""
        own = [p for p in seen.parameters() if p.grad is not None and p.is_floating_point()]
        if own and len(own) <= MANY:
            norms = norm_of([p.grad for p in own if p.grad is not None]), norm_of(own)
            seen.facts.gradient_norms.append((seen.facts.steps + 1, *norms))

    def _post(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        watch, seen = self.watch, self.of(optimizer)
        facts, site = seen.facts, sites.here()
        facts.steps += 1
        if facts.first_step < 0:
            facts.first_step = watch.record.steps
            facts.has_state = bool(optimizer.state) and any(
                isinstance(value, Tensor) and value.ndim
                for state in optimizer.state.values()
                for value in state.values()
            )
        watch.record.steps += 1
        watch.loaders.stepped()
        facts.step_sites[site] += 1
        facts.inside_backward += watch.losses.inside
        for other in self.seen.values():
            other.spent = other.spent or other is not seen
        facts.closures += any(callable(value) for value in (*args[1:], *kwargs.values()))
        event = watch.event("step", facts.number)
        if len(facts.windows) < WINDOWS:
            facts.windows.append(Window([*seen.since], facts.steps == 1))
            self.keeps_events = any(len(one.windows) < WINDOWS for one in watch.record.optimizers[:8])
        seen.since = []

        with_gradients = seen.first(3)
        facts.without_gradients += not with_gradients
        facts.differentiated += seen.asked and not with_gradients
        facts.after_backward += bool(seen.backwards)
        seen.was_stale, seen.was_lost = seen.is_stale, seen.lost is not None
        if seen.is_stale and any(one.gradient() is not None and self._grew(one) for one in seen.used):
            facts.stale += 1
            facts.stale_sites[seen.stale_at] += 1
        if seen.lost is not None and not any(self._nonzero(p.grad) for p in seen.parameters()):
            facts.cleared_after_backward += 1
            facts.clear_sites[seen.lost] += 1
        elif seen.lost is not None and seen.lost_backward in seen.fresh and self._is_last_only(seen):
            facts.zeroed += 1
            facts.zeroed_backwards += seen.clears
            facts.zeroed_sites[seen.lost] += 1
        elif seen.fresh and not with_gradients:
            facts.vanished += 1
        facts.micro_batches[max(seen.by_line.values(), default=0)] += 1
        if (
            self.scaled_backward
            and not self.in_scaler
            and id(optimizer) not in self.unscaled
            and (seen.clipped_scaled or self._is_untouched(seen))
        ):
            facts.scaled += 1
        facts.through_scaler += self.in_scaler
        seen.is_stale, seen.stale_at, seen.lost, seen.lost_backward, seen.backwards = False, None, None, None, 0
        seen.clears, seen.cleared, seen.asked, seen.clipped_scaled = 0, False, False, False
        still = [call for call in seen.learnt if not call.training]
        if still and len(still) < len(seen.learnt):
            for call in {id(call): call for call in still}.values():
                call.mixed_in += 1
        seen.learnt.clear()
        seen.by_line.clear()
        seen.fresh.clear()
        seen.used = [
            Used(weakref.ref(p), weakref.ref(gradient), gradient._version)
            for p in {id(p): p for p in (*with_gradients[:2], *seen.last(2))}.values()
            if (gradient := p.grad) is not None
        ]
        rate = optimizer.param_groups[0].get("lr") if optimizer.param_groups else None
        known = facts.learning_rates[-1][1] if facts.learning_rates else None
        if isinstance(rate, int | float) and rate != known and len(facts.learning_rates) < 20_000:
            facts.learning_rates.append((facts.steps, float(rate)))
        if seen.looks:
            self._compare(seen)
            self.parameters.stepped(seen)
        seen.fresh_values = []
        if event is not None:
            event.facts["empty"] = not with_gradients
        watch.stepped()
        seen.looks = watch.looks(facts.steps + 1)

    @staticmethod
    def _is_last_only(seen: Seen) -> bool:
        """Whether the gradients of a step are those of the last backward alone, but for a factor.

        Gradients that were collected elsewhere meanwhile, as of single examples or tasks, are not.
        """
        if max(seen.by_line.values(), default=0) > 1:
            return False
        for parameter, _, gradient in seen.fresh_values:
            now = parameter.grad
            if now is None or now.shape != gradient.shape:
                return False
            a, b = now.detach().double().flatten(), gradient.double().flatten()
            if float(a @ b) < 0.9999 * float(a.norm() * b.norm()):
                return False
        return bool(seen.fresh_values)

    @staticmethod
    def _is_untouched(seen: Seen) -> bool:
        """Whether gradients are what the last backward left; known of looked-at steps."""
        return bool(seen.fresh_values) and all(
            p.grad is not None and p.grad.shape == gradient.shape and _same(p.grad.detach(), gradient)
            for p, _, gradient in seen.fresh_values
        )

    def _compare(self, seen: Seen) -> None:
        facts, before = seen.facts, seen.before
        seen.before = []
        facts.looked_at += 1
        grads = [p.grad for p in seen.parameters() if p.grad is not None]
        if grads and not any(self._nonzero(grad) for grad in grads):
            facts.with_zero_gradients += 1
        ratios: list[float] = []
        counted = same = 0
        for parameter, value in before:
            if parameter.shape != value.shape or not value.is_floating_point():
                continue
            change = (parameter.detach() - value).float().norm()
            if parameter.grad is not None and self._nonzero(parameter.grad):
                if value.dtype in (torch.bfloat16, torch.float16) and not parameter.grad.is_sparse:
                    asked = parameter.grad.detach() != 0
                    counted += int(asked.sum())
                    same += int((asked & (parameter.detach() == value)).sum())
                if value.numel() > 1 and float(value.float().norm()) > 0:
                    ratios.append(float(change / value.float().norm()))
        if counted and (not facts.learning_rates or facts.learning_rates[-1][1] > 0):
            facts.unchanged.append(same / counted)
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

    def differentiated(self, inputs: Any) -> None:
        """Note whose gradients `torch.autograd.grad` was asked for, of optimizers that have never had any to apply."""
        idle = [seen for seen in self.seen.values() if seen.facts.without_gradients == seen.facts.steps < READ]
        if idle:
            asked = set(map(id, listed_tensors(inputs) or ()))
            for seen in idle:
                seen.asked = seen.asked or any(id(p) in asked for p in itertools.islice(seen.parameters(), MANY))

    # What the sensor of losses tells.

    def before_backward(self, *, looks: bool) -> list[tuple[Seen, Used]]:
        """Return the gradients that a step has used and nobody has cleared since.

        Whether they are zero has to be read, which makes a device wait: once it is known to be so at many steps, it is taken for
        so where nobody looks.
        """
        for seen in self.seen.values():
            seen.signature = self._signature(seen)
            if seen.signature != seen.left:  # someone changed or cleared them
                seen.learnt.clear()
        return [
            (seen, one)
            for seen in self.seen.values()
            if not seen.is_stale
            for one in seen.used
            if (gradient := one.unchanged()) is not None
            and (self._nonzero(gradient) if looks or seen.facts.steps <= READ else seen.was_stale)
        ]

    def after_backward(self, site: Site | None, used: list[tuple[Seen, Used]]) -> None:
        for seen, one in used:
            if self._grew(one):
                seen.is_stale, seen.stale_at = True, site
        for seen in self.seen.values():
            seen.backwards += 1
            signature = seen.left = self._signature(seen)
            if signature and signature != seen.signature:
                seen.fresh[site] += 1
                seen.spent = False
                seen.by_line[site] += 1
                if len(seen.learnt) < 1_000:
                    seen.learnt.extend(call.facts for call in self.watch.calls.reached_last)
                seen.facts.backward_sites[site] += 1
                if seen.looks:
                    seen.fresh_values = [
                        (p, p.detach().clone(), p.grad.detach().clone())
                        for p, _ in zip((p for p in seen.parameters() if worth_comparing(p)), range(2), strict=False)
                        if p.grad is not None
                    ]
            seen.fresh_versions = self._versions(seen)

    @staticmethod
    def _signature(seen: Seen) -> tuple[tuple[int, int], ...]:
        """Return what tells a few gradients from what they are after another backward."""
        found: list[tuple[int, int]] = []
        for parameter in seen.first(3):
            gradient = parameter.grad
            if gradient is not None:
                found.append((id(gradient), gradient._version))
        return tuple(found)

    @staticmethod
    def _versions(seen: Seen) -> tuple[int, ...]:
        optimizer = seen.optimizer()
        if optimizer is None or not optimizer.param_groups:
            return ()
        return tuple([p._version for p in optimizer.param_groups[0]["params"][:3]])

    # Clearing.

    def _clearing(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        self._clear(self.of(optimizer))

    def _clear(self, seen: Seen) -> None:
        facts, watch = seen.facts, self.watch
        reads = facts.clears < READ or watch.looks(facts.clears + 1)
        # If weights moved since the backward, its gradients were used by hand: sharpness-aware minimisation, for one.
        moved = seen.fresh_versions != self._versions(seen) or any(
            not torch.equal(p, v) for p, v, _ in seen.fresh_values
        )
        few = (p.grad for p in itertools.islice(seen.parameters(), 4))
        if seen.fresh and not moved and not seen.spent and (any(map(self._nonzero, few)) if reads else seen.was_lost):
            seen.lost, seen.lost_backward = sites.here(), next(iter(seen.fresh))
            seen.clears += 1
        facts.clears += 1
        seen.cleared = True
        if seen.by_line:
            facts.dropped[max(seen.by_line.values())] += 1
        seen.by_line.clear()
        seen.learnt.clear()
        seen.fresh.clear()
        seen.is_stale = False

    def _cleared(self, _: Any, __: Any, optimizer: Optimizer, *___: Any, **____: Any) -> None:
        self.watch.event("clear", self.of(optimizer).facts.number)

    def _clearing_module(self, module: nn.Module, *_: Any, **__: Any) -> list[Seen]:
        ids = {id(p) for p in module.parameters()}
        touched = [seen for seen in self.seen.values() if any(id(p) in ids for p in seen.parameters())]
        for seen in touched:
            left = [one for one in seen.used if (p := one.parameter()) is not None and id(p) not in ids]
            stale = seen.is_stale
            self._clear(seen)
            if left:  # a part of its parameters was cleared, and not these
                seen.used, seen.is_stale = left, stale
        return touched

    def _cleared_module(self, touched: list[Seen] | None, *_: Any, **__: Any) -> None:
        for seen in touched or []:
            self.watch.event("clear", seen.facts.number)

    # Clipping.

    def _clipping(self, parameters: Any, *args: Any, **kwargs: Any) -> ClipFacts | None:
        most = next((v for v in (*args, *kwargs.values()) if isinstance(v, int | float)), 1.0)
        if most > 1e5:  # nothing is clipped: the norm is being measured
            return None
        site = sites.here()
        facts = self.clips.get(site)
        if facts is None:
            facts = self.clips[site] = ClipFacts(site)
            self.watch.record.clips.append(facts)
        facts.calls += 1
        if facts.calls > 20 and not self.watch.looks(facts.calls):
            self.watch.event("clip", facts.optimizer)
            return None
        facts.times += 1
        tensors = listed_tensors(parameters)
        owners = [seen for seen in self.seen.values() if tensors is None or self._has_one_of(seen, tensors)]
        came = any(seen.backwards for seen in owners or self.seen.values())
        if tensors is not None and came and not any(p.grad is not None for p in tensors):
            facts.of_nothing += 1
        facts.exhausted += getattr(parameters, "gi_frame", self) is None
        if owners and not came:
            forward = bool(self.watch.calls.waiting()[0])  # a call whose backward is still to come
            if forward or any(seen.cleared or not seen.facts.steps for seen in owners):
                facts.before_backward += 1
            else:
                facts.after_step += 1
        if self.scaled_backward and came and owners:
            scaled = not any(id(seen.optimizer()) in self.unscaled for seen in owners)
            facts.still_scaled += scaled
            for seen in owners:
                untouched = self._is_untouched(seen)
                facts.changed += bool(seen.fresh_values) and not untouched
                seen.clipped_scaled = scaled and untouched
        facts.optimizer = owners[0].facts.number if len(owners) == 1 else -1
        self.watch.event("clip", facts.optimizer)
        return facts

    @staticmethod
    def _has_one_of(seen: Seen, tensors: list[Tensor]) -> bool:
        ids = {id(p) for p in tensors}
        return any(id(p) in ids for p in seen.parameters())

    def _clipped(self, facts: ClipFacts | None, norm: Any, parameters: Any, *_: Any, **__: Any) -> None:
        """Catch what was used up and has no frame to tell, as a filter: the norm of nothing is 0."""
        unknown = hasattr(parameters, "__next__") and not hasattr(parameters, "gi_frame")
        if facts is None or not unknown:
            return
        if not isinstance(norm, Tensor) or float(norm) != 0:
            return
        if any(seen.backwards and any(self._nonzero(p.grad) for p in seen.parameters()) for seen in self.seen.values()):
            facts.of_nothing += 1
            facts.exhausted += 1

    # Gradient scalers.

    def _scaled(self, _: Any, __: Any, scaler: Any, *___: Any, **____: Any) -> None:
        self.scaled_backward = (
            bool(scaler.is_enabled()) and scaler._init_scale != 1.0
        )  # the scale itself is on the device

    def _unscaled(self, _: Any, __: Any, scaler: Any, optimizer: Any = None, **___: Any) -> None:
        self.unscaled.add(id(optimizer))
        if isinstance(optimizer, Optimizer):
            self.watch.event("unscale", self.of(optimizer).facts.number)

    def _scaler_steps(self, *_: Any, **__: Any) -> None:
        self.in_scaler = True

    def _scaler_stepped(self, *_: Any, **__: Any) -> None:
        self.in_scaler = False

    def _updated(self, *_: Any, **__: Any) -> None:
        self.unscaled.clear()
        self.scaled_backward = self.in_scaler = False

    def conclude(self) -> None:
        """Write down what is left of a last window, and whose parameters are whose."""
        for seen in self.seen.values():
            seen.facts.left_over = max(seen.by_line.values(), default=0)
        self.parameters.conclude()


def norm_of(tensors: list[Tensor]) -> float:
    norms = [(t._values() if t.is_sparse else t).detach().float().norm().cpu() for t in tensors]
    return float(torch.stack(norms).norm())


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, where they are no numbers too."""
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())


def worth_comparing(parameter: Tensor) -> bool:
    gradient = parameter.grad
    return (
        gradient is not None and not gradient.is_sparse and parameter.numel() <= SMALL and parameter.is_floating_point()
    )


def listed_tensors(parameters: Any) -> list[Tensor] | None:
    """Return the tensors that a function was given; None where looking would use them up."""
    if isinstance(parameters, Tensor):
        return [parameters]
    if not hasattr(parameters, "__next__"):
        return [p for p in parameters if isinstance(p, Tensor)]
    frame = getattr(parameters, "gi_frame", parameters)
    if frame is None:
        return []  # used up
    if frame is parameters or frame.f_code.co_name != "parameters":
        return None
    module = frame.f_locals.get("self")
    return list(module.parameters()) if isinstance(module, nn.Module) else None
