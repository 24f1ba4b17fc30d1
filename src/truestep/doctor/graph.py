"""Sees losses: the graph of operations that a backward is about to walk, whoever built it under whatever name."""

from __future__ import annotations

import math
import re
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from truestep.doctor import sites
from truestep.doctor.reading import SELECTIONS, VIEWS
from truestep.doctor.record import LossFacts, LossOp, Node, Rectified, Site

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
    "MultiMarginLossBackward0": "multi_margin",
    "SoftMarginLossBackward0": "soft_margin",
    "CtcLossBackward0": "ctc",
}
OTHER_LOSSES = {"LogSoftmaxBackward0": "log_softmax"}  # cross-entropy with soft targets, and by hand
BY_HAND = {"PowBackward0": "mse", "AbsBackward0": "l1"}  # over a difference: the same loss, written out
POINTWISE = re.compile(  # what may stand between a loss written out and its scalar
    r"(Mean|Sum|Neg|Mul|Div|Add|Sub|Rsub|Pow|Abs|Sqrt|Log|Log1P|Exp|Minimum|Maximum|Where|Clamp|ClampMin|ClampMax|Squeeze|"
    r"View|LogSigmoid|Softplus|ToCopy|Unsqueeze)Backward\d$"
)
ELEMENTWISE = ("AddBackward0", "SubBackward0", "MulBackward0", "DivBackward0", "RsubBackward1", "PowBackward0")
SUMS = ("AddBackward0", "SubBackward0", "RsubBackward1", "NegBackward0")
CHAIN = 12  # operations that are followed from a loss's input
NODES = 20_000  # of a graph that are walked
TRACED = 3  # backwards whose operations remember the line that made them
KEPT = 60  # backwards of a line, at each of which is looked for graphs of earlier ones
LATER = 6  # lines of a backward whose second graph is traced, wherever in the run they come
MARK = "truestep"


class Sentinel:
    """Lies in the metadata of a graph's root, and dies with it."""


class Losses:
    """The sensor of backward passes."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.by_site: dict[Site | None, LossFacts] = {}
        self.tracing = False
        self.traced = TRACED  # the number of backwards up to which operations are traced
        self.inside = False  # a backward is under way
        self.was = (False, True)
        self.alive: list[tuple[int, int, weakref.ref[Any]]] = []  # (loss, step, what dies with a graph of it)
        self.began: dict[int, dict[int, int]] = {}  # by loss: steps of each optimizer at its first backward
        self.reached: set[int] = set()  # ids of the parameters that any looked-at backward has reached
        self.reached_tensors: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()
        self.broken: dict[int, tuple[list[str], int]] = {}  # by loss: operations of a graph, and which of them
        self.lines: dict[
            int, tuple[list[str], list[Site | None]]
        ] = {}  # of the operations of a graph, while they are traced

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
        self.inside = True
        watch, site = self.watch, sites.here()
        roots = [t for t in (tensors if isinstance(tensors, list | tuple) else [tensors]) if isinstance(t, Tensor)]
        facts = self.by_site.get(site)
        if facts is None:
            facts = self.by_site[site] = LossFacts(len(watch.record.losses), site, sites.stack())
            watch.record.losses.append(facts)
            if 1 <= facts.number < LATER:
                self.traced = max(
                    self.traced, watch.record.backwards + 3
                )  # its own graph is there already: the next ones
        facts.times += 1
        watch.record.backwards += 1
        keep = args[1] if len(args) > 1 else kwargs.get("retain_graph")
        create = args[2] if len(args) > 2 else kwargs.get("create_graph")
        facts.retain_graph += bool(keep) and not create
        looks = watch.looks(facts.times)
        used = watch.steps.before_backward(looks=looks)
        for root in roots:
            if root.numel() == 1 and root.is_floating_point() and (looks or root.device.type == "cpu"):
                self._value(facts, float(root.detach()))
        waiting = watch.calls.waiting()
        if looks or watch.calls.unknown(facts, waiting):
            self._look(facts, roots)
        else:
            watch.calls.assume_trained(facts, waiting)
        if facts.times <= KEPT or looks:
            self._retention(facts, roots)
        return facts, site, used

    def _after(self, said: tuple[LossFacts, Site | None, Any] | None, _: Any, *__: Any, **___: Any) -> None:
        self.inside = False
        watch = self.watch
        site = said[1] if said else None
        watch.steps.after_backward(site, said[2] if said else [])
        watch.loaders.backward()
        watch.event("backward", said[0].number if said else -1)
        if watch.record.backwards >= self.traced:
            self.trace(on=False)

    def _value(self, facts: LossFacts, value: float) -> None:
        if len(facts.values) < 5_000:
            facts.values.append((self.watch.record.steps, value))
        if not math.isfinite(value):
            facts.not_finite += 1
            if facts.not_finite_step < 0:
                facts.not_finite_step = self.watch.record.steps

    # The walk.

    def _look(self, facts: LossFacts, roots: list[Tensor]) -> None:
        watch = self.watch
        facts.looked_at += 1
        for root in roots:
            if root.grad_fn is None:
                facts.leaf = root.is_leaf and root.requires_grad
        graph = Graph([root.grad_fn for root in roots if root.grad_fn is not None])
        graph.inputs, graph.answers = watch.calls.learnt_inputs(), watch.calls.answers()
        leaves = graph.leaves()
        facts.nodes.append((watch.record.steps, len(graph.order)))
        facts.reached = len(leaves)
        for leaf in leaves:
            self.reached.add(id(leaf))
            self.reached_tensors[id(leaf)] = leaf
        watch.calls.reached(facts, leaves, graph.marks)
        watch.steps.parameters.reached(facts, leaves)
        if len(facts.ops) < 60:
            facts.looked_at_ops += 1
            facts.ops.extend(graph.losses(watch.calls.texts()))
            watch.calls.learn_from(facts.ops)
        self._rectified(facts, graph)
        if (facts.breaks is None or facts.breaks.site is None) and (facts.looked_at <= 12 or facts.not_finite):
            self._breaks(facts, graph)
        if len(facts.broadcasts) < 20:
            facts.broadcasts.extend(graph.broadcasts())
        if len(facts.alike) < 20:
            facts.alike.extend(graph.similarities())
        if len(facts.ends) < 60:
            facts.ends.extend(graph.ends())

    def _breaks(self, facts: LossFacts, graph: Graph) -> None:
        """Note an operation that was given what it has no finite answer or gradient for."""
        names = [node.name() for node in graph.order]
        known, lines = self.lines.get(facts.number, ([], []))
        if self.tracing and not lines and len(names) <= 3_000:
            known, lines = self.lines[facts.number] = (names, [_site(node) for node in graph.order])
        before, broken = self.broken.get(facts.number, ([], 0))
        if facts.breaks is not None and before == names == known:  # what broke in an earlier graph of this kind
            facts.breaks.site = lines[broken]
            return
        for place, node in enumerate(graph.order):
            if _broken(node):
                facts.breaks = _node(node)
                facts.breaks.facts["lost"] = bool(facts.values) and not math.isfinite(facts.values[-1][1])
                if facts.breaks.site is None and names == known:
                    facts.breaks.site = lines[place]
                if facts.breaks.site is not None:
                    return
                self.broken.setdefault(facts.number, (names, place))

    def _rectified(self, facts: LossFacts, graph: Graph) -> None:
        """Note which ReLUs give nothing but zeros."""
        for place, node in enumerate([node for node in graph.order if node.name() == "ReluBackward0"][:12]):
            result = _saved(node, "result")
            if result is None or not 0 < result.numel() <= 5_000_000:
                continue
            one = facts.rectified.get(place)
            if one is None:
                one = facts.rectified[place] = Rectified(_site(node))
            one.seen += 1
            if not bool(result.any()):
                one.silent += 1
                one.since = self.watch.record.steps if one.since < 0 else one.since
            else:
                one.since = -1

    def _retention(self, facts: LossFacts, roots: list[Tensor]) -> None:
        """Count the earlier steps of which the graph of a loss, or what a model computed for it, is there still."""
        optimizers = self.watch.record.optimizers
        began = self.began.setdefault(facts.number, {one.number: one.steps for one in optimizers})
        # Of several optimizers the one that stepped most since: models side by side step together.
        step = max((one.steps - began.get(one.number, 0) for one in optimizers), default=0)
        self.alive = [one for one in self.alive if one[2]() is not None]
        earlier = {when for loss, when, _ in self.alive if loss == facts.number and when < step}
        facts.retained = max(facts.retained, len(earlier))
        if len(self.alive) >= 100:
            return
        for root in roots:
            if root.grad_fn is not None:
                sentinel = Sentinel()
                node: Any = root.grad_fn
                node.metadata[f"{MARK} root"] = sentinel
                self.alive.append((facts.number, step, weakref.ref(sentinel)))
        self.alive.extend((facts.number, step, weakref.ref(call)) for call in self.watch.calls.reached_last[:4])

    def conclude(self) -> None:
        self.describe()

    def describe(self) -> None:
        """Write down how many parameters of each optimizer were reached."""
        watch = self.watch
        for seen in watch.steps.seen.values():
            parameters = list(seen.parameters())
            if parameters:
                seen.facts.reached = sum(id(p) in self.reached for p in parameters)


class Graph:
    """The graph above some roots, in the order of a breadth-first walk."""

    def __init__(self, roots: list[Any]) -> None:
        self.order: list[Any] = []
        self.depth: dict[Any, int] = {}
        self.marks: list[Any] = []  # calls of models whose outputs are in the graph
        self.inputs: list[
            tuple[int, Tensor]
        ] = []  # what models, by number, were given last, as far as it is there still
        self.answers: dict[int, Tensor] = {}  # and what they answered
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
                following.update(
                    dict.fromkeys(n for n, _ in node.next_functions if n is not None and n not in self.depth)
                )
            level, depth = list(following), depth + 1

    def leaves(self) -> list[Tensor]:
        return [node.variable for node in self.order if hasattr(node, "variable") and isinstance(node.variable, Tensor)]

    def losses(self, texts: list[Text]) -> list[LossOp]:
        found = [self._loss(node, kind, texts) for node in self.order if (kind := LOSSES.get(node.name()))]
        found += self._by_hand() + self._divergences()
        if not found:
            found = [
                self._loss(node, kind, texts)
                for node in self.order
                if (kind := OTHER_LOSSES.get(node.name())) and self.depth[node] <= 6
            ]
        return found[:12]

    def _near_root(self) -> list[Any]:
        """Return the nodes between the root and the first operation that is more than arithmetic, those included."""
        found: list[Any] = []
        level = [node for node in self.order if self.depth[node] == 0]
        seen: set[Any] = set()
        while level and len(found) < 200:
            following: list[Any] = []
            for node in level:
                if node in seen:
                    continue
                seen.add(node)
                found.append(node)
                if POINTWISE.match(node.name()):
                    following.extend(n for n, _ in node.next_functions if n is not None)
            level = following
        return found

    def _by_hand(self) -> list[LossOp]:
        """Return squared and absolute differences from something without gradients, which are losses written out."""
        found: list[LossOp] = []
        for node in self._near_root():
            kind = BY_HAND.get(node.name())
            if kind is None or (kind == "mse" and getattr(node, "_saved_exponent", None) != 2):
                continue
            inner = node.next_functions[0][0]
            if inner is None or not inner.name().startswith(("SubBackward", "RsubBackward")):
                continue
            sides = [n for n, _ in inner.next_functions]
            given = [n for n in sides if n is not None]
            if len(given) != 1 or hasattr(given[0], "variable"):
                continue
            chain = [_node(given[0]), *_chain(given[0])]
            op = LossOp(
                kind, _site(inner), "", chain[0].shape, _shape(inner), chain, {"by_hand": True}, self.depth[node]
            )
            above = [one for one in self.order if any(n is node for n, _ in one.next_functions)]
            nearer = {one.name()[:3] for one in self.order if self.depth[one] < self.depth[node] - 1}
            alone = not nearer & {
                "Sub",
                "Rsu",
                "Neg",
            }  # else it may be the distance of two samples, less those within each
            if alone and len(above) == 1 and above[0].name().startswith(("Mean", "Sum")):
                op.facts["all_pairs"] = _all_pairs(_saved(node, "self"), chain[0].shape)
            last = given[0]
            while last.name() in VIEWS and last.next_functions[0][0] is not None:
                last = last.next_functions[0][0]
            result, difference = _saved(last, "result"), _saved(node, "self")
            if result is None and MARK in given[0].metadata:
                result = self.answers.get(given[0].metadata[MARK][-1].known.facts.number)
            if result is not None and difference is not None and result.numel() == difference.numel():
                result = result.reshape(difference.shape)
                first = sides[0] is not None and not inner.name().startswith("Rsub")
                target = result - difference if first else result + difference
                op.facts |= _target_facts(target) | _range("input", result)
                op.facts["unreachable"] = _unreachable(last, target)
                op.facts["texts"] = [_in_time(number, given, target) for number, given in self.inputs]
            found.append(op)
        return found

    def _divergences(self) -> list[LossOp]:
        """Return Kullback-Leibler divergences from fixed targets, which PyTorch makes of t log t - t x."""
        found: list[LossOp] = []
        for node in self._near_root():
            sides = [n for n, _ in node.next_functions]
            if not node.name().startswith("SubBackward") or len(sides) != 2 or sides[0] is not None or sides[1] is None:
                continue
            product = sides[1]
            given = [n for n, _ in product.next_functions if n is not None]
            target = _saved(product, "self")
            if not product.name().startswith("MulBackward") or len(given) != 1 or target is None or target.ndim < 2:
                continue
            over_batch = target.ndim == 2 and _sums(target) > 1e-3 and _sums(target.T) < 1e-3
            if target.shape[-1] < 2 or (_sums(target) > 1e-3 and not over_batch) or bool((target < 0).any()):
                continue
            chain = [_node(given[0]), *_chain(given[0])]
            op = LossOp("kl_div", _site(node), "", chain[0].shape, tuple(target.shape), chain, depth=self.depth[node])
            result = _saved(given[0], "result")
            op.facts |= {"by_hand": True, "targets_over_batch": over_batch} | _target_facts(target)
            if result is not None:
                op.facts |= _range("input", result) | {"sums": _sums(result.exp()), "raw_sums": _sums(result)}
            found.append(op)
        return found

    def _loss(self, node: Any, kind: str, texts: list[Text]) -> LossOp:
        saved, target = _saved(node, "log_probs" if kind == "ctc" else "self"), _saved(node, "target")
        reduction = getattr(node, "_saved_reduction", None)
        chain = _chain(node)
        shape = tuple(saved.shape) if saved is not None else (chain[0].shape if chain else ())
        op = LossOp(
            kind,
            _site(node),
            REDUCTIONS.get(-1 if reduction is None else reduction, ""),
            shape,
            depth=self.depth[node],
            chain=chain,
        )
        weight = _saved(node, "weight")
        if weight is not None:
            op.facts["weights"] = weight.numel()
            if kind == "nll":
                op.facts["without_weight"] = [int(place) for place in (weight == 0).nonzero().flatten()[:8]]
        if kind == "log_softmax":
            op.facts["dim"] = _dimension(node)
            saved = _saved(node, "result")
        if target is not None and kind != "ctc":
            op.target_shape = tuple(target.shape)
            op.facts |= _target_facts(target)
        if kind == "nll" and target is not None and saved is not None:
            op.facts |= _classes(node, saved, target, texts)
        if kind in ("bce", "bce_logits", "ctc") and saved is not None:
            op.facts |= _range("input", saved)
        if kind == "ctc" and saved is not None:
            op.facts["log_sums"] = float(saved.float().logsumexp(-1).abs().median())
        if kind in ("mse", "l1", "smooth_l1", "huber") and saved is not None and target is not None:
            op.facts |= _range("input", saved)
            op.facts["target_numbers"] = _distinct_places(target)
            op.facts["texts"] = [_in_time(number, given, target) for number, given in self.inputs]
            if (
                op.reduction in ("mean", "sum")
                and (padded := _padded_numbers(saved, target, [one for _, one in self.inputs])) is not None
            ):
                op.facts["padding"] = padded
            last = node
            while last is node or last.name() in VIEWS or last.name() in SELECTIONS:
                last = next((n for n, _ in last.next_functions if n is not None), None)
                if last is None:
                    break
            op.facts["unreachable"] = _unreachable(last, target)
        return op

    def broadcasts(self) -> list[Node]:
        """Return operations between root and model that blew (N, 1) and (N,) up to (N, N)."""
        found: list[Node] = []
        averaged = self._averaged()
        for node in self._near_root():
            if not node.name().startswith(ELEMENTWISE) or node in averaged:
                continue
            shape = _shape(node)
            if len(shape) != 2 or not shape[0] == shape[1] > 1:
                continue
            sides = [(n, _shape(n, i)) for n, i in node.next_functions if n is not None]
            column = [n for n, given in sides if given == (shape[0], 1)]
            row = [n for n, given in sides if given == (shape[0],)]
            if any(n.name().startswith(("Unsqueeze", "View", "Expand", "Slice", "Index")) for n in column):
                continue  # shaped into a column on purpose: pairs
            if (len(sides) == 1 and (column or row)) or (column and row):
                found.append(Node(node.name(), _site(node), shape, [given for _, given in sides]))
        return found

    def _averaged(self) -> set[Any]:
        """Return sums of which the mean is taken as they are: that of all a[i] + b[j] is that of all a[i] + b[i]."""
        found: set[Any] = set()
        level = [n for node in self._near_root() if node.name().startswith("Mean") for n, _ in node.next_functions]
        while level:
            sums = [n for n in level if n is not None and n not in found and n.name().startswith(SUMS)]
            found.update(sums)
            level = [n for node in sums for n, _ in node.next_functions]
        return found

    def similarities(self) -> list[Node]:
        """Return cosine similarities over dimension 0 of a matrix, if what they compare was not centred there.

        With the mean of each column taken off it is a correlation, for which dimension 0 is the right one.
        """
        found: list[Node] = []
        for node in self._near_root():
            if not node.name().startswith("SumBackward") or not _is_over_rows(node):
                continue
            product = node.next_functions[0][0]
            sides = [n for n, _ in product.next_functions if n is not None] if product is not None else []
            if product is None or not product.name().startswith("MulBackward"):
                continue
            if any(n.name().startswith("DivBackward") and _is_normalised_by_column(n) for n in sides):
                found.append(Node(node.name(), _site(node), _shape(product), [_shape(n) for n in sides]))
        return found

    def ends(self) -> list[Node]:
        """Return the operations between the root and the first loss, the root first."""
        found: list[Node] = []
        for node in self.order:
            if node.name() in LOSSES or self.depth[node] > 6:
                break
            found.append(_node(node))
        return found


def _is_over_rows(node: Any) -> bool:
    """Whether an operation runs over dimension 0 of a matrix, and over no other."""
    dims = getattr(node, "_saved_dim", None)
    return isinstance(dims, tuple) and dims in ((0,), (2**64 - 2,))


def _is_normalised_by_column(division: Any) -> bool:
    """Whether a matrix is divided by the norms of its columns, as it came from a model: with no mean taken off."""
    given, by = [n for n, _ in division.next_functions][:2]
    for _ in range(3):
        if by is None or by.name().startswith("LinalgVectorNorm"):
            break
        by = by.next_functions[0][0] if by.next_functions else None
    if given is None or by is None or not by.name().startswith("LinalgVectorNorm") or not _is_over_rows(by):
        return False
    centred = given.name().startswith(("Sub", "NativeBatchNorm", "CudnnBatchNorm"))
    turned = given.name().startswith(("Transpose", "TBackward", "Permute"))
    return len(_shape(division)) == 2 and not centred and not turned


def _node(node: Any) -> Node:
    facts: dict[str, Any] = {}
    dim = _dimension(node)
    if dim is not None:
        facts["dim"] = dim + len(_shape(node)) if dim < 0 else dim
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


def _broken(node: Any) -> bool:
    """Whether an operation was given finite numbers for which it, or its gradient, is infinite or nothing at all."""
    name = node.name()
    if name.startswith(("LogBackward", "Log2Backward", "Log10Backward")):
        given = _saved(node, "self")
        return given is not None and bool(((given <= 0) & given.isfinite()).any())
    if name.startswith("DivBackward"):
        given = _saved(node, "other")
        return given is not None and bool((given == 0).any())
    if name.startswith("SqrtBackward"):
        given = _saved(node, "result")
        return given is not None and bool(((given == 0) | given.isnan()).any())
    if name.startswith("PowBackward0"):
        given, exponent = _saved(node, "self"), getattr(node, "_saved_exponent", 1)
        return given is not None and isinstance(exponent, float) and exponent < 1 and bool((given <= 0).any())
    if name.startswith("ExpBackward"):
        given = _saved(node, "result")
        return given is not None and bool(given.isinf().any())
    return False


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
    if values.numel() == 0 or not (
        values.is_floating_point() or values.dtype in (torch.int64, torch.int32, torch.uint8)
    ):
        return {}
    return {f"{name}_min": float(values.min()), f"{name}_max": float(values.max())}


def _sums(values: Tensor) -> float:
    """Return the median, over rows, of how far the last dimension's sum is from 1."""
    return float((values.float().sum(-1) - 1).abs().median()) if values.ndim else 1.0


def _target_facts(target: Tensor) -> dict[str, Any]:
    facts: dict[str, Any] = {"target_floating": target.is_floating_point(), "targets": target.numel()}
    return facts | _range("target", target)


def _distinct_places(values: Tensor) -> int:
    """Return how many numbers a tensor has in memory: fewer than its elements where it was expanded."""
    count = 1
    for size, stride in zip(values.shape, values.stride(), strict=True):
        count *= size if stride or size == 1 else 1
    return count


def _all_pairs(difference: Tensor | None, given: tuple[int, ...]) -> bool:
    """Whether a difference is that of each of some outputs with each of some targets, both blown up for it.

    Args:
        difference: outputs less targets, or the other way round.
        given: the shape of the outputs.
    """
    if difference is None or math.prod(given) >= difference.numel() or difference.numel() > 5_000_000:
        return False
    wide = (1,) * (difference.ndim - len(given)) + given
    added = [dim for dim, size in enumerate(wide) if size == 1 < difference.shape[dim]]
    close = 1e-4 * difference.abs().max().clamp(min=1e-12)
    for dim in (dim for dim, size in enumerate(wide) if size > 1):
        steps = difference.diff(dim=dim)  # those of the outputs alone, if the targets do not change along it
        if all(bool((steps.diff(dim=other).abs() <= close).all()) for other in added):
            return all(bool((difference.diff(dim=other).abs() > close).any()) for other in added)
    return False


def _classes(node: Any, logs: Tensor, target: Tensor, texts: list[Text]) -> dict[str, Any]:
    ignored = getattr(node, "_saved_ignore_index", -100)
    ignored = ignored - 2**64 if ignored >= 2**63 else ignored
    counted = target != ignored
    dim = 1 if logs.ndim > 1 else 0
    wide = logs.float()
    facts: dict[str, Any] = {
        "ignore_index": ignored,
        "counted": int(counted.sum()),
        "classes": logs.shape[dim],
        "log_sums": float(wide.logsumexp(dim).abs().median()),
    }
    facts |= _range("input", logs)
    if wide.numel():  # what the logits would be if they were probabilities: shifted so that they sum to 1
        shifted = wide + (1 - wide.sum(dim, keepdim=True)) / wide.shape[dim]
        facts["as_probabilities"] = (float(shifted.min()), float(shifted.max()))
    facts["texts"] = [_compared(text, target, counted) for text in texts if text.values.numel()]
    return facts


class Text(NamedTuple):
    """Rows of tokens that a model was given."""

    model: int  # its number
    place: int  # of the tensor among the inputs
    values: Tensor  # (B, T)
    padding: tuple[int, ...]  # tokens that its embeddings take for padding


def _compared(text: Text, target: Tensor, counted: Tensor) -> dict[str, Any]:
    """Compare targets with the tokens that the model was given: which place of the text does a target repeat?"""
    tokens = text.values
    batch, length = tokens.shape
    facts: dict[str, Any] = {"model": text.model, "place": text.place}
    if target.numel() % batch or target.numel() < 4 or target.device != tokens.device:
        return facts
    wide, mask = target.reshape(batch, -1), counted.reshape(batch, -1)
    if abs(wide.shape[1] - length) > 2:
        return facts
    facts["kinds"] = len(wide[mask].unique())
    facts["alike"] = float(
        (wide[:, 1:] == wide[:, :-1]).float().mean()
    )  # neighbours: of a constant text, all places are
    for name, shift in (("same_place", 0), ("next_place", 1), ("second_next_place", 2)):
        width = min(wide.shape[1], length - shift)
        if width < 2:
            continue
        same = (wide[:, :width] == tokens[:, shift : shift + width]) & mask[:, :width]
        facts[name] = float(same.sum() / mask[:, :width].sum().clamp(min=1))
    if wide.shape[1] == length:
        padded = _padded(tokens, text.padding)
        if padded is not None:
            both = padded & mask
            facts["padding"] = float(both.sum() / mask.sum().clamp(min=1))
            facts["padding_targets"] = wide[both].unique().tolist()[:3]
    return facts


def _in_time(number: int, given: Tensor, target: Tensor) -> dict[str, Any]:
    """Compare targets with the series (B, T, channels) that a model was given: the numbers of which moment does a target repeat?"""
    facts: dict[str, Any] = {"model": number, "place": 0}
    if given.ndim != 3 or not given.is_floating_point() or not target.is_floating_point() or given.shape[1] < 4:
        return facts
    batch, length, channels = given.shape
    if target.shape[:2] != (batch, length) or target.numel() > 1_000_000 or given.numel() > 1_000_000:
        return facts
    wide, near = target.reshape(batch, length, -1), 1e-4 * float(target.std())
    if wide.shape[2] > min(channels, 8) or channels > 64 or target.numel() < 16:
        return facts
    facts["kinds"] = len(target.unique())
    facts["alike"] = float((wide[:, 1:] - wide[:, :-1]).abs().le(near).float().mean())
    facts["channels"] = wide.shape[2], channels
    for name, shift in (("same_place", 0), ("next_place", 1)):
        own, other = wide[:, : length - shift], given[:, shift:]
        same = [max(float((own[..., i] - other[..., j]).abs().le(near).float().mean()) for j in range(channels))
                for i in range(own.shape[2])]  # fmt: skip
        facts[name] = min(same)
    return facts


def _padded(tokens: Tensor, padding: tuple[int, ...]) -> Tensor | None:
    """Return where a text is filled up: at tokens known for it, or in the tails of one token that is nowhere else."""
    known = [value for value in padding if bool((tokens[:, -1] == value).any())]
    token = known[0] if known else int(tokens[:, -1].mode().values)
    is_it = tokens == token
    tail = is_it.flip(1).cumprod(1).flip(1).bool()
    lengths = tail.sum(1)
    if len(lengths.unique()) < 2 or not bool(tail.any()):
        return None
    if not known and (bool((is_it & ~tail).any()) or float(tail.float().mean()) < 0.1):
        return None
    return tail


def _padded_numbers(given: Tensor, target: Tensor, inputs: list[Tensor]) -> float | None:
    """Return the share of targets that are the zeros at the ends of rows, if the script knows them for padding.

    It does if a variable of it is a mask of just these places, or has just these lengths. What a model was given ends
    there, too, but for a step; outputs that are masked are 0 there, and do no harm.
    """
    if target.ndim not in (2, 3) or target.shape != given.shape or min(target.shape[:2]) < 4 or target.is_cuda:
        return None
    if target.numel() > 1_000_000 or not target.is_floating_point():
        return None
    tail = _tail(target)
    lengths = (~tail).sum(1)
    if len(lengths.unique()) < 3 or not 0.05 < float(tail.float().mean()) < 0.95:
        return None
    if float((given[tail] != 0).float().mean()) < 0.5:
        return None
    rows = [one for one in inputs if one.ndim > 1 and len(one) == len(tail) and abs(one.shape[1] - tail.shape[1]) <= 1]
    if not any(bool((((~_tail(one)).sum(1) - lengths).abs() <= 1).all()) for one in rows):
        return None
    known = any(_tells(value, tail, lengths, target, others) for value, others in sites.tensors())
    return float(tail.float().mean()) if known else None


def _tail(values: Tensor) -> Tensor:
    """Return where the rows of (B, T, ...) are filled up with zeros: (B, T)."""
    empty = (values.reshape(*values.shape[:2], -1) == 0).all(2)
    return empty.flip(1).cumprod(1).flip(1).bool()


def _tells(value: Tensor, tail: Tensor, lengths: Tensor, target: Tensor, others: list[Tensor]) -> bool:
    """Whether a variable says which targets are padding, by itself or beside another one that holds the targets' rows."""
    batch, time = tail.shape
    if value.shape == lengths.shape and not value.is_floating_point():
        off = value.long() - lengths
        return bool((off == off[0]).all()) and abs(int(off[0])) <= 1
    if value.ndim < 2 or value.shape[1] != time or value.numel() != value.shape[0] * time or value.numel() > 2_000_000:
        return False
    mask = value.reshape(value.shape[0], time) != 0
    if not bool((value.reshape(mask.shape) == mask).all()) or bool(mask.all()):
        return False
    if len(mask) == batch and bool((mask == ~tail).all() or (mask == tail).all()):
        return True
    rows = target.reshape(batch, -1)
    for other in others:
        if (
            len(other) == len(mask) > batch
            and other.numel() == len(other) * rows.shape[1]
            and other.dtype == rows.dtype
            and other.numel() <= 2_000_000
        ):
            same = torch.stack([(other.reshape(len(other), -1) == row).all(1).int() for row in rows[:32]])
            if bool((same.sum(1) == 1).all()):
                return bool((mask[same.argmax(1)] == ~tail[:32]).all())
    return False


def _unreachable(node: Any, target: Tensor) -> float | None:
    """Return the share of targets outside what an activation can give."""
    name = node.name() if node is not None else ""
    low, high = {
        "ReluBackward0": (0.0, float("inf")),
        "SigmoidBackward0": (0.0, 1.0),
        "TanhBackward0": (-1.0, 1.0),
        "SoftmaxBackward0": (0.0, 1.0),
        "SoftplusBackward0": (0.0, float("inf")),
    }.get(name, (None, None))
    if low is None or high is None or target.numel() == 0:
        return None
    return float(((target < low - 1e-3) | (target > high + 1e-3)).float().mean())
