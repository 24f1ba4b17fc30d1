"""Sees what several processes tell one another: sums, gathered values and messages, apart from those of gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import distributed

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch

TELLING = (  # what a process learns of another's numbers by; from a broadcast it learns those of one alone
    *("all_reduce", "reduce", "reduce_scatter", "reduce_scatter_tensor", "all_to_all", "all_to_all_single"),
    *("all_gather", "all_gather_into_tensor", "all_gather_object", "gather", "gather_object", "all_gather_coalesced"),
    *("all_reduce_coalesced", "send", "recv", "isend", "irecv", "batch_isend_irecv", "send_object_list"),
)


class Collectives:
    """The sensor of what processes exchange outside of passes that train."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def install(self) -> None:
        if not distributed.is_available():
            return
        from torch.distributed import distributed_c10d

        for name in TELLING:
            original = getattr(distributed_c10d, name, None)
            if original is None:
                continue
            self.watch.wrap(distributed_c10d, name, before=self._told)
            wrapper = getattr(distributed_c10d, name)
            if getattr(distributed, name, None) is original:
                self.watch._replace(distributed, name, lambda _, wrapper=wrapper: wrapper)

    def _told(self, *_: Any, **__: Any) -> None:
        reading = self.watch.loaders._reading()
        self.watch.record.exchanges += reading is None or not reading.backwards

    def conclude(self) -> None:
        """Nothing is left over."""


def processes() -> int:
    """Return the number of processes that train together."""
    there = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if there else 1
