"""A model that is to predict the next token, or the next numbers of a series, sees them.

Without a mask, or with one that is upside down or does not reach every layer, each place of the text knows the tokens
after it. The training loss falls fast and far, and generated text is rubbish: there, nothing is to be seen.

Bad::

    class Writer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(20, 16)
            self.rnn = nn.GRU(16, 16, batch_first=True, bidirectional=True)
            self.out = nn.Linear(32, 20)

        def forward(self, tokens):
            states, _ = self.rnn(self.embed(tokens))  # <- here
            return self.out(states)


    writer = Writer()
    optimizer = torch.optim.SGD(writer.parameters(), lr=0.1)
    text = torch.randint(20, (8, 13))
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(writer(text[:, :-1]).transpose(1, 2), text[:, 1:]).backward()
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

Not a mistake: masked language models, encoders of a text that another one answers, and taggers.

Source: https://github.com/karpathy/minGPT/issues/75
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import NUMBERS, groups
from truestep.doctor.record import LossOp, Record, Site

SEVERITY = "error"
MASKS = {"masked_fill", "masked_fill_", "tril", "triu"}
HIDES = ["targets-not-shifted"]


def look(record: Record) -> Iterator[Finding]:
    for loss, group, of in groups(record, "nll", *NUMBERS):
        for model in record.models:
            probe = model.probes.get("future") or {}
            if not probe.get("moved", 0) >= 1e-2 or len(group) < max(3, 0.6 * of):
                continue
            if not all(_next(op, model.number) for op in group):
                continue
            what = "tokens" if group[0].kind == "nll" else "numbers of the series"
            yield Finding(
                f"The targets are the next {what}, and with later ones changed, the outputs at earlier places moved by "
                f"{probe['moved']:.2g} of their standard deviation"
                + (f": '{probe['operation']}' lets them through." if "operation" in probe else "."),
                mask_of(probe.get("site")) or loss.site,
                "a causal mask: is_causal=True, or mask = torch.triu(torch.full((T, T), float('-inf')), diagonal=1)",
                {
                    "earlier places moved": probe["moved"],
                    "places": probe["length"],
                    "targets that are the next one": "all",
                },
            )
            return


def _next(op: LossOp, model: int) -> bool:
    return any(text["model"] == model and text.get("next_place", 0) > 0.95 for text in op.facts.get("texts", ()))


def mask_of(site: Site | None) -> Site | None:
    """Return the line that masks the scores behind what lets later tokens through, or else takes their softmax.

    Where attention is written out, tokens meet in a product with its weights; the mistake is where these are made.
    """
    function = sites.function(site)
    if site is None or function is None or isinstance(function, ast.Module):
        return site
    before = [one for one in source.own_statements(function) if one.lineno < site.line]
    for words in (MASKS, {"softmax"}):
        lines = [one.lineno for one in before if {source.name_of(node) for node in ast.walk(one)} & words]
        if lines:
            return Site(site.file, lines[-1])
    return site
