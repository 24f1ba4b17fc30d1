"""How good are the defaults? Every bundled set, trained as `truestep train NAME` would, beside scikit-learn's baselines.

    python benchmarks/results.py [--seeds 0-4] [--only digits,wine] [--folders DIGITS,..] [--choices epochs=50,lr=0.01]
    python benchmarks/results.py --out benchmarks/results.md       # also written there, with the versions

The same rows train and the same rows test everything; a seed changes the split, the weights and the order. truestep uses
the validation rows to choose its epoch. The baselines have no use for them: they are fitted on train alone, and a second
time on train and valid together, so that nobody can say they were kept short. Accuracy for classes, R2 for quantities,
bits a byte for running text.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats
from sklearn import compose, ensemble, linear_model, neural_network, pipeline, preprocessing, svm
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer

import truestep as ts
from truestep.data import Data, bundled, load, read_table
from truestep.nest import take

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ABOUT = """\
# What the defaults reach

Made by `python benchmarks/results.py`: seeds {seeds}, {versions}, {machine}.
Accuracy for classes, R2 for quantities. Each figure is the mean over the seeds, with the 95 % interval of the mean by
Student's t. A difference is paired, seed by seed: the same rows train and test both. It counts as one only where its
interval is on one side of 0. *Best* is the baseline with the best mean on these very test rows, which favours it; truestep
is always its defaults. {chosen}"""
CHOSEN = """The defaults were chosen on other seeds, 100 to 123, so on other splits of the same rows.
Not so flights and speeches: their splits are given, by time and by president, and the same with every seed. Their intervals
tell of weights and order alone, not of which rows are tested; and their test rows were seen while the defaults were chosen.
Each change that was made also lowered the validation loss there, or left it level."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", default="0-4", help="FIRST-LAST")
    parser.add_argument("--only", default="", help="names of sets, separated by commas, or none")
    parser.add_argument("--folders", default="", help="folders of images to add, separated by commas")
    parser.add_argument("--choices", default="", help="NAME=VALUE choices of truestep other than its defaults")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    choices = {name: _number(value) for name, value in (pair.split("=") for pair in _listed(options.choices))}
    wanted = [] if options.only == "none" else _listed(options.only) or list(BUNDLED_TASKS)
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)
        if options.out:  # after each line: what was measured is kept, also when the rest is interrupted
            options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")

    packages = ("truestep", "torch", "scikit-learn", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    machine = f"Python {platform.python_version()} on {platform.machine()}, {torch.get_num_threads()} CPU threads"
    say(ABOUT.format(seeds=options.seeds, versions=versions, machine=machine, chosen=choices or CHOSEN))
    say("")
    say(
        "| data | rows | truestep | scikit-learn MLP | best (on train) | best (train + valid) | truestep - MLP | truestep - best | CPU s a run |"
    )
    say("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    names = {name: BUNDLED_TASKS.get(name) for name in wanted} | dict.fromkeys(_listed(options.folders))
    for name in names:
        if names[name] != "next-token":
            say(row(name, seeds, choices))
    for name in names:
        if names[name] == "next-token":
            say("")
            say(continued(name, seeds[0], choices))


def row(name: str, seeds: Sequence[int], choices: dict[str, float | str]) -> str:
    """Train on one set with every seed and return its row of the table."""
    ours: list[float] = []
    theirs: dict[str, list[float]] = {}
    fuller: dict[str, list[float]] = {}
    seconds = 0.0
    for seed in seeds:
        data = load(name, seed=seed)
        begun = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            run = ts.train(name, out=Path(folder) / "run", seed=seed, show=False, **choices)
        seconds += time.process_time() - begun
        ours.append(run.metrics["r2" if data.target.task == "regression" else "accuracy"])
        test = data.test.rows.numpy()
        for scores, rows in ((theirs, data.train.rows), (fuller, torch.cat([data.train.rows, data.valid.rows]))):
            for baseline, score in scored(name, data, rows.numpy(), test):
                scores.setdefault(baseline, []).append(score)
    best, best_fuller = (max(found, key=lambda key: np.mean(found[key])) for found in (theirs, fuller))
    cells = [
        Path(name).name,
        f"{data.facts.rows:,}",
        f"**{shown(ours)}**",
        shown(theirs["MLP"]),
        f"{best} {shown(theirs[best])}",
        f"{best_fuller} {shown(fuller[best_fuller])}",
        difference(ours, theirs["MLP"]),
        difference(ours, theirs[best]),
        f"{seconds / len(seeds):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def shown(scores: Sequence[float]) -> str:
    return f"{np.mean(scores):.4f} \u00b1 {half_interval(scores):.4f}"


def difference(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the mean of the paired differences, and what may be said of it."""
    differences = np.subtract(ours, theirs)
    half = half_interval(differences)
    word = "none" if not abs(differences.mean()) > half else "better" if differences.mean() > 0 else "worse"
    return f"{differences.mean():+.4f} \u00b1 {half:.4f}, {word}"


def half_interval(scores: Sequence[float] | np.ndarray) -> float:
    return float(stats.t.ppf(0.975, len(scores) - 1) * stats.sem(scores)) if len(scores) > 1 else math.nan


def scored(name: str, data: Data, train: np.ndarray, test: np.ndarray) -> Iterator[tuple[str, float]]:
    """Yield each baseline that fits these data, and its score on the test rows."""
    targets = data.train.known.numpy()
    if data.encoder.spec["kind"] == "tokens":
        inputs = np.array(read_table(name).column(data.encoder.column).to_list(), dtype=object)
        before = [TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)]
        models = TEXT_CLASSIFIERS
    else:
        inputs, before = features(data), []
        models = REGRESSORS if data.target.task == "regression" else CLASSIFIERS
        if data.encoder.spec["kind"] == "image" and inputs.shape[1] > 100:  # hours of boosting, for a weak baseline
            models = {baseline: model for baseline, model in models.items() if not baseline.startswith("HistGradient")}
    for baseline, model in models.items():
        plain = before or baseline.startswith("HistGradient") or data.encoder.spec["kind"] == "image"
        steps = before if plain else [preprocessing.StandardScaler()]
        fitted = pipeline.make_pipeline(*steps, model).fit(inputs[train], targets[train])
        yield baseline, float(fitted.score(inputs[test], targets[test]))


CLASSIFIERS = {
    "logistic regression": linear_model.LogisticRegression(max_iter=2000),
    "MLP": neural_network.MLPClassifier(random_state=0, max_iter=500),
    "HistGradientBoosting": ensemble.HistGradientBoostingClassifier(random_state=0),
    "SVC": svm.SVC(),
}
REGRESSORS = {
    "ridge regression": linear_model.Ridge(),
    "MLP": compose.TransformedTargetRegressor(
        neural_network.MLPRegressor(random_state=0, max_iter=500), transformer=preprocessing.StandardScaler()
    ),
    "HistGradientBoosting": ensemble.HistGradientBoostingRegressor(random_state=0),
    "SVR": compose.TransformedTargetRegressor(svm.SVR(), transformer=preprocessing.StandardScaler()),
}
TEXT_CLASSIFIERS = {
    "logistic regression": linear_model.LogisticRegression(max_iter=2000, C=10),
    "linear SVC": svm.LinearSVC(),
    "MLP": neural_network.MLPClassifier(random_state=0, max_iter=30),
}
BUNDLED_TASKS = {name: task for name, _, task, *_ in bundled.names()}


def features(data: Data) -> np.ndarray:
    """Return what truestep's model sees, as one row of numbers for each example: (N, F)."""
    inputs = take(data.train.examples[0], torch.arange(data.facts.rows))
    if not isinstance(inputs, dict):
        return data.encoder.prepare(inputs).flatten(1).numpy().astype(np.float32)
    parts = [inputs["numeric"].numpy()] if "numeric" in inputs else []
    if "categories" in inputs:
        for column, size in zip(inputs["categories"].T, data.encoder.spec["cardinalities"], strict=True):
            parts.append(torch.nn.functional.one_hot(column, size).numpy())
    return np.concatenate(parts, 1)


def continued(name: str, seed: int, choices: dict[str, float | str]) -> str:
    """Return bits a byte of test text, of truestep and of counts of bytes, and how the model goes on writing."""
    data, begun = load(name, seed=seed), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = ts.train(name, out=Path(folder) / "run", seed=seed, show=False, **choices)
        seconds = time.process_time() - begun
        written = run.predict(["The American people "])
    bits = {f"**truestep, {run.results['epochs']} epochs**": run.metrics["loss"] / math.log(2)} | {
        f"{words}, one more of each": bits_of_counts(data, before)
        for before, words in enumerate(("bytes counted", "pairs counted", "triples counted"))
    }
    lines = [f"| {name}, {seconds:.0f} s of CPU | bits a byte |", "|---|--:|"]
    lines += [f"| {words} | {value:.3f} |" for words, value in bits.items()]
    return "\n".join([*lines, "", f"It goes on: {' '.join(str(cell) for cell in written.row(0))!r}"])


def bits_of_counts(data: Data, before: int) -> float:
    """Return bits a token of test text when the next is guessed by how often it followed the `before` last ones.

    Each possibility counts once more than it was seen, so that none has a chance of 0.
    """
    vocabulary = data.encoder.spec["vocabulary"]

    def places(rows: torch.Tensor) -> torch.Tensor:
        """Number each (tokens before, next token) that counts; before a window there are zeros."""
        inputs, targets = take(data.train.examples, rows)
        tokens, context = inputs["tokens"], torch.zeros_like(inputs["tokens"])
        for back in reversed(range(before)):
            earlier = torch.zeros_like(tokens)
            earlier[:, back:] = tokens[:, : tokens.shape[1] - back]
            context = context * vocabulary + earlier
        return (context * vocabulary + targets)[targets >= 0]

    counts = 1.0 + places(data.train.rows).bincount(minlength=vocabulary ** (before + 1)).view(-1, vocabulary)
    chances = counts / counts.sum(1, keepdim=True)
    return float(-chances.view(-1)[places(data.test.rows)].log2().double().mean())


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
