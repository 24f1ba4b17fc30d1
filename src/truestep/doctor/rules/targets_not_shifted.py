"""The targets of a model of sequences are not what comes next.

Targets equal to the inputs ask a model that sees the token to say it again: the loss falls to almost 0 and nothing about
the language is learnt; so it is with a forecast of numbers that the model was given. Shifted twice, by the script and once
more by the model, it learns to leave out every other token.

Bad::

    class Writer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(20, 16)
            self.rnn = nn.GRU(16, 16, batch_first=True)
            self.out = nn.Linear(16, 20)

        def forward(self, tokens):
            states, _ = self.rnn(self.embed(tokens))
            return self.out(states)


    writer = Writer()
    optimizer = torch.optim.SGD(writer.parameters(), lr=0.1)
    text = torch.randint(20, (8, 13))
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(writer(text).transpose(1, 2), text).backward()  # <- here
        optimizer.step()

Good::

    class Writer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(20, 16)
            self.rnn = nn.GRU(16, 16, batch_first=True)
            self.out = nn.Linear(16, 20)

        def forward(self, tokens):
            states, _ = self.rnn(self.embed(tokens))
            return self.out(states)


    writer = Writer()
    optimizer = torch.optim.SGD(writer.parameters(), lr=0.1)
    text = torch.randint(20, (8, 13))
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(writer(text[:, :-1]).transpose(1, 2), text[:, 1:]).backward()
        optimizer.step()

Not a mistake: autoencoders, which see the whole text through something narrow; masked language models; several heads for
several tokens ahead.

Source: https://github.com/KempnerInstitute/KempnerForge/issues/154
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import NUMBERS, groups, known_site
from truestep.doctor.record import LossOp, Record

SEVERITY = "error"


TOKENS = (
    ("same_place", "the very tokens that the model was given there", "logits[:, :-1] against tokens[:, 1:]"),
    ("second_next_place", "the tokens two places ahead", "shift once: the model, or the script, not both"),
)
SERIES = (
    ("same_place", "some of the very numbers that the model was given there", "series[:, :-1] against series[:, 1:]"),
)


def look(record: Record) -> Iterator[Finding]:
    for loss, group, of in groups(record, "nll", *NUMBERS):
        if len(group) < max(3, 0.6 * of) or any(_share(op, "next_place") > 0.8 for op in loss.ops):
            continue
        causal = [m.number for m in record.models if 0 <= (m.probes.get("future") or {}).get("moved", -1) < 1e-3]
        for name, words, fix in SERIES if group[0].kind in NUMBERS else TOKENS:
            if all(_share(op, name, causal) > 0.98 for op in group):
                yield Finding(
                    f"The targets were {words} in all of {len(group)} backward passes looked at, and the model sees no later "
                    "ones.",
                    known_site(loss, group),
                    fix,
                    {"looked at": of, "targets of this kind": min(_share(op, name, causal) for op in group)},
                )


def _share(op: LossOp, name: str, models: list[int] | None = None) -> float:
    return max(
        (
            text.get(name, 0.0)
            for text in op.facts.get("texts", ())
            if text.get("kinds", 0) > 2
            and text["alike"] < 0.9
            and (models is None or text["model"] in models)
            and text.get("channels", (0, 1))[0] != text.get("channels", (0, 1))[1]  # an autoencoder repeats them all
        ),
        default=0.0,
    )
