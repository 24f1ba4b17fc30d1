"""What people are shown of data and of a model on it: what was understood, which labels are doubtful, how a text goes on.

Plain lists and dicts, for a terminal, for a page and as JSON.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor
from torch.utils.data import Dataset

from truestep.data import Data, ImageEncoder, SequenceEncoder, Split, StreamEncoder, TextEncoder, suspects
from truestep.data.image_files import image_paths, read_headers
from truestep.data.table import shorten
from truestep.data.texts import texts_of
from truestep.data.tokenizers import UNKNOWN
from truestep.device import Precision, reproducible
from truestep.errors import NonFiniteError
from truestep.generation import continue_text
from truestep.nest import take
from truestep.prediction import predict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from truestep.data import TableEncoder
    from truestep.prediction import Predictor

MOST_COLUMNS, MOST_CLASSES, MOST_NOTES = 200, 1000, 100  # kept of a run; `truestep data --json` has all
MOST_SUSPECTS = 20  # kept of a run
LONGEST_VALUE = 200  # characters of a cell, and of an excerpt
IMAGES_LOOKED_AT = 2000  # of all, evenly spaced, for their sizes
THUMBNAIL = 96  # pixels of the longer side
COLOURS = 64  # of a thumbnail: a quarter of the bytes, and nobody sees it
PROMPT, CONTINUATION = 64, 240  # tokens that a sample begins with, and that the model adds
TEMPERATURE = 0.8  # the most likely text alone soon turns in circles
TOKENIZERS = {"bytes": "bytes of UTF-8", "words": "words", "bpe": "pieces of words (BPE)"}


# What was understood


def describe(data: Data) -> dict[str, Any]:
    """Return what was understood of data: its facts, the target, what decided the splits, what a model is given."""
    facts = data.facts.to_dict()
    for column in facts["columns"]:
        column["examples"] = [shorten(value, LONGEST_VALUE) for value in column.get("examples", ())]
    inputs = _inputs(data)
    return {
        "name": data.name,
        "target": asdict(data.target),
        "split_by": data.split_by,
        "inputs": inputs,
        "summary": _summary(inputs),
        **facts,
    }


def trimmed(content: dict[str, Any]) -> dict[str, Any]:
    """Return a description without what would make a folder large; "left_out" says how much of what that is."""
    columns, classes = content["columns"], content["classes"]
    kept = columns[:MOST_COLUMNS]
    frequent = (
        sorted(classes, key=lambda name: -classes[name])[:MOST_CLASSES] if len(classes) > MOST_CLASSES else classes
    )
    small = {
        "target": content["target"] | {"class_names": None},  # they are in the results already
        "columns": kept,
        "classes": {name: classes[name] for name in frequent},
        "alone": {c["name"]: content["alone"][c["name"]] for c in kept if c["name"] in content["alone"]},
        "notes": content["notes"][:MOST_NOTES],
        "problems": content["problems"][:MOST_NOTES],
    }
    left_out = {name: len(content[name]) - len(small[name]) for name in ("columns", "classes", "notes", "problems")}
    return {**content, **small, "left_out": {name: count for name, count in left_out.items() if count}}


def _inputs(data: Data) -> dict[str, Any]:
    """Return what an example is for a model, in numbers."""
    encoder, examples = data.encoder, data.train.examples
    spec = dict(encoder.spec)
    if "cardinalities" in spec:
        columns = encoder.table if isinstance(encoder, SequenceEncoder) else cast("TableEncoder", encoder)
        spec["num_categorical"] = len(spec.pop("cardinalities"))
        spec["num_indicators"] = sum(column.indicator for column in columns.numeric)
    if isinstance(encoder, ImageEncoder):
        spec |= _image_sizes(data)
    elif isinstance(encoder, TextEncoder):
        spec |= {"tokenizer": encoder.tokenizer.to_json()["name"]} | _lengths_of_rows(data, encoder)
    elif isinstance(encoder, StreamEncoder):
        tokens = examples.tokens.numpy()
        lengths = np.bincount(examples.document.numpy(), examples.counts.numpy()).astype(np.int64)
        spec |= {
            "tokenizer": encoder.tokenizer.to_json()["name"],
            "windows": len(examples),
            "tokens": int(lengths.sum()),
            "unknown": float((tokens == UNKNOWN).mean()),
            **_spread(lengths),
        }
    elif isinstance(encoder, SequenceEncoder):
        spec |= {"windows": sum(map(len, data.splits.values())), "horizon": encoder.horizon}
    return spec


def _image_sizes(data: Data) -> dict[str, Any]:
    assert data.table is not None
    assert isinstance(data.encoder, ImageEncoder)
    paths = image_paths(data.table, data.encoder.column)
    rows = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), IMAGES_LOOKED_AT)).round().astype(np.int64))
    headers = read_headers([paths[row] for row in rows])
    sizes = Counter((header.width, header.height) for header in headers)
    most = [{"width": width, "height": height, "images": count} for (width, height), count in sizes.most_common(5)]
    sides = [sorted(side) for side in zip(*sizes, strict=True)]
    return {
        "looked_at": len(headers),
        "grey": sum(header.is_grey for header in headers),
        "num_sizes": len(sizes),
        "sizes": most,
        "smallest": [side[0] for side in sides],
        "largest": [side[-1] for side in sides],
    }


def _lengths_of_rows(data: Data, encoder: TextEncoder) -> dict[str, Any]:
    """Return how long texts are; only those that were cut have to be counted again."""
    assert data.table is not None
    rows = data.train.examples[0]
    lengths = rows.lengths.numpy().copy()
    full = np.flatnonzero(lengths == encoder.length)
    texts = texts_of(data.table, encoder.column)
    lengths[full] = [len(tokens) for tokens in encoder.tokenizer.encode_all([texts[row] for row in full])]
    unknown = np.add.reduceat(rows.tokens.numpy() == UNKNOWN, rows.offsets.numpy()[:-1], dtype=np.int64)
    seen = rows.lengths.numpy()
    held_out = torch.cat([data.valid.rows, data.test.rows]).numpy()
    shares = {"unknown": unknown.sum() / seen.sum()}
    if len(held_out):
        shares["unknown_held_out"] = unknown[held_out].sum() / seen[held_out].sum()
    return _spread(lengths) | {name: float(share) for name, share in shares.items()}


def _spread(lengths: np.ndarray) -> dict[str, int]:
    shares = {"median": 50, "within_95": 95, "longest": 100}
    return {name: int(np.percentile(lengths, share, method="higher")) for name, share in shares.items()}


def _summary(inputs: dict[str, Any]) -> dict[str, str]:
    """Return what an example is for a model, in words."""
    match inputs["kind"]:
        case "image":
            colour = {1: "grey", 3: "colour"}.get(inputs["channels"], f"{inputs['channels']} channels")
            said = {"images": f"{colour}, {inputs['width']} x {inputs['height']} pixels for the model"}
            if "num_sizes" in inputs:
                said["files"] = _files(inputs)
            return said
        case "tokens":
            whole = f"{inputs['length']:,} tokens"
            sees = f"a model sees windows of {whole}" if inputs["causal"] else f"a model sees the first {whole}"
            unknown = f"{inputs['unknown']:.1%} unknown"
            if "unknown_held_out" in inputs:
                unknown = f"{unknown}, {inputs['unknown_held_out']:.1%} in valid and test"
            return {
                "tokens": f"{TOKENIZERS.get(inputs['tokenizer'], inputs['tokenizer'])}; "
                f"vocabulary {inputs['vocabulary']:,}; {unknown}",
                "lengths": f"median {inputs['median']:,}, 95 % up to {inputs['within_95']:,}, "
                f"longest {inputs['longest']:,} tokens; {sees}",
            }
        case "sequence":
            horizon = inputs["horizon"]
            asked = f"{horizon} after the last" if horizon else "the last row itself"
            return {"windows": f"{inputs['length']} rows of {_columns(inputs)}, asked about {asked}"}
        case "table":
            return {"inputs": _columns(inputs)}
        case "vector":
            return {"inputs": f"{inputs['num_features']:,} numbers"}
        case _:
            return {"inputs": f"arrays of shape {' x '.join(map(str, inputs['shape']))}"}


def _files(inputs: dict[str, Any]) -> str:
    looked = f"{inputs['looked_at']:,} looked at: "
    if inputs["num_sizes"] == 1:
        sizes = "all {} x {} pixels".format(*inputs["smallest"])
    else:
        low, high = ("{} x {}".format(*inputs[name]) for name in ("smallest", "largest"))
        sizes = f"{inputs['num_sizes']:,} sizes, {low} to {high} pixels"
    grey = inputs["grey"]
    colours = "" if grey == 0 else "; all grey" if grey == inputs["looked_at"] else f"; {grey:,} grey"
    return f"{looked}{sizes}{colours}"


def _columns(inputs: dict[str, Any]) -> str:
    numbers, words, gaps = inputs["num_numeric"], inputs["num_categorical"], inputs["num_indicators"]
    marks = f" ({gaps:,} of them mark{'s' * (gaps == 1)} what is missing)" if gaps else ""
    parts = [f"{numbers:,} number{'s' * (numbers != 1)}{marks}"] if numbers else []
    parts += [f"{words:,} categor{'ies' if words != 1 else 'y'}"] if words else []
    return " and ".join(parts)


# Labels in doubt


def doubts(
    predictor: Predictor, data: Data, *, most: int | None = None, images: bool = False
) -> list[dict[str, Any]] | None:
    """Return the held-out rows whose given target the model finds hardest to believe, most doubtful first.

    Each has its "row" in the source, the "place" people know it by, its "split", the "given" target, what is
    "predicted", and the "probability" of that or, for numbers, the "deviations" from it. A text has an excerpt, "text",
    and with `images` an image has an "image", a small PNG as a data URI. None where there is nothing to doubt: no row
    held out, several targets a row, texts that are their own targets, or a model that answers with NaN or infinity.
    """
    parts = {name: part for name, part in data.splits.items() if name != "train" and len(part)}
    known = next((part.known for part in parts.values()), torch.empty(0))  # of the whole source
    if not len(known) or known.ndim != 1:
        return None
    scores: list[Tensor] = []
    examples: list[Tensor] = []
    with reproducible(seed=0, threads=predictor.threads):
        for part in parts.values():
            batches = predictor.batches(
                part.examples, rows=part.rows, names=part.names, lengths=part.lengths, every_rank=True
            )
            inputs: Iterable[Any] = (predictor.objective.unpack(batch)[0] for batch in batches)
            scores.append(predict(predictor.model, inputs, predictor.objective, precision=predictor.precision).scores)
            examples.append(torch.cat(list(batches.indices())))  # texts come by their lengths
    predicted, rows = torch.cat(scores), torch.cat(examples)
    if predicted.ndim > 1 + data.target.has_classes or not bool(predicted.isfinite().all()):
        return None
    odd = suspects(predicted, known[rows], class_names=data.target.class_names, rows=rows, most=most or len(rows))
    is_test = torch.zeros(len(known), dtype=torch.bool).index_fill_(0, data.test.rows, True)
    splits = ["test" if is_test[row] else "valid" for row in odd["row"]]
    found = [_doubt(data, row, split) for row, split in zip(odd.to_dicts(), splits, strict=True)]
    if images and data.encoder.spec["kind"] == "image":
        shown = (_pixels(data.splits[split], row) for row, split in zip(odd["row"], splits, strict=True))
        return [doubt | {"image": _data_uri(pixels)} for doubt, pixels in zip(found, shown, strict=True)]
    return found


def _doubt(data: Data, found: dict[str, Any], split: str) -> dict[str, Any]:
    example, names, table = found.pop("row"), data.splits[split].names, data.table
    row = example if names is None else int(names[example])
    if table is None:
        kind = "example" if isinstance(data.splits[split].examples, Dataset) else "row"
        return {"row": row, "place": f"{data.name}, {kind} {row}", "split": split, **found}
    at = row if isinstance(data.encoder, SequenceEncoder) else example  # in the table; a window has a number of its own
    files = data.encoder.column if isinstance(data.encoder, ImageEncoder) else "file"
    place = str(table.column(files)[at]) if files in table.columns else table.place(at)
    said = {"row": row, "place": place, "split": split, **found}
    if isinstance(data.encoder, TextEncoder):
        said["text"] = shorten(str(table.column(data.encoder.column)[at] or ""), LONGEST_VALUE)
    return said


def _pixels(split: Split, row: int) -> np.ndarray:
    """Return an example as a model is given it, (C, H, W) uint8; values of another range than bytes are stretched."""
    examples: Any = split.examples
    inputs: Tensor = examples[row][0] if isinstance(examples, Dataset) else take(examples[0], torch.tensor([row]))[0]
    values = inputs.detach().cpu().numpy()
    if values.dtype == np.uint8:
        return values
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    return np.round((values - low) * (255 / (high - low if high > low else 1.0))).astype(np.uint8)


def _data_uri(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    if (larger := THUMBNAIL // max(image.size)) > 1:  # pixels stay pixels, whatever a browser does
        image = image.resize((image.width * larger, image.height * larger), Resampling.NEAREST)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    if image.mode == "RGB":
        image = image.quantize(COLOURS)
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


# A text that goes on


def sample(predictor: Predictor, data: Data, seed: int = 0) -> dict[str, str] | None:
    """Return the beginning of a held-out text and how the model goes on with it; None if texts are not what it learns."""
    encoder = data.encoder
    if not isinstance(encoder, StreamEncoder):
        return None
    part = next(part for part in (data.test, data.valid, data.train) if len(part))
    inputs, _ = part.examples.batch_of(part.rows[:1])
    count = min(PROMPT, int(part.examples.counts[part.rows[0]]))
    prompt = inputs["tokens"][0, :count].tolist()
    precision = Precision.of(predictor.precision, next(predictor.model.parameters()).device)
    try:
        with reproducible(seed=0, threads=predictor.threads), precision.autocast():
            more = continue_text(
                predictor.model, prompt, CONTINUATION, length=encoder.length, temperature=TEMPERATURE, seed=seed
            )
    except NonFiniteError:
        return None
    begin = encoder.tokenizer.decode(prompt)
    whole = encoder.tokenizer.decode([*prompt, *more])  # together, for what the cut may have parted
    cut = len(begin.rstrip("\N{REPLACEMENT CHARACTER}"))
    return {"prompt": whole[:cut], "continuation": whole[cut:]}


def of_run(predictor: Predictor, data: Data, seed: int) -> dict[str, Any]:
    """Return what a run keeps for its page: "data", "suspects", and for texts to go on with a "sample"."""
    found: dict[str, Any] = {
        "data": trimmed(describe(data)),
        "suspects": doubts(predictor, data, most=MOST_SUSPECTS, images=True),
    }
    text = sample(predictor, data, seed)
    return found if text is None else found | {"sample": text}
