"""How much the doctor finds, and what it says of correct scripts.

    python benchmarks/doctor.py [--mutants FOLDER] [--each N] [--rules A,B] [--corpus] [--jobs 2] [--out docs/doctor-figures.md] [--misses FILE]

`--mutants` takes the folder that `benchmarks/mutation/mutate.py` wrote and ran: silent mutants that are not equivalent.
`--each` draws at most that many of each rule, by the hash of their names; `--rules` takes those of some rules. `--corpus` adds the pairs and correct scripts of
tests/doctor. A mutant counts as found if the first finding is the planted rule or one that its operator allows, and as on
its line if that finding stands on a marked line. Any other error or warning on a broken script counts as false too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "doctor"))
from trial import CORPUS, Trial, marks_in, ready, try_script  # noqa: E402  the tests' own runner


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
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, help="Markdown file for the tables")
    parser.add_argument("--misses", type=Path, help="file for what was missed, or falsely said, one a line")
    options = parser.parse_args()
    ready()
    tables: list[str] = []
    said: list[str] = []
    if options.mutants:
        tables.append(mutants(options.mutants, options.each, options.rules, options.jobs, said))
    if options.corpus:
        tables.append(corpus(options.jobs, said))
    text = "\n\n".join(tables) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)
    if options.misses:
        options.misses.write_text("\n".join(said) + "\n")


def mutants(folder: Path, each: int, rules: set[str] | None, jobs: int, said: list[str]) -> str:
    manifest = json.loads((folder / "manifest.json").read_text())
    entries = [one for one in manifest["mutants"] if one["exit_code"] == 0 and not one.get("equivalent")]
    entries = [one for one in entries if rules is None or one["rule"] in rules]
    by_rule = defaultdict(list)
    for one in sorted(entries, key=lambda one: hashlib.sha256(one["path"].encode()).hexdigest()):
        if len(by_rule[one["rule"]]) < each:
            by_rule[one["rule"]].append(one)
    chosen = [one for group in by_rule.values() for one in group]
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
    return table(f"{len(chosen)} mutants of {len(entries)}", scores)


def corpus(jobs: int, said: list[str]) -> str:
    scores: defaultdict[str, Score] = defaultdict(Score)
    pairs = sorted(path for path in (CORPUS / "pairs").iterdir() if path.is_dir())
    right = [path / "fixed.py" for path in pairs] + sorted((CORPUS / "correct").glob("*.py"))
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
    return table(f"{len(pairs)} pairs", scores) + f"\n\nAlarms on {len(right)} correct and mended scripts: {false}"


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
