"""From files, folders, arrays and bundled sets to splits, an encoder fitted on the training rows, and the facts."""

from __future__ import annotations

from truestep.data import bundled
from truestep.data.arrays import ArrayEncoder
from truestep.data.augment import Augment, Transformed
from truestep.data.columns import KINDS, Column
from truestep.data.encoder import Encoder, encoder_from_json
from truestep.data.facts import Facts
from truestep.data.images import ImageEncoder
from truestep.data.loading import Data, Split, load
from truestep.data.own import check_iterable
from truestep.data.pixels import PixelEncoder
from truestep.data.sequences import SequenceEncoder
from truestep.data.sources import read_table
from truestep.data.split import split_rows
from truestep.data.suspects import suspects
from truestep.data.table import Table
from truestep.data.tabular import TableEncoder
from truestep.data.targets import Target, encode_array_targets, encode_targets, target_from_json, with_targets
from truestep.data.tokens import StreamEncoder, TextEncoder

__all__ = [
    "KINDS",
    "ArrayEncoder",
    "Augment",
    "Column",
    "Data",
    "Encoder",
    "Facts",
    "ImageEncoder",
    "PixelEncoder",
    "SequenceEncoder",
    "Split",
    "StreamEncoder",
    "Table",
    "TableEncoder",
    "Target",
    "TextEncoder",
    "Transformed",
    "bundled",
    "check_iterable",
    "encode_array_targets",
    "encode_targets",
    "encoder_from_json",
    "load",
    "read_table",
    "split_rows",
    "suspects",
    "target_from_json",
    "with_targets",
]
