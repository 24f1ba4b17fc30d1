"""Sees calls of models: in which mode, with or without gradients, and whether a backward follows."""

from __future__ import annotations

import inspect
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from truestep.doctor import sites
from truestep.doctor.graph import MARK, Text
from truestep.doctor.probes import AT_CALL, Probes, tensors_in
from truestep.doctor.record import CallFacts, LossFacts, LossOp, ModelFacts, Site

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch

KEPT = 64  # models that are compared with a new one
ANSWERS = 60  # calls of a model whose outputs are kept until their backward
NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
ROWS = (  # what treats each row of a batch alone
    *(nn.Linear, nn.Identity, nn.Flatten, nn.LayerNorm, nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase),
    *(nn.ReLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Softmax),
)
DROPOUTS = (nn.modules.dropout._DropoutNd,)


class Given:
    """A tensor that a model was given, or the same part of the same one."""

    __slots__ = ("base", "place", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        base = tensor._base
        self.tensor, self.base = weakref.ref(tensor), weakref.ref(base) if base is not None else None
        self.place = (tensor.storage_offset(), tensor.shape) if base is not None else None

    def same(self, tensor: Tensor) -> bool:
        if self.tensor() is tensor:
            return True
        base = tensor._base
        if self.base is None or base is None or self.base() is not base:
            return False
        return self.place == (tensor.storage_offset(), tensor.shape)


class Known:
    """What is known of one model while it lives."""

    def __init__(self, module: nn.Module, facts: ModelFacts) -> None:
        self.module, self.facts = weakref.ref(module), facts
        self.restless = [(name, weakref.ref(part)) for name, part in module.named_modules() if restless(part)]
        self.by_key: dict[tuple[Any, ...], CallFacts] = {}
        self.padding = tuple(
            {
                part.padding_idx
                for part in module.modules()
                if isinstance(part, nn.Embedding) and part.padding_idx is not None
            }
        )
        self.around: list[Known] = []  # models that it is a part of
        self.next_place: int | None = None  # of the input whose tokens are the targets
        self.evaluated = 0  # calls that nothing was learnt from, since it was last set to evaluation mode
        self.last_inputs: Given | None = None
        self.held: Tensor | None = None  # the same, until a backward, where looking at it costs no waiting
        self.answer: Tensor | None = None  # its output, likewise, of the first calls
        self.trained_inputs: Given | None = None
        self.again = self.of_training = (
            False  # whether the call going on is on the tensor of the one before, or a trained one
        )

    def nothing_learnt(self, facts: CallFacts, *, again: bool, of_training: bool) -> None:
        facts.untrained += 1
        facts.repeated += again
        facts.on_trained_inputs += of_training
        for one in (self, *self.around):
            one.evaluated += not facts.training

    def active(self) -> list[str]:
        """Return the names of the parts that act as in training now."""
        found: list[str] = []
        for name, reference in self.restless:
            part = reference()
            if part is not None and part.training:
                found.append(f"{name} ({type(part).__name__})" if name else type(part).__name__)
        return found


class Call:
    """One call with gradients. It lies in the graph of its outputs, and dies with that."""

    __slots__ = ("__weakref__", "again", "facts", "known", "of_training", "reached")

    def __init__(self, known: Known, facts: CallFacts) -> None:
        self.known, self.facts, self.reached = known, facts, False
        self.again, self.of_training = known.again, known.of_training

    def __del__(self) -> None:
        if not self.reached:
            self.known.nothing_learnt(self.facts, again=self.again, of_training=self.of_training)


Waiting = tuple[list[Call], tuple[Any, ...]]  # calls that no backward went through yet, and how they follow one another


class Calls:
    """The sensor of model calls."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.known: dict[int, Known] = {}
        self.roots: dict[
            int, tuple[weakref.ref[nn.Module], Known]
        ] = {}  # of what is called: models, and what wraps them
        self.inside = 0
        self.entering: tuple[CallFacts, Tensor] | None = None  # a call, until its first layer is given something
        self.pending: list[weakref.ref[Call]] = []  # calls with gradients that no backward went through yet
        self.patterns: dict[
            tuple[Any, ...], tuple[bool, ...]
        ] = {}  # of pending calls: which of them a backward reached
        self.reached_last: list[Call] = []  # by the last backward
        self.extra_looks = 0
        self.described = (0, 0)
        self.made: weakref.WeakKeyDictionary[nn.Module, Site] = weakref.WeakKeyDictionary()  # losses
        self.last_texts: dict[
            int, list[Text]
        ] = {}  # that models were given last, with gradients, by the model's number
        self.row: tuple[int, int] = (-1, 0)  # of calls one after another without a backward
        self.probes = Probes(watch)

    def install(self) -> None:
        original = nn.Module.__call__
        calls, watch, parameters = self, self.watch, self.watch.steps.parameters

        def __call__(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if is_compiling():
                return original(module, *args, **kwargs)
            noting = parameters.noting
            if (calls.inside and not noting) or not watch.watching():
                return original(module, *args, **kwargs)
            if noting:
                watch.guarded(parameters.called, module)
            if id(module) not in calls.roots:
                if isinstance(module, nn.modules.loss._Loss):
                    if watch.record.backwards < 3:
                        watch.guarded(calls.criterion, module)
                    return original(module, *args, **kwargs)
                if not is_model(module):
                    return original(module, *args, **kwargs)
            if calls.inside:
                if calls.entering is not None and module._parameters:
                    watch.guarded(calls.entered, args)
                return original(module, *args, **kwargs)
            calls.inside = 1
            try:
                said = watch.guarded(calls.before, module, args, kwargs)
                outputs = original(module, *args, **kwargs)
            finally:
                calls.inside, calls.entering = 0, None
            watch.guarded(calls.after, said, module, args, kwargs, outputs)
            return outputs

        watch._replace(nn.Module, "__call__", lambda _: __call__)
        watch.wrap(nn.modules.loss._Loss, "__init__", after=self._criterion_made)
        watch.wrap(nn.Module, "train", after=self._mode)
        watch.wrap(nn.Module, "eval", after=self._evaluation_mode)
        watch.wrap(torch.autograd, "grad", before=self._differentiated)

    def _criterion_made(self, _: Any, __: Any, module: nn.Module, *___: Any, **____: Any) -> None:
        site = sites.here()
        if site is not None:
            self.made[module] = site

    def criterion(self, module: nn.Module) -> None:
        site, made = sites.here(), self.made.get(module)
        if site is not None and made is not None:
            self.watch.record.criteria[site] = made

    def of(self, module: nn.Module) -> Known:
        root = self.roots.get(id(module))
        if root is not None and root[0]() is module:
            return root[1]
        outer, module = module, unwrapped(module)
        found = self.known.get(id(module))
        if found is None or found.module() is not module:
            record = self.watch.record
            facts = ModelFacts(len(record.models), type(module).__name__, sum(1 for _ in module.parameters()))
            record.models.append(facts)
            found = self.known[id(module)] = Known(module, facts)
            self._place(found)
            facts.restless = [name for name, _ in found.restless]
            facts.ordered = any(
                next(part.children(), None) is None and not isinstance(part, ROWS) for part in module.modules()
            )
            self._weights(module, facts)
        self.roots[id(outer)] = weakref.ref(outer), found
        return found

    def _place(self, new: Known) -> None:
        """Note which models a new one is a part of, and which are parts of it: parts may be called by themselves."""
        inner = set(map(id, new.module().modules())) if new.module() is not None else set()  # pyright: ignore[reportOptionalMemberAccess]
        for one in list(self.known.values())[:KEPT]:
            module = one.module()
            if one is new or module is None:
                continue
            if id(module) in inner:
                one.around.append(new)
                new.evaluated += one.evaluated
            elif any(part is new.module() for part in module.modules()):
                new.around.append(one)

    @staticmethod
    def _weights(module: nn.Module, facts: ModelFacts) -> None:
        """Note weight matrices that make all units of a layer alike."""
        learnt = [
            (name, p) for name, p in module.named_parameters() if p.requires_grad and p.ndim > 1 and p.numel() > 1
        ]
        even = [name for name, p in learnt if p.numel() <= 10_000_000 and bool((p == p.flatten()[0]).all())]
        # Units of a hidden layer stay alike; those of an output get gradients of their own.
        hidden = {p.shape[0] for _, p in learnt} & {p.shape[1] for _, p in learnt}
        hidden = bool(hidden) or any(isinstance(part, nn.RNNBase) for part in module.modules())
        if hidden and len(even) == len(learnt) >= 2 and any(bool(p.any()) for _, p in learnt):
            facts.even = even
        for name, part in module.named_modules():
            weight = getattr(part, "weight", None)
            if isinstance(part, nn.Linear | nn.modules.conv._ConvNd) and isinstance(weight, nn.Parameter):
                if not weight.requires_grad or weight.shape[0] < 2 or not 1 < weight.numel() <= 10_000_000:
                    continue
                facts.matrices += 1
                if bool((weight == weight[:1]).all()):
                    (facts.alike if bool(weight.any()) else facts.zero).append(name or type(part).__name__)

    def before(self, module: nn.Module, args: Any, kwargs: Any) -> tuple[Known, CallFacts]:
        known, watch = self.of(module), self.watch
        training, gradients, lines = (known.module() or module).training, torch.is_grad_enabled(), sites.stack(2)
        place = watch.loaders.current
        key = (*lines, training, gradients, place if len(known.by_key) < 200 else -1)
        facts = known.by_key.get(key)
        if facts is None:
            facts = known.by_key[key] = CallFacts(
                lines[0] if lines else None, training, gradients, first_step=watch.record.steps, stack=sites.stack()
            )
            known.facts.calls.append(facts)
        if gradients and watch.record.backwards < watch.losses.traced:
            watch.losses.trace(on=True)
        facts.times += 1
        facts.last_step = watch.record.steps
        if facts.times <= 50 or facts.times % 20 == 0:
            active = known.active()
            if active and len(facts.restless) < len(active):
                facts.restless = active
        facts.passes[place] += 1
        inputs = [args[0]] if len(args) == 1 and not kwargs and type(args[0]) is Tensor else tensors_in((args, kwargs))
        if inputs and inputs[0].ndim:
            size = inputs[0].shape[0]
            if size not in facts.batch_sizes:
                watch.wake()
            facts.batch_sizes[size] += 1
            last, trained = known.last_inputs, known.trained_inputs
            known.again = last is not None and last.same(inputs[0])
            known.of_training = trained is not None and trained.same(inputs[0])
            known.last_inputs = Given(inputs[0])
            cheap = gradients and inputs[0].device.type == "cpu" and not inputs[0].requires_grad
            known.held = inputs[0] if cheap else None
        watch.loaders.called(known.facts, facts, inputs)
        if facts.times <= AT_CALL and len(inputs) == 1 and inputs[0].device.type == "cpu":
            self.entering = facts, inputs[0]
        if gradients:
            texts = [
                Text(known.facts.number, place, tensor, known.padding)
                for place, tensor in enumerate(inputs[:8])
                if not tensor.is_floating_point()
                and tensor.ndim == 2
                and tensor.dtype in (torch.int64, torch.int32)
                and tensor.shape[1] > 1
            ]
            if texts or self.last_texts:
                self.last_texts[known.facts.number] = texts
        return known, facts

    def entered(self, args: Any) -> None:
        """Compare what a model's first layer is given with what the model was given."""
        entering, self.entering = self.entering, None
        if entering is not None and args and type(args[0]) is Tensor:
            self.watch.loaders.entered(*entering, args[0].detach())

    def after(
        self, said: tuple[Known, CallFacts] | None, module: nn.Module, args: Any, kwargs: Any, outputs: Any
    ) -> None:
        if said is None:
            return
        known, facts = said
        found = [outputs] if type(outputs) is Tensor else tensors_in(outputs)
        facts.output = tuple(found[0].shape) if found else ()
        if facts.gradients and any(t.grad_fn is not None for t in found):
            call = Call(known, facts)
            for tensor in found:
                node: Any = tensor.grad_fn
                if node is not None:
                    node.metadata.setdefault(MARK, []).append(call)
            known.answer = found[0].detach() if known.held is not None and facts.times <= ANSWERS else None
            if len(self.pending) < 1_000:
                self.pending.append(weakref.ref(call))
            self.watch.event("forward", known.facts.number, training=facts.training)
        else:
            known.nothing_learnt(facts, again=known.again, of_training=known.of_training)
            self.watch.event("evaluate", known.facts.number, training=facts.training)
        number = id(facts)
        self.watch.happened.add(number)
        self.row = (number, self.row[1] + 1) if self.row[0] == number else (number, 1)
        facts.consecutive = max(facts.consecutive, self.row[1])
        if facts.times <= AT_CALL or (known.next_place is not None and "future" not in known.facts.probes):
            self.probes.call(known, facts, module, args, kwargs, outputs)

    # What the sensor of losses tells.

    def waiting(self) -> Waiting:
        """Return the calls that no backward went through yet, and how they follow one another, as a key."""
        alive = [call for reference in self.pending if (call := reference()) is not None and not call.reached]
        if len(alive) == 1:
            return alive, ((id(alive[0].facts), 1),)
        key: list[list[int]] = []
        for call in alive:
            if key and key[-1][0] == id(call.facts):
                key[-1][1] += 1
            else:
                key.append([id(call.facts), 1])
        return alive, tuple(map(tuple, key))

    def unknown(self, loss: LossFacts, waiting: Waiting) -> bool:
        """Whether no looked-at backward tells which of the waiting calls this one goes through."""
        if (loss.number, waiting[1]) in self.patterns or self.extra_looks >= 100:
            return False
        self.extra_looks += 1
        return True

    def reached(self, loss: LossFacts, leaves: list[Tensor], marks: list[Call]) -> None:
        alive, key = self.waiting()
        marked = set(map(id, marks))
        if len(self.patterns) < 1_000:
            self.patterns[loss.number, key] = tuple(id(call) in marked for call in alive)
        self._trained([*dict.fromkeys(marks)], loss)
        for place, call in enumerate(marks):
            above = {one.known.facts.number for one in marks[:place]} - {call.known.facts.number}
            call.known.facts.feeds |= above
        ids = {id(leaf) for leaf in leaves}
        for known in self.known.values():
            module = known.module()
            if module is not None:
                loss.reached_of_models[known.facts.number] = sum(id(p) in ids for p in module.parameters())

    def texts(self) -> list[Text]:
        return [text for texts in self.last_texts.values() for text in texts][:8]

    def learnt_inputs(self) -> list[tuple[int, Tensor]]:
        """Return what models, by number, were given last, ahead of a backward."""
        return [(known.facts.number, known.held) for known in self.known.values() if known.held is not None]

    def answers(self) -> dict[int, Tensor]:
        """Return what they answered."""
        return {known.facts.number: known.answer for known in self.known.values() if known.answer is not None}

    def learn_from(self, ops: list[LossOp]) -> None:
        """Note of which input the targets are the tokens or numbers, or the next ones."""
        for op in ops[-12:]:
            texts = [text for text in op.facts.get("texts", ()) if text.get("alike", 1) < 0.9 and text["kinds"] > 1]
            for name in (
                "next_place",
                "second_next_place",
                "same_place",
            ):  # targets are often given to the model as well
                matching = [text for text in texts if text.get(name, 0) > 0.95]
                if matching:
                    for known in self.known.values():
                        if known.facts.number == matching[0]["model"]:
                            known.next_place = matching[0]["place"]
                    break

    def assume_trained(self, loss: LossFacts, waiting: Waiting) -> None:
        alive, key = waiting
        verdicts = self.patterns.get((loss.number, key))
        if verdicts is None:  # too many kinds of them: the last call is what is learnt from
            verdicts = (*[False] * (len(alive) - 1), True)
        self._trained([call for call, yes in zip(alive, verdicts, strict=False) if yes], loss)

    def _trained(self, calls: list[Call], loss: LossFacts) -> None:
        self.reached_last = calls
        for call in calls:
            call.facts.trained += not call.reached
            call.facts.losses[loss.number] += 1
            call.reached = True
            call.known.trained_inputs = call.known.last_inputs
        self.pending = [reference for reference in self.pending if (one := reference()) is not None and not one.reached]
        self.row = (-1, 0)
        for known in self.known.values():
            known.last_inputs = known.held = known.answer = None

    def _differentiated(self, _: Any = None, inputs: Any = (), *__: Any, **___: Any) -> None:
        """Take calls for used, whose gradients are asked for without a backward."""
        self.watch.steps.differentiated(inputs)
        for call in self.waiting()[0]:
            call.reached = True
        self.pending.clear()

    def stepped(self) -> None:
        for call in self.reached_last:
            facts = call.facts
            facts.stepped += 1
            facts.stepped_after_evaluation += bool(call.known.evaluated)
            if facts.stepped_first < 0:
                facts.stepped_first = self.watch.record.steps
        self.reached_last = []
        if self.watch.looks(self.watch.record.steps) or self.described != (len(self.known), len(self.watch.steps.seen)):
            self.describe()  # a model made in a function is gone at the end
            self.watch.losses.describe()

    # Modes.

    def _mode(self, _: Any, __: Any, module: nn.Module, mode: bool = True) -> None:
        known = self.known.get(id(unwrapped(module)))
        if known is not None and known.module() is unwrapped(module):
            if not mode:
                known.facts.eval_sites[sites.here()] += 1
            known.evaluated = 0

    def _evaluation_mode(self, _: Any, __: Any, module: nn.Module) -> None:
        self._mode(None, None, module, mode=False)

    def conclude(self) -> None:
        """Write down what is known now, and which calls nothing was learnt from."""
        for call in self.waiting()[0]:
            call.known.nothing_learnt(call.facts, again=call.again, of_training=call.of_training)
            call.reached = True
        self.describe()
        self.probes.conclude()

    def describe(self) -> None:
        """Write down whose parameters are whose, of all that lives now."""
        self.described = (len(self.known), len(self.watch.steps.seen))
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
            facts.reached = facts.reached or any(id(p) in reached for p in module.parameters())
            owned_by = sorted({number for p in module.parameters() for number in owners.get(id(p), ())})
            facts.owned_by = owned_by or facts.owned_by  # an optimizer that was made in a function may be gone


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
    """Whether a class asks `self.training`, in its forward or in what that calls."""
    if kind not in _asking:
        try:
            _asking[kind] = "self.training" in inspect.getsource(kind)
        except (OSError, TypeError, AttributeError):
            _asking[kind] = False
    return _asking[kind]
