"""How good are the defaults? Every bundled set, trained as `truestep train NAME` would, beside scikit-learn's baselines.

    python benchmarks/results.py [--seeds 5] [--only digits,wine] [--mnist FOLDER] [--choices epochs=50,ema-decay=0.99]

The same rows train and the same rows test everything; a seed changes the split, the weights and the order. truestep uses
the validation rows to choose its epoch. The baselines have no use for them: they are fitted on train alone, and a second
time on train and valid together, so that nobody can say they were kept short. Accuracy for classes, R2 for quantities: the
mean over seeds and the 95 % interval of the mean by Student's t.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from sklearn import compose, ensemble, linear_model, neural_network, pipeline, preprocessing, svm
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer

import truestep as ts
from truestep.data import Data, bundled, load, read_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="names of sets, separated by commas")
    parser.add_argument("--folders", default="", help="folders of images or texts to add, separated by commas")
    parser.add_argument("--choices", default="", help="NAME=VALUE choices of truestep other than its defaults")
    options = parser.parse_args()
    choices = dict(pair.split("=") for pair in options.choices.split(",") if pair)
    choices = {name: float(value) if value.replace(".", "").isdigit() else value for name, value in choices.items()}
    wanted = options.only.split(",") if options.only else [name for name, *_ in bundled.names()]
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    print(
        "| data | rows | truestep | best baseline (train) | scikit-learn MLP (train) | best baseline (train + valid) | s a run |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name in [*filter(None, wanted), *filter(None, options.folders.split(","))]:
        print(row(name, options.seeds, choices), flush=True)


def row(name: str, seeds: int, choices: dict[str, float | str]) -> str:
    ours: list[float] = []
    theirs: dict[str, list[float]] = {}
    fuller: dict[str, list[float]] = {}
    seconds = 0.0
    for seed in range(seeds):
        data = load(name, seed=seed)
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            run = ts.train(name, out=Path(folder) / "run", seed=seed, show=False, **choices)
        seconds += time.perf_counter() - begun
        ours.append(run.metrics["r2" if data.target.task == "regression" else "accuracy"])
        test = data.test.rows.numpy()
        for scores, rows in ((theirs, data.train.rows), (fuller, torch.cat([data.train.rows, data.valid.rows]))):
            for baseline, score in scored(name, data, rows.numpy(), test):
                scores.setdefault(baseline, []).append(score)
    best, best_fuller = (max(found, key=lambda key: np.mean(found[key])) for found in (theirs, fuller))
    cells = [name, f"{data.facts.rows:,}", f"**{shown(ours)}**", f"{best} {shown(theirs[best])}", shown(theirs["MLP"])]
    return "| " + " | ".join([*cells, f"{best_fuller} {shown(fuller[best_fuller])}", f"{seconds / seeds:.1f}"]) + " |"


def shown(scores: list[float]) -> str:
    half = stats.t.ppf(0.975, len(scores) - 1) * stats.sem(scores) if len(scores) > 1 else float("nan")
    return f"{np.mean(scores):.4f} \u00b1 {half:.4f}"


def scored(name: str, data: Data, train: np.ndarray, test: np.ndarray) -> Iterator[tuple[str, float]]:
    """Yield each baseline that fits these data, and its score on the test rows."""
    targets = data.train.known.numpy()
    if data.encoder.spec["kind"] == "tokens":
        table = read_table(name)
        inputs = np.array(table.column(data.encoder.column).to_list(), dtype=object)
        before = [TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)]
        models = {
            "logistic regression": linear_model.LogisticRegression(max_iter=2000, C=10),
            "linear SVC": svm.LinearSVC(),
            "MLP": neural_network.MLPClassifier(random_state=0, max_iter=30),
        }
    else:
        inputs, before = features(data), []
        models = REGRESSORS if data.target.task == "regression" else CLASSIFIERS
    for baseline, model in models.items():
        steps = before if before or baseline.startswith("HistGradient") else [preprocessing.StandardScaler()]
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


def features(data: Data) -> np.ndarray:
    """Return what truestep's model sees, as one row of numbers for each example: (N, F)."""
    inputs = data.train.examples[0]
    if not isinstance(inputs, dict):
        return inputs.flatten(1).numpy().astype(np.float32)
    parts = [inputs["numeric"].numpy()] if "numeric" in inputs else []
    if "categories" in inputs:
        for column, size in zip(inputs["categories"].T, data.encoder.spec["cardinalities"], strict=True):
            parts.append(torch.nn.functional.one_hot(column, size).numpy())
    return np.concatenate(parts, 1)


if __name__ == "__main__":
    main()
