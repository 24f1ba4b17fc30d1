"""Which optimizer, which of its weights decay, and how the learning rate changes from step to step.

Schedules are plain functions from a step to a factor of the learning rate, each readable on its own. They are counted
in optimizer steps and stepped after each one, so step 0 is the first update.
"""

from __future__ import annotations

import math
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adam, AdamW, Muon, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from truestep.code import is_code, load_code
from truestep.errors import InputError, did_you_mean
from truestep.fused import FusedAdam, FusedAdamW, spare_compiler
from truestep.patterns import check_patterns, matches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OPTIMIZERS = {
    "sgd": "stochastic gradient descent with momentum",
    "adam": "adaptive steps per weight (Kingma and Ba 2015); weight decay is an L2 penalty",
    "adamw": "Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019)",
    "rmsprop": "gradients divided by their recent size (Tieleman and Hinton 2012)",
    "lbfgs": "quasi-Newton with line search; for small data in one batch",
    "muon": "orthogonalised momentum for hidden matrices (Jordan et al. 2024), AdamW for the rest",
}
DEFAULT_LR = {"sgd": 0.05, "adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3, "lbfgs": 1.0, "muon": 3e-3}
DEFAULT_WEIGHT_DECAY = {"adamw": 0.3, "muon": 0.01}  # 0 for the others, as in PyTorch
FUSED_DEVICES = ("cpu", "cuda")  # one kernel for all weights instead of several for each


def parameter_groups(
    model: nn.Module, weight_decay: float, lrs: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Return groups for an optimizer: matrices and larger tensors decay, biases and norms do not.

    Frozen parameters are there too, so that they can be unfrozen later; without a gradient, no optimizer moves them.
    Tied ones come once, and the order is that of `model.parameters()`.

    Args:
        model: whose parameters are meant.
        weight_decay: of those that decay.
        lrs: learning rates by patterns of names, such as {"stages.*": 1e-4}; of several that match, the first. Each
            has groups of its own, after those of the optimizer's own rate.
    """
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    rates = list((lrs or {}).items())
    for name, parameter in model.named_parameters():
        place = next((place for place, (pattern, _) in enumerate(rates) if matches(name, pattern)), -1)
        decays = parameter.ndim >= 2
        group = groups.setdefault((place, not decays), {"params": [], "weight_decay": weight_decay if decays else 0.0})
        group["params"].append(parameter)
        if place >= 0:
            group["lr"] = rates[place][1]
    return [groups[key] for key in sorted(groups)]


class MuonWithAdamW(Optimizer):
    """Muon for the first parameter groups, AdamW for the others, as one optimizer with one learning rate.

    Muon's steps are scaled to the size of AdamW's, so that both can share it (Liu et al. 2025, "Muon is scalable for
    LLM training", section 2.2).
    """

    def __init__(
        self, groups: list[dict[str, Any]], *, lr: float, momentum: float, num_muon: int = 1, **adamw: Any
    ) -> None:
        self.num_muon = num_muon
        self.muon = Muon(groups[:num_muon], lr=lr, momentum=momentum, adjust_lr_fn="match_rms_adamw")
        self.adamw = AdamW(groups[num_muon:], lr=lr, **adamw)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        with torch.enable_grad():
            loss = closure() if closure else None
        muon, adamw = self.param_groups[: self.num_muon], self.param_groups[self.num_muon :]
        for part, groups in ((self.muon, muon), (self.adamw, adamw)):
            part.state, part.param_groups = self.state, groups  # ours may have come from a checkpoint since
            part.step()
        return loss


def build_optimizer(
    name: str,
    model: nn.Module,
    *,
    lr: float | None = None,
    weight_decay: float | None = None,
    momentum: float = 0.9,
    nesterov: bool = False,
    lrs: Mapping[str, float] | None = None,
    args: Mapping[str, Any] | None = None,
) -> Optimizer:
    """Return an optimizer of the parameters of `model`, on the device where they are now.

    Frozen parameters are among them, so that they can be unfrozen later; until then none of them moves or decays.

    Args:
        name: one of `OPTIMIZERS`, or "package.module:Class", or "file.py:Class".
        model: whose biases and norms will not decay.
        lr: None is the optimizer's own, in `DEFAULT_LR`.
        weight_decay: None is the optimizer's own, in `DEFAULT_WEIGHT_DECAY`.
        momentum: of sgd and muon.
        nesterov: of sgd.
        lrs: learning rates of some parameters, by patterns of their names or of their modules' names, such as
            {"stages.*": 1e-4}; of several that match, the first. The others have `lr`.
        args: anything else that the optimizer's class takes, such as betas; they win.

    Raises:
        InputError: the name is unknown, a number is out of range, a pattern is for no parameter, or there is nothing
            to train.
    """
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]  as people write it for torch's own
        raise InputError(
            f"model: expected the model itself, found {type(model).__name__}. Its parameters are taken from it."
        )
    _check_number("lr", lr, or_zero=False)
    for pattern, rate in (lrs or {}).items():
        _check_number(f"optimizer.lrs.{pattern}", rate, or_zero=False)
    check_patterns(model, lrs or {}, "optimizer.lrs")
    _check_number("weight_decay", weight_decay, or_zero=True)
    parameters = list(model.parameters())
    if not any(p.requires_grad for p in parameters):
        raise InputError("model: expected parameters to train, found none: all are frozen, or there are none.")

    spare_compiler()
    lr = DEFAULT_LR.get(name) if lr is None else lr
    decay = DEFAULT_WEIGHT_DECAY.get(name, 0.0) if weight_decay is None else weight_decay
    fused = all(p.is_floating_point() and p.device.type in FUSED_DEVICES for p in parameters)
    params: list[Any] = parameter_groups(model, decay, lrs)
    make: Callable[..., Optimizer]
    settings: dict[str, Any]
    match name:
        case "sgd":
            fused &= all(p.requires_grad for p in parameters)  # torch's fused SGD fails when one is unfrozen later
            make, settings = SGD, {"momentum": momentum, "nesterov": nesterov, "fused": fused}
        case "adam" | "adamw":
            alike = len({(p.device, p.dtype) for p in parameters}) == 1
            kinds = (FusedAdam, FusedAdamW) if fused and alike else (Adam, AdamW)
            make, settings = kinds[name == "adamw"], {"fused": fused}
        case "rmsprop":
            make, settings = RMSprop, {}
        case "lbfgs":
            if decay:
                raise InputError(f"weight_decay: lbfgs has none, found {decay}. Use adamw, or leave it out.")
            if lrs:
                raise InputError(
                    "optimizer.lrs: lbfgs has one learning rate for all weights. Use adamw, or leave it out."
                )
            make, settings = LBFGS, {"line_search_fn": "strong_wolfe"}
            params = parameters
        case "muon":
            params, num_muon = _hidden_first(model, params)
            make, settings = MuonWithAdamW, {"momentum": momentum, "fused": fused, "num_muon": num_muon}
        case _:
            make, settings = _optimizer_class(name), {}
            if weight_decay is None:  # its own, if it has any
                params = [{key: value for key, value in group.items() if key != "weight_decay"} for group in params]
                params = params if lrs else parameters
    if lr is not None:
        settings["lr"] = lr
    try:
        return make(params, **settings | dict(args or {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer '{name}': {error}") from error


def _hidden_first(model: nn.Module, groups: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Put the weights that Muon is for in groups before the others: matrices but embeddings and the output layer.

    Returns:
        The groups, and how many of them are for Muon.
    """
    matrices = [p for _, p in model.named_parameters(remove_duplicate=False) if p.ndim == 2]
    apart = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    apart |= {id(p) for p in matrices[-1:]}  # the last one makes the outputs, and may be an embedding too
    hidden = {id(p) for p in matrices} - apart
    if not any(p.requires_grad for p in matrices if id(p) in hidden):
        raise InputError("optimizer 'muon': expected hidden weight matrices, found none in this model. Use adamw.")
    muon = [group | {"params": [p for p in group["params"] if id(p) in hidden]} for group in groups]
    adamw = [group | {"params": [p for p in group["params"] if id(p) not in hidden]} for group in groups]
    muon, adamw = ([group for group in part if group["params"]] for part in (muon, adamw))
    return [*muon, *adamw], len(muon)


def _optimizer_class(name: str) -> Callable[..., Optimizer]:
    if not is_code(name):
        hint = did_you_mean(name, OPTIMIZERS)
        known = ", ".join(OPTIMIZERS)
        raise InputError(f"optimizer: expected one of {known}, or package.module:Class, found '{name}'.{hint}")
    found = load_code(name, "optimizer")
    if not (isinstance(found, type) and issubclass(found, Optimizer)):
        raise InputError(f"optimizer '{name}': expected a class derived from torch.optim.Optimizer, found {found!r}.")
    return found


def _check_number(name: str, value: float | None, *, or_zero: bool) -> None:
    if not isinstance(value, int | float | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"{name}: expected a number, found {value!r}.")
    if value is not None and not (math.isfinite(value) and (value > 0 or (or_zero and value == 0))):
        raise InputError(f"{name}: expected a number {'of at least' if or_zero else 'above'} 0, found {value}.")


def constant(step: int, *, total_steps: int, warmup_steps: int = 0) -> float:
    """Linear warm-up, then the learning rate stays."""
    del total_steps  # taken because the others do
    return min(1.0, (step + 1) / (warmup_steps + 1))


def cosine(step: int, *, total_steps: int, warmup_steps: int = 0, final_factor: float = 0.0) -> float:
    """Linear warm-up, then half a cosine down to `final_factor` (Loshchilov and Hutter 2017)."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * progress)) / 2


def one_cycle(step: int, *, total_steps: int, warmup_steps: int = 0) -> float:
    """Up from 1/25 on a cosine, and down to almost nothing (Smith and Topin 2019); warm-up is 30 % unless given."""
    peak, last = (warmup_steps or 0.3 * total_steps) - 1, total_steps - 1
    if step < peak:
        low, height = 1 / 25, step / peak
    else:
        low, height = 1 / 25 / 1e4, max(0.0, (last - step) / (last - peak))
    return low + (1 - low) * (1 - math.cos(math.pi * height)) / 2


def staircase(
    step: int, *, total_steps: int, warmup_steps: int = 0, step_size: int | None = None, gamma: float = 0.1
) -> float:
    """Linear warm-up, then times `gamma` after every `step_size` steps, a third of the run unless given."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    step_size = step_size or max(1, total_steps // 3)
    return gamma ** ((min(step, total_steps) - warmup_steps) // step_size)


def exponential(step: int, *, total_steps: int, warmup_steps: int = 0, final_factor: float = 0.01) -> float:
    """Linear warm-up, then times the same number every step, down to `final_factor`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return final_factor ** min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))


def polynomial(
    step: int, *, total_steps: int, warmup_steps: int = 0, final_factor: float = 0.0, power: float = 1.0
) -> float:
    """Linear warm-up, then down to `final_factor` as the `power` of what is left; 1 is a straight line."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    left = max(0.0, 1 - (step - warmup_steps) / (total_steps - warmup_steps))
    return final_factor + (1 - final_factor) * left**power


def warmup_stable_decay(
    step: int, *, total_steps: int, warmup_steps: int = 0, final_factor: float = 0.0, decay_fraction: float = 0.2
) -> float:
    """Linear warm-up, constant, then straight down in the last `decay_fraction` of the run (Hu et al. 2024)."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    decay_steps = min(decay_fraction * total_steps, total_steps - warmup_steps)
    left = min(1.0, max(0.0, (total_steps - step) / decay_steps))
    return final_factor + (1 - final_factor) * left


FACTORS: dict[str, Callable[..., float]] = {
    "constant": constant,
    "cosine": cosine,
    "one-cycle": one_cycle,
    "step": staircase,
    "exponential": exponential,
    "polynomial": polynomial,
    "wsd": warmup_stable_decay,
}
SCHEDULES = {name: (factor.__doc__ or "").partition("\n")[0] for name, factor in FACTORS.items()} | {
    "plateau": "Times `factor`, 0.1, when the watched metric has not improved for `patience`, 10, evaluations."
}


def build_schedule(
    name: str,
    optimizer: Optimizer,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    args: Mapping[str, float] | None = None,
    mode: Literal["min", "max"] = "min",
) -> LRScheduler:
    """Return a scheduler to step after each optimizer step, or for "plateau" after each evaluation, with its metric.

    Args:
        name: one of `SCHEDULES`.
        optimizer: whose learning rate, as it is now, is factor 1.
        total_steps: optimizer steps in the whole run; after them the factor stays.
        warmup_steps: of these, how many rise to factor 1.
        args: what else the function of that name in `FACTORS` takes; for "plateau", torch's `ReduceLROnPlateau`.
        mode: for "plateau", whether a lower ("min") or higher ("max") metric is better.

    Raises:
        InputError: the name or an argument is unknown or out of range.
    """
    if name not in SCHEDULES:
        hint = did_you_mean(name, SCHEDULES)
        raise InputError(f"schedule: expected one of {', '.join(SCHEDULES)}, found '{name}'.{hint}")
    if total_steps < 1:
        raise InputError(f"total_steps: expected at least 1, found {total_steps}.")
    if not 0 <= warmup_steps < total_steps:
        raise InputError(
            f"warmup_steps: expected 0 or more and fewer than the run's {total_steps} steps, found {warmup_steps}."
        )
    settings: dict[str, Any] = dict(args or {})
    _check_args(name, settings)
    if name in FACTORS:
        return LambdaLR(
            optimizer, partial(FACTORS[name], total_steps=total_steps, warmup_steps=warmup_steps, **settings)
        )
    if warmup_steps:
        raise InputError(
            f"warmup_steps: schedule 'plateau' has none, found {warmup_steps}. Use 0, or another schedule."
        )
    settings = {"threshold": 0.0, **settings}  # torch's own takes a slightly worse negative metric for a better one
    try:
        return ReduceLROnPlateau(optimizer, mode, **settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"schedule 'plateau': {error}") from error


def _check_args(name: str, args: dict[str, Any]) -> None:
    known = set(signature(FACTORS.get(name, ReduceLROnPlateau)).parameters)
    known -= {"step", "total_steps", "warmup_steps", "optimizer", "mode"}
    above_zero = {"step_size", "gamma", "power", "decay_fraction", "final_factor" if name == "exponential" else ""}
    for arg, value in args.items():
        if arg not in known:
            expected = ", ".join(sorted(known)) or "no arguments"
            raise InputError(f"schedule '{name}': expected {expected}, found '{arg}'.{did_you_mean(arg, known)}")
        if isinstance(value, int | float):
            _check_number(f"schedule '{name}', {arg}", value, or_zero=arg not in above_zero)
