"""State as JSON and tensors: nothing in it is code, and all of it comes back as it was.

JSON would change int keys, tuples, NaN and infinities in silence, so those carry a tag; tensors stand beside it, by number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor

DTYPES = {  # the names that the safetensors format gives them
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def encode(value: Any, tensors: dict[str, Tensor], names: dict[int, str] | None = None) -> Any:
    """Return `value` as JSON, and put its tensors, as they are, into `tensors`.

    A tensor that is there twice, such as a learning rate that all groups share, is one again afterwards: `names` are
    those given so far, by `id`.

    Raises:
        TypeError: there is something else in it than None, numbers, text, lists, tuples, dicts and tensors.
    """
    names = {} if names is None else names
    if isinstance(value, Tensor):
        name = names.setdefault(id(value), str(len(tensors)))
        if value.dtype not in DTYPES and not value.is_complex():
            raise TypeError(f"a checkpoint can't hold a tensor of {value.dtype}")
        if value.is_complex():
            tensors[name] = torch.view_as_real(value.detach())
            return {"complex": name}
        tensors[name] = value.detach()
        return {"tensor": name}
    if isinstance(value, float):
        return {"float": repr(float(value))}  # NumPy's floats are floats with another repr
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list):
        return [encode(item, tensors, names) for item in cast("list[Any]", value)]
    if isinstance(value, tuple):
        return {"tuple": [encode(item, tensors, names) for item in cast("tuple[Any, ...]", value)]}
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {"dict": [[encode(key, tensors, names), encode(item, tensors, names)] for key, item in items]}
    raise TypeError(f"a checkpoint can't hold a {type(value).__name__}")


def decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo `encode`.

    Raises:
        ValueError, KeyError: it is not what `encode` returned.
    """
    if isinstance(value, list):
        return [decode(item, tensors) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    ((tag, content),) = cast("dict[str, Any]", value).items()
    if tag == "tensor":
        return tensors[content]
    if tag == "complex":
        return torch.view_as_complex(tensors[content])
    if tag == "float":
        return float(content)
    if tag == "tuple":
        return tuple(decode(item, tensors) for item in content)
    if tag == "dict":
        return {decode(key, tensors): decode(item, tensors) for key, item in content}
    raise ValueError(f"unknown tag {tag!r}")


def safetensors(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a .safetensors file of contiguous CPU tensors, piece by piece.

    The library's own `save` makes one copy of everything first. Format: github.com/huggingface/safetensors, README.
    """
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers begin where a processor likes them
    yield len(text).to_bytes(8, "little") + text
    for tensor in tensors.values():
        if tensor.numel():
            yield tensor.reshape(-1).view(torch.uint8).numpy().data
