from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch import multiprocessing
from torch.testing import assert_close

from truestep import distributed, metrics
from truestep.errors import InputError
from truestep.metrics import (
    BinaryMetrics,
    MulticlassMetrics,
    MultilabelMetrics,
    RegressionMetrics,
    RunningMean,
    TokenMetrics,
    why_undefined,
)

near = partial(pytest.approx, abs=1e-6, rel=1e-6, nan_ok=True)


def classes_of(n: int, c: int, seed: int = 0, *, sharpness: float = 1.0, dtype=torch.float32):
    """Probabilities (n, c) and targets (n,) that they partly predict; every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    probabilities = (sharpness * torch.randn(n, c, generator=generator, dtype=dtype)).softmax(1)
    targets = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
    targets[:c] = torch.arange(c)
    return probabilities, targets


def labels_of(n: int, width: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(n, width, generator=generator)
    targets = (torch.rand(n, width, generator=generator) < probabilities).float()
    targets[0], targets[1] = 0, 1
    return probabilities, targets


def values_of(n: int, width: int | None, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    shape = (n,) if width is None else (n, width)
    targets = torch.randn(shape, generator=generator) * 3 + 5
    return targets + torch.randn(shape, generator=generator), targets


def calibration_error_by_hand(probabilities, targets, num_bins=15):
    """Guo et al. 2017, eq. 3, one bin after the other."""
    confidence, predictions = probabilities.double().max(1)
    error = 0.0
    for bin_ in range(num_bins):
        inside = (confidence > bin_ / num_bins) & (confidence <= (bin_ + 1) / num_bins)
        if inside.any():
            gap = (predictions == targets)[inside].double().mean() - confidence[inside].mean()
            error += float(gap.abs() * inside.sum() / len(targets))
    return error


def roc_by_pairs(scores, positive):
    pairs = scores[positive][:, None] - scores[~positive][None]
    return float((pairs > 0).double().mean() + (pairs == 0).double().mean() / 2)


# ---- the functions, against scikit-learn ----------------------------------------------------------------------------


@pytest.mark.parametrize("c", [2, 3, 12])
@pytest.mark.parametrize("seed", [0, 1])
def test_predicted_classes_agree_with_sklearn(c, seed):
    probabilities, t = classes_of(300, c, seed)
    p = probabilities.argmax(1)

    assert metrics.confusion_matrix(p, t).tolist() == sk.confusion_matrix(t, p).tolist()
    assert float(metrics.accuracy(p, t)) == near(sk.accuracy_score(t, p))
    assert float(metrics.balanced_accuracy(p, t)) == near(sk.balanced_accuracy_score(t, p))
    for ours, theirs in (
        (metrics.precision, sk.precision_score),
        (metrics.recall, sk.recall_score),
        (metrics.f1, sk.f1_score),
    ):
        for average in ("macro", "weighted", None):
            assert ours(p, t, average).tolist() == near(np.asarray(theirs(t, p, average=average)).tolist())


def test_classes_that_are_never_predicted_or_never_true_count_as_in_sklearn():
    p, t = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 3, 1, 0, 3])  # 3 is never predicted, 2 occurs nowhere

    for ours, theirs in (
        (metrics.precision, sk.precision_score),
        (metrics.recall, sk.recall_score),
        (metrics.f1, sk.f1_score),
    ):
        assert float(ours(p, t, num_classes=5)) == near(theirs(t, p, average="macro", zero_division=0))
        assert float(ours(p, t, "weighted")) == near(theirs(t, p, average="weighted", zero_division=0))
    assert metrics.precision(p, t, None, 5).tolist() == near([0.5, 1 / 3, math.nan, 0, math.nan])
    assert float(metrics.recall(torch.tensor([0, 1]), torch.tensor([0, 0]))) == 0.25  # class 1 has no rows: recall 0
    assert float(metrics.balanced_accuracy(p, t)) == near(sk.balanced_accuracy_score(t, p))
    assert float(metrics.balanced_accuracy(torch.tensor([0, 1]), torch.tensor([0, 0]))) == 0.5  # of class 0 alone


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("decimals", [8, 1])
def test_top_k_accuracy_agrees_with_sklearn_also_in_ties(k, decimals):
    probabilities, t = classes_of(400, 7)
    scores = probabilities.round(decimals=decimals)

    assert float(metrics.top_k_accuracy(scores, t, k)) == near(sk.top_k_accuracy_score(t, scores, k=k))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sharpness", [1, 300])  # 300: probabilities that are exactly 0 and 1
def test_log_loss_agrees_with_sklearn_also_at_0_and_1(dtype, sharpness):
    probabilities, t = classes_of(300, 4, sharpness=sharpness, dtype=dtype)
    one, binary = probabilities[:, 0], (t == 0).long()

    assert float(metrics.log_loss(probabilities, t)) == near(sk.log_loss(t, probabilities.numpy()))
    assert float(metrics.log_loss(one, binary)) == near(sk.log_loss(binary, one.numpy()))
    assert float(metrics.log_loss(one[:, None], binary[:, None])) == near(sk.log_loss(binary, one.numpy()))


@pytest.mark.parametrize("num_bins", [15, 4])
def test_calibration_error_is_that_of_guo_et_al(num_bins):
    probabilities, t = classes_of(500, 5, sharpness=4)
    both = torch.stack([1 - probabilities[:, 0], probabilities[:, 0]], 1)

    expected = calibration_error_by_hand(probabilities, t, num_bins)
    assert float(metrics.expected_calibration_error(probabilities, t, num_bins)) == near(expected)
    binary = metrics.expected_calibration_error(both[:, 1], (t == 0).long(), num_bins)
    assert float(binary) == near(calibration_error_by_hand(both, (t == 0).long(), num_bins))


def test_a_sure_and_right_model_is_perfectly_calibrated_and_a_sure_and_wrong_one_not_at_all():
    sure = torch.eye(3)

    assert float(metrics.expected_calibration_error(sure, torch.tensor([0, 1, 2]))) == 0
    assert float(metrics.expected_calibration_error(sure, torch.tensor([1, 2, 0]))) == 1


def test_a_bin_of_confidence_contains_its_upper_end():
    probabilities = torch.tensor([[0.5, 0.5], [0.6, 0.4]])  # (0.25, 0.5] and (0.5, 0.75]: gaps of 0.5 and -0.4

    assert float(metrics.expected_calibration_error(probabilities, torch.tensor([1, 0]), num_bins=4)) == near(0.45)


@pytest.mark.parametrize("decimals", [8, 1, 0])  # ever more ties; 0: nearly constant scores
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("rows", [metrics.ROWS, 7])  # 7: pieces, which end among equal scores
def test_rankings_agree_with_sklearn_also_in_ties(decimals, seed, rows, monkeypatch):
    monkeypatch.setattr(metrics, "ROWS", rows)
    probabilities, t = classes_of(300, 4, seed)
    rounded = probabilities.double().round(decimals=decimals)
    one, binary, many = rounded[:, 0], (t == 0).long(), torch.nn.functional.one_hot(t, 4)

    assert float(metrics.roc_auc(one, binary)) == near(sk.roc_auc_score(binary, one))
    assert float(metrics.roc_auc(one, binary)) == near(roc_by_pairs(one, t == 0))
    assert float(metrics.average_precision(one, binary)) == near(sk.average_precision_score(binary, one))
    for targets in (t, many):  # one class against the rest is what labels are
        assert float(metrics.roc_auc(rounded, targets)) == near(sk.roc_auc_score(many, rounded, average="macro"))
        expected = sk.average_precision_score(many, rounded, average="macro")
        assert float(metrics.average_precision(rounded, targets)) == near(expected)
    assert float(metrics.roc_auc(probabilities, t)) == near(sk.roc_auc_score(t, probabilities, multi_class="ovr"))


def test_rankings_count_weights_as_repeated_rows():
    probabilities, t = classes_of(200, 3)
    scores, weights = probabilities[:, 0].round(decimals=1), torch.randint(0, 4, (2, 200))
    roc, precision = metrics._Ranking(scores, t == 0).areas(weights.float())

    for row, weight in enumerate(weights):
        assert float(roc[row]) == near(sk.roc_auc_score(t == 0, scores, sample_weight=weight))
        assert float(precision[row]) == near(sk.average_precision_score(t == 0, scores, sample_weight=weight))


def test_constant_scores_rank_like_a_coin():
    targets = torch.tensor([1, 0, 0, 1, 0])

    assert float(metrics.roc_auc(torch.full((5,), 0.3), targets)) == 0.5
    assert float(metrics.average_precision(torch.full((5,), 0.3), targets)) == near(0.4)


@pytest.mark.parametrize("n", [2, 101, 200])
@pytest.mark.parametrize("width", [None, 1, 3])
def test_values_agree_with_sklearn(n, width):
    v, t = values_of(n, width)

    assert float(metrics.rmse(v, t)) == near(sk.root_mean_squared_error(t, v))
    assert float(metrics.mae(v, t)) == near(sk.mean_absolute_error(t, v))
    assert float(metrics.r2(v, t)) == near(sk.r2_score(t.double(), v.double()))
    assert float(metrics.median_absolute_error(v, t)) == near(sk.median_absolute_error(t, v))


def test_perplexity_is_exp_of_the_loss():
    assert metrics.perplexity(math.log(50)) == near(50)
    assert metrics.perplexity(1e4) == math.inf
    assert math.isnan(metrics.perplexity(math.nan))


# ---- what cannot be known is NaN ------------------------------------------------------------------------------------


def test_numbers_over_no_rows_are_nan():
    none, classes = torch.empty(0), torch.empty(0, dtype=torch.int64)

    for function in (metrics.accuracy, metrics.balanced_accuracy, metrics.precision, metrics.recall, metrics.f1):
        assert function(classes, classes).isnan()
    for function in (metrics.log_loss, metrics.expected_calibration_error, metrics.roc_auc, metrics.average_precision):
        assert function(none, classes).isnan()
        assert function(torch.empty(0, 3), classes).isnan()
    for function in (metrics.rmse, metrics.mae, metrics.r2, metrics.median_absolute_error):
        assert function(none, none).isnan()
    assert metrics.top_k_accuracy(torch.empty(0, 3), classes).isnan()


def test_rankings_without_positives_or_negatives_are_nan():
    scores = torch.tensor([0.1, 0.7])

    assert metrics.roc_auc(scores, torch.tensor([0, 0])).isnan()
    assert metrics.roc_auc(scores, torch.tensor([1, 1])).isnan()
    assert metrics.average_precision(scores, torch.tensor([0, 0])).isnan()
    assert float(metrics.average_precision(scores, torch.tensor([1, 1]))) == 1
    assert metrics.roc_auc(torch.eye(3), torch.tensor([0, 1, 1])).isnan()  # class 2 is absent


@pytest.mark.parametrize("constant", [0.1, 0.0, 1e6 + 0.1])
def test_r2_of_equal_targets_is_nan_however_they_are_rounded_or_cut(constant):
    targets = torch.full((7,), constant)
    cut = RegressionMetrics()
    for piece in targets.split(2):
        cut.update(piece + 1, piece)

    assert metrics.r2(targets + 1, targets).isnan()
    assert math.isnan(cut.compute()["r2"])
    assert metrics.r2(torch.ones(1), torch.ones(1)).isnan()


TASKS = {
    "multiclass": (lambda: MulticlassMetrics(6, keep_rows=True), partial(classes_of, c=6)),
    "sure": (lambda: MulticlassMetrics(6, keep_rows=True), partial(classes_of, c=6, sharpness=300)),
    "binary": (lambda: BinaryMetrics(keep_rows=True), lambda n: (classes_of(n, 2)[0][:, 1], classes_of(n, 2)[1])),
    "multilabel": (lambda: MultilabelMetrics(3, keep_rows=True), partial(labels_of, width=3)),
    "one label": (lambda: MultilabelMetrics(1, keep_rows=True), partial(labels_of, width=1)),
    "regression": (lambda: RegressionMetrics(keep_rows=True), partial(values_of, width=None)),
    "regressions": (lambda: RegressionMetrics(keep_rows=True), partial(values_of, width=3)),
    "tokens": (TokenMetrics, partial(classes_of, c=6)),
}
every_task = pytest.mark.parametrize("task", TASKS)


@every_task
def test_one_nan_makes_every_headline_number_nan(task):
    make, rows_of = TASKS[task]
    outputs, targets = rows_of(40)
    outputs[7] = math.nan
    found = make()
    found.update(outputs, targets)

    assert all(math.isnan(number) for number in found.compute().values())
    assert all(math.isnan(low) and math.isnan(high) for low, high in found.intervals(100).values())


@every_task
def test_every_headline_number_over_no_rows_is_nan(task):
    make, rows_of = TASKS[task]
    found, filled = make(), make()
    outputs, targets = rows_of(40)
    found.update(outputs[:0], targets[:0])
    filled.update(outputs, targets)

    assert list(found.compute()) == list(filled.compute())
    assert all(math.isnan(number) for number in found.compute().values())
    assert all(math.isnan(end) for interval in found.intervals(100).values() for end in interval)
    found.details()


@every_task
def test_a_single_row_has_its_numbers(task):
    make, rows_of = TASKS[task]
    outputs, targets = (rows[:1] for rows in rows_of(40))
    found = make()
    found.update(outputs, targets)

    known = {name: number for name, number in found.compute().items() if not math.isnan(number)}
    assert {"accuracy", "rmse", "token_accuracy"} & set(known)
    assert (
        found.intervals(100).items()
        >= {name: near((number, number)) for name, number in known.items() if name in found.intervals(100)}.items()
    )


# ---- the accumulators -----------------------------------------------------------------------------------------------


def test_multiclass_headline_is_sklearns():
    probabilities, t = classes_of(400, 7, sharpness=2)
    p = probabilities.argmax(1)
    found = MulticlassMetrics(7, keep_rows=True)
    found.update(probabilities, t)

    expected = {
        "accuracy": sk.accuracy_score(t, p),
        "balanced_accuracy": sk.balanced_accuracy_score(t, p),
        "precision": sk.precision_score(t, p, average="macro", zero_division=0),
        "recall": sk.recall_score(t, p, average="macro"),
        "f1": sk.f1_score(t, p, average="macro"),
        "f1_weighted": sk.f1_score(t, p, average="weighted"),
        "top_5_accuracy": sk.top_k_accuracy_score(t, probabilities, k=5),
        "log_loss": sk.log_loss(t, probabilities.numpy()),
        "calibration_error": calibration_error_by_hand(probabilities, t),
        "roc_auc": sk.roc_auc_score(t, probabilities, multi_class="ovr"),
        "average_precision": sk.average_precision_score(torch.nn.functional.one_hot(t), probabilities),
    }
    assert found.compute() == near(expected)
    assert list(found.compute()) == list(expected)
    bounded = MulticlassMetrics(7)
    bounded.update(probabilities, t)
    assert bounded.compute() == {name: found.compute()[name] for name in list(expected)[:-2]}


def test_multiclass_details_are_the_confusion_matrix_and_a_row_for_each_class():
    probabilities, t = classes_of(200, 3)
    found = MulticlassMetrics(3)
    found.update(probabilities, t)
    details = json.loads(json.dumps(found.details()))

    p, r, f, n = sk.precision_recall_fscore_support(t, probabilities.argmax(1))
    assert details["confusion_matrix"] == sk.confusion_matrix(t, probabilities.argmax(1)).tolist()
    assert [list(row) for row in details["per_class"]] == [["precision", "recall", "f1", "support"]] * 3
    assert [list(row.values()) for row in details["per_class"]] == [near(row) for row in zip(p, r, f, n, strict=True)]


def test_binary_headline_is_sklearns_for_class_1():
    probabilities, t = classes_of(300, 2)
    one = probabilities[:, 1]
    p = (one > 0.5).long()
    found = BinaryMetrics(keep_rows=True)
    found.update(one, t.float())

    expected = {
        "accuracy": sk.accuracy_score(t, p),
        "balanced_accuracy": sk.balanced_accuracy_score(t, p),
        "precision": sk.precision_score(t, p),
        "recall": sk.recall_score(t, p),
        "f1": sk.f1_score(t, p),
        "log_loss": sk.log_loss(t, one.numpy()),
        "calibration_error": calibration_error_by_hand(torch.stack([1 - one, one], 1), t),
        "roc_auc": sk.roc_auc_score(t, one),
        "average_precision": sk.average_precision_score(t, one),
    }
    assert found.compute() == near(expected)
    assert list(found.compute()) == list(expected)
    assert found.details()["confusion_matrix"] == sk.confusion_matrix(t, p).tolist()


def test_class_1_is_predicted_above_one_half_only():
    found = BinaryMetrics()
    found.update(torch.tensor([0.5, 0.50001, 0.49999]), torch.tensor([0, 1, 0]))

    assert found.compute()["accuracy"] == 1


def test_as_many_right_labels_are_the_same_accuracy_wherever_they_are():
    """Which epoch was the best must not depend on how a sum was rounded."""
    found = set[float]()
    for seed in range(20):
        rows = torch.zeros(41, 7)
        rows.view(-1)[torch.randperm(41 * 7, generator=torch.Generator().manual_seed(seed))[:205]] = 1
        tally = MultilabelMetrics(7)
        tally.update(rows * 0.98 + 0.01, torch.ones(41, 7))
        found.add(tally.compute()["accuracy"])

    assert found == {205 / 287}


def test_multilabel_headline_is_sklearns():
    probabilities, t = labels_of(300, 4)
    p = (probabilities > 0.5).long()
    found = MultilabelMetrics(4, keep_rows=True)
    found.update(probabilities, t)

    expected = {
        "f1": sk.f1_score(t, p, average="macro"),
        "precision": sk.precision_score(t, p, average="macro"),
        "recall": sk.recall_score(t, p, average="macro"),
        "accuracy": 1 - sk.hamming_loss(t, p),
        "subset_accuracy": sk.accuracy_score(t, p),
        "log_loss": np.mean([sk.log_loss(t[:, i], probabilities[:, i].numpy()) for i in range(4)]),
        "roc_auc": sk.roc_auc_score(t, probabilities),
        "average_precision": sk.average_precision_score(t, probabilities),
    }
    assert found.compute() == near(expected)
    assert list(found.compute()) == list(expected)
    support = [row["support"] for row in found.details()["per_class"]]
    assert support == t.sum(0).tolist()


@pytest.mark.parametrize("width", [None, 2])
def test_regression_headline_is_sklearns(width):
    v, t = values_of(300, width)
    found = RegressionMetrics(keep_rows=True)
    found.update(v, t)

    expected = {
        "rmse": sk.root_mean_squared_error(t, v),
        "mae": sk.mean_absolute_error(t, v),
        "r2": sk.r2_score(t.double(), v.double()),
        "median_absolute_error": sk.median_absolute_error(t, v),
    }
    assert found.compute() == near(expected)
    assert list(found.compute()) == list(expected)


def test_r2_survives_large_targets_with_little_noise():
    generator = torch.Generator().manual_seed(0)
    t = 1e6 + torch.randn(10_000, generator=generator)
    v = t + 0.25 * torch.randn(10_000, generator=generator)
    found = RegressionMetrics(keep_rows=True)
    for values, targets in zip(v.split(64), t.split(64), strict=True):
        found.update(values, targets)

    assert found.compute()["r2"] == near(sk.r2_score(t.double(), v.double()))
    low, high = found.intervals(200)["r2"]
    assert low < found.compute()["r2"] < high < low + 0.01


def test_token_accuracy_leaves_out_padding():
    scores, t = classes_of(60, 5)
    padded = t.clone()
    padded[40:] = -100
    found = TokenMetrics()
    found.update(scores.log().view(6, 10, 5), padded.view(6, 10))

    assert found.compute() == near({"token_accuracy": sk.accuracy_score(t[:40], scores[:40].argmax(1))})
    assert found.details() == {}
    assert found.intervals() == {}


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 97), max_size=8))
@every_task
def test_any_cutting_into_batches_gives_the_same(task, cuts):
    make, rows_of = TASKS[task]
    outputs, targets = rows_of(97)
    whole, cut = make(), make()
    whole.update(outputs, targets)
    for start, end in pairwise([0, *sorted(cuts), 97]):
        cut.update(outputs[start:end], targets[start:end])

    assert cut.compute() == near(whole.compute())
    assert cut.details().get("confusion_matrix") == whole.details().get("confusion_matrix")
    for name, interval in cut.intervals(10).items():
        assert interval == near(whole.intervals(10)[name])


@pytest.mark.parametrize("rows", [1, 7])
@every_task
def test_pieces_of_any_size_give_the_same(task, rows, monkeypatch):
    make, rows_of = TASKS[task]
    (outputs, targets), found = rows_of(97), []
    for size in (metrics.ROWS, rows):
        monkeypatch.setattr(metrics, "ROWS", size)
        tally = make()
        tally.update(outputs, targets)
        found.append((tally.compute(), tally.intervals(10)))

    (whole, whole_intervals), (pieced, pieced_intervals) = found
    assert pieced == near(whole)
    assert list(pieced_intervals) == list(whole_intervals)
    for name, interval in whole_intervals.items():
        assert pieced_intervals[name] == near(interval)


EVALUATION = """
import re, torch
from truestep.metrics import BinaryMetrics
def highest():  # memory of this process; ru_maxrss would begin with that of the one before it
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
def evaluate(probabilities, targets):
    found = BinaryMetrics(keep_rows=True)
    found.update(probabilities, targets)
    found.compute()
    found.intervals(2)
torch.set_num_threads(1)
evaluate(torch.rand(1000), torch.arange(1000) % 2)  # code is loaded
rows = torch.rand(1_000_000), torch.arange(1_000_000) % 2
before = highest()
evaluate(*rows)
print((highest() - before) / sum(tensor.nbytes for tensor in rows))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the highest memory is read from /proc")
def test_evaluating_a_million_rows_takes_a_few_times_their_memory():
    end = subprocess.run([sys.executable, "-c", EVALUATION], capture_output=True, text=True, check=True)

    assert float(end.stdout) < 10  # 6 measured, a copy of the rows among them


@every_task
def test_the_callers_memory_may_be_reused_and_wears_no_gradient(task):
    make, rows_of = TASKS[task]
    outputs, targets = rows_of(50)
    expected, found = make(), make()
    expected.update(outputs, targets)
    buffer = outputs.clone().requires_grad_()
    found.update(buffer, targets)
    with torch.no_grad():
        buffer.zero_()

    assert found.compute() == expected.compute()


def test_half_precision_is_widened_before_it_is_clipped():
    probabilities, t = classes_of(300, 4, sharpness=3)
    half = probabilities.bfloat16()

    assert float(metrics.log_loss(half, t)) == near(float(metrics.log_loss(half.float(), t)))


def gathered(rank: int, path: str, out: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=3)
    found = {}
    for task, (make, rows_of) in TASKS.items():
        accumulator = make()
        outputs, targets = rows_of(60)
        start, end = [(0, 60), (0, 0), (0, 0)][rank] if task == "tokens" else [(0, 0), (0, 25), (25, 60)][rank]
        if end:  # a rank without rows never hears how many outputs there are
            accumulator.update(outputs[start:end], targets[start:end])
        accumulator.gather()
        found[task] = (accumulator.compute(), accumulator.intervals(20))
    mean = RunningMean()
    if rank:
        mean.add(torch.tensor(float(rank)), rank)
    mean.gather()
    torch.save((found, mean.compute()), f"{out}.{rank}")
    torch.distributed.destroy_process_group()


def test_three_processes_one_of_them_without_rows_agree_with_one(tmp_path):
    assert distributed.world_size() == 1
    multiprocessing.spawn(gathered, (str(tmp_path / "store"), str(tmp_path / "out")), nprocs=3)

    for rank in range(3):
        found, mean = torch.load(f"{tmp_path / 'out'}.{rank}")
        assert mean == near(5 / 3)
        for task, (make, rows_of) in TASKS.items():
            alone = make()
            alone.update(*rows_of(60))
            alone.gather()
            numbers, intervals = found[task]
            assert numbers == near(alone.compute())
            assert intervals == {name: near(interval) for name, interval in alone.intervals(20).items()}


# ---- intervals ------------------------------------------------------------------------------------------------------


@every_task
def test_intervals_hold_the_numbers_and_follow_the_seed_alone(task):
    make, rows_of = TASKS[task]
    found = make()
    found.update(*rows_of(400))
    numbers, before = found.compute(), torch.get_rng_state()
    intervals = found.intervals(400, seed=3)

    assert torch.equal(before, torch.get_rng_state())
    assert intervals == found.intervals(400, seed=3)
    assert list(intervals) == ([] if task == "tokens" else list(numbers))
    assert not intervals or intervals != found.intervals(400, seed=4)
    for name, (low, high) in intervals.items():
        slack = high - low if name == "calibration_error" else 0  # resamples are less calibrated than the rows
        assert low - slack <= numbers[name] <= high
        wide_low, wide_high = found.intervals(400, seed=3, level=0.999)[name]
        assert wide_low <= low <= high <= wide_high


def test_intervals_of_rows_are_those_of_resampled_rows():
    """The same spread as drawing rows and asking scikit-learn, for a number of each kind."""
    probabilities, t = classes_of(150, 3, sharpness=2)
    found = MulticlassMetrics(3, keep_rows=True)
    found.update(probabilities, t)
    rng = np.random.default_rng(0)
    draws = [rng.integers(150, size=150) for _ in range(500)]
    p, intervals = probabilities.argmax(1), found.intervals(4000)

    oracle = {
        "accuracy": lambda rows: sk.accuracy_score(t[rows], p[rows]),
        "f1": lambda rows: sk.f1_score(t[rows], p[rows], average="macro"),
        "log_loss": lambda rows: sk.log_loss(t[rows], probabilities[rows].numpy()),
        "calibration_error": lambda rows: calibration_error_by_hand(probabilities[rows], t[rows]),
        "roc_auc": lambda rows: sk.roc_auc_score(t[rows], probabilities[rows], multi_class="ovr"),
    }
    for name, number in oracle.items():
        expected = np.quantile([number(rows) for rows in draws], [0.025, 0.975])
        low, high = intervals[name]
        width = expected[1] - expected[0]
        assert [low, high] == pytest.approx(expected.tolist(), abs=0.12 * width)


def test_a_known_interval():
    """100 rows, 80 right: the binomial's 95 % is 0.72 to 0.87."""
    found = BinaryMetrics()
    found.update(torch.full((100,), 0.9), (torch.arange(100) < 80).long())

    assert found.intervals(20_000)["accuracy"] == pytest.approx((0.72, 0.87), abs=0.011)


def test_without_rows_only_what_counts_can_tell_has_an_interval():
    probabilities, t = classes_of(400, 6)
    classes, values = MulticlassMetrics(6), RegressionMetrics()
    classes.update(probabilities, t)
    values.update(*values_of(40, None))

    assert set(classes.compute()) - set(classes.intervals()) == {"log_loss", "calibration_error"}
    assert values.intervals() == {}


def test_a_rare_class_leaves_its_resamples_out():
    probabilities, t = classes_of(100, 3)
    t = torch.where(t == 2, 0, t)
    t[0] = 2
    found = MulticlassMetrics(3, keep_rows=True)
    found.update(probabilities, t)

    low, high = found.intervals()["roc_auc"]
    assert 0 <= low < high <= 1


def test_a_thousand_resamples_of_20000_rows_and_10_classes_take_seconds():
    found = MulticlassMetrics(10, keep_rows=True)
    found.update(*classes_of(20_000, 10))
    start = time.process_time()
    found.intervals()

    assert time.process_time() - start < 5  # 1.2 measured alone on one core


def test_a_resample_of_equal_targets_leaves_r2_out():
    found = RegressionMetrics(keep_rows=True)
    targets = torch.tensor([0.49625658988952637, 0.7682217955589294, 0.08847743272781372])  # whose rounding shows
    found.update(targets + 0.01, targets)

    low, high = found.intervals()["r2"]
    assert 0.98 < low <= high <= 1


def test_large_sets_get_fewer_resamples():
    assert sum(metrics._pieces(1000, 200_000)) == 1000
    assert sum(metrics._pieces(1000, 400_000)) == 500
    assert sum(metrics._pieces(1000, 10**9)) == 100
    assert sum(metrics._pieces(50, 10**9)) == 50


# ---- names ----------------------------------------------------------------------------------------------------------


@every_task
def test_every_headline_number_says_which_way_is_better(task):
    make, _ = TASKS[task]

    for name in make().compute():
        lower = "loss" in name or "error" in name or name in ("rmse", "mae")
        assert metrics.higher_is_better(name) is metrics.higher_is_better(f"valid_{name}") is not lower


def test_numbers_that_need_rows_are_the_ones_that_come_with_them():
    bounded = MulticlassMetrics(6), BinaryMetrics(), MultilabelMetrics(2), RegressionMetrics(), TokenMetrics()

    without = {name for accumulator in bounded for name in accumulator.compute()}
    everything = {name for make, _ in TASKS.values() for name in make().compute()}
    assert everything - without == metrics.NEED_ROWS


def test_losses_are_better_when_lower():
    assert not metrics.higher_is_better("loss")
    assert not metrics.higher_is_better("test_perplexity")


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(
        InputError, match=r"expected one of accuracy, .*, found 'valid_acuracy'\. Did you mean 'accuracy'\?"
    ):
        metrics.higher_is_better("valid_acuracy")


# ---- wrong input ----------------------------------------------------------------------------------------------------

TWO = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy(TWO, torch.tensor([0])), "accuracy: expected two equal shapes, found (2,) and targets (1,)"),
        (lambda: metrics.f1(TWO, torch.tensor([0, 1]), num_classes=1), "expected classes from 0 to 0, found 0 to 1"),
        (lambda: metrics.f1(torch.ones(2), TWO), "expected classes as whole numbers, found torch.float32; use argmax"),
        (lambda: metrics.top_k_accuracy(torch.eye(2), TWO - 1), "expected classes from 0 to 1, found -1 to 0"),
        (lambda: metrics.log_loss(torch.eye(2) * 3, TWO), "expected probabilities, found 0 to 3; apply softmax"),
        (lambda: metrics.log_loss(torch.eye(2) / 2, TWO), "expected rows that sum to 1, found 0.5 to 0.5; apply softmax"),
        (lambda: metrics.log_loss(torch.tensor([0.5, -0.1]), TWO), "expected probabilities, found -0.1 to 0.5"),
        (lambda: metrics.log_loss(torch.tensor([0.5, 0.1]), 2 * TWO), "expected targets 0 and 1, found others"),
        (lambda: metrics.rmse(torch.ones(3, 1), torch.ones(3)), "found (3, 1) and targets (3,)"),
        (lambda: metrics.roc_auc(torch.ones(3), torch.ones(2)), "found (3,) and targets (2,)"),
        (lambda: MulticlassMetrics(3).update(torch.eye(2), TWO), "MulticlassMetrics: expected probabilities (N, 3), found (2, 2)"),
        (lambda: MulticlassMetrics(2).update(torch.eye(2), torch.eye(2).long()), "MulticlassMetrics: expected"),
        (lambda: MulticlassMetrics(2).update(torch.eye(2), TWO + 1), "MulticlassMetrics: expected classes from 0 to 1, found 1 to 2"),
        (lambda: BinaryMetrics().update(torch.eye(2), TWO), "BinaryMetrics: expected probabilities (N,) of class 1, found (2, 2)"),
        (lambda: MultilabelMetrics(3).update(torch.eye(2), torch.eye(2)), "MultilabelMetrics: expected probabilities (N, 3), found (2, 2)"),
        (lambda: RegressionMetrics().update(torch.ones(3, 1), torch.ones(3)), "RegressionMetrics: expected two equal shapes"),
        (lambda: TokenMetrics().update(torch.ones(3, 5), torch.ones(2)), "TokenMetrics: expected scores (2, V), found (3, 5)"),
    ],
)  # fmt: skip
def test_wrong_input_is_named_in_one_line(call, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_outputs_of_another_width_are_refused():
    found = RegressionMetrics()
    found.update(*values_of(5, None))

    with pytest.raises(InputError, match="expected 1 outputs as before, found \\(5, 3\\)"):
        found.update(*values_of(5, 3))


# ---- RunningMean ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 63, 64, 65, 200])
def test_running_mean_is_the_weighted_mean(n):
    values, weights = values_of(n, None)[0], torch.arange(1, n + 1)
    floats, tensors, both = RunningMean(), RunningMean(), RunningMean()
    for i, (value, weight) in enumerate(zip(values, weights, strict=True)):
        floats.add(value, int(weight))
        tensors.add(value, weight)
        both.add(value, weight if i % 2 else float(weight))

    expected = np.average(values.double(), weights=weights)
    assert [floats.compute(), tensors.compute(), both.compute()] == near([expected] * 3)
    assert floats.compute() == near(expected)  # asking changes nothing


def test_running_mean_of_nothing_and_of_nan_is_nan():
    empty, with_nan, weightless = RunningMean(), RunningMean(), RunningMean()
    with_nan.add(torch.tensor(1.0))
    with_nan.add(torch.tensor(math.nan), 0)
    weightless.add(torch.tensor(1.0), 0)

    assert math.isnan(empty.compute())
    assert math.isnan(with_nan.compute())
    assert math.isnan(weightless.compute())


@pytest.mark.parametrize(
    ("tally", "outputs", "targets", "undefined"),
    [
        (
            MulticlassMetrics(3, keep_rows=True),
            [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]],
            [0, 1],
            "one class ('c') has no row",
        ),
        (
            MulticlassMetrics(3, keep_rows=True),
            [[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]],
            [0, 0],
            "2 of 3 classes ('b', 'c') have",
        ),
        (BinaryMetrics(keep_rows=True), [0.2, 0.3], [0, 0], "one class ('b') has no row here to be ranked"),
        (MultilabelMetrics(2, keep_rows=True), [[0.9, 0.1], [0.8, 0.2]], [[1, 0], [1, 1]], "every row here has one of"),
        (RegressionMetrics(keep_rows=True), [1.0, 2.0], [3.0, 3.0], "all targets are equal here"),
    ],
)
def test_what_rows_leave_undefined_has_a_reason_and_nothing_else_has(tally, outputs, targets, undefined):
    tally.update(torch.tensor(outputs), torch.tensor(targets))
    numbers = tally.compute()
    found = why_undefined(numbers, tally.details(), ("a", "b", "c"))
    assert found.keys() == {name for name, number in numbers.items() if math.isnan(number)} != set()
    assert undefined in " ".join(found.values())

    tally = RegressionMetrics(keep_rows=True)
    tally.update(torch.tensor([math.nan, 1.0]), torch.tensor([1.0, 2.0]))
    assert not why_undefined(tally.compute(), tally.details()), "what a model says wrongly is no fault of the rows"


def test_running_mean_adds_in_float64_and_copies():
    value, weight = torch.tensor(1.0, dtype=torch.bfloat16), torch.tensor(1.0, dtype=torch.float64)
    mean, weighted = RunningMean(), RunningMean()
    for i in range(1000):
        value.fill_(1 + i % 2)
        weight.fill_(1 + 2 * (i % 2))
        mean.add(value, 257)
        weighted.add(value, weight)

    assert mean.compute() == 1.5
    assert weighted.compute() == 1.75


def test_running_mean_keeps_no_more_than_64_values():
    mean = RunningMean()
    for _ in range(1000):
        mean.add(torch.tensor(1.0))

    assert len(mean._pending) < 64


def test_running_mean_does_not_wait_for_the_device():
    """On the meta device there is no value to wait for: reading one would raise."""
    mean = RunningMean()
    for _ in range(63):
        mean.add(torch.empty((), device="meta"), 3)

    with pytest.raises((RuntimeError, NotImplementedError)):
        mean.compute()


def test_running_mean_goes_on_where_it_was_saved():
    mean, resumed = RunningMean(), RunningMean()
    mean.add(torch.tensor(1.0), 3)
    resumed.load_state_dict(mean.state_dict())
    resumed.add(torch.tensor(5.0))

    assert resumed.compute() == 2
    assert mean.compute() == 1
    resumed.clear()
    assert math.isnan(resumed.compute())


def test_sums_are_exact_counts():
    assert_close(
        metrics._margins(torch.tensor([[3, 1], [0, 2]])), tuple(torch.tensor([[3.0, 2], [3, 3], [4, 2]]).double())
    )
