"""How much the doctor finds, and what it says of correct scripts.

    python benchmarks/doctor.py [--mutants FOLDER] [--each N] [--rules A,B] [--corpus] [--others BIN] [--jobs 2] [--out docs/doctor-figures.md] [--misses FILE]

`--mutants` takes the folder that `benchmarks/mutation/mutate.py` wrote and ran: silent mutants that are not equivalent.
`--each` draws at most that many of each rule, by the hash of their names; `--rules` takes those of some rules. `--corpus` adds the pairs and correct scripts of
tests/doctor. A mutant counts as found if the first finding is the planted rule or one that its operator allows, and as on
its line if that finding stands on a marked line. Any other error or warning on a broken script counts as false too. `--others` asks other tools about the same scripts
(doctor_others.py says how they are judged); `--only-others` leaves the doctor out, for a quick look.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "doctor"))
import doctor_others  # noqa: E402
from trial import CORPUS, Trial, marks_in, ready, try_script  # noqa: E402  the tests' own runner

Planted = tuple[Path, list[tuple[str, int]]]  # a broken script and where its mistake is


COLLECTIONS = (CORPUS, CORPUS / "second")


@dataclass
class Score:
    """Of one rule."""

    planted: int = 0
    found: int = 0
    on_line: int = 0
    first: int = 0
    misses: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mutants", type=Path, help="a folder of mutate.py's, with its manifest")
    parser.add_argument("--each", type=int, default=10**9, help="mutants of each rule at most")
    parser.add_argument("--rules", type=lambda text: set(text.split(",")), help="planted rules, of mutants: a,b")
    parser.add_argument("--corpus", action="store_true", help="the pairs and correct scripts too")
    parser.add_argument("--others", type=Path, help="bin folder of other tools, to ask them too")
    parser.add_argument("--only-others", action="store_true", help="and not the doctor")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, help="Markdown file for the tables")
    parser.add_argument("--misses", type=Path, help="file for what was missed, or falsely said, one a line")
    options = parser.parse_args()
    ready()
    tables: list[str] = [heading(options.others)]
    said: list[str] = []
    planted: list[Planted] = []
    doctors: dict[str, int] = {}  # by rule: what the doctor found
    right = corpus_right() if options.corpus else []
    if options.mutants:
        chosen, of = choose(options.mutants, options.each, options.rules)
        planted += [(options.mutants / one["path"], [(one["rule"], n) for n in one["lines"]]) for one in chosen]
        if not options.only_others:
            scores = mutants(options.mutants, chosen, options.jobs, said)
            add(doctors, scores)
            tables.append(table(f"{len(chosen)} mutants of {of}", scores))
    false = 0
    if options.corpus:
        planted += [(path / "broken.py", marks_in(path / "broken.py").expected) for path in corpus_pairs()]
        if not options.only_others:
            scores, false = corpus(right, options.jobs, said)
            add(doctors, scores)
            tables.append(table(f"{len(corpus_pairs())} pairs", scores))
            tables.append(f"Alarms on {len(right)} correct and mended scripts: {false}")
    keep(tables, said, options)
    if options.others:
        own = None if options.only_others else (doctors, false)
        tables.append("Beside other tools, in how many scripts each found what was planted:")
        tables.append(others(options.others, planted, right, options.jobs, own))
        keep(tables, said, options)
    print("\n\n".join(tables))


def keep(tables: list[str], said: list[str], options: argparse.Namespace) -> None:
    """Writes what is there so far: asking the other tools takes long."""
    if options.out:
        options.out.write_text("\n\n".join(tables) + "\n")
    if options.misses:
        options.misses.write_text("\n".join(said) + "\n")


def heading(others: Path | None) -> str:
    """Return what stands above the tables: what was measured, and with which versions."""
    versions = [f"truestep {version('truestep')}", f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name)}" for name in ("torch", "scikit-learn", "numpy")]
    if others:
        versions += [f"{name} {number}" for name, number in doctor_others.versions(others).items()]
    return (
        "# What the doctor finds\n\n"
        "Made by `benchmarks/doctor.py` of the scripts named below. What it found in scripts that it met "
        "for the first time stands in [doctor.md](doctor.md#how-well-it-does).\n\n"
        f"{platform.machine()}, one thread; {', '.join(versions)}."
    )


def add(totals: dict[str, int], scores: dict[str, Score]) -> None:
    for rule, one in scores.items():
        totals[rule] = totals.get(rule, 0) + one.found


def choose(folder: Path, each: int, rules: set[str] | None) -> tuple[list[dict[str, Any]], int]:
    """Return the silent mutants to try, and of how many they were drawn."""
    manifest = json.loads((folder / "manifest.json").read_text())
    entries = [one for one in manifest["mutants"] if one["exit_code"] == 0 and not one.get("equivalent")]
    entries = [one for one in entries if rules is None or one["rule"] in rules]
    by_rule = defaultdict(list)
    for one in sorted(entries, key=lambda one: hashlib.sha256(one["path"].encode()).hexdigest()):
        if len(by_rule[one["rule"]]) < each:
            by_rule[one["rule"]].append(one)
    return [one for group in by_rule.values() for one in group], len(entries)


def mutants(folder: Path, chosen: list[dict[str, Any]], jobs: int, said: list[str]) -> dict[str, Score]:
    scores: defaultdict[str, Score] = defaultdict(Score)
    with ThreadPoolExecutor(jobs) as pool:
        for one, trial in zip(chosen, pool.map(lambda one: try_script(folder / one["path"]), chosen), strict=True):
            judge(
                scores[one["rule"]],
                one["path"],
                [(one["rule"], n) for n in one["lines"]],
                set(one["allowed"]),
                trial,
                said,
            )
    return scores


def corpus_pairs() -> list[Path]:
    return sorted(path for folder in COLLECTIONS for path in (folder / "pairs").iterdir() if path.is_dir())


def corpus_right() -> list[Path]:
    correct = sorted(path for folder in COLLECTIONS for path in (folder / "correct").glob("*.py"))
    return [path / "fixed.py" for path in corpus_pairs()] + correct


def corpus(right: list[Path], jobs: int, said: list[str]) -> tuple[dict[str, Score], int]:
    scores: defaultdict[str, Score] = defaultdict(Score)
    pairs = corpus_pairs()
    with ThreadPoolExecutor(jobs) as pool:
        for path, trial in zip(pairs, pool.map(lambda path: try_script(path / "broken.py"), pairs), strict=True):
            marks = marks_in(path / "broken.py")
            judge(scores[marks.expected[0][0]], path.name, marks.expected, marks.also, trial, said)
        false = 0
        for path, trial in zip(right, pool.map(try_script, right), strict=True):
            false += bool(trial.alarms)
            said += [
                f"FALSE {path.relative_to(CORPUS)} {one['rule']}:{one['line']} {one['message']}"
                for one in trial.findings
                if one["severity"] != "note"
            ]
            said += [f"OWN {path.relative_to(CORPUS)} {words}" for words in trial.own_errors]
    return scores, false


def others(
    folder: Path, planted: list[Planted], right: list[Path], jobs: int, own: tuple[dict[str, int], int] | None
) -> str:
    """Return a table of what other tools find, beside what the doctor found and its false alarms, if they are known."""
    paths = [path for path, _ in planted] + right
    with ThreadPoolExecutor(jobs) as pool:
        errors = dict(zip(paths, pool.map(lambda path: try_script(path, doctor=False).errors, paths), strict=True))
    counts: defaultdict[str, int] = defaultdict(int)
    for _, expected in planted:
        counts[expected[0][0]] += 1
    found: dict[str, dict[str, int]] = {"truestep": own[0]} if own else {}
    false = {"truestep": own[1]} if own else {}
    for name, ask in doctor_others.tools(folder, errors.__getitem__).items():
        messages, of = ask(paths), defaultdict[str, int](int)
        for path, expected in planted:
            of[expected[0][0]] += doctor_others.is_found(expected, messages[path])
        found[name], false[name] = of, sum(any(one.alarm for one in messages[path]) for path in right)
    return doctor_others.table(counts, found, false, len(right))


def judge(
    score: Score, name: str, expected: list[tuple[str, int]], also: set[str], trial: Trial, said: list[str]
) -> None:
    rules = {rule for rule, _ in expected}
    found = [
        (one["rule"], one["line"]) for one in trial.findings if one["severity"] != "note" or one["rule"] in rules | also
    ]
    score.planted += 1
    hits = [one for one in found if one[0] in rules | also]
    score.found += bool(hits)
    score.on_line += any(line in {number for _, number in expected} for _, line in hits)
    score.first += bool(found) and found[0][0] in rules | also
    others = [one for one in found if one[0] not in rules | also]
    if not hits:
        said.append(f"MISS {name} expected {expected} found {found}")
    elif not any(line in {number for _, number in expected} for _, line in hits):
        said.append(f"LINE {name} expected {expected} found {found}")
    if others:
        said.append(f"OTHER {name} expected {expected} found {others}")
    said += [f"OWN {name} {words}" for words in trial.own_errors]
    if trial.exit_code != 0:
        said.append(f"EXIT {name} {trial.exit_code} {trial.errors[-300:]!r}")


def table(title: str, scores: dict[str, Score]) -> str:
    lines = [f"| {title}: rule | planted | found | on its line | named first |", "|---|--:|--:|--:|--:|"]
    for rule, one in sorted(scores.items()):
        lines.append(f"| {rule} | {one.planted} | {one.found} | {one.on_line} | {one.first} |")
    total = [sum(getattr(one, name) for one in scores.values()) for name in ("planted", "found", "on_line", "first")]
    lines.append("| **all** | " + " | ".join(str(n) for n in total) + " |")
    if total[0]:
        lines.append("| | | " + " | ".join(f"{100 * n / total[0]:.1f} %" for n in total[1:]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
