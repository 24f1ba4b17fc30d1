"""What other tools say of the same scripts, for `benchmarks/doctor.py --others BIN`.

`BIN` is the `bin` folder of a virtual environment of theirs: `pip install torch-preflight torchfix mldoct`. A tool that is
not there is left out. Beside them stand PyTorch's own warnings, which a run with `python -W always` prints.

They are judged kindly: on a broken script a message counts as found if it stands on a marked line, of whatever severity
and about whatever, or if its words name the mistake. On a correct one a message counts as a false alarm only from the
severity of a warning up; what merely tells of deprecation or speed counts as well, since whoever reads it can't know.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Messages = dict[Path, list["Message"]]


class Message(NamedTuple):
    """Something that a tool says of a script."""

    line: int | None
    words: str
    alarm: bool  # a warning or an error


NAMED = {  # rule: words that name it; where there are none, a message has to stand on the line
    "accumulation-zeroed": "zero_grad",
    "augmentation-in-evaluation": "augment",
    "best-weights-not-copied": "deepcopy|copy.*state_dict",
    "epoch-not-set-on-sampler": "set_epoch",
    "evaluated-in-training-mode": r"\.eval\(\)|eval mode|evaluation mode",
    "evaluation-data-dropped": "drop_last",
    "gradients-cleared-before-step": "zero_grad",
    "gradients-clipped-of-nothing": "total_norm|clip_grad_norm_.*no ",
    "gradients-kept-in-evaluation": "no_grad|inference_mode",
    "gradients-not-cleared": "zero_grad",
    "graph-kept-across-steps": "autograd graph|graph still|graph attached|detach",
    "initial-weights-identical": "initiali[sz]",
    "loss-broadcast": "target size|broadcast",
    "loss-not-scaled-for-accumulation": "accumulat.*(divid|scal)",
    "metrics-not-reduced": "all_reduce|gather",
    "not-shuffled-and-sorted": "shuffle",
    "probabilities-expected": "nll_?loss|bce_?loss|kl_?div|log_softmax|reduction: 'mean' divides",
    "same-random-numbers-in-workers": "worker",
    "scaled-gradients-stepped": "scaler",
    "scheduler-before-optimizer": r"lr_scheduler\.step",
    "sigmoid-before-bce-logits": "sigmoid|cross.entropy paired",
    "softmax-before-cross-entropy": "softmax",
    "softmax-over-batch": "implicit dimension|softmax.*dim",
    "step-before-backward": "step.*before.*backward",
    "step-never-called": r"optimizer\.step",
    "targets-out-of-range": "target.*range",
    "trained-in-eval-mode": r"\.train\(\)|train mode|training mode",
}
MLDOCT = "import json, sys\nfrom mldoctor.linter import lint_script\nprint(json.dumps({p: lint_script(p)[0] for p in sys.argv[1:]}))"
WARNING = re.compile(r"^(?P<file>\S+?):(?P<line>\d+): (?P<kind>\w*Warning): (?P<words>.*)", re.MULTILINE)


def names(rule: str, message: Message) -> bool:
    return rule in NAMED and re.search(NAMED[rule], message.words, re.IGNORECASE) is not None


def is_found(expected: Sequence[tuple[str, int]], messages: Sequence[Message]) -> bool:
    """Whether any message stands on a marked line or names the mistake."""
    lines, rules = {line for _, line in expected}, {rule for rule, _ in expected}
    return any(one.line in lines or any(names(rule, one) for rule in rules) for one in messages)


def tools(folder: Path, warned: Callable[[Path], str]) -> dict[str, Callable[[Sequence[Path]], Messages]]:
    """Return the tools that are there, each a function from scripts to messages.

    Args:
        folder: of their programs.
        warned: runs a script and returns what it printed to stderr.
    """
    known = {"torch-preflight": _preflight, "torchfix": _torchfix, "mldoctor": _mldoct}
    found = {name: _with(folder, read) for name, read in known.items() if (folder / name).exists()}
    return found | {"PyTorch's warnings": lambda paths: {path: warnings_in(path, warned(path)) for path in paths}}


def versions(folder: Path) -> dict[str, str]:
    """Return the versions of the tools that are there."""
    said = json.loads(_output(folder / "python", "-m", "pip", "list", "--format", "json"))
    known = {"torch-preflight", "torchfix", "mldoct"}
    return {one["name"]: one["version"] for one in said if one["name"].lower() in known}


def _with(folder: Path, read: Callable[[Path, Sequence[Path]], Messages]) -> Callable[[Sequence[Path]], Messages]:
    return lambda paths: read(folder, paths)


def _output(*command: Any) -> str:
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    return ended.stdout


def _preflight(folder: Path, paths: Sequence[Path]) -> Messages:
    said = json.loads(_output(folder / "torch-preflight", "check", "--format", "json", *paths))
    found: Messages = {path: [] for path in paths}
    for one in said["diagnostics"]:
        words = f"{one['message']} {one.get('hint') or ''}"
        found[Path(one["path"])].append(Message(one["line"], words, one["severity"] != "note"))
    return found


def _torchfix(folder: Path, paths: Sequence[Path]) -> Messages:
    found: Messages = {path: [] for path in paths}
    own = {path.resolve(): path for path in paths}  # it names those below the working directory as seen from there
    for line in _output(folder / "torchfix", *paths).splitlines():
        place = re.match(r"(.+\.py):(\d+):\d+: (.*)", line)
        if place:
            found[own[Path(place[1]).resolve()]].append(Message(int(place[2]), place[3], alarm=True))
    return found


def _mldoct(folder: Path, paths: Sequence[Path]) -> Messages:
    said = json.loads(_output(folder / "python", "-c", MLDOCT, *paths))
    return {
        path: [
            Message(one.get("line"), f"{one['message']} {one.get('fix', '')}", one["severity"] not in ("INFO", "NOTE"))
            for one in said[str(path)]
            if one.get("type") != "missing_clip"  # said of every script that does not clip
        ]
        for path in paths
    }


def warnings_in(path: Path, errors: str) -> list[Message]:
    """Return the warnings in what a script printed to stderr; a line of another file is none of the script's."""
    return [
        Message(
            int(one["line"]) if Path(one["file"]).name == path.name else None,
            one["words"],
            one["kind"] not in ("DeprecationWarning", "FutureWarning", "PendingDeprecationWarning"),
        )
        for one in WARNING.finditer(errors)
    ]


def table(planted: dict[str, int], found: dict[str, dict[str, int]], false: dict[str, int], right: int) -> str:
    """Return one table: for each rule how many mistakes were planted, and how many each tool found.

    Args:
        planted: by rule.
        found: by tool, by rule.
        false: by tool, the correct scripts that it raised an alarm on.
        right: correct scripts.
    """
    lines = ["| rule | planted | " + " | ".join(found) + " |", "|---|--:|" + "--:|" * len(found)]
    for rule in sorted(planted):
        counts = " | ".join(str(of.get(rule, 0)) for of in found.values())
        lines.append(f"| {rule} | {planted[rule]} | {counts} |")
    total = sum(planted.values())
    lines.append(f"| **all** | {total} | " + " | ".join(str(sum(of.values())) for of in found.values()) + " |")
    if total:
        lines.append("| | | " + " | ".join(f"{100 * sum(of.values()) / total:.1f} %" for of in found.values()) + " |")
    lines.append(f"| alarms on correct scripts | {right} | " + " | ".join(str(false[name]) for name in found) + " |")
    return "\n".join(lines)
