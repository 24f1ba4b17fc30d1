"""What being watched costs, counted in calls and not in seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset
from trial import CORPUS, marks_in, ready, try_script

from truestep.doctor.observe import Watch
from truestep.doctor.record import looked_at

OURS = str(Path(sys.modules[Watch.__module__].__file__).parent)
READS = ("_local_scalar_dense", "_to_copy", "equal", "is_nonzero", "nonzero", "unique", "item")
MOST_CALLS = 140  # of our functions, in a step of the loop below
SOON = [  # pairs with a mistake of the step or the loss
    "bag-of-words-intents",
    "blob-unet-segmentation",
    "blobs-vae",
    "cell-masks-iou",
    "charlm-accumulate-config",
    "diabetes-mlp-regression",
    "digits-mlp-notebook",
    "dynamic-graph-rnn-clip",
    "highway-forecast-list",
    "iris-logsoftmax-module",
    "iris-step-order",
    "music-attention-decoder",
    "nano-gpt-names",
]
EVALUATED = {  # pairs with a mistake of the evaluation, and steps up to just behind the first one
    "click-field-factorization": 17,
    "digits-split-helper": 24,
    "ecological-count-encoder": 11,
    "plankton-silhouettes": 11,
    "textures-cnn-validate": 11,
}


@pytest.fixture(scope="module", autouse=True)
def _imported():
    ready()


class Counted(TorchDispatchMode):
    """Counts operations that make a device wait, by who asks for them."""

    def __init__(self):
        super().__init__()
        self.ours = self.theirs = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(name in function.name() for name in READS):
            asks = who_asks(sys._getframe(1))
            self.theirs += asks == ""
            self.ours += asks not in ("", "_before")  # on the CPU the value of a loss is there: nothing waits
        return function(*args, **(kwargs or {}))


def who_asks(frame):
    """Return the name of our innermost function on the stack, but for those that only call the script's."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(OURS) and code.co_name not in ("wrapper", "__call__", "following"):
            return code.co_name
        frame = frame.f_back
    return ""


def steps(epochs, wrap):
    """Train, and hand each step to `wrap`; after each epoch, evaluate."""
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(64, 8), torch.randint(3, (64,)))
    train, valid = DataLoader(data, batch_size=4, shuffle=True), DataLoader(data, batch_size=16)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1000)

    def step(batches):
        inputs, targets = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        loss.item()

    for _ in range(epochs):
        model.train()
        batches = iter(train)
        for _ in range(len(train)):
            wrap(lambda batches=batches: step(batches))
        assert next(batches, None) is None
        model.eval()
        with torch.no_grad():
            for inputs, _ in valid:
                model(inputs)


def test_a_usual_step_takes_few_calls_of_ours_and_reads_nothing_from_the_device():
    calls: list[int] = []
    reads: list[int] = []
    theirs: list[int] = []

    def counted(step):
        count = 0

        def profile(frame, event, _):
            nonlocal count
            count += event == "call" and frame.f_code.co_filename.startswith(OURS)

        with Counted() as mode:
            sys.setprofile(profile)
            try:
                step()
            finally:
                sys.setprofile(None)
        calls.append(count)
        reads.append(mode.ours)
        theirs.append(mode.theirs)

    watch = Watch()
    watch.start()
    try:
        steps(12, counted)
    finally:
        watch.stop()

    assert watch.record.own_errors == {}
    usual = [place for place in range(len(calls)) if place > 60 and not looked_at(place + 1)]
    assert len(usual) > 100
    assert min(theirs) > 0  # loss.item() of the script: the count sees it
    assert sum(reads[place] for place in (0, 1, 2)) > 0
    assert {reads[place] for place in usual} == {0}
    assert max(calls[place] for place in usual) <= MOST_CALLS


def test_what_is_new_is_looked_at_again():
    watch = Watch()
    watch.record.steps = 2_050
    watch.happened = {"a usual step"}
    watch.stepped()
    watch.record.steps += 3
    assert not watch.looks(2_053)

    watch.happened = {"a usual step"}
    watch.stepped()
    assert not watch.looks(2_053)

    watch.happened = {"a usual step", "an evaluation"}
    watch.stepped()
    assert watch.looks(2_053)


def test_steps_are_looked_at_ever_more_rarely():
    counts = [sum(map(looked_at, range(1, 10**power + 1))) for power in (2, 3, 4, 5)]
    assert counts == sorted(counts)
    assert counts[-1] < 80


LATE = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
model.train()
for step in range(700):
    optimizer.zero_grad()
    F.cross_entropy(model(torch.randn(8, 8)), torch.randint(3, (8,))).backward()
    optimizer.step()
    if step == 530:
        model.eval()
        with torch.no_grad():
            model(torch.randn(32, 8))
"""


def test_a_mistake_that_begins_late_is_found(tmp_path):
    path = tmp_path / "late.py"
    path.write_text(LATE)
    assert [rule for rule, _ in try_script(path).alarms] == ["trained-in-eval-mode"]


@pytest.mark.parametrize(("name", "steps"), [*((name, 10) for name in SOON), *EVALUATED.items()])
def test_ten_steps_or_one_evaluation_are_enough(name, steps):
    path = CORPUS / "pairs" / name / "broken.py"
    found = try_script(path, steps=steps)
    assert set(found.alarms) & set(marks_in(path).expected), found.alarms
