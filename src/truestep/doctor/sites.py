"""Where in the user's code something happens: the innermost frame that is in no installed package."""

from __future__ import annotations

import ast
import linecache
import re
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from truestep.doctor.record import Site

_HERE = str(Path(__file__).parent)
_PACKAGE = str(Path(__file__).parent.parent)
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")})
_FRAME = re.compile(r'  File "([^"]+)", line (\d+), in ')


@lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Whether a file is the user's own: neither installed, nor Python's, nor ours."""
    if file.startswith("<") and not file.startswith("<ipython"):
        return False
    if "site-packages" in file or "dist-packages" in file or file.startswith((_HERE, _PACKAGE)):
        return False
    return not file.startswith(_INSTALLED)


def here() -> Site | None:
    """Return the innermost line of the user's on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        if is_users(frame.f_code.co_filename):
            return _line(frame)
        frame = frame.f_back
    return None


def stack(limit: int = 8) -> list[Site]:
    """Return the user's lines on the stack, innermost first."""
    found: list[Site] = []
    frame = sys._getframe(1)
    while frame is not None and len(found) < limit:
        if is_users(frame.f_code.co_filename):
            found.append(_line(frame))
        frame = frame.f_back
    return found


_lines: dict[tuple[int, int], tuple[CodeType, Site]] = {}  # by the id of a code, which lives as long as its entry


def _line(frame: FrameType) -> Site:
    """Return the line that a frame is at. Python counts it from the start of the function each time, so it is kept."""
    code, at = frame.f_code, frame.f_lasti
    known = _lines.get((id(code), at))
    if known is None:
        if len(_lines) > 10_000:
            _lines.clear()
        known = _lines[id(code), at] = code, Site(code.co_filename, frame.f_lineno)
    return known[1]


def tensors() -> Iterator[tuple[Any, list[Any]]]:
    """Yield the tensors on the CPU among the variables of the user's innermost two functions, each with all of them."""
    import torch

    frame, seen = sys._getframe(1), 0
    while frame is not None and seen < 2:
        if is_users(frame.f_code.co_filename):
            seen += 1
            own = {**frame.f_globals, **frame.f_locals} if seen == 1 else frame.f_locals
            kept = [value for value in list(own.values()) if type(value) is torch.Tensor and value.ndim]
            found = [one.detach() for one in kept if one.device.type == "cpu" and one.layout is torch.strided][:200]
            yield from ((value, found) for value in found)
        frame = frame.f_back


def innermost(traceback: list[str]) -> Site | None:
    """Return the innermost line of the user's in a formatted traceback, outermost first."""
    for entry in reversed(traceback):
        place = _FRAME.match(entry)
        if place and is_users(place[1]):
            return Site(place[1], int(place[2]))
    return None


def text(site: Site | None) -> str:
    """Return the line of code, stripped."""
    return linecache.getline(site.file, site.line).strip() if site else ""


@lru_cache(maxsize=64)
def tree(file: str) -> ast.Module | None:
    """Return the syntax tree of a file of the user's."""
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return None


def statement(site: Site | None) -> ast.stmt | None:
    """Return the smallest statement that a line belongs to."""
    module = tree(site.file) if site else None
    if module is None or site is None:
        return None
    around = [
        node
        for node in ast.walk(module)
        if isinstance(node, ast.stmt) and node.lineno <= site.line <= (node.end_lineno or node.lineno)
    ]
    return min(
        around, key=lambda node: ((node.end_lineno or node.lineno) - node.lineno, -node.col_offset), default=None
    )


def function(site: Site | None) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.Module | None:
    """Return the innermost function around a line, or its module."""
    module = tree(site.file) if site else None
    if module is None or site is None:
        return module
    around = [
        node
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.lineno <= site.line <= (node.end_lineno or node.lineno)
    ]
    return min(around, key=lambda node: (node.end_lineno or node.lineno) - node.lineno, default=module)
