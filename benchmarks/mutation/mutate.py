"""Plants mistakes into correct training scripts, to see later which of them are found.

    python benchmarks/mutation/mutate.py OUT_FOLDER [--bases FOLDER] [--variations] [--limit N | --each N]   # writes the mutants and manifest.json
    python benchmarks/mutation/mutate.py OUT_FOLDER --run [--jobs 1]             # runs them and completes the manifest

Every operator of operators.py is applied to every base in bases/, wherever it can be. A mutant carries `# expect: rule`
at the end of each line on which its mistake may be reported. Running says whether a mutant is silent (exit code 0) and
whether it is equivalent: it prints what its base prints, and is not wrong by definition either.
`--bases` mutates the correct and mended scripts of another folder, such as tests/doctor, which are all that it holds but
those called broken.py. With `--variations` the operators are applied to bases that were changed without harm, too; these count apart.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from operators import must_print, operators, wrong_by_definition
from variations import variations

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "doctor"))
from forked import Result, import_what_scripts_need, run_script

BASES = Path(__file__).parent / "bases"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the mutants and manifest.json are written")
    parser.add_argument("--run", action="store_true", help="run the mutants that are there, and complete the manifest")
    parser.add_argument("--bases", type=Path, default=BASES, help="folder of correct scripts that are mutated")
    parser.add_argument("--variations", action="store_true", help="mutate also the harmless variations of each base")
    parser.add_argument("--limit", type=int, help="write no more than this many mutants, drawn evenly")
    parser.add_argument("--each", type=int, help="write no more than this many of each rule, drawn by their names")
    parser.add_argument("--jobs", type=int, default=1, help="scripts that run at the same time")
    options = parser.parse_args()
    if options.run:
        run(options.folder, options.jobs)
    else:
        write(
            options.folder,
            scripts_in(options.bases),
            with_variations=options.variations,
            limit=options.limit,
            each=options.each,
        )


def scripts_in(folder: Path) -> dict[str, Path]:
    """The correct scripts of a folder, by name; a mended one, fixed.py, has the name of its own folder."""
    names = {"pairs", "correct"} & {
        path.name for path in folder.rglob("*") if path.is_dir()
    }  # of a corpus, without its tests
    paths = [path for name in names for path in folder.rglob(f"{name}/**/*.py")] or [*folder.glob("*.py")]
    return {p.parent.name if p.stem == "fixed" else p.stem: p for p in sorted(paths) if p.stem != "broken"}


def write(folder: Path, bases: dict[str, Path], *, with_variations: bool, limit: int | None, each: int | None) -> None:
    """Writes the sources, their mutants and the manifest into a folder."""
    sources, mutants = [], []
    for base, path in sorted(bases.items()):
        original = path.read_text()
        sources.append({"base": base, "variation": None, "source": original})
        for name, vary in variations.items() if with_variations else ():
            varied = vary(original)
            if varied is not None and varied != original:
                sources.append({"base": base, "variation": name, "source": varied})
    for source in sources:
        source["path"] = f"{source['base']}/{source['variation'] or 'base'}.py"
        mutants += mutants_of(**source)
    if limit is not None and limit < len(mutants):
        mutants = random.Random(0).sample(mutants, limit)
    if each is not None:
        drawn: Counter[str] = Counter()
        for mutant in sorted(mutants, key=lambda m: hashlib.sha256(m["path"].encode()).hexdigest()):
            drawn[mutant["rule"]] += 1
            mutant["drawn"] = drawn[mutant["rule"]] <= each
        mutants = [m for m in mutants if m.pop("drawn")]
    for script in [*sources, *mutants]:
        path = folder / script["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script.pop("source"))
    save(folder, {"sources": sources, "mutants": sorted(mutants, key=lambda m: m["path"])})
    varied = sum(m["variation"] is not None for m in mutants)
    print(f"{len(mutants) - varied} mutants of {len(sources)} sources, and {varied} of their variations, in {folder}")


def mutants_of(base: str, variation: str | None, source: str, path: str) -> list[dict]:
    """All mutants of one source; those that do not parse are left out."""
    found = []
    tree = ast.parse(source)
    for operator in operators:
        for place, (mutated, lines) in enumerate(applied(operator.function, source, tree)):
            marked = with_marks(mutated, lines, operator.rule)
            if not same_program(mutated, marked):
                continue
            folder = base if variation is None else f"{base}-{variation}"
            found.append(
                {
                    "path": f"{folder}/{operator.name}-{place}.py",
                    "base": base,
                    "variation": variation,
                    "of": path,
                    "operator": operator.name,
                    "rule": operator.rule,
                    "lines": lines,
                    "allowed": list(operator.allowed_rules),
                    "source": marked,
                }
            )
    return found


def applied(function: Any, source: str, tree: ast.Module) -> Iterator[tuple[str, list[int]]]:
    """What an operator makes of a source, until it meets what it was not written for: the bases are not all that people write."""
    with suppress(AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        yield from function(source, tree)


def with_marks(source: str, lines: list[int], rule: str) -> str:
    marked = source.split("\n")
    for line in lines:
        marked[line - 1] += f"  # expect: {rule}"
    return "\n".join(marked)


def same_program(source: str, marked: str) -> bool:
    """Whether both parse, and to the same; a mark inside a string would change it."""
    try:
        return ast.dump(ast.parse(source)) == ast.dump(ast.parse(marked))
    except SyntaxError:
        return False


def run(folder: Path, jobs: int) -> None:
    """Runs the sources and mutants that have not been run, and writes into the manifest how each ended."""
    manifest = json.loads((folder / "manifest.json").read_text())
    import_what_scripts_need()
    scripts = [s for s in [*manifest["sources"], *manifest["mutants"]] if "exit_code" not in s]
    with ThreadPoolExecutor(jobs) as pool:
        for number, (script, result) in enumerate(
            zip(scripts, pool.map(lambda s: run_script(folder / s["path"]), scripts), strict=True), 1
        ):
            script.update(how_it_ended(result))
            if number % 100 == 0:
                print(f"{number} of {len(scripts)}", flush=True)
                save(folder, manifest)
    judge(manifest)
    save(folder, manifest)
    print(summary(manifest))


def how_it_ended(result: Result) -> dict:
    errors = result.errors.strip().splitlines()
    return {
        "exit_code": result.exit_code,
        "output_digest": hashlib.sha256(result.output.encode()).hexdigest()[:16],
        "seconds": round(result.seconds, 2),
        "last_error": errors[-1][:200] if errors and result.exit_code != 0 else None,
        "prints_nan": "nan" in result.output,
    }


def judge(manifest: dict) -> None:
    """Says of each mutant whether it is equivalent to its source."""
    printed = {s["path"]: s["output_digest"] for s in manifest["sources"]}
    for mutant in manifest["mutants"]:
        name = mutant["operator"]
        same = mutant["output_digest"] == printed[mutant["of"]]
        missing = name in must_print and not mutant[f"prints_{must_print[name]}"]
        mutant["same_output"] = same
        mutant["wrong_by_definition"] = wrong_by_definition.get(name)
        mutant["equivalent"] = (same and name not in wrong_by_definition) or missing


def counted(mutant: dict) -> bool:
    """Whether a mutant is a silent mistake: it runs to the end and is not equivalent."""
    return mutant["exit_code"] == 0 and not mutant["equivalent"]


def summary(manifest: dict) -> str:
    lines = [f"{'':48}{'written':>9}{'silent':>9}{'equivalent':>12}{'not silent':>12}"]
    for title, of_kind in (
        ("mutants of bases", lambda m: m["variation"] is None),
        ("mutants of their variations", lambda m: m["variation"] is not None),
    ):
        chosen = [m for m in manifest["mutants"] if of_kind(m)]
        silent = sum(map(counted, chosen))
        ended = [m for m in chosen if m["exit_code"] == 0]
        lines.append(f"{title:48}{len(chosen):9}{silent:9}{len(ended) - silent:12}{len(chosen) - len(ended):12}")
    failed = [s["path"] for s in manifest["sources"] if s["exit_code"] != 0]
    lines.append(f"sources that do not run: {', '.join(failed) or 'none'}")
    by_rule = Counter(m["rule"] for m in manifest["mutants"] if counted(m))
    lines += [f"{rule:48}{'':9}{count:9}" for rule, count in sorted(by_rule.items())]
    return "\n".join(lines)


def save(folder: Path, manifest: dict) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
