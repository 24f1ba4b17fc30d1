"""Values as Python source, written as `ruff format` would: what comes from data or a recipe stays a value, never code."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, cast

from truestep.errors import InputError

WIDTH = 88  # of a line, as ruff has it unless told otherwise


def literal(value: Any) -> str:
    """Return a value as an expression on one line.

    Args:
        value: None, a bool, a number, a text, or a list, tuple or dict of such.
    """
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, list):
        return f"[{', '.join(map(literal, cast('list[Any]', value)))}]"
    if isinstance(value, tuple):
        parts = [literal(part) for part in cast("tuple[Any, ...]", value)]
        return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return f"{{{', '.join(f'{literal(name)}: {literal(part)}' for name, part in pairs)}}}"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    raise TypeError(f"no literal of a {type(value).__name__}")


def argument(name: str, value: Any) -> str:
    """Return a keyword argument; its name must be one.

    Raises:
        InputError: it is something else.
    """
    if not name.isidentifier():
        raise InputError(f"'{name}': expected the name of an argument.")
    return f"{name}={literal(value)}"


def called(function: str, parts: Sequence[str], indent: int) -> str:
    """Return a call as source: on one line if it fits there, else its arguments on the next, else each on one.

    Args:
        function: and what stands before it.
        parts: its arguments, as source.
        indent: of the line, which stands there already.
    """
    line = f"{function}({', '.join(parts)})"
    if indent + width(line) <= WIDTH:
        return line
    space = " " * indent
    inside = ", ".join(parts)
    if len(parts) > 1 and indent + 4 + width(inside) <= WIDTH:
        return f"{function}(\n{space}    {inside}\n{space})"
    return f"{function}(\n" + "".join(f"{space}    {part},\n" for part in parts) + f"{space})"


def comprehension(name: str, each: str, loop: str, indent: int) -> str:
    """Return a list comprehension that is given a name, on one line if it fits there."""
    line = f"{name} = [{each} {loop}]"
    space = " " * indent
    return line if indent + width(line) <= WIDTH else f"{name} = [\n{space}    {each}\n{space}    {loop}\n{space}]"


def assigned(name: str, value: Any, call: str = "") -> str:
    """Return `name = value`, or `name = call(value)`, on as many lines as it needs."""
    whole = literal(value)
    line = f"{name} = {call}({whole})" if call else f"{name} = {whole}"
    if width(line) <= WIDTH:
        return line
    fits = width(whole) + 4 <= WIDTH  # on a line of its own
    if call and fits:
        return f"{name} = {call}(\n    {whole}\n)"
    if isinstance(value, list | tuple):
        indent = "    " if call else ""
        opening, closing = whole[0], whole[-1]
        parts = "".join(f"{indent}    {literal(part)},\n" for part in cast("list[Any]", value))
        rows = f"{opening}\n{parts}{indent}{closing}"
        return f"{name} = {call}(\n    {rows}\n)" if call else f"{name} = {rows}"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        parts = "".join(f"    {literal(key)}: {literal(part)},\n" for key, part in pairs)
        return f"{name} = {{\n{parts}}}"
    return f"{name} = (\n    {whole}\n)" if fits else line


def width(line: str) -> int:
    """Return how many columns a line takes: letters of some scripts take two, marks on a letter none."""
    return sum(
        2 if unicodedata.east_asian_width(letter) in "WF" else not unicodedata.combining(letter) for letter in line
    )


def _quoted(text: str) -> str:
    """Return a text in double quotes, or in single ones where that escapes less."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    return mark + "".join(_escaped(letter, mark) for letter in text) + mark


def _escaped(letter: str, mark: str) -> str:
    if letter in "'\"":
        return f"\\{letter}" if letter == mark else letter
    return repr(letter)[1:-1]
