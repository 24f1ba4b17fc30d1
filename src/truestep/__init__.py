"""truestep: PyTorch training you can trust, read, and leave at any time.

Three ways in, one loop:

    run = ts.train("titanic.csv", target="survived", epochs=20)             # a whole run
    ts.fit(model, train, valid, ts.Multiclass(10), optimizer, epochs=10)    # your model and data, our loop
    for step in ts.train_steps(model, batches, objective, optimizer): ...   # your loop, our step
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from truestep import data as data
    from truestep import doctor as doctor
    from truestep import metrics as metrics
    from truestep import models as models
    from truestep.batches import Batches as Batches
    from truestep.batches import accumulated as accumulated
    from truestep.best import Best as Best
    from truestep.checkpoint import Checkpoints as Checkpoints
    from truestep.device import Precision as Precision
    from truestep.errors import InputError as InputError
    from truestep.errors import Interrupted as Interrupted
    from truestep.errors import NonFiniteError as NonFiniteError
    from truestep.errors import RefusedError as RefusedError
    from truestep.errors import TruestepError as TruestepError
    from truestep.evaluation import evaluate as evaluate
    from truestep.loop import Fitted as Fitted
    from truestep.loop import Progress as Progress
    from truestep.loop import Step as Step
    from truestep.loop import fit as fit
    from truestep.loop import train_steps as train_steps
    from truestep.metrics import RunningMean as RunningMean
    from truestep.objectives import Binary as Binary
    from truestep.objectives import Multiclass as Multiclass
    from truestep.objectives import Multilabel as Multilabel
    from truestep.objectives import NextToken as NextToken
    from truestep.objectives import Objective as Objective
    from truestep.objectives import Regression as Regression
    from truestep.optimizers import build_optimizer as build_optimizer
    from truestep.optimizers import build_schedule as build_schedule
    from truestep.prediction import Predictions as Predictions
    from truestep.prediction import Predictor as Predictor
    from truestep.prediction import predict as predict
    from truestep.progress import Display as Display
    from truestep.recipe import Recipe as Recipe
    from truestep.run import Run as Run
    from truestep.run import train as train
    from truestep.splitting import Splitting as Splitting
    from truestep.tracing import Trace as Trace
    from truestep.tracing import trace as trace

__version__ = "0.1.0"

# Where each public name lives. Nothing is imported until it is used: importing torch takes seconds.
_HOMES = {
    "batches": ["Batches", "accumulated"],
    "best": ["Best"],
    "checkpoint": ["Checkpoints"],
    "device": ["Precision"],
    "errors": ["InputError", "Interrupted", "NonFiniteError", "RefusedError", "TruestepError"],
    "evaluation": ["evaluate"],
    "loop": ["Fitted", "Progress", "Step", "fit", "train_steps"],
    "metrics": ["RunningMean"],
    "objectives": ["Binary", "Multiclass", "Multilabel", "NextToken", "Objective", "Regression"],
    "optimizers": ["build_optimizer", "build_schedule"],
    "prediction": ["Predictions", "Predictor", "predict"],
    "progress": ["Display"],
    "recipe": ["Recipe"],
    "run": ["Run", "train"],
    "splitting": ["Splitting"],
    "tracing": ["Trace", "trace"],
}
_MODULES = ["data", "doctor", "metrics", "models"]
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*_HOME_OF, *_MODULES]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"truestep.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'truestep' has no attribute '{name}'")
    value = getattr(import_module(f"truestep.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
