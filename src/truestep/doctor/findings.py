"""What the doctor concludes: findings, in the order of cause and consequence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from truestep.doctor import sites

if TYPE_CHECKING:
    from collections.abc import Iterable

    from truestep.doctor.record import Site

SEVERITIES = ("error", "warning", "note")
ALLOW = re.compile(r"#\s*truestep:\s*allow\s+([\w,\s-]+)")


@dataclass
class Finding:
    """One mistake at one line.

    Args:
        message: what happened, in one sentence with this run's numbers.
        site: the line to change, or the call that a missing line governs.
        fix: the line to write.
        evidence: the numbers, by name.
        severity: "error" where the numbers are certainly not what the code says it wants, "warning" where that is very
            likely, or certain but perhaps harmless, "note" for advice.
        related: other lines that take part.
    """

    message: str
    site: Site | None
    fix: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    severity: str = "error"
    related: list[Site] = field(default_factory=list)
    rule: str = ""  # filled in by whoever asked the rule


def allowed(finding: Finding) -> bool:
    """Whether the user wrote `# truestep: allow RULE` on the line, or on the one above if that is only a comment."""
    if finding.site is None:
        return False
    for line in (finding.site.line, finding.site.line - 1):
        text = sites.text(finding.site._replace(line=line)) if line > 0 else ""
        if line != finding.site.line and not text.startswith("#"):
            continue
        said = ALLOW.search(text)
        if said and finding.rule in re.split(r"[,\s]+", said[1].strip()):
            return True
    return False


def ordered(findings: Iterable[Finding], hides: dict[str, list[str]]) -> list[Finding]:
    """Return findings without the consequences of others: first the errors, then by place.

    Args:
        findings: of all rules.
        hides: for each rule, those whose findings are only consequences of it.
    """
    found = list(findings)
    present = {one.rule for one in found}
    hidden = {name for rule in present for name in hides.get(rule, ())}
    kept: dict[tuple[str, Site | None], Finding] = {}
    for one in found:
        if one.rule not in hidden:
            kept.setdefault((one.rule, one.site), one)
    return sorted(kept.values(), key=lambda one: (SEVERITIES.index(one.severity), one.site or ("", 0), one.rule))
