"""Adam, AdamW, norms and averages by PyTorch's own kernels, without what surrounds them: the same bits, in half the time of a small step.

Only the usual case is done here. Anything else (a closure, float16's scaler, amsgrad, several devices) is left to PyTorch. This is the one file
that calls what PyTorch keeps for itself; the tests compare each call with the public way.
"""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.optim.optimizer as hooks
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

if TYPE_CHECKING:
    Work = list[tuple[dict[str, Any], list[Tensor], list[dict[str, Tensor]]]]


EXPONENTIAL = get_ema_multi_avg_fn().__qualname__  # of the function that PyTorch makes: it needs no count of updates
DISABLED = "__dynamo_disable"  # where PyTorch keeps what it calls instead of a method, once it has made it


class FusedAdam(Adam):
    """`torch.optim.Adam` with `fused=True`, of parameters that all are of one device and type."""

    kernel: Callable[..., None] = staticmethod(torch._fused_adam_)

    def zero_grad(self, set_to_none: bool = True) -> None:
        if not set_to_none:
            return super().zero_grad(set_to_none)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        return None

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return _step_told(self, closure) if _is_watched(self) else _step(self, closure)

    vars(step)["hooked"] = True  # so that PyTorch wraps nothing around it, which serves hooks and profilers


class FusedAdamW(FusedAdam, AdamW):
    """`torch.optim.AdamW` with `fused=True`, of parameters that all are of one device and type."""

    kernel = staticmethod(torch._fused_adamw_)


def _is_watched(optimizer: Optimizer) -> bool:
    """Whether somebody wants to know of each step."""
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or hooks._global_optimizer_pre_hooks
        or hooks._global_optimizer_post_hooks
        or torch.autograd._profiler_enabled()
    )


def _step(optimizer: FusedAdam, closure: Callable[[], Any] | None = None) -> Any:
    work = None if closure else _usual(optimizer)
    if work is None:
        return _torch_step(type(optimizer))(optimizer, closure)
    for group, parameters, states in work:
        steps = [state["step"] for state in states]
        with torch.no_grad():
            torch._foreach_add_(steps, 1)
            optimizer.kernel(
                parameters,
                [parameter.grad for parameter in parameters],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=group["maximize"],
            )
    return None


_step_told = Optimizer.profile_hook_step(_step)


def _usual(optimizer: Optimizer) -> Work | None:
    """Return what to update, group by group; None if anything about it is unusual."""
    if getattr(optimizer, "found_inf", None) is not None or getattr(optimizer, "grad_scale", None) is not None:
        return None
    work: Work = []
    for group in optimizer.param_groups:
        if group["amsgrad"] or group["capturable"] or group["differentiable"] or not group["fused"]:
            return None
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if parameters:
            work.append((group, parameters, [_state(optimizer, parameter) for parameter in parameters]))
    return work


def _state(optimizer: Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    state = optimizer.state[parameter]
    if not state:
        if parameter.grad is not None and parameter.grad.is_sparse:
            raise RuntimeError("Adam does not support sparse gradients, please consider SparseAdam instead")
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    return state


def _torch_step(kind: type[FusedAdam]) -> Callable[..., Any]:
    """Return PyTorch's own step, without what it may have wrapped around it for hooks."""
    step: Any = super(FusedAdam, kind).step
    while getattr(step, "hooked", False):
        step = step.__wrapped__
    return step


def total_norm(gradients: list[Tensor]) -> Tensor:
    """Return the L2 norm of all these together: (). As `torch.nn.utils.get_total_norm`."""
    if not _alike(gradients):
        return get_total_norm(gradients)
    with torch.no_grad():
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


def scale_down(gradients: list[Tensor], max_norm: float, norm: Tensor) -> None:
    """Scale them to at most this L2 norm, in place. As `torch.nn.utils.clip_grads_with_norm_`.

    Args:
        norm: () of all together, as they are now.
    """
    with torch.no_grad():
        factor = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
        if _alike(gradients):
            torch._foreach_mul_(gradients, factor)
        else:
            for gradient in gradients:
                gradient.mul_(factor.to(gradient.device))


def _alike(tensors: list[Tensor], kind: type[Tensor] = Tensor) -> bool:
    kinds = {(type(tensor), tensor.device, tensor.dtype) for tensor in tensors}
    return len(kinds) == 1 and next(iter(kinds))[0] is kind


def averaging(average: AveragedModel, model: nn.Module) -> Callable[[], None]:
    """Return what `average.update_parameters(model)` does, for many steps in which no parameter is exchanged.

    PyTorch's walks through both models each time, and copies its count of updates to their device, which waits for it.
    """
    averaged: list[Tensor] = list(average.module.parameters())
    current: list[Tensor] = list(model.parameters())
    blend = average.multi_avg_fn
    usual = (
        type(average) is AveragedModel
        and not average.use_buffers
        and getattr(blend, "__qualname__", "") == EXPONENTIAL
        and len(averaged) == len(current)
        and _alike([*averaged, *current], nn.Parameter)
    )
    has_buffers = any(True for _ in average.module.buffers())

    def update() -> None:
        if not usual or blend is None or not average.n_averaged:  # the first is a copy
            average.update_parameters(model)
            return
        with torch.no_grad():
            blend(averaged, current, average.n_averaged)
            if has_buffers:  # looked up each time, since a model may put others in their places
                for own, other in zip(average.module.buffers(), model.buffers(), strict=True):
                    own.copy_(other)
            average.n_averaged += 1

    return update


def spare_compiler() -> None:
    """Have PyTorch's optimizers be made without importing its compiler, which takes as long as importing PyTorch does.

    They import it to keep it out of some of their methods. While nobody else has, there is nothing to keep out.
    """
    for method in vars(Optimizer).values():
        wrapped = method
        while (plain := getattr(wrapped, "__wrapped__", None)) is not None:  # somebody may have wrapped it again
            code = getattr(wrapped, "__code__", None)
            if code is not None and code.co_filename.endswith("_compile.py") and not hasattr(plain, DISABLED):
                setattr(plain, DISABLED, _until_compiled(wrapped, plain))
            wrapped = plain


def _until_compiled(wrapped: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return plain(*arguments, **options)
        vars(plain).pop(DISABLED, None)  # from now on as PyTorch has it
        return wrapped(*arguments, **options)

    return call
