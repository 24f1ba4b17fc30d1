"""Several processes as one: every function here does nothing when there is only one.

Started by `torchrun`, each process (rank) holds the whole model and sees its share of every batch. What a rank adds up
is summed over ranks before it is divided, so results do not depend on how many there are.
"""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from torch import Tensor, nn


@contextmanager
def processes(device: torch.device) -> Generator[None]:
    """Join the process group that `torchrun` described in the environment, and leave it at the end."""
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")  # counts live on the CPU
    try:
        yield
        # A process that leaves while another still sends, or while its wrapped model's threads live, dies of it.
        gc.collect()
        dist.barrier()
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this process is the one that writes files and talks."""
    return (rank() if dist.is_initialized() else int(os.environ.get("RANK", "0"))) == 0


def all_sum(tensor: Tensor) -> Tensor:
    """Return the sum of `tensor` over all ranks; the tensor itself is left alone."""
    if world_size() == 1:
        return tensor
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


def all_mean(tensor: Tensor) -> Tensor:
    """Return the mean of `tensor` over all ranks."""
    return all_sum(tensor) / world_size() if world_size() > 1 else tensor


def share(count: float | Tensor) -> float | Tensor:
    """Return the count of all ranks divided by how many they are.

    Ranks average their gradients; a loss divided by this share therefore gives the gradient of the sum over all ranks
    divided by the count over all ranks, however unevenly the batch was divided.
    """
    if world_size() == 1:
        return count
    # In double precision, like the number it is: a third of a count in single precision would be 4e-8 off.
    return all_mean(count if isinstance(count, torch.Tensor) else torch.tensor(count, dtype=torch.float64))


def agree_on_buffers(*modules: nn.Module) -> None:
    """Give every rank the buffers of the first, such as batch norm's, as the wrapped model does before each forward."""
    if world_size() > 1:
        for buffer in {id(buffer): buffer for module in modules for buffer in module.buffers()}.values():
            dist.broadcast(buffer, 0)


def is_wrapped(model: nn.Module) -> bool:
    """Whether the ranks of this model average their gradients: DDP, or parameters that are sharded over a mesh."""
    return any(isinstance(module, DistributedDataParallel) for module in model.modules()) or any(
        hasattr(parameter, "device_mesh") for parameter in model.parameters()
    )


def wait_for_all() -> None:
    """Return when every rank has come here."""
    if world_size() > 1:
        dist.barrier()


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank; asked by all at the same point, it keeps them in step."""
    return bool(all_sum(torch.tensor(float(flag)))) if world_size() > 1 else flag


def all_gather(tensor: Tensor) -> list[Tensor]:
    """Return the tensors of all ranks, in rank order; their sizes may differ along dimension 0."""
    if world_size() == 1:
        return [tensor]
    size = torch.tensor([len(tensor)], device=tensor.device)
    sizes = [torch.empty_like(size) for _ in range(world_size())]
    dist.all_gather(sizes, size)
    longest = int(max(int(size) for size in sizes))
    padded = tensor.new_zeros((longest, *tensor.shape[1:]))
    padded[: len(tensor)] = tensor
    gathered = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(gathered, padded)
    return [rows[: int(size)] for rows, size in zip(gathered, sizes, strict=True)]


def all_rows(tensor: Tensor) -> Tensor:
    """Return the rows of all ranks, one rank after the other."""
    return torch.cat(all_gather(tensor)) if world_size() > 1 else tensor


def wrap(model: nn.Module) -> nn.Module:
    """Return `model` ready to average its gradients over ranks."""
    if world_size() == 1:
        return model
    return DistributedDataParallel(model)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's own module, without what averages its gradients or was compiled of it."""
    model = getattr(model, "_orig_mod", model)
    return model.module if isinstance(model, DistributedDataParallel) else model


def synced(model: nn.Module, *, now: bool) -> AbstractContextManager[None]:
    """Average gradients over ranks only in the backward for which `now` is true."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) and not now else nullcontext()
