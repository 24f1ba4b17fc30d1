"""None of the loaded weights has a name of the model's, which keeps its initial ones.

`strict=False` passes over every name that differs. A prefix, such as the `module.` of DataParallel or the name of a
wrapper, makes all of them differ. Fine-tuning then starts from nothing, and evaluation reports what chance gives.

Bad::

    weights = {f"module.{name}": value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights, strict=False)  # <- here

Good::

    weights = {f"module.{name}": value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict({name.removeprefix("module."): value for name, value in weights.items()})

Not a mistake: a head whose names differ, or a file with more than the model needs.

Source: https://github.com/pytorch/examples/issues/1029
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for load in record.loads:
        if load.what != "model" or load.own == 0:
            continue
        nothing = load.matched == 0 and load.keys > 0 and not load.strict
        if nothing or load.file_left:
            yield Finding(
                f"None of the weights of the file was loaded: a name there is '{load.examples[0]}', and one of the model's "
                f"{load.own} is '{load.examples[1]}'.",
                load.site,
                "rename the keys, and load with strict=True so that a difference is an error",
                {"given": load.keys, "known to the model": 0, "of the model": load.own},
            )
