"""Findings as people and programs read them: text, JSON, SARIF, and annotations of GitHub."""

from __future__ import annotations

import json
import linecache
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truestep.doctor import pages

if TYPE_CHECKING:
    from truestep.doctor.findings import Finding
    from truestep.doctor.record import Record, Site

COLOURS = {"error": "31", "warning": "33", "note": "36"}
FORMATS = ("text", "json", "sarif", "github")


@dataclass
class Report:
    """What the doctor says about a run."""

    findings: list[Finding] = field(default_factory=list)
    script: str = ""
    steps: int = 0
    backwards: int = 0
    exit_code: int = 0  # the script's own
    own_errors: dict[str, int] = field(default_factory=dict)
    processes: int = 1  # that trained
    unseen: list[str] = field(default_factory=list)  # processes that gave no report

    def take(self, record: Record) -> None:
        self.steps, self.backwards, self.own_errors = record.steps, record.backwards, dict(record.own_errors)

    @property
    def alarms(self) -> list[Finding]:
        """The errors and warnings."""
        return [one for one in self.findings if one.severity != "note"]

    def __str__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(text(self))}</pre>"


def rendered(report: Report, kind: str, *, colour: bool = False) -> str:
    """Return a report in one of `FORMATS`."""
    if kind == "json":
        return json.dumps(as_json(report), indent=2)
    if kind == "sarif":
        return json.dumps(as_sarif(report), indent=2)
    if kind == "github":
        return as_github(report)
    return text(report, colour=colour)


def text(report: Report, *, colour: bool = False) -> str:
    """Return the report as text with excerpts of the code."""
    if not report.backwards and not report.steps:
        if report.unseen:
            return f"doctor: {_unseen(report)}, and saw no training in this one."
        return "doctor: saw no training: no backward pass and no optimizer step ran in this process."

    def painted(words: str, code: str) -> str:
        return f"\x1b[{code}m{words}\x1b[0m" if colour else words

    parts: list[str] = []
    for one in report.findings:
        head = f"{_place(one.site)}  {painted(one.severity, COLOURS[one.severity])}  {painted(one.rule, '1')}"
        lines = [head, f"  {one.message}", *_excerpt(one.site)]
        if one.evidence:
            lines.append("  evidence  " + ", ".join(f"{name} {_number(value)}" for name, value in one.evidence.items()))
        if one.fix:
            lines.append(f"  fix       {one.fix}")
        lines.append(f"  why       {pages.page(one.rule).title}")
        parts.append("\n".join(lines))
    counts = [f"{sum(one.severity == kind for one in report.findings)} {kind}s" for kind in COLOURS]
    verdict = ", ".join(counts) if report.findings else "found nothing"
    of_each = f" of each of {report.processes} processes" if report.processes > 1 else ""
    parts.append(f"doctor: {verdict} in {report.steps} optimizer steps{of_each}.")
    if report.findings:
        parts[-1] += " More: truestep doctor --explain RULE"
    if report.own_errors:
        parts.append(
            f"doctor: {sum(report.own_errors.values())} of its own looks failed: {next(iter(report.own_errors))}"
        )
    if report.unseen:
        parts.append(f"doctor: {_unseen(report)}.")
    return "\n\n".join(parts)


def _unseen(report: Report) -> str:
    """Return which processes nothing is known of."""
    names = list(dict.fromkeys(report.unseen))
    shown = ", ".join(names[:4]) + (" and others" if len(names) > 4 else "")
    return f"did not see what happened in {len(report.unseen)} other process{'es' * (len(report.unseen) > 1)} ({shown})"


def in_a_line(one: Finding) -> str:
    """Return a finding as one line of text."""
    fix = f" Fix: {one.fix}" if one.fix else ""
    return f"{_place(one.site)}  {one.severity}  {one.rule}: {one.message}{fix}"


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as the dict that `--format json` prints."""
    return {
        "version": 1,
        "script": report.script,
        "exit": report.exit_code,
        "steps": report.steps,
        "processes": report.processes,
        "unseen": report.unseen,
        "own_errors": report.own_errors,
        "findings": [
            {
                "rule": one.rule,
                "severity": one.severity,
                "file": _path(one.site),
                "line": one.site.line if one.site else None,
                "message": one.message,
                "evidence": one.evidence,
                "why": pages.page(one.rule).title,
                "fix": one.fix,
                "related": [{"file": _path(site), "line": site.line} for site in one.related],
            }
            for one in report.findings
        ],
    }


def as_sarif(report: Report) -> dict[str, Any]:
    """Return the report in the Static Analysis Results Interchange Format 2.1.0."""
    rules = sorted({one.rule for one in report.findings})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "truestep doctor",
                        "rules": [
                            {
                                "id": rule,
                                "shortDescription": {"text": pages.page(rule).title},
                                "fullDescription": {"text": pages.page(rule).why},
                            }
                            for rule in rules
                        ],
                    }
                },
                "results": [
                    {
                        "ruleId": one.rule,
                        "level": one.severity,
                        "message": {"text": f"{one.message} Fix: {one.fix}" if one.fix else one.message},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": Path(_path(one.site) or "").as_posix()},
                                    "region": {"startLine": one.site.line},
                                }
                            }
                        ]
                        if one.site
                        else [],
                    }
                    for one in report.findings
                ],
            }
        ],
    }


def as_github(report: Report) -> str:
    """Return one workflow command a finding, which GitHub shows beside the line."""
    kinds = {"error": "error", "warning": "warning", "note": "notice"}
    lines: list[str] = []
    for one in report.findings:
        place = f" file={_path(one.site)},line={one.site.line},title={one.rule}" if one.site else f" title={one.rule}"
        words = f"{one.message} Fix: {one.fix}" if one.fix else one.message
        words = words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        lines.append(f"::{kinds[one.severity]}{place}::{words}")
    return "\n".join(lines)


def _path(site: Site | None) -> str | None:
    if site is None:
        return None
    near = os.path.relpath(site.file)
    return site.file if near.startswith("..") else near


def _place(site: Site | None) -> str:
    return f"{_path(site)}:{site.line}" if site else "(no line)"


def _excerpt(site: Site | None) -> list[str]:
    if site is None:
        return []
    lines: list[str] = []
    for number in range(max(1, site.line - 1), site.line + 2):
        line = linecache.getline(site.file, number).rstrip()
        if line:
            lines.append(f"  {'>' if number == site.line else ' '} {number:4} | {line}")
    return lines


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
