"""Encoders turn raw rows into the inputs of a model. They are fitted on training rows only and travel with the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from truestep.data.arrays import ArrayEncoder
from truestep.data.images import ImageEncoder
from truestep.data.pixels import PixelEncoder
from truestep.data.sequences import SequenceEncoder
from truestep.data.tabular import TableEncoder
from truestep.data.targets import Target
from truestep.data.tokens import StreamEncoder, TextEncoder
from truestep.errors import RefusedError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

ENCODERS = {
    "table": TableEncoder,
    "pixels": PixelEncoder,
    "array": ArrayEncoder,
    "image": ImageEncoder,
    "text": TextEncoder,
    "stream": StreamEncoder,
    "sequence": SequenceEncoder,
}


class Encoder(Protocol):
    """What every encoder can do. Its JSON gives back the same encoder, bit for bit."""

    @property
    def id_column(self) -> str | None: ...

    @property
    def spec(self) -> dict[str, Any]:
        """What the inputs look like, for choosing and building a model."""
        ...

    def read(self, source: Any) -> Any:
        """Return rows to predict, of whatever a user may give, in the order in which they are given."""
        ...

    def encode(self, raw: Any) -> Any:
        """Return the inputs of all rows: a nest of tensors and `Store`s."""
        ...

    def prepare(self, inputs: Any) -> Any:
        """Return a batch of inputs as the model takes it, on the device where it is; most need nothing."""
        ...

    def encode_labelled(self, source: Any, target: Target) -> Any:
        """Return the examples of labelled rows, as `Batches` takes them."""
        ...

    def ids(self, raw: Any) -> pl.DataFrame | None:
        """Return what tells people which row is which, beside its prediction."""
        ...

    def notes(self, raw: Any) -> list[str]:
        """Say where rows to predict hold what training rows did not, and what becomes of it."""
        ...

    def to_json(self) -> dict[str, Any]: ...


def encoder_from_json(content: dict[str, Any]) -> Encoder:
    """Return the encoder that `to_json` described.

    Raises:
        RefusedError: the description is damaged, or from a truestep that knows more kinds.
    """
    try:
        kind = content["kind"]
        if kind in ENCODERS:
            return ENCODERS[kind].from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RefusedError(f"encoder: the description is damaged ({type(error).__name__}: {error}).") from None
    raise RefusedError(
        f"encoder: expected one of {', '.join(ENCODERS)}, found '{kind}'.{did_you_mean(str(kind), ENCODERS)}"
    )
