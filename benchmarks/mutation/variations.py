"""Harmless changes of a training script: other names, other imports, the whole in a function, other numbers.

Each takes a source and returns the changed one, or None where it does not apply. What the script is right in, it stays
right in; so a mutant of a variation is the same mistake in other clothes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from script import Edit, Script

NAMES = {
    "model": "network",
    "net": "network",
    "optimizer": "optim_",
    "opt": "optimizer",
    "criterion": "loss_function",
    "loss": "objective",
    "scheduler": "lr_schedule",
    "epoch": "ep",
    "logits": "scores_",
    "outputs": "preds",
    "images": "imgs",
    "labels": "lbls",
    "x": "inputs_",
    "y": "gold",
    "total": "running",
    "features": "feats_",
}


def script_of(source: str) -> Script:
    return Script(source, ast.parse(source))


def renamed(source: str) -> str | None:
    """Gives variables and parameters other names; a name that is also passed or read as something else keeps its own."""
    s = script_of(source)
    kept = {a for n in ast.walk(s.tree) if isinstance(n, ast.Call) for k in n.keywords for a in [k.arg]}
    kept |= {n.name for n in ast.walk(s.tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)} | set(s.imports)
    taken = {n.id for n in ast.walk(s.tree) if isinstance(n, ast.Name)} | kept
    new = {old: name for old, name in NAMES.items() if old not in kept and name not in taken}
    edits = []
    for node in ast.walk(s.tree):
        if isinstance(node, ast.Name) and node.id in new:
            edits.append(s.replace(node, new[node.id]))
        elif isinstance(node, ast.arg) and node.arg in new:
            start = s.start(node)
            edits.append(Edit(start, start + len(node.arg), new[node.arg]))
        elif isinstance(node, ast.Global) and set(node.names) & set(new):
            edits.append(s.replace(node, "global " + ", ".join(new.get(n, n) for n in node.names)))
    return s.apply(edits)[0] if edits else None


def other_imports(source: str) -> str | None:
    """Imports the same under other names: `import torch as th`, `from torch.utils.data import DataLoader as Loader`."""
    s = script_of(source)
    edits, new = [], {}
    for node in s.tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            path = alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
            bound = alias.asname or alias.name
            if "." in bound or not path.startswith("torch"):
                continue
            other = {"torch": "th", "nn": "tnn", "F": "fn", "optim": "opt_", "DataLoader": "Loader"}.get(bound)
            # `import torch.utils.data` binds torch as well
            dotted = any(
                "." in a.name and not a.asname for n in ast.walk(s.tree) if isinstance(n, ast.Import) for a in n.names
            )
            if other and not (bound == "torch" and dotted):
                new[bound] = other
                start = s.start(alias)
                edits.append(Edit(start, s.end(alias), f"{alias.name} as {other}"))
    edits += [s.replace(n, new[n.id]) for n in ast.walk(s.tree) if isinstance(n, ast.Name) and n.id in new]
    return s.apply(edits)[0] if edits else None


def in_a_function(source: str) -> str | None:
    """Puts all that follows the imports into one function and calls it."""
    s = script_of(source)
    if any(isinstance(n, ast.Global) for n in ast.walk(s.tree)):
        return None
    last = [n for n in s.tree.body if isinstance(n, ast.Import | ast.ImportFrom)][-1]
    at = s.after_last_line(last)
    body = re.sub(r"(?m)^(?=.)", "    ", source[at:].strip("\n"))
    return f"{source[:at]}\n\ndef run_everything():\n{body}\n\n\nrun_everything()\n"


def other_numbers(source: str) -> str | None:
    """Another seed, a third more for the learning rate, and AdamW for Adam or momentum for SGD."""
    changed = re.sub(r"manual_seed\(\d+\)", "manual_seed(1234)", source)
    changed = re.sub(r"\blr=(\d[\d.e-]*)", lambda m: f"lr={float(m[1]) * 4 / 3:.4g}", changed)
    changed = re.sub(r"\b(optim\.|)Adam\(", r"\1AdamW(", changed)
    changed = re.sub(r"^(from torch\.optim import .*)\bAdam\b", r"\1AdamW", changed, flags=re.MULTILINE)
    return changed.replace("momentum=0.9", "momentum=0.85")


variations: dict[str, Callable[[str], str | None]] = {
    "renamed": renamed,
    "other-imports": other_imports,
    "in-a-function": in_a_function,
    "other-numbers": other_numbers,
}
