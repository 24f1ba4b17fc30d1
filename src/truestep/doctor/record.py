"""What the doctor saw of a run, as plain facts: numbers, names and places. Rules read this and know nothing of PyTorch.

A fact is written down once and counted from then on, so that a run of any length leaves a record of bounded size.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Site(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int


@dataclass
class Event:
    """One thing that happened, in the order of the run. Kept for the first steps and after each change of phase.

    Kinds: "forward" (a model was called with gradients on), "backward", "clear" (`zero_grad`), "clip", "unscale",
    "step" (an optimizer's), "schedule" (a scheduler's step), "batch" (a loader gave one), "evaluate" (a model was called
    without gradients).
    """

    kind: str
    site: Site | None
    of: int = -1  # number of the optimizer, model, loader or scheduler in its list
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Window:
    """The events from one step of an optimizer up to and including its next, other optimizers' among them."""

    events: list[Event]
    first: bool = False  # no step of this optimizer came before

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@dataclass
class Parameters:
    """Facts about the parameters of an optimizer, or a group of parameters of a model."""

    names: list[str]  # as the model names them; empty where no model is known
    elements: int = 0


@dataclass
class OptimizerFacts:
    number: int
    kind: str  # "SGD"
    site: Site | None  # where it was made
    parameters: int = 0  # tensors
    steps: int = 0
    step_sites: Counter[Site | None] = field(default_factory=Counter)
    windows: list[Window] = field(default_factory=list)  # a sample of its steps, the first ones among them
    inside_backward: int = 0  # steps that a hook made during a backward
    closures: int = 0  # steps that were given a closure, in which forward and backward happen
    stale: int = 0  # steps with gradients to which a backward had added after an earlier step had used them
    stale_sites: Counter[Site | None] = field(default_factory=Counter)  # of those backwards
    without_gradients: int = 0  # steps, where every gradient was None
    differentiated: int = 0  # of those, with its parameters' gradients asked of torch.autograd.grad since the last step
    with_zero_gradients: int = 0  # looked at steps, where gradients were there and all of them zero
    cleared_after_backward: int = 0  # steps, where gradients came and were cleared again before the step
    clear_sites: Counter[Site | None] = field(default_factory=Counter)  # of those clearings
    clears: int = 0  # calls that cleared its gradients
    after_backward: int = 0  # steps with any backward since the last one
    backward_sites: Counter[Site | None] = field(default_factory=Counter)  # of backwards that reached it
    vanished: int = 0  # steps, where gradients came and were gone though nobody called zero_grad
    zeroed: int = 0  # looked-at steps with the gradients of the last backward alone, as those of others were cleared
    zeroed_backwards: int = 0  # that were cleared in vain
    zeroed_sites: Counter[Site | None] = field(default_factory=Counter)  # of those clearings
    left_over: int = 0  # backwards after the last step or clearing
    dropped: Counter[int] = field(default_factory=Counter)  # backwards whose gradients were cleared unused, at a time
    first_step: int = -1  # steps of all optimizers before its first
    has_state: bool = False  # momentum, moments
    looked_at: int = 0  # steps, whose gradients and parameters were looked at
    micro_batches: Counter[int] = field(
        default_factory=Counter
    )  # backwards a step that reached it, from one line, since it was cleared
    learning_rates: list[tuple[int, float]] = field(
        default_factory=list
    )  # (step, rate of the first group) where it changed
    through_scaler: int = 0  # steps that a gradient scaler took
    scaled: int = 0  # looked-at steps that it did not take, on gradients that it had scaled and nobody touched
    reached: int = 0  # parameters that a backward has reached
    unchanged: list[float] = field(
        default_factory=list
    )  # of looked-at steps at a rate above 0: share of 16-bit numbers with a gradient that stayed
    gradient_norms: list[tuple[int, float, float]] = field(
        default_factory=list
    )  # (step, norm of all gradients that it was to apply, of their weights), looked-at steps
    update_ratios: list[float] = field(default_factory=list)  # median of |change| / |weight|, looked-at steps


@dataclass
class CallFacts:
    """Calls of one model from one line, and one line that called the function around it, in one manner."""

    site: Site | None
    training: bool  # the model's own flag
    gradients: bool  # grad mode
    times: int = 0
    first_step: int = 0  # optimizer steps before the first of them
    last_step: int = 0
    trained: int = 0  # that a backward went through
    untrained: int = 0  # whose outputs are gone, without that a backward went through
    stepped: int = 0  # whose backward was the last before an optimizer's step
    stepped_first: int = -1  # optimizer steps before the first of those
    stepped_after_evaluation: int = (
        0  # of those, with calls for evaluation since the model was last set to evaluation mode
    )
    mixed_in: int = 0  # optimizer steps that applied gradients of them, in evaluation mode, with those of training
    repeated: int = 0  # of the untrained, on the very tensor of the call before, without a backward between
    on_trained_inputs: int = 0  # of the untrained, on the very tensor that a backward went through last
    stack: list[Site] = field(default_factory=list)  # the user's lines at the first of them, innermost first
    losses: Counter[int] = field(default_factory=Counter)  # those that were learnt from, by number: times
    output: tuple[int, ...] = ()  # shape of what the last of them gave
    restless: list[str] = field(
        default_factory=list
    )  # parts that act otherwise in training mode and were in it: "bn1 (BatchNorm2d)"
    passes: Counter[int] = field(default_factory=Counter)  # by loader number; -1 outside of any
    batch_sizes: Counter[int] = field(default_factory=Counter)
    consecutive: int = 0  # the longest row of them without a backward or step between


@dataclass
class ModelFacts:
    number: int
    kind: str  # class name
    parameters: int = 0
    calls: list[CallFacts] = field(default_factory=list)
    restless: list[str] = field(default_factory=list)  # its dropout and batch norm modules by name
    eval_sites: Counter[Site | None] = field(default_factory=Counter)  # where .eval() was called on it
    reached: bool = False  # a backward has reached a parameter of it
    alike: list[str] = field(
        default_factory=list
    )  # weight matrices whose rows were all the same at the first call, and not 0
    zero: list[str] = field(default_factory=list)  # those that were 0
    even: list[str] = field(default_factory=list)  # all weights of two dimensions or more, if each was one number
    ordered: bool = True  # it has recurrent, convolutional or attention layers, or the user's own code in their place
    matrices: int = 0  # weight matrices with several rows
    feeds: set[int] = field(default_factory=set)  # models that stood between it and a loss in a backward
    renamed: tuple[str, str, Site, Site, int] | None = (
        None  # another name it was used by: name, older name, line of both, of use, step
    )
    pretrained: bool = False  # weights were loaded into it before the first step
    owned_by: list[int] = field(default_factory=list)  # optimizers with a parameter of it
    flagged: list[str] = field(default_factory=list)  # parts that were given an attribute of that name, which is True
    probes: dict[str, Any] = field(default_factory=dict)  # what replays found, by name of the probe
    shared: list[tuple[str, str, int, Site | None]] = field(
        default_factory=list
    )  # layers held several times: container, class, times, line


class HiddenIn(NamedTuple):
    """Where a model holds a parameter that it has not registered."""

    model: int
    owner: str  # class of the part that holds it
    attribute: str
    kind: str  # class of the attribute's value: "list", "dict", ...
    site: Site | None  # where the attribute is assigned


@dataclass
class ParameterFacts:
    """A parameter of a model or optimizer, or another leaf that losses reach."""

    shape: tuple[int, ...]
    elements: int
    parameter: bool  # an nn.Parameter
    name: str = ""  # as its model names it
    model: int = -1  # number of the model that registers it
    part: str = ""  # class of the module that has it
    looks: int = 0  # at its model, ahead of a backward
    reached: int = 0  # looked-at backwards that reach it
    losses: set[int] = field(default_factory=set)  # their numbers
    evaluating: int = 0  # looks in which its module was in evaluation mode
    reached_evaluating: int = 0  # of those, at a backward that reaches it
    frozen: int = 0  # looks in which it did not ask for a gradient
    unfrozen: bool = False  # and asked for one later
    frozen_since: int = -1  # optimizer steps at the first look in which it did not, if it never did again
    fresh: bool = False  # it was frozen with the random values that PyTorch makes its layer with
    optimizers: set[int] = field(default_factory=set)  # that were ever given it
    steps_looked_at: int = 0  # of an optimizer that has it
    gradients: int = 0  # of those, with a gradient that is not all zero
    idle: int = 0  # of those, without one since the last
    orphan: bool = False  # no module holds it
    loaded: bool = False  # its values come from a file or are a copy of trained ones
    foreign: bool = False  # its module's class is from a library other than torch
    moved: bool = False  # its values changed since they were first seen
    drawn: int = 0  # times that it moved between two steps, straight towards a weight of the same optimizer
    hidden: HiddenIn | None = None
    called: int = 0  # of its module, in the first steps
    called_without_gradients: int = 0
    call_sites: list[Site] = field(
        default_factory=list
    )  # the user's lines on the stack of the first call, innermost first
    gradient_sites: list[Site] = field(default_factory=list)  # likewise, of the first with gradients on


@dataclass
class Node:
    """One operation of the autograd graph."""

    name: str  # "SoftmaxBackward0"
    site: Site | None
    shape: tuple[int, ...]  # of its output
    inputs: list[tuple[int, ...] | None]  # shapes of what it was given, where a gradient goes on
    facts: dict[str, Any] = field(default_factory=dict)  # dim


@dataclass
class LossOp:
    """A loss function of PyTorch in the graph, with what it was given."""

    kind: str  # "nll", "bce", "bce_logits", "mse", "l1", "smooth_l1", "huber", "kl_div", "gaussian", ...
    site: Site | None
    reduction: str  # "none", "mean", "sum"
    input_shape: tuple[int, ...]
    target_shape: tuple[int, ...] | None = None
    chain: list[Node] = field(default_factory=list)  # from the loss's input backwards, while there is one input
    facts: dict[str, Any] = field(default_factory=dict)
    depth: int = 0  # operations between the root and it


@dataclass
class Rectified:
    """One ReLU in the graph of a loss."""

    site: Site | None
    seen: int = 0
    silent: int = 0  # times that it gave nothing but zeros, for a whole batch
    since: int = -1  # optimizer step since which it has


@dataclass
class LossFacts:
    """Backward passes from one line."""

    number: int
    site: Site | None
    stack: list[Site] = field(default_factory=list)  # the user's lines at the first of them, innermost first
    times: int = 0
    looked_at: int = 0
    ops: list[LossOp] = field(default_factory=list)  # of the first looked-at backwards
    looked_at_ops: int = 0  # backwards whose operations are in there
    broadcasts: list[Node] = field(default_factory=list)  # operations that blew (N, 1) and (N,) up to (N, N)
    alike: list[Node] = field(
        default_factory=list
    )  # cosine similarities of columns: each of a batch's numbers of one kind
    rectified: dict[int, Rectified] = field(default_factory=dict)  # ReLUs, by their place in the graph
    nodes: list[tuple[int, int]] = field(default_factory=list)  # (step, operations in the graph)
    reached: int = 0  # parameters that it reaches
    parameters_reached: list[int] = field(
        default_factory=list
    )  # by each looked-at backward: nn.Parameters and optimizers' tensors
    reached_of_models: Counter[int] = field(default_factory=Counter)  # by model number: parameters reached
    leaf: bool = False  # the loss is itself a leaf: requires_grad was switched on by hand
    retained: int = 0  # graphs of earlier steps still alive, at most
    retain_graph: int = 0  # backwards that were told to keep the graph
    not_finite: int = 0
    values: list[tuple[int, float]] = field(default_factory=list)  # (step, loss)
    not_finite_step: int = -1
    breaks: Node | None = None  # an operation given what it has no finite answer or gradient for: log of 0
    ends: list[Node] = field(default_factory=list)  # operations above the loss function: means, divisions, weights


@dataclass
class PassFacts:
    """One pass over a loader."""

    loader: int
    number: int
    batches: int = 0
    examples: int = 0
    steps: int = 0  # optimizer steps meanwhile
    backwards: int = 0
    first_step: int = 0  # optimizer steps before it
    complete: bool = False
    fingerprints: list[str] = field(default_factory=list)  # of its first batches
    smallest: int = 0  # examples of its smallest batch
    schedules: Counter[int] = field(default_factory=Counter)  # steps of each scheduler meanwhile
    model: int = -1  # the first that was called with gradients meanwhile


@dataclass
class InputFacts:
    """What one model was given in one manner of calling it, while one loader was read: its largest floating tensor, or tokens."""

    model: int
    call: CallFacts
    loader: int  # -1 outside of any
    stack: list[Site] = field(default_factory=list)  # the call's line and those that called it, innermost first
    first_step: int = 0
    read: int = 0  # examples whose content was remembered
    distinct: int = 0
    repeated: int = 0  # examples that a batch held twice
    richness: int = 0  # different numbers in an example: the median
    floating: bool = False
    computed: bool = False  # whether they are what another model made of the data, or asked for gradients
    columns: int = 0  # numbers of an example
    shape: tuple[int, ...] = ()  # of the first batch
    low: float = 0.0
    high: float = 0.0
    whole: bool = False  # whether all numbers are integers
    fine: bool = False  # whether different examples hardly ever have the same number in a column
    whole_by_255: bool = False  # whether they are integers divided by 255 twice
    within: tuple[float, float, Site | None] | None = (
        None  # range and line of what the first layer was given, if the model divided numbers up to 1 by 255
    )
    rescaled: bool = (
        False  # whether the model begins with a norm or an embedding, or its code knows how pixels are scaled
    )
    means: list[float] = field(default_factory=list)  # by column, of the first batches
    deviations: list[float] = field(default_factory=list)
    shared: dict[int, int] = field(
        default_factory=dict
    )  # by place in `Record.inputs`: examples that were given there too


@dataclass
class LoaderFacts:
    number: int
    site: Site | None  # where it was made
    stack: list[Site] = field(default_factory=list)  # and the lines that called that one, innermost first
    used: list[Site] = field(default_factory=list)  # where its first pass began, likewise
    examples: int | None = None
    batch_size: int | None = None
    drop_last: bool = False
    sampler: str = ""  # class name
    with_replacement: bool = False
    iterable: bool = False
    workers: int = 0
    dataset: int = -1  # number of the innermost dataset object
    dataset_kind: str = ""
    passes: list[PassFacts] = field(default_factory=list)
    dataset_site: Site | None = None  # where a Subset was made that it reads
    subset: bool = False
    holds_rows: bool = False  # the innermost dataset keeps a row of numbers for each index
    own_indices: int = 0  # distinct indices into the innermost dataset that it can read
    shared_indices: dict[int, int] = field(default_factory=dict)  # by loader number: those that both can read
    read: int = 0  # examples whose content was remembered, of the first pass of an iterable dataset
    distinct: int = 0  # contents among them
    labels: dict[str, Any] = field(default_factory=dict)  # of the first pass: classes, runs
    sampler_facts: dict[str, Any] = field(default_factory=dict)
    changed_by_reading: Site | None = None  # the line that changes what the dataset keeps, each time an example is read
    differs_by_reading: bool = False  # an example that is only evaluated was another one when it was read again
    augmented: list[str] = field(default_factory=list)  # words of the dataset's code that name random changes
    processes: int = 1  # that train together, at its first pass
    same_randomness: str = ""  # what draws the same random numbers in every worker

    @property
    def trained(self) -> bool:
        return any(one.backwards for one in self.passes)

    @property
    def evaluated(self) -> bool:
        return any(one.batches and not one.backwards and not one.steps for one in self.passes)


@dataclass
class TableFacts:
    """The rows of numbers that a model was trained on and those that it was evaluated on, if these are others."""

    model: int
    columns: int
    trained: int  # rows
    evaluated: int
    centred: tuple[int, int] = (0, 0)  # columns of mean 0 and deviation 1: of the rows trained on, of all rows
    ranged: tuple[int, int] = (0, 0)  # columns that go from exactly 0 to 1, or from -1 to 1, likewise
    apart: int = 0  # columns of mean 0 and deviation 1 over the rows trained on, and over the others by themselves
    series: bool = False  # the rows are the steps of windows of time series


@dataclass
class SeedFacts:
    """One call of `torch.manual_seed`, and what a model was given for training after it."""

    stack: list[Site]  # its line and those that called it, innermost first
    seed: int
    step: int  # optimizer steps before it
    model: int = -1  # the first that was called with gradients after it
    loader: int = -1  # that was read then
    call: list[Site] = field(default_factory=list)  # the lines of that call, innermost first
    given: list[str] = field(default_factory=list)  # fingerprints of its first batches, two at most


@dataclass
class SamplerFacts:
    """A sampler with weights."""

    site: Site | None
    weights: int
    loader: int = -1


@dataclass
class ClipFacts:
    site: Site | None
    calls: int = 0
    times: int = 0  # calls that were looked at: the first ones, and ever fewer
    optimizer: int = -1  # whose gradients the last of them clipped, if it was one's
    of_nothing: int = 0  # calls in which no tensor had a gradient, or there was none
    after_step: int = 0  # calls with no backward since the last step
    before_backward: int = 0  # calls after the gradients were cleared, or ahead of the first backward
    still_scaled: int = 0  # calls on gradients that a scaler had not unscaled
    changed: int = 0  # of those, on gradients that were no longer what the backward left
    exhausted: int = 0  # calls with a generator that was used up


@dataclass
class ScheduleFacts:
    number: int
    kind: str
    site: Site | None
    optimizer: int = -1
    steps: int = 0
    step_sites: Counter[Site | None] = field(default_factory=Counter)
    step_stack: list[Site] = field(default_factory=list)  # of its second step, innermost first
    before_optimizer: int = 0  # steps before the first of its optimizer
    idle: int = 0  # steps between which other optimizers stepped, and its own did not
    values: list[tuple[int, float, float]] = field(
        default_factory=list
    )  # (optimizer step, monitored value, rate after) of a plateau schedule
    mode: str = ""
    unit: int | None = None  # step_size, T_max, total_steps, the last milestone: steps it was made for
    optimizer_steps_between: Counter[int] = field(default_factory=Counter)  # optimizer steps since its last step
    rates: list[float] = field(default_factory=list)  # of the first group, after its steps


@dataclass
class SnapshotFacts:
    """A state_dict that was taken of a model: its tensors are the model's own."""

    site: Site | None
    step: int
    loaded_at: Site | None = None  # at a later step, after its numbers had moved
    loaded_step: int = -1
    saved_at: Site | None = None  # likewise
    saved_step: int = -1
    saves: int = 0
    loads: int = 0
    into_itself: bool = False  # it was loaded into the model that it was taken of
    in_vain_at: Site | None = None  # a later load of something computed, which gave the model the numbers that it had


@dataclass
class LoadFacts:
    site: Site | None
    what: str  # "model", "optimizer"
    step: int
    keys: int = 0  # tensors that were given
    matched: int = 0  # of those, known to the model
    own: int = 0  # tensors of the model
    model: int = -1  # number of the model, if it was called before, or of the optimizer
    examples: tuple[str, str] = ("", "")  # a key of the file and one of the model
    file: bool = False  # it came through torch.load
    file_left: bool = False  # a file had been read, but the model was given back its own weights, all of them
    has_optimizer: bool = False  # the file that it came from also holds an optimizer's state
    counters: tuple[str, ...] = ()  # whole numbers of that file by name: "epoch"
    strict: bool = True
    itself: bool = False  # all that it was given are its own tensors


@dataclass
class MetricFacts:
    """An object that sums over batches: update, compute, reset."""

    kind: str  # class name
    site: Site | None = None  # where it was computed last
    updates: int = 0  # since it was reset
    computes: int = 0
    resets: int = 0  # between updates
    mixed: int = 0  # computed values from evaluations before and after the model was trained
    carried: int = 0  # computed values from several updates, and several more before it was computed last


@dataclass
class Record:
    """Everything that was seen."""

    steps: int = 0  # of all optimizers
    backwards: int = 0
    exchanges: int = 0  # sums and messages between processes, outside of passes that train
    optimizers: list[OptimizerFacts] = field(default_factory=list)
    models: list[ModelFacts] = field(default_factory=list)
    losses: list[LossFacts] = field(default_factory=list)
    criteria: dict[Site, Site] = field(default_factory=dict)  # by the line that calls a loss module: where it was made
    parameters: list[ParameterFacts] = field(default_factory=list)
    loaders: list[LoaderFacts] = field(default_factory=list)
    inputs: list[InputFacts] = field(default_factory=list)
    samplers: list[SamplerFacts] = field(default_factory=list)
    seeds: list[SeedFacts] = field(default_factory=list)  # the first ones
    tables: list[TableFacts] = field(default_factory=list)
    clips: list[ClipFacts] = field(default_factory=list)
    schedules: list[ScheduleFacts] = field(default_factory=list)
    snapshots: list[SnapshotFacts] = field(default_factory=list)
    loads: list[LoadFacts] = field(default_factory=list)
    metrics: list[MetricFacts] = field(default_factory=list)
    own_errors: Counter[str] = field(default_factory=Counter)  # of the doctor itself
    finished: bool = False  # the script came to its end by itself


CLOSELY = frozenset(
    (1, 2, 3, 5, 8, 13, 21, 34, 55, *range(100, 1_000, 100), *(int(1_000 * 1.1**k) for k in range(150)))
)


def looked_at(step: int) -> bool:
    """Whether the step of this number, from 1, is looked at closely: of the first ones many, then ever fewer."""
    return step in CLOSELY
