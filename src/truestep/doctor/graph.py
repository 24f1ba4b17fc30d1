"""Sees losses: the graph of operations that a backward is about to walk, whoever built it under whatever name."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from truestep.doctor import sites
from truestep.doctor.record import LossFacts, LossOp, Node, Site, looked_at

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch

REDUCTIONS = {0: "none", 1: "mean", 2: "sum"}
LOSSES = {  # operation of the graph: what it is called here
    "NllLossBackward0": "nll",
    "NllLoss2DBackward0": "nll",
    "BinaryCrossEntropyBackward0": "bce",
    "BinaryCrossEntropyWithLogitsBackward0": "bce_logits",
    "MseLossBackward0": "mse",
    "L1LossBackward0": "l1",
    "SmoothL1LossBackward0": "smooth_l1",
    "HuberLossBackward0": "huber",
    "KlDivBackward0": "kl_div",
    "MultiMarginLossBackward0": "multi_margin",
    "SoftMarginLossBackward0": "soft_margin",
    "CtcLossBackward0": "ctc",
}
OTHER_LOSSES = {"LogSoftmaxBackward0": "log_softmax"}  # cross-entropy with soft targets, and by hand
ELEMENTWISE = ("AddBackward0", "SubBackward0", "MulBackward0", "DivBackward0", "RsubBackward1", "PowBackward0")
CHAIN = 12  # operations that are followed from a loss's input
NODES = 20_000  # of a graph that are walked
TRACED = 3  # backwards whose operations remember the line that made them
MARK = "truestep"


class Sentinel:
    """Lies in the metadata of a graph's root, and dies with it."""


class Losses:
    """The sensor of backward passes."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.by_site: dict[Site | None, LossFacts] = {}
        self.tracing = False
        self.was = (False, True)
        self.alive: list[tuple[int, weakref.ref[Sentinel]]] = []
        self.reached: set[int] = set()  # ids of the parameters that any looked-at backward has reached
        self.reached_tensors: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()
        self.depth = 0

    def install(self) -> None:
        self.watch.wrap(torch.autograd, "backward", before=self._before, after=self._after)

    # The lines of operations: in anomaly mode, each keeps the traceback of the call that made it.

    def trace(self, *, on: bool) -> None:
        if on and not self.tracing:
            self.was = (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())
            if not self.was[0]:
                torch.set_anomaly_enabled(True, False)
                self.tracing = True
        elif not on and self.tracing:
            torch.set_anomaly_enabled(*self.was)
            self.tracing = False

    def _before(self, tensors: Any = None, *args: Any, **kwargs: Any) -> tuple[LossFacts, Site | None, Any] | None:
        watch, site = self.watch, sites.here()
        roots = [t for t in (tensors if isinstance(tensors, list | tuple) else [tensors]) if isinstance(t, Tensor)]
        facts = self.by_site.get(site)
        if facts is None:
            facts = self.by_site[site] = LossFacts(len(watch.record.losses), site)
            watch.record.losses.append(facts)
        facts.times += 1
        watch.record.backwards += 1
        keep = args[1] if len(args) > 1 else kwargs.get("retain_graph")
        create = args[2] if len(args) > 2 else kwargs.get("create_graph")
        facts.retain_graph += bool(keep) and not create
        facts.create_graph += bool(create)
        used = watch.steps.before_backward()
        if looked_at(facts.times) or watch.calls.unknown:
            self._look(facts, roots)
            watch.calls.unknown = False
        else:
            watch.calls.assume_trained()
        return facts, site, used

    def _after(self, said: tuple[LossFacts, Site | None, Any] | None, _: Any, *__: Any, **___: Any) -> None:
        watch = self.watch
        site = said[1] if said else None
        watch.steps.after_backward(site, said[2] if said else [])
        watch.loaders.backward()
        watch.event("backward", said[0].number if said else -1)
        if watch.record.backwards >= TRACED:
            self.trace(on=False)

    # The walk.

    def _look(self, facts: LossFacts, roots: list[Tensor]) -> None:
        watch = self.watch
        facts.looked_at += 1
        facts.last_looked_at_step = watch.record.steps
        for root in roots:
            if root.numel() == 1 and root.is_floating_point():
                value = float(root.detach())
                if len(facts.values) < 5_000:
                    facts.values.append((watch.record.steps, value))
                if value != value or value in (float("inf"), float("-inf")):
                    facts.not_finite += 1
                    if facts.not_finite_step < 0:
                        facts.not_finite_step = watch.record.steps
            if root.grad_fn is None:
                facts.leaf = root.is_leaf and root.requires_grad
                facts.no_graph += 1
        graph = Graph([root.grad_fn for root in roots if root.grad_fn is not None])
        leaves = graph.leaves()
        facts.nodes.append((watch.record.steps, len(graph.order)))
        facts.reached = len(leaves)
        facts.no_graph += bool(graph.order) and not leaves
        for leaf in leaves:
            self.reached.add(id(leaf))
            self.reached_tensors[id(leaf)] = leaf
        watch.calls.reached(facts, leaves, graph.marks)
        watch.steps.parameters.reached(facts, leaves)
        if len(facts.ops) < 60:
            facts.ops.extend(graph.losses(watch.calls.last_tokens))
        if len(facts.broadcasts) < 20:
            facts.broadcasts.extend(graph.broadcasts())
        if len(facts.ends) < 60:
            facts.ends.extend(graph.ends())
        self._retention(facts, roots)

    def _retention(self, facts: LossFacts, roots: list[Tensor]) -> None:
        step = max((one.steps for one in self.watch.record.optimizers), default=0)  # models side by side step together
        self.alive = [(when, ref) for when, ref in self.alive if ref() is not None]
        facts.retained = max(facts.retained, len({when for when, _ in self.alive if when < step}))
        for root in roots:
            if root.grad_fn is not None and len(self.alive) < 50:
                sentinel = Sentinel()
                root.grad_fn.metadata[f"{MARK} root"] = sentinel
                self.alive.append((step, weakref.ref(sentinel)))

    def conclude(self) -> None:
        """Write down which parameters no backward has reached."""
        watch = self.watch
        for seen in watch.steps.seen.values():
            names = watch.calls.names()
            facts = seen.facts
            parameters = list(seen.parameters())
            if not parameters:
                continue
            facts.never_reached = [
                names.get(id(p), f"parameter {place}")
                for place, p in enumerate(parameters)
                if id(p) not in self.reached and p.requires_grad
            ]
            facts.reached = sum(id(p) in self.reached for p in parameters)


class Graph:
    """The graph above some roots, in the order of a breadth-first walk."""

    def __init__(self, roots: list[Any]) -> None:
        self.order: list[Any] = []
        self.depth: dict[Any, int] = {}
        self.marks: list[Any] = []  # calls of models whose outputs are in the graph
        level, depth = list(dict.fromkeys(roots)), 0
        while level and len(self.order) < NODES:
            following: dict[Any, None] = {}
            for node in level:
                if node in self.depth:
                    continue
                self.depth[node] = depth
                self.order.append(node)
                mark = node.metadata.get(MARK)
                if mark is not None:
                    self.marks.extend(mark)
                following.update(dict.fromkeys(n for n, _ in node.next_functions if n is not None and n not in self.depth))
            level, depth = list(following), depth + 1

    def leaves(self) -> list[Tensor]:
        return [node.variable for node in self.order if hasattr(node, "variable") and isinstance(node.variable, Tensor)]

    def losses(self, tokens: Tensor | None) -> list[LossOp]:
        found = [self._loss(node, kind, tokens) for node in self.order if (kind := LOSSES.get(node.name()))]
        if not found:
            found = [
                self._loss(node, kind, tokens)
                for node in self.order
                if (kind := OTHER_LOSSES.get(node.name())) and self._is_near_root(node)
            ]
        return found[:12]

    def _is_near_root(self, node: Any) -> bool:
        return self.depth[node] <= 6

    def _loss(self, node: Any, kind: str, tokens: Tensor | None) -> LossOp:
        saved, target = _saved(node, "self"), _saved(node, "target")
        reduction = getattr(node, "_saved_reduction", None)
        chain = _chain(node)
        shape = tuple(saved.shape) if saved is not None else (chain[0].shape if chain else ())
        op = LossOp(kind, _site(node), REDUCTIONS.get(reduction, ""), shape, depth=self.depth[node], chain=chain)
        if kind == "log_softmax":
            op.facts["dim"] = _dimension(node)
            saved = _saved(node, "result")
        if target is not None:
            op.target_shape = tuple(target.shape)
            op.facts |= _target_facts(target)
        if kind == "nll" and target is not None and saved is not None:
            op.facts |= _classes(node, saved, target, tokens)
        if kind in ("bce", "kl_div") and saved is not None:
            op.facts |= _range("input", saved)
        if kind == "kl_div" and saved is not None and target is not None:
            op.facts["log_target"] = bool(getattr(node, "_saved_log_target", False))
            op.facts["sums"] = _sums(saved.exp())
            op.facts["raw_sums"] = _sums(saved)
            op.facts["target_sums"] = _sums(target.exp() if op.facts["log_target"] else target)
        if kind in ("mse", "l1", "smooth_l1", "huber") and saved is not None and target is not None:
            op.facts |= _range("input", saved)
            if chain:
                op.facts["unreachable"] = _unreachable(chain[0].name, target)
        if kind == "bce_logits" and target is not None:
            op.facts |= _range("target", target)
        return op

    def broadcasts(self) -> list[Node]:
        """Return operations near the root that blew (N, 1) up against (N,), or (N,) against (N, 1), to (N, N)."""
        found: list[Node] = []
        for node in self.order:
            if self.depth[node] > 8 or not node.name().startswith(ELEMENTWISE):
                continue
            shape = _shape(node)
            if len(shape) == 2 and shape[0] == shape[1] > 1:
                given = [_shape(n, i) for n, i in node.next_functions if n is not None]
                one_sided = len(given) == 1
                if one_sided and given[0] in ((shape[0], 1), (shape[0],), (1, shape[0])):
                    found.append(Node(node.name(), _site(node), shape, [*given]))
        return found

    def ends(self) -> list[Node]:
        """Return the operations between the root and the first loss, the root first."""
        found: list[Node] = []
        for node in self.order:
            if node.name() in LOSSES or self.depth[node] > 6:
                break
            found.append(_node(node))
        return found


def _node(node: Any) -> Node:
    facts: dict[str, Any] = {}
    dim = _dimension(node)
    if dim is not None:
        facts["dim"] = dim
    given = [_shape(n, i) if n is not None else None for n, i in node.next_functions]
    return Node(node.name(), _site(node), _shape(node), given, facts)


def _chain(node: Any) -> list[Node]:
    found: list[Node] = []
    while len(found) < CHAIN:
        following = [n for n, _ in node.next_functions if n is not None]
        if not following or hasattr(following[0], "variable"):
            break
        if len(following) > 1 and found:  # a layer: its inputs and weights
            break
        node = following[0]
        found.append(_node(node))
    return found


def _site(node: Any) -> Site | None:
    lines = node.metadata.get("traceback_")
    return sites.innermost(lines) if lines else None


def _shape(node: Any, place: int = 0) -> tuple[int, ...]:
    inputs = node._input_metadata  # of the gradient, so of the output
    return tuple(inputs[place].shape) if place < len(inputs) else ()


def _dimension(node: Any) -> int | None:
    dim = getattr(node, "_saved_dim", None)
    if not isinstance(dim, int):
        return None
    return dim - 2**64 if dim >= 2**63 else dim  # negative ones are kept as unsigned numbers


def _saved(node: Any, name: str) -> Tensor | None:
    try:
        value = getattr(node, f"_saved_{name}", None)
    except RuntimeError:  # freed by an earlier backward
        return None
    return value.detach() if isinstance(value, Tensor) else None


def _range(name: str, values: Tensor) -> dict[str, Any]:
    if values.numel() == 0 or not (values.is_floating_point() or values.dtype in (torch.int64, torch.int32, torch.uint8)):
        return {}
    return {f"{name}_min": float(values.min()), f"{name}_max": float(values.max())}


def _sums(values: Tensor) -> float:
    """Return the median, over rows, of how far the last dimension's sum is from 1."""
    return float((values.float().sum(-1) - 1).abs().median()) if values.ndim else 1.0


def _target_facts(target: Tensor) -> dict[str, Any]:
    facts: dict[str, Any] = {"target_floating": target.is_floating_point(), "targets": target.numel()}
    return facts | _range("target", target)


def _classes(node: Any, logs: Tensor, target: Tensor, tokens: Tensor | None) -> dict[str, Any]:
    ignored = getattr(node, "_saved_ignore_index", -100)
    ignored = ignored - 2**64 if ignored >= 2**63 else ignored
    counted = target != ignored
    facts: dict[str, Any] = {
        "ignore_index": ignored,
        "counted": int(counted.sum()),
        "classes": logs.shape[1] if logs.ndim > 1 else logs.shape[0],
        "log_sums": float(logs.float().logsumexp(1 if logs.ndim > 1 else 0).abs().median()),
    }
    facts |= _range("input", logs)
    if tokens is not None and target.numel() >= 4:
        facts |= _shift(target, tokens, counted)
    return facts


def _shift(target: Tensor, tokens: Tensor, counted: Tensor) -> dict[str, Any]:
    """Compare targets with the tokens that the model was given: which place of the text does a target repeat?"""
    batch, length = tokens.shape
    if target.numel() % batch:
        return {}
    wide = target.reshape(batch, -1)
    mask = counted.reshape(batch, -1)
    facts: dict[str, Any] = {}
    for name, shift in (("same_place", 0), ("next_place", 1), ("second_next_place", 2)):
        width = min(wide.shape[1], length - shift)
        if width < 2:
            continue
        same = (wide[:, :width] == tokens[:, shift : shift + width]) & mask[:, :width]
        facts[name] = float(same.sum() / mask[:, :width].sum().clamp(min=1))
    return facts


def _unreachable(name: str, target: Tensor) -> float | None:
    """Return the share of targets outside what an activation can give."""
    low, high = {
        "ReluBackward0": (0.0, float("inf")),
        "SigmoidBackward0": (0.0, 1.0),
        "TanhBackward0": (-1.0, 1.0),
        "SoftmaxBackward0": (0.0, 1.0),
        "SoftplusBackward0": (0.0, float("inf")),
    }.get(name, (None, None))
    if low is None or high is None or target.numel() == 0:
        return None
    return float(((target < low - 1e-6) | (target > high + 1e-6)).float().mean())
