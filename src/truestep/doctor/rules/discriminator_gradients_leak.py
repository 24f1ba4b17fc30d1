"""The discriminator's step also uses the gradients that the generator's loss left in it.

On its way to the generator the generator's loss goes through the discriminator, and leaves gradients there that tell it
to be fooled. They have to be cleared before its own backward. Cleared right after its step only, they are added to its
own, and the discriminator learns in two opposite directions at once.

Bad::

    generator = nn.Linear(4, 8)
    judge = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    of_generator = torch.optim.SGD(generator.parameters(), lr=0.01)
    of_judge = torch.optim.SGD(judge.parameters(), lr=0.01)
    for real, _ in loader:
        made = generator(torch.randn(len(real), 4))
        verdict = F.softplus(-judge(real)) + F.softplus(judge(made.detach()))
        verdict.mean().backward()  # <- here
        of_judge.step()
        of_judge.zero_grad()
        of_generator.zero_grad()
        F.softplus(-judge(made)).mean().backward()
        of_generator.step()

Good::

    generator = nn.Linear(4, 8)
    judge = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    of_generator = torch.optim.SGD(generator.parameters(), lr=0.01)
    of_judge = torch.optim.SGD(judge.parameters(), lr=0.01)
    for real, _ in loader:
        made = generator(torch.randn(len(real), 4))
        of_judge.zero_grad()
        verdict = F.softplus(-judge(real)) + F.softplus(judge(made.detach()))
        verdict.mean().backward()
        of_judge.step()
        of_generator.zero_grad()
        F.softplus(-judge(made)).mean().backward()
        of_generator.step()

Not a mistake: gradients that the generator's loss leaves and that are cleared before the discriminator's backward; two
heads that train a common trunk together.

Source: https://github.com/heykeetae/Self-Attention-GAN/issues/48
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import LossFacts, ModelFacts, OptimizerFacts, Record, Window

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for judge in record.optimizers:
        windows = [window for window in judge.windows if not window.first and window.events]
        leaks = [found for window in windows if (found := _leak(record, judge, window)) is not None]
        if len(leaks) < 3 or len(leaks) < 0.8 * len(windows):
            continue
        own, foreign = leaks[-1]
        yield Finding(
            f"In {len(leaks)} of {len(windows)} steps of {judge.kind} looked at, its gradients held those of another "
            "model's loss: that backward went through all of its parameters, and nothing cleared them before this one.",
            own.site,
            "optimizer.zero_grad()  # of this model's, right before this line",
            {"steps looked at": len(windows), "with foreign gradients": len(leaks)},
            related=[foreign.site] if foreign.site else [],
        )


def _leak(record: Record, judge: OptimizerFacts, window: Window) -> tuple[LossFacts, LossFacts] | None:
    """Return the backward of its own and the foreign one whose gradients were still there, in a window of its steps."""
    foreign: LossFacts | None = None
    waiting: list[LossFacts] = []  # backwards since the last step of any optimizer
    own: LossFacts | None = None
    for event in window.events:
        if event.kind == "backward" and 0 <= event.of < len(record.losses):
            own = record.losses[event.of]
            waiting.append(own)
        elif event.kind == "clear" and event.of == judge.number:
            foreign, waiting = None, []
        elif event.kind == "step" and event.of != judge.number:
            through = [loss for loss in waiting if _goes_through(record, judge, loss, record.optimizers[event.of])]
            foreign = through[-1] if through else foreign
            waiting = []
    if foreign is None or own is None or own is foreign or not waiting:
        return None
    return (own, foreign) if _leaves_others(record, judge, own) else None


def _goes_through(record: Record, judge: OptimizerFacts, loss: LossFacts, other: OptimizerFacts) -> bool:
    """Whether a loss reaches all parameters of one optimizer's model on its way to all of another's."""
    full = [
        model
        for model in record.models
        if model.parameters and loss.reached_of_models[model.number] == model.parameters
    ]
    return any(_is_whole(model, judge) for model in full) and any(_is_whole(model, other) for model in full)


def _is_whole(model: ModelFacts, optimizer: OptimizerFacts) -> bool:
    """Whether a model's parameters are those of an optimizer."""
    return optimizer.number in model.owned_by and model.parameters == optimizer.parameters


def _leaves_others(record: Record, judge: OptimizerFacts, loss: LossFacts) -> bool:
    """Whether a loss reaches the optimizer's model only."""
    reached = [model for model in record.models if loss.reached_of_models[model.number]]
    return bool(reached) and all(_is_whole(model, judge) for model in reached)
