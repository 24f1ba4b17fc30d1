"""Which way to compute is the fastest on this machine, found by trying. It changes the last bits, and not what is learnt.

What is tried: how many threads, how images and weights lie in memory, how many processes read the examples, and for a run
that is long enough, whether to compile. A short number format is not: it changes what is learnt.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from truestep import distributed
from truestep.assembly import EPOCHS, Plan, assemble
from truestep.batches import Batches, number_of
from truestep.device import LAYOUTS, Precision, compiling, reproducible
from truestep.errors import InputError
from truestep.loop import train_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from truestep.assembly import Assembled
    from truestep.loop import Step
    from truestep.recipe import Recipe

ROUNDS = 3  # in which the candidates take turns, so that a busy machine slows them all
SECONDS = 0.3  # of a turn
WARM_UP = 3  # updates before the clock starts
BETTER = 0.95  # of the time as it was: less is no gain that is sure
LONG = 60.0  # seconds of a run that compiling could make up for


@dataclass(frozen=True)
class Trial:
    """What one choice was tried with."""

    name: str  # such as "run.threads"
    milliseconds: dict[Any, float]  # an update, by value; the first is the one that there was
    best: Any

    def __str__(self) -> str:
        times = ", ".join(f"{value}: {taken:.2f} ms" for value, taken in self.milliseconds.items())
        return f"{self.name}  {times} an update; {self.best} it is"


def tuned(plan: Plan, asked: Recipe, say: Callable[[str], None] = lambda _: None) -> Plan:
    """Return the plan with what is fastest here, one choice after the other.

    Args:
        plan: of the run.
        asked: the recipe as it was given: what the user has said stays.
        say: called with a sentence for each choice that was tried.

    Raises:
        InputError: there are several processes, which would have to agree.
        NonFiniteError: the numbers went NaN or infinite, as they would in the run.
    """
    if distributed.world_size() > 1:
        raise InputError("tune_speed: expected one process, found several. Tune in one, and say what won to all.")
    begun = time.perf_counter()
    for name, values in _candidates(plan, asked).items():
        trial = _tried(plan, name, values)
        say(str(trial))
        plan = _with(plan, name, trial.best)
    if not plan.recipe.run.compile:
        plan = _compiled_if_it_pays(plan, say)
    say(f"tuned in {time.perf_counter() - begun:.1f} s")
    return plan


def _candidates(plan: Plan, asked: Recipe) -> dict[str, list[Any]]:
    """Return what is to be tried of each choice that is open, the one that there is first."""
    recipe, usual = plan.recipe, type(asked)()
    found: dict[str, list[Any]] = {}
    if plan.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        found["run.threads"] = [2**power for power in range(_cores().bit_length())]
    with reproducible(recipe.run.seed, recipe.run.threads):
        made = assemble(plan)
    if {weight.dim() for weight in made.model.parameters()} & {4, 5} == {4}:
        found["model.layout"] = [*LAYOUTS]
    if isinstance(made.train, Batches) and not made.train.in_memory:
        found["data.workers"] = [0, *(2**power for power in range(_cores().bit_length()))]
    return {
        name: [recipe.get(name), *(value for value in values if value != recipe.get(name))]
        for name, values in found.items()
        if asked.get(name) == usual.get(name) and len(values) > 1
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with(plan: Plan, name: str, value: Any) -> Plan:
    return replace(plan, recipe=plan.recipe.changed({name: value}))


def _tried(plan: Plan, name: str, values: list[Any]) -> Trial:
    taken: dict[Any, list[float]] = {value: [] for value in values}
    for round_ in range(ROUNDS):
        for value in values if round_ % 2 == 0 else reversed(values):
            taken[value].append(_seconds(_with(plan, name, value)))
    ratios = {
        value: statistics.median(one / before for one, before in zip(times, taken[values[0]], strict=True))
        for value, times in taken.items()
    }
    fastest = min(values, key=lambda value: ratios[value])
    best = fastest if ratios[fastest] < BETTER else values[0]
    return Trial(name, {value: 1e3 * statistics.median(times) for value, times in taken.items()}, best)


def _compiled_if_it_pays(plan: Plan, say: Callable[[str], None]) -> Plan:
    """Have the model compiled if the run is so long that the wait comes back."""
    train, with_compiler = plan.recipe.train, _with(plan, "run.compile", True)
    with reproducible(plan.recipe.run.seed, plan.recipe.run.threads):
        batches = number_of(assemble(plan).train)
    planned = math.inf if batches is None else -(-batches // train.accumulate) * (train.epochs or EPOCHS)
    updates = min(planned, train.max_steps or math.inf)
    if updates == math.inf or updates * _seconds(plan) < LONG:
        return plan
    begun = time.perf_counter()
    try:
        _seconds(with_compiler)
    except InputError as error:
        say(str(error))
        return plan
    wait = time.perf_counter() - begun
    trial = _tried(plan, "run.compile", [False, True])
    before, after = (1e-3 * trial.milliseconds[value] for value in (False, True))
    pays = wait + updates * after < BETTER * updates * before
    say(f"{replace(trial, best=pays)}, for {updates:,} updates and a wait of {wait:.1f} s")
    return with_compiler if pays else plan


def _seconds(plan: Plan) -> float:
    """Return how long an update takes."""
    with reproducible(plan.recipe.run.seed, plan.recipe.run.threads), compiling():
        made = assemble(plan)
        with closing(_batches(made)) as batches:
            steps = _steps(plan, made, batches)
            for _ in range(WARM_UP):
                float(next(steps).loss)
            begun, done = time.perf_counter(), 0
            while not done or time.perf_counter() - begun < SECONDS:
                float(next(steps).loss)  # which waits for the device
                done += 1
            return (time.perf_counter() - begun) / done


def _batches(made: Assembled) -> Generator[Any]:
    """Yield the batches of one epoch after the other."""
    yield from chain.from_iterable(made.train.epoch(number) for number in count())


def _steps(plan: Plan, made: Assembled, batches: Iterator[Any]) -> Iterator[Step]:
    train = plan.recipe.train
    made.model.train()
    return train_steps(
        made.to_train, batches, plan.objective, made.optimizer,
        precision=Precision.of(train.precision, plan.device), accumulate=train.accumulate,
        max_grad_norm=train.max_grad_norm, max_grad_value=train.max_grad_value, micro_batch=train.micro_batch,
    )  # fmt: skip
