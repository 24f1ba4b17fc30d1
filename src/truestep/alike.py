"""Whether a state that was read from a file is one that a part of this run may take: anybody can write a file.

What it has to be like is read off the part as it is now; of an optimizer that has made no step yet, off what its steps keep.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer, SparseAdam

if TYPE_CHECKING:
    from collections.abc import Mapping

NUMBERS = (bool, int, float, Tensor)
MAY_BE_NONE = "splitting.size"  # of batches that go through the model in one piece


def check_alike(saved: Any, fresh: Any, where: str, *, exact: bool) -> None:
    """Raise TypeError, KeyError or ValueError unless a state has what the part has now, in its types.

    An earlier one may not have all of it yet: nothing of any weight, or not of each, which optimizers number.

    Args:
        saved: the state that was read.
        fresh: what the part has now.
        where: it is, for messages.
        exact: whether lists keep their lengths, tensors their types, and numbers stay numbers: not so in parts of a user's own.
    """
    if isinstance(fresh, dict) and isinstance(saved, dict):
        for name, value in cast("dict[Any, Any]", fresh).items() if saved != {} else ():
            if isinstance(name, str) or name in saved:
                check_alike(saved[name], value, f"{where}.{name}", exact=exact)
    elif isinstance(fresh, list | tuple) and isinstance(saved, list | tuple):
        for item, value in zip(cast("list[Any]", saved), cast("list[Any]", fresh), strict=exact):
            check_alike(item, value, where, exact=exact)
    elif fresh is None or (saved is None and not exact):
        return
    elif saved is not None or not (isinstance(fresh, bool) or where == MAY_BE_NONE):
        is_rate = "lr" in where.rpartition(".")[2]  # which may be any kind of number
        kinds: Any = NUMBERS if isinstance(fresh, NUMBERS) else type(fresh)
        if exact and isinstance(fresh, bool):
            kinds = bool
        elif exact and not is_rate and isinstance(fresh, int | float):
            kinds = (bool, int, float)
        if not isinstance(saved, kinds):
            raise TypeError(f"{where}: expected {type(fresh).__name__}, found {type(saved).__name__}")
        found, expected = (_form(one, exact=exact) for one in (saved, fresh))
        if found != expected:
            raise TypeError(f"{where}: expected {expected}, found {found}")


def _form(value: Any, *, exact: bool) -> str:
    """Return in words what a tensor must be like to take the place of another; a single number may be of any type."""
    if not isinstance(value, Tensor) or not value.ndim:
        return "one value"
    return f"{str(value.dtype).removeprefix('torch.') if exact else 'a tensor'} of shape {tuple(value.shape)}"


def check_kept(saved: dict[str, Any], optimizer: Optimizer, where: str) -> None:
    """Raise TypeError, KeyError or ValueError unless what is saved of each weight is what a step of this optimizer keeps of it.

    One that has made no step yet has nothing to compare with, and takes anything: its kernels would rely on it.
    """
    numbers = [group["params"] for group in optimizer.state_dict()["param_groups"]]
    if [group["params"] for group in saved["param_groups"]] != numbers:
        raise TypeError(f"{where}: expected the weights in another order")
    for group in saved["param_groups"]:
        for name, value in group.items():
            if isinstance(value, Tensor) and value.ndim:
                raise TypeError(f"{where}.{name}: expected one value, found a tensor of shape {tuple(value.shape)}")
    kept, weights = _kept_by_a_step(optimizer, saved["param_groups"]), sum(map(len, numbers))
    for number, state in saved["state"].items():
        if type(number) is not int or not 0 <= number < weights or not isinstance(state, dict):
            raise TypeError(f"{where}.state: expected what is kept of each weight, found {number!r}")
        if isinstance(optimizer, LBFGS):
            kept[number] = _kept_by_lbfgs(optimizer, state)
        fresh = kept.get(number, {})
        if missing := fresh.keys() - state.keys():
            raise TypeError(f"{where}.state.{number}: expected {', '.join(sorted(missing))}, found none")
        check_alike(state, fresh, f"{where}.state.{number}", exact=True)
        for name, value in fresh.items():
            if isinstance(value, Tensor) and not isinstance(state[name], Tensor):
                raise TypeError(f"{where}.state.{number}.{name}: expected a tensor, found a number")


def _kept_by_a_step(optimizer: Optimizer, saved: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return, by the numbers of weights, what an optimizer of PyTorch's keeps of them, in tensors without values.

    Args:
        optimizer: which stays as it is.
        saved: its parameter groups, whose options say what is kept.
    """
    weights = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = {id(weight): number for number, weight in enumerate(weights)}
    options = [{name: value for name, value in group.items() if name != "params"} for group in saved]
    kept: dict[int, dict[str, Any]] = {}
    for part in [own for own in vars(optimizer).values() if isinstance(own, Optimizer)] or [optimizer]:
        kinds = [kind for kind in type(part).__mro__ if kind.__module__.startswith("torch.optim")]
        if not type(part).__module__.startswith(("torch.optim", "truestep.")):  # whose steps nobody knows
            continue
        if kinds[0] is SparseAdam:  # there are no sparse gradients without values
            kept |= {n: {"step": 0, "exp_avg": w, "exp_avg_sq": w} for n, w in enumerate(weights)}
            continue
        again, stand_ins = copy(part), dict[int, Tensor]()
        again.state, again.param_groups = defaultdict(dict), []
        for group in part.param_groups:
            places = [numbers[id(weight)] for weight in group["params"]]
            for place in places:
                stand_ins[place] = torch.empty_like(weights[place], device="meta", requires_grad=False)
                stand_ins[place].grad = torch.empty_like(stand_ins[place])
            number = next(n for n, known in enumerate(saved) if known["params"] == places)
            usual = {"params": [stand_ins[place] for place in places], "foreach": False, "fused": False}
            again.param_groups.append({**group, **options[number], **usual})
        step: Any = kinds[0].step
        with suppress(Exception), torch.no_grad():  # one that asks for values has made room for them by then
            getattr(step, "__wrapped__", step)(again)  # unseen by those who watch steps
        kept |= {place: dict(again.state[stand_in]) for place, stand_in in stand_ins.items()}
    return kept


def _kept_by_lbfgs(optimizer: LBFGS, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what L-BFGS keeps, with as many steps remembered as there are in a state."""
    if not state.get("n_iter"):
        return {"func_evals": 0, "n_iter": 0} if state else {}
    (group,) = optimizer.param_groups
    weights: list[Tensor] = group["params"]
    flat = torch.empty(sum(weight.numel() for weight in weights), dtype=weights[0].dtype, device="meta")
    one, remembered, al = flat.sum(), len(state["old_dirs"]), state.get("al", [])
    numbers = {name: one if isinstance(state.get(name), Tensor) else 1.0 for name in ("t", "H_diag", "prev_loss")}
    lists: dict[str, Any] = {"old_dirs": [flat] * remembered, "old_stps": [flat] * remembered, "ro": [one] * remembered}
    if al or remembered:  # room for as many numbers as may be remembered, some of them not used yet
        lists["al"] = [item if item is None else one for item in al] + [one] * (group["history_size"] - len(al))
    return {"func_evals": 0, "n_iter": 0, "d": flat, "prev_flat_grad": flat, **numbers, **lists}
