"""The catalogue: one file a rule in `rules/`, whose docstring is its page. Reading it imports nothing."""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent / "rules"
SETUP = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
features, labels = torch.randn(96, 8), torch.arange(96) % 3
loader = DataLoader(TensorDataset(features, labels), batch_size=16, shuffle=True)
held_out = DataLoader(TensorDataset(torch.randn(32, 8), torch.arange(32) % 3), batch_size=16)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""
MARK = "# <- here"


@dataclass(frozen=True)
class Page:
    """What a rule's docstring says."""

    rule: str
    title: str  # the first line: the mistake in one sentence
    why: str  # what it does to a run, and how one notices
    bad: str  # code that goes on from SETUP, with MARK on the line of the finding
    good: str
    not_a_mistake: str
    source: str
    severity: str  # the worst that it reports
    hides: tuple[str, ...]  # rules whose findings are consequences of this one

    @property
    def text(self) -> str:
        """The page as it is printed."""
        return (
            f"{self.rule} ({self.severity})\n\n{self.title}\n\n{self.why}\n\nBad:\n\n{textwrap.indent(self.bad, '    ')}\n"
            f"Good:\n\n{textwrap.indent(self.good, '    ')}\nNot a mistake: {self.not_a_mistake}\n\nSource: {self.source}\n"
        )


def names() -> list[str]:
    """Return the names of all rules."""
    return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("[a-z]*.py"))


@lru_cache(maxsize=256)
def page(rule: str) -> Page:
    """Return the page of a rule.

    Raises:
        ValueError: its docstring lacks a part.
    """
    module = ast.parse((FOLDER / f"{rule.replace('-', '_')}.py").read_text(encoding="utf-8"))
    said = ast.get_docstring(module) or ""
    parts = re.match(
        r"(?P<title>[^\n]+)\n\n(?P<why>.+?)\n\nBad::\n\n(?P<bad>.+?)\n\nGood::\n\n(?P<good>.+?)\n\n"
        r"Not a mistake: (?P<not>.+?)\n\nSource: (?P<source>.+)",
        said,
        re.DOTALL,
    )
    if parts is None:
        raise ValueError(f"rules/{rule}: the page lacks a part, or they are in another order.")
    constants = {
        target.id: ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in ("SEVERITY", "HIDES")
    }
    return Page(
        rule,
        parts["title"],
        parts["why"],
        textwrap.dedent(parts["bad"]) + "\n",
        textwrap.dedent(parts["good"]) + "\n",
        " ".join(parts["not"].split()),
        " ".join(parts["source"].split()),
        constants.get("SEVERITY", "error"),
        tuple(constants.get("HIDES", ())),
    )


def catalogue() -> str:
    """Return all pages as one of Markdown, which is docs/rules.md."""
    head = (
        "# The doctor's rules\n\nMade from the rules' own pages: `python -m truestep.doctor.pages > docs/rules.md`. "
        f"Examples go on from this code:\n\n```python\n{SETUP}```\n"
    )
    return "\n".join([head, *map(_markdown, map(page, names()))])


def _markdown(one: Page) -> str:
    return (
        f"## {one.rule}\n\n*{one.severity}.* **{one.title}**\n\n{one.why}\n\nBad:\n\n```python\n{one.bad}```\n\nGood:\n\n"
        f"```python\n{one.good}```\n\nNot a mistake: {one.not_a_mistake}\n\nSource: <{one.source}>\n"
    )


if __name__ == "__main__":
    print(catalogue(), end="")
