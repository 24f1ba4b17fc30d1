"""Where the numbers are computed, in which format, and how to compute the same ones again."""

from __future__ import annotations

import os
import random
import sys
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from truestep.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
COMPILER = "torch._inductor.config"
DETERMINISTIC = {  # what is read from the environment, once, at the start of
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS
    "TORCHINDUCTOR_DETERMINISTIC": "1",  # torch's compiler
}
LAYOUTS = ("contiguous", "channels-last")
SMALL_MODEL = 1_000_000  # parameters; below it a second thread costs more in waiting than it computes


def choose(device: str | torch.device = "auto") -> torch.device:
    """Return the device of that name; "auto" is the first CUDA GPU, else Apple's, else the CPU.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1" or "mps". Under torchrun "cuda" is the GPU of this process.

    Raises:
        InputError: there is no such device here.
    """
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    here = [*gpus, *mps, "cpu"]
    name = str(device)
    if name == "auto":
        name = "cuda" if gpus else here[0]
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if name not in here:
        hint = did_you_mean(str(device), ["auto", *(["cuda"] if gpus else []), *here])
        raise InputError(f"device: expected auto or one that is here ({', '.join(here)}), found '{device}'.{hint}")
    return torch.device(name)


def widest(device: torch.device) -> torch.dtype:
    """Return the widest float of a device, in which sums are kept: float64, but for Apple's GPUs."""
    return torch.float32 if device.type == "mps" else torch.float64


@dataclass
class Precision:
    """A number format for the forward pass. With float32 both halves do nothing, so the loop needs no `if`."""

    dtype: torch.dtype = torch.float32  # float32, bfloat16 or float16; weights and optimizer stay in float32
    device: str = "cpu"  # "cpu", "cuda" or "mps"
    scaler: GradScaler = field(init=False)  # float16 alone underflows; the scaler is inert for the others

    def __post_init__(self) -> None:
        self.scaler = GradScaler(self.device, enabled=self.dtype is torch.float16)

    def autocast(self) -> AbstractContextManager[object]:
        return nullcontext() if self.dtype is torch.float32 else torch.autocast(self.device, self.dtype)

    @classmethod
    def of(cls, precision: str | Precision, device: torch.device | str = "cpu") -> Precision:
        """Return the precision called "fp32", "bf16" or "fp16" on `device`; one that is made already stays as it is."""
        if isinstance(precision, Precision):
            return precision
        if precision not in DTYPES:
            hint = did_you_mean(precision, DTYPES)
            raise InputError(f"precision: expected one of {', '.join(DTYPES)}, found '{precision}'.{hint}")
        return cls(DTYPES[precision], torch.device(device).type)


FLOAT32 = Precision()


def choose_layout(device: torch.device, precision: str, *, convolves: bool) -> str:
    """Return how images and their weights lie in memory: "channels-last" where that makes convolutions faster.

    Args:
        device: to compute on. A GPU has units for it in the short formats only.
        precision: "fp32", "bf16" or "fp16".
        convolves: whether the model is known to be made of convolutions.
    """
    faster = device.type == "cpu" or (device.type == "cuda" and precision != "fp32")
    return "channels-last" if convolves and faster else "contiguous"


def lay_out(model: nn.Module, layout: str) -> None:
    """Give the weights of a model a layout in memory. What convolutions return then has it too, whatever they are given.

    Raises:
        InputError: "channels-last" for a model without weights of four dimensions, or with some of five.
    """
    if layout == "contiguous":
        return
    dimensions = {weight.dim() for weight in model.parameters()}
    if 4 not in dimensions or 5 in dimensions:
        raise InputError("model.layout: expected convolutions of images for channels-last, found a model without them.")
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # its stub leaves this one out


def compiled(model: nn.Module, *, lengths_vary: bool) -> nn.Module:
    """Return the model as PyTorch compiles it, at its first call; its weights are those of `model`.

    Left to itself, the compiler makes kernels for any shape once it has seen a second one: the bits would depend on
    which batch came first, and with it on where a run was stopped.

    Args:
        model: to train.
        lengths_vary: whether there are more shapes than worth kernels of their own.
    """
    return cast("nn.Module", torch.compile(model, dynamic=lengths_vary))


@contextmanager
def compiling() -> Generator[None]:
    """Say in one line that a model can't be compiled, which shows at its first call only.

    Raises:
        InputError: the compiler failed.
    """
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"run.compile: this model can't be compiled here ({reason}). Leave it out.") from error


@contextmanager
def reproducible(seed: int, threads: int, *, deterministic: bool = True) -> Generator[None]:
    """Make a run a function of its seed, and leave everything as it was found.

    Args:
        seed: of the global generators of torch, numpy and random.
        threads: that torch computes with on the CPU. The last bits of a sum depend on how many there are.
        deterministic: use algorithms that give the same bits every time. An operation that has none warns.
    """
    threads_before = torch.get_num_threads()
    mode_before, compiler_before = torch.get_deterministic_debug_mode(), _compiler_is_deterministic()
    environment_before = {name: os.environ.get(name) for name in DETERMINISTIC}
    with preserved_rng():
        try:
            torch.set_num_threads(threads)
            if deterministic:
                # What `torch.use_deterministic_algorithms` does, but for its import of the compiler, which takes a second.
                torch.set_deterministic_debug_mode("warn")
                _make_compiler_deterministic(mode=True)
                for name, value in DETERMINISTIC.items():
                    os.environ.setdefault(name, value)
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002  a user's data set may draw from the global generator
            random.seed(seed)
            yield
        finally:
            torch.set_num_threads(threads_before)
            torch.set_deterministic_debug_mode(mode_before)
            _make_compiler_deterministic(mode=compiler_before)
            for name, value in environment_before.items():
                if value is None:
                    os.environ.pop(name, None)


def _compiler_is_deterministic() -> bool:
    """Return what torch's compiler is set to; what it will be, where nothing has imported it yet."""
    config = sys.modules.get(COMPILER)
    return os.environ.get("TORCHINDUCTOR_DETERMINISTIC") == "1" if config is None else config.deterministic


def _make_compiler_deterministic(*, mode: bool) -> None:
    """Set torch's compiler, if something has imported it; if that comes later, the environment tells it."""
    config: Any = sys.modules.get(COMPILER)
    if config is not None:
        config.deterministic = mode


def sum_of_bits(tensors: Iterable[Tensor]) -> int:
    """Return a number that tells nearly any two sets of tensors apart, and is read from the device once.

    It is a sum of integers, which is the same in whatever order a device adds them.
    """
    sums: list[Tensor] = []
    for tensor in tensors:
        words = tensor.detach().contiguous().reshape(-1).view(INTEGERS[tensor.element_size()])
        sums.append(words.sum(dtype=torch.int64))
    total = 0
    for number in torch.stack(sums).tolist() if sums else ():
        total = (total * 1_000_003 + number) % 2**64  # so that it matters which tensor has which sum
    return total


def drawn(device: torch.device) -> list[Tensor]:
    """Return the states of the generators that a forward pass on a device draws from: of dropout, for instance."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def draw_again(states: list[Tensor], device: torch.device) -> None:
    """Put generators back to what `drawn` returned."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


@contextmanager
def preserved_rng() -> Generator[None]:
    """Leave the global generators of torch, numpy and random as they were found."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=gpus):
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


def choose_threads(num_parameters: int, requested: int = 0) -> tuple[int, str]:
    """Return how many CPU threads to compute with, and the reason in a few words.

    Args:
        num_parameters: of the model.
        requested: by the user, or chosen when the run began; 0 leaves the choice to us.
    """
    if requested < 0:
        raise InputError(f"threads: expected 0 (choose for me) or more, found {requested}.")
    if requested:
        return requested, "as chosen"
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads(), "OMP_NUM_THREADS is set"
    if num_parameters < SMALL_MODEL:
        return 1, f"a model of {num_parameters:,} parameters is faster on one"
    return torch.get_num_threads(), "torch's own choice"
