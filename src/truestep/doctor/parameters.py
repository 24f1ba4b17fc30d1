"""Sees parameters: which losses reach them, whose they are, and whether anything ever moves them.

It looks where the sensors of losses and optimizers look closely, and writes down what would be lost at the end: by then
a model that lived in a function is gone.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from truestep.doctor import sites, source
from truestep.doctor.record import HiddenIn, LossFacts, ParameterFacts, Site

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch
    from truestep.doctor.steps import Seen

MANY = 4_000  # parameters that are kept in mind
SAMPLE = 64  # numbers of a parameter that are compared
NOTED = 12  # backwards, before which calls of modules are noted
IDLE = 3  # looked-at steps without a gradient, after which one asks who holds a parameter


class Entry:
    """What is known of one parameter while it lives."""

    def __init__(self, tensor: Tensor, facts: ParameterFacts) -> None:
        self.tensor, self.facts = weakref.ref(tensor), facts
        self.sample = sample(tensor)
        self.left: tuple[int, Tensor] | None = None  # steps of an optimizer, and what the last of them left


class Parameters:
    """The sensor of parameters; those of losses, optimizers and weights being loaded tell it where to look."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.entries: dict[int, Entry] = {}
        self.loaded_ids: dict[int, weakref.ref[Tensor]] = {}
        self.noting = True  # whether calls of modules are being noted
        self.searched = 0
        self.scanned: set[int] = set()

    def install(self) -> None:
        self.watch.wrap(nn.Parameter, "__deepcopy__", after=self._copied)

    def entry(self, tensor: Tensor) -> Entry | None:
        found = self.entries.get(id(tensor))
        if found is None or found.tensor() is not tensor:
            if len(self.watch.record.parameters) >= MANY:
                return None
            facts = ParameterFacts(tuple(tensor.shape), tensor.numel(), isinstance(tensor, nn.Parameter))
            facts.loaded = self._is_loaded(tensor)
            self.watch.record.parameters.append(facts)
            found = self.entries[id(tensor)] = Entry(tensor, facts)
        return found

    # What others tell.

    def owned(self, tensors: list[Tensor], optimizer: int) -> None:
        for tensor in tensors:
            entry = self.entry(tensor)
            if entry is not None:
                entry.facts.optimizers.add(optimizer)

    def loaded(self, tensors: Any) -> None:
        """Take note that some parameters were given weights from elsewhere."""
        for tensor in tensors:
            self.loaded_ids[id(tensor)] = weakref.ref(tensor)
            entry = self.entries.get(id(tensor))
            if entry is not None and entry.tensor() is tensor:
                entry.facts.loaded = True

    def _is_loaded(self, tensor: Tensor) -> bool:
        reference = self.loaded_ids.get(id(tensor))
        return reference is not None and reference() is tensor

    def _copied(self, _: Any, copy: Any, parameter: Any, *__: Any, **___: Any) -> None:
        """A copy of weights that were trained or loaded counts as loaded."""
        entry = self.entries.get(id(parameter))
        trained = entry is not None and entry.tensor() is parameter and (entry.facts.reached or entry.facts.loaded)
        if isinstance(copy, Tensor) and (trained or self._is_loaded(parameter)):
            self.loaded([copy])

    def called(self, module: nn.Module) -> None:
        """Note the call of a module, of those that are parts too."""
        gradients, lines = torch.is_grad_enabled(), sites.stack(3)
        for parameter in module._parameters.values():
            entry = self.entry(parameter) if parameter is not None else None
            if entry is not None:
                facts = entry.facts
                facts.called += 1
                facts.called_without_gradients += not gradients
                if not facts.call_sites:
                    facts.call_sites = lines
                if gradients and not facts.gradient_sites:
                    facts.gradient_sites = lines

    def reached(self, loss: LossFacts, leaves: list[Tensor]) -> None:
        """Look at all parameters, ahead of a backward that reaches some leaves."""
        self.noting = self.watch.record.backwards < NOTED
        places, ids = self._places(), set(map(id, leaves))
        loss.parameters_reached.append(sum(isinstance(leaf, nn.Parameter) or self._has_owner(leaf) for leaf in leaves))
        unplaced: list[Entry] = []
        for leaf in leaves:
            entry = self.entry(leaf)
            if entry is None:
                continue
            entry.facts.reached += 1
            entry.facts.losses.add(loss.number)
            entry.facts.moved = entry.facts.moved or self._moved(entry, leaf)
            if id(leaf) not in places:
                unplaced.append(entry)
        for parameter, number, name, part in places.values():
            entry = self.entry(parameter)
            if entry is None:
                continue
            facts = entry.facts
            facts.model, facts.name, facts.part = number, name, type(part).__name__
            facts.foreign = facts.foreign or foreign(part)
            facts.looks += 1
            facts.evaluating += not part.training
            facts.reached_evaluating += not part.training and id(parameter) in ids
            facts.unfrozen = facts.unfrozen or bool(facts.frozen and parameter.requires_grad)
            if parameter.requires_grad:
                facts.frozen_since = -1
                continue
            if not facts.frozen:
                facts.fresh = fresh(part, parameter)
            if facts.frozen_since < 0:
                facts.frozen_since = self.watch.record.steps
            facts.frozen += 1
        if any(not entry.facts.optimizers and entry.facts.hidden is None for entry in unplaced) and self.searched < 12:
            self.searched += 1
            self._search({id(entry.tensor()): entry for entry in unplaced})

    def _has_owner(self, leaf: Tensor) -> bool:
        entry = self.entries.get(id(leaf))
        return entry is not None and entry.tensor() is leaf and bool(entry.facts.optimizers)

    @staticmethod
    def _moved(entry: Entry, tensor: Tensor) -> bool:
        now = sample(tensor)
        return now.shape != entry.sample.shape or not torch.equal(now, entry.sample)

    def stepped(self, seen: Seen) -> None:
        """Look at the parameters of an optimizer, right after its step."""
        places: dict[int, Any] | None = None
        for tensor in list(seen.parameters()):
            entry = self.entry(tensor)
            if entry is None:
                continue
            facts = entry.facts
            facts.optimizers.add(seen.facts.number)
            facts.steps_looked_at += 1
            facts.moved = facts.moved or self._moved(entry, tensor)
            entry.left = seen.facts.steps, sample(tensor)
            gradient = tensor.grad
            if gradient is not None and bool((gradient._values() if gradient.is_sparse else gradient).any()):
                facts.gradients += 1
                facts.idle = 0
                continue
            facts.idle += 1
            if facts.idle == IDLE and tensor.requires_grad:
                places = self._places() if places is None else places
                facts.orphan = id(tensor) not in places and not in_a_module(tensor)

    def stepping(self, seen: Seen) -> None:
        """See which parameters were drawn towards others since the last step, as a running average is."""
        own = list(seen.parameters())
        for tensor in own:
            entry = self.entries.get(id(tensor))
            if entry is None or entry.left is None or entry.left[0] != seen.facts.steps or entry.facts.drawn > 20:
                continue
            left, now = entry.left[1], sample(tensor)
            if left.numel() < 8 or left.shape != now.shape or not left.is_floating_point() or torch.equal(left, now):
                continue
            way = (now - left).double()
            others = (sample(one) for one in own if one is not tensor and one.shape == tensor.shape)
            entry.facts.drawn += any(_along(way, (other - left).double()) for other in others)

    # Where parameters are.

    def _places(self) -> dict[int, tuple[Tensor, int, str, nn.Module]]:
        found: dict[int, tuple[Tensor, int, str, nn.Module]] = {}
        for known in list(self.watch.calls.known.values()):
            root = known.module()
            if root is None:
                continue
            for prefix, part in root.named_modules():
                if vars(part).get("requires_grad") is True and prefix not in known.facts.flagged:
                    known.facts.flagged.append(prefix)
                for name, parameter in part._parameters.items():
                    if parameter is not None:
                        place = (parameter, known.facts.number, f"{prefix}.{name}" if prefix else name, part)
                        if id(parameter) not in found or len(found[id(parameter)][2]) < len(place[2]):
                            found[id(parameter)] = place
            if id(root) not in self.scanned:
                self.scanned.add(id(root))
                known.facts.shared.extend(shared_layers(root))
        return found

    def _search(self, wanted: dict[int, Entry]) -> None:
        """Look for parameters in plain lists, dicts and objects that parts of a model hold."""
        for known in list(self.watch.calls.known.values()):
            root = known.module()
            for part in list(root.modules()) if root is not None else ():
                for attribute, value in list(vars(part).items()):
                    if attribute in ("_modules", "_parameters", "_buffers"):
                        continue
                    for tensor in held_by(value):
                        entry = wanted.get(id(tensor))
                        if entry is not None and entry.tensor() is tensor:
                            site = source.assigned(type(part), attribute)
                            kind = type(value).__name__
                            entry.facts.hidden = HiddenIn(
                                known.facts.number, type(part).__name__, attribute, kind, site
                            )

    def conclude(self) -> None:
        """Ask once more who owns what lives still."""
        for seen in list(self.watch.steps.seen.values()):
            for tensor in seen.parameters():
                entry = self.entries.get(id(tensor))
                if entry is not None and entry.tensor() is tensor:
                    entry.facts.optimizers.add(seen.facts.number)
        for entry in self.entries.values():
            tensor = entry.tensor()
            if tensor is not None and not entry.facts.moved:
                entry.facts.moved = self._moved(entry, tensor)


def sample(tensor: Tensor) -> Tensor:
    """Return a few of a tensor's numbers, copied."""
    if tensor.device.type == "meta" or tensor.is_sparse:
        return torch.empty(0)
    flat = tensor.detach()
    flat = flat.view(-1) if flat.is_contiguous() else flat[:4].reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLE)][:SAMPLE].clone()


def _along(way: Tensor, whole: Tensor) -> bool:
    """Whether a way goes straight along another one, but not to its end: that would be a copy."""
    both = float(way.norm() * whole.norm())
    return both > 0 and float(way @ whole) > 0.999 * both and float(way.norm()) < 0.99 * float(whole.norm())


def fresh(part: nn.Module, weight: Tensor) -> bool:
    """Whether a layer's weight is spread just as PyTorch makes it: evenly, out to one over the root of its inputs."""
    if not isinstance(part, nn.Linear | nn.modules.conv._ConvNd) or weight is not part.weight or weight.numel() < 64:
        return False
    bound = (weight.numel() / weight.shape[0]) ** -0.5
    values = weight.detach().float()
    return bool(values.abs().max() <= 1.0001 * bound) and abs(float(values.std()) * 3**0.5 / bound - 1) < 0.15


def foreign(part: nn.Module) -> bool:
    """Whether a module's class comes from an installed library other than torch."""
    name = type(part).__module__
    if name.split(".")[0] in ("torch", "__main__", "builtins"):
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and not sites.is_users(file)


def in_a_module(tensor: Tensor) -> bool:
    """Whether any module holds a parameter. Walks all objects of the process, so it is asked rarely."""
    return any(
        isinstance(holder, dict)
        and any(value is tensor for value in holder.values())
        and all(isinstance(key, str) and (value is None or isinstance(value, Tensor)) for key, value in holder.items())
        for holder in gc.get_referrers(tensor)
    )


def held_by(value: Any, depth: int = 0) -> list[Tensor]:
    """Return the parameters in a nest of lists, dicts and objects; a module's by itself are registered."""
    if isinstance(value, Tensor):
        return [value] if value.is_leaf and value.requires_grad else []
    if isinstance(value, nn.Module):
        return list(value.parameters()) if depth else []
    if depth > 3 or isinstance(value, str | bytes | int | float | type) or callable(value):
        return []
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        return [tensor for part in list(value)[:1000] for tensor in held_by(part, depth + 1)]
    inner = getattr(value, "__dict__", None)
    if isinstance(inner, dict) and sites.is_users(_file_of(type(value))):
        return [tensor for part in list(inner.values())[:50] for tensor in held_by(part, depth + 1)]
    return []


def _file_of(kind: type) -> str:
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or "<unknown>"


def shared_layers(root: nn.Module) -> list[tuple[str, str, int, Site | None]]:
    """Return the layers that a container holds several times: (name, class, times, line of the assignment)."""
    found: list[tuple[str, str, int, Site | None]] = []
    names = {id(part): name for name, part in root.named_modules()}
    holders = {
        id(child): (type(part), attribute) for part in root.modules() for attribute, child in part._modules.items()
    }
    for part in root.modules():
        if not isinstance(part, nn.ModuleList | nn.Sequential):
            continue
        children = [*part]
        for child in dict.fromkeys(children):
            times = sum(one is child for one in children)
            if times > 1 and any(True for _ in child.parameters()):
                holder = holders.get(id(part))
                site = source.assigned(*holder) if holder else None
                found.append((names.get(id(part), ""), type(child).__name__, times, site))
    return found
