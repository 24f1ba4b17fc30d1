"""Examples are changed at random when they are evaluated, as they are for training.

Flips, crops and colours make more of the training data; an evaluation with them measures other, harder examples in each
epoch. Its numbers are worse than the model is, and swing, and the best epoch is the one with the luckiest crops. It comes
from splitting a dataset that already augments.

Bad::

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return len(features)

        def __getitem__(self, i):
            flipped = torch.rand(()) < 0.5
            return features[i].flip(0) if flipped else features[i], labels[i]


    train_set, val_set = torch.utils.data.random_split(Pictures(), [72, 24])
    train_loader = DataLoader(train_set, batch_size=18, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=24)  # <- here
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        correct = sum((model(inputs).argmax(1) == targets).sum() for inputs, targets in val_loader)

Good::

    class Pictures(torch.utils.data.Dataset):
        def __init__(self, training):
            self.training = training

        def __len__(self):
            return len(features)

        def __getitem__(self, i):
            flipped = self.training and torch.rand(()) < 0.5
            return features[i].flip(0) if flipped else features[i], labels[i]


    order = torch.randperm(96).tolist()
    train_set = torch.utils.data.Subset(Pictures(training=True), order[:72])
    val_set = torch.utils.data.Subset(Pictures(training=False), order[72:])
    train_loader = DataLoader(train_set, batch_size=18, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=24)
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        correct = sum((model(inputs).argmax(1) == targets).sum() for inputs, targets in val_loader)

Not a mistake: noise that belongs to the task, such as that a model is to remove; the mean of several augmented answers.

Source: https://github.com/gpleiss/efficient_densenet_pytorch/issues/51
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import purpose
from truestep.doctor.record import Record

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    for loader in record.loaders:
        if not loader.differs_by_reading or loader.trained or not loader.evaluated or len(loader.passes) > 200:
            continue
        said, site = purpose(record, loader)
        if said != "held out":
            continue
        trained = [one for one in record.loaders if one.trained and one.dataset_kind == loader.dataset_kind]
        if trained:
            yield Finding(
                f"An example of the {loader.own_indices} that are evaluated was another one when it was read again: "
                f"{loader.dataset_kind} changes it at random ({', '.join(loader.augmented)}), as it does for training.",
                site,
                "give the evaluation a dataset of its own, without random changes",
                {"evaluated": loader.own_indices, "changes": ", ".join(loader.augmented)},
                severity=SEVERITY,
                related=[one.site for one in trained if one.site],
            )
