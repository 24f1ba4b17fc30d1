"""A batch that does not fit into memory goes through the model in pieces, with the same gradient to rounding.

The loss is a sum over the pieces divided by the count of the whole update, so nothing depends on how many there are. It
does in layers that look at the batch as a whole (batch norm) or draw their random numbers in its order (dropout): these
are named, and the user is asked.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from truestep import distributed, dropout
from truestep.dropout import KeyedDropout
from truestep.errors import InputError
from truestep.nest import map_tensors, tensors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

HIDDEN = (  # what else says that memory is out; the oneDNN library does not say it at all
    "can't allocate memory",
    "bad_alloc",
    "could not create a primitive",
    "could not create a memory object",
    "could not execute a primitive",
    "out of memory",
)


class Splitting:
    """How many examples of a batch go through the model at a time.

    Args:
        size: examples; "auto" begins with whole batches and halves what does not fit; None always takes whole batches.
    """

    def __init__(self, size: int | str | None) -> None:
        if not (size is None or size == "auto" or (isinstance(size, int) and size >= 1)):
            raise InputError(f"micro_batch: expected a number of at least 1 or auto, found {size!r}.")
        if size == "auto" and distributed.world_size() > 1:
            raise InputError("micro_batch: auto can't be used in several processes, which must agree. Give a number.")
        self.auto = size == "auto"
        self.size = size if isinstance(size, int) else None
        self.keyed = False  # whether layers of the model draw by key

    @classmethod
    def of(cls, size: int | str | Splitting | None, model: nn.Module) -> Splitting:
        """Return the splitting of that size, or one that is made already, for a model."""
        splitting = size if isinstance(size, Splitting) else cls(size)
        splitting.keyed = any(isinstance(module, KeyedDropout) for module in model.modules())
        return splitting

    def pieces(self, pairs: list[tuple[Any, Any]], step: int) -> Iterable[tuple[Any, Any, bool]]:
        """Return the (inputs, targets) of an update in pieces, each with whether it is the last.

        While a piece is used, layers that draw by key know which examples of which update it is.
        """
        if self.size is None and not self.keyed:
            return [(*pair, pair is pairs[-1]) for pair in pairs]
        return self._in_pieces(pairs, step)

    def _in_pieces(self, pairs: list[tuple[Any, Any]], step: int) -> Iterator[tuple[Any, Any, bool]]:
        ahead = 0
        for number, (inputs, targets) in enumerate(pairs, start=1):
            count = _examples(inputs, targets)
            size = self.size or max(count, 1)
            for begin in range(0, max(count, 1), size):
                end, piece = min(begin + size, count), slice(begin, begin + size)
                last = number == len(pairs) and end == count
                with dropout.at(step, ahead + begin, end - begin):
                    if size >= count:
                        yield inputs, targets, last
                    else:
                        yield _cut(piece, inputs), _cut(piece, targets), last
            ahead += count

    def within_memory(
        self,
        compute: Callable[[], Tensor],
        model: nn.Module,
        pairs: list[tuple[Any, Any]],
        undo: Callable[[], None],
    ) -> Tensor:
        """Return what `compute` returns, if need be in smaller pieces; `undo` takes back what it changed until it failed.

        Raises:
            InputError: memory ran out, and smaller pieces were not asked for, or are no way out.
        """
        while True:
            try:
                return compute()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                words = str(error)
            self._shrink(words, model, pairs)  # here, where nothing holds on to the graph that did not fit
            undo()

    def _shrink(self, error: str, model: nn.Module, pairs: list[tuple[Any, Any]]) -> None:
        largest = max(_examples(*pair) for pair in pairs)
        tried = min(self.size or largest, largest)
        told = f"out of memory with {tried} example{'s' * (tried != 1)} at a time ({' '.join(error.split())[:120]})"
        if not self.auto:
            raise InputError(f"{told}. Try --micro-batch auto, or a smaller --batch-size.")
        if tried == 1:
            raise InputError(f"{told}. A smaller model is needed.")
        if names := bound_to_batches(model):
            raise InputError(
                f"{told}. In pieces, {', '.join(names[:3])}{' and more' * (len(names) > 3)} would compute something else. "
                f"If you accept that: --micro-batch {tried // 2}. Dropout can be keyed: --train.keyed-dropout."
            )
        self.size = -(-tried // 2)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def state_dict(self) -> dict[str, int | None]:
        return {"size": self.size}

    def load_state_dict(self, state: dict[str, int | None]) -> None:
        size = state["size"]
        if size is not None and (type(size) is not int or size < 1):
            raise TypeError(f"expected a number of examples, found {size!r}")
        self.size = size


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, whatever the error is called."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in HIDDEN)


def bound_to_batches(model: nn.Module) -> list[str]:
    """Return the names of layers whose outputs depend on how examples are cut into batches, in training mode."""
    return [
        f"'{name}' ({type(module).__name__})"
        for name, module in model.named_modules()
        if module.training and _is_bound(module)
    ]


def _is_bound(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
        return True
    if isinstance(module, KeyedDropout):
        return False
    if isinstance(module, nn.modules.dropout._DropoutNd):  # pyright: ignore[reportPrivateUsage]
        return module.p > 0
    if isinstance(module, nn.RNNBase):
        return module.dropout > 0 and module.num_layers > 1
    return isinstance(module, nn.MultiheadAttention) and module.dropout > 0


def _examples(inputs: Any, targets: Any) -> int:
    """Return how many examples there are; 1 if the parts disagree, which can't be cut."""
    lengths = {len(tensor) if tensor.ndim else 1 for tensor in tensors_of((inputs, targets))}
    return lengths.pop() if len(lengths) == 1 else 1


def _cut(piece: slice, nest: Any) -> Any:
    return map_tensors(lambda tensor: tensor[piece], nest)
