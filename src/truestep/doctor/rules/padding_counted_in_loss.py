"""The loss counts the padding of short texts or series.

What fills a batch up to its longest text is easy to predict: the loss looks better than it is, most of the gradient
teaches the model to write padding, and the number depends on how texts were put into batches. Series that are filled up
with zeros are known by a mask, or by lengths, that the script has and the loss does not use.

Bad::

    tagger = nn.Sequential(nn.Embedding(20, 16, padding_idx=0), nn.Linear(16, 5))
    optimizer = torch.optim.SGD(tagger.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()  # <- here
    for step in range(6):
        lengths = torch.randint(2, 11, (8, 1))
        tokens = torch.randint(1, 20, (8, 10)) * (torch.arange(10) < lengths)
        optimizer.zero_grad()
        criterion(tagger(tokens).transpose(1, 2), tokens % 5).backward()
        optimizer.step()

Good::

    tagger = nn.Sequential(nn.Embedding(20, 16, padding_idx=0), nn.Linear(16, 5))
    optimizer = torch.optim.SGD(tagger.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss(ignore_index=-100)
    for step in range(6):
        lengths = torch.randint(2, 11, (8, 1))
        tokens = torch.randint(1, 20, (8, 10)) * (torch.arange(10) < lengths)
        tags = (tokens % 5).masked_fill(tokens == 0, -100)
        optimizer.zero_grad()
        criterion(tagger(tokens).transpose(1, 2), tags).backward()
        optimizer.step()

Not a mistake: one token of padding that marks the end of a text, weights of 0 for it, a loss that a mask averages, zeros
that were measured.

Source: https://github.com/01-ai/Yi/issues/110
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import groups, known_site
from truestep.doctor.record import LossOp, Record

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    for loss, group, of in groups(record, "nll"):
        shares = [share for op in group if (share := _padding(op)) is not None]
        if len(shares) < max(3, 0.6 * of) or min(shares) < 0.02 or sum(shares) / len(shares) < 0.1:
            continue
        site = known_site(loss, group)
        yield Finding(
            f"{sum(shares) / len(shares):.0%} of the counted targets are padding, in {len(shares)} of {of} backward passes "
            "looked at.",
            record.criteria.get(site, site) if site else site,
            f"ignore_index={group[0].facts['texts'][0].get('padding_targets', ['PAD'])[0]}, or give padding the target -100",
            {"padding": f"{min(shares):.0%} to {max(shares):.0%}", "ignore_index": group[0].facts.get("ignore_index")},
            "warning",
        )
    yield from _of_numbers(record)


def _of_numbers(record: Record) -> Iterator[Finding]:
    """Find the zeros at the ends of rows, which the script knows for padding, counted by a loss of numbers."""
    for loss, group, of in groups(record, "mse", "l1", "smooth_l1", "huber"):
        shares = [op.facts["padding"] for op in group if op.facts.get("padding")]
        if len(shares) < max(3, 0.6 * of) or sum(shares) / len(shares) < 0.1:
            continue
        site = known_site(loss, group)
        yield Finding(
            f"{sum(shares) / len(shares):.0%} of the counted targets are the zeros that fill rows up, in {len(shares)} of {of} "
            "backward passes looked at; a variable of the script says which these are.",
            site,
            "(loss_of_each * mask).sum() / mask.sum(), with reduction='none'",
            {"padding": f"{min(shares):.0%} to {max(shares):.0%}"},
            "warning",
        )


def _padding(op: LossOp) -> float | None:
    """Return the share of counted targets that are padding."""
    if op.reduction not in ("mean", "sum"):
        return None
    for text in op.facts.get("texts", ()):
        targets = text.get("padding_targets", [])
        if text.get("padding") and len(targets) == 1 and targets[0] not in op.facts.get("without_weight", ()):
            return text["padding"]
    return None
