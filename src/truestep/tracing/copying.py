"""A copy to try things on, so that a model and its optimizer stay exactly as they are."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

from torch.nn.parameter import UninitializedParameter

from truestep import distributed
from truestep.code import told
from truestep.errors import InputError
from truestep.nest import tensors_of

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

OptimizerT = TypeVar("OptimizerT", bound="Optimizer | None")


def copied(model: nn.Module, optimizer: OptimizerT) -> tuple[nn.Module, OptimizerT]:
    """Return copies of both, the optimizer's of the copy's parameters; neither shares a tensor with what it came from.

    Args:
        model: compiled or wrapped for several processes, the bare module in it is meant.
        optimizer: of its parameters, or None.

    Raises:
        InputError: the model holds something that can't be copied.
    """
    bare = distributed.unwrap(model)
    if any(isinstance(parameter, UninitializedParameter) for parameter in bare.parameters()):
        raise InputError(
            f"model '{type(bare).__name__}': expected layers that know their sizes, found lazy ones. Call it once before."
        )
    memo: dict[int, Any] = {}
    for module in bare.modules():
        for tensor in tensors_of(vars(module)):
            if not tensor.is_leaf:  # kept from an earlier forward; torch copies leaves only
                memo[id(tensor)] = tensor.detach().clone()
    try:
        return deepcopy(bare, memo), _optimizer(optimizer, memo)
    except Exception as error:
        raise InputError(
            f"model '{type(bare).__name__}': expected one that can be copied, for a trace works on a copy; {told(error)}."
        ) from error


def _optimizer(optimizer: OptimizerT, memo: dict[int, Any]) -> OptimizerT:
    if optimizer is None:
        return optimizer
    # Not deepcopy of the whole: that keeps what torch's own optimizers have, and a class of one's own may have more.
    copy: Any = object.__new__(type(optimizer))
    for name, value in vars(optimizer).items():
        if name.endswith("_hooks"):
            setattr(copy, name, OrderedDict())
        elif name != "step":  # a schedule puts one there that counts for it
            setattr(copy, name, deepcopy(value, memo))
    return copy
