"""Facts in, findings out: asks every rule."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from truestep.doctor import pages
from truestep.doctor.findings import allowed, ordered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from truestep.doctor.findings import Finding
    from truestep.doctor.record import Record


def diagnose(record: Record, select: Iterable[str] = (), ignore: Iterable[str] = ()) -> list[Finding]:
    """Return what the rules find, causes before their consequences.

    Args:
        record: of a run.
        select: names of rules; none for all.
        ignore: names of rules that are left out.
    """
    findings: list[Finding] = []
    ignored = set(ignore)
    for name in pages.names():
        try:
            for finding in import_module(f"truestep.doctor.rules.{name.replace('-', '_')}").look(record):
                finding.rule = name
                findings.append(finding)
        except Exception as error:  # noqa: BLE001  a bug in a rule is ours, and does not hide what the others found
            record.own_errors[f"{type(error).__name__}: {error} in rule {name}"] += 1
    findings = in_order(findings)
    chosen = set(select)
    return [
        one for one in findings if one.rule not in ignored and (not chosen or one.rule in chosen) and not allowed(one)
    ]


def in_order(findings: list[Finding]) -> list[Finding]:
    """Return findings without the consequences of others: first the errors, then by place."""
    return ordered(findings, {name: list(pages.page(name).hides) for name in {one.rule for one in findings}})
