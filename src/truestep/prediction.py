"""From raw rows to predictions with probabilities, with all that a saved model needs and nothing of its training data.

The same rows give the same bits in memory and in a new process: the batch size and the number of threads, on which the
last bits depend, are fixed and travel with the model.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from truestep import folder, models
from truestep.batches import EVALUATION_BATCH_SIZE, Batches, as_batches, batches_on
from truestep.code import call_code, is_code
from truestep.data import Encoder, ImageEncoder, StreamEncoder, Target, encoder_from_json, target_from_json
from truestep.device import FLOAT32, LAYOUTS, Precision, choose, lay_out, preserved_rng, reproducible
from truestep.errors import InputError, RefusedError
from truestep.evaluation import evaluation_mode, measure
from truestep.generation import continue_text
from truestep.objectives import FromFunction, Multiclass, Objective, as_objective, objective_from_json

if TYPE_CHECKING:
    import polars as pl

    from truestep.keyed import Keys
    from truestep.objectives import Metrics


NUMBERS_AT_ONCE = 1 << 22  # inputs of a batch when evaluating: what the layers make of them is many times that
TOKEN_WIDTH = 64  # numbers that a token becomes, for that count
FEWEST_AT_ONCE = 16
MOST_THREADS = 1024  # more than any machine has use for
WRITERS = {".csv": "write_csv", ".jsonl": "write_ndjson", ".parquet": "write_parquet"}


@dataclass(frozen=True)
class Predictions:
    """What a model says about each row, in the order of the rows."""

    outputs: Tensor  # as the model gave them: logits, or standardised values
    scores: Tensor  # probabilities, or values in the targets' own units
    predictions: Tensor  # classes, labels, or values


def predict(
    model: nn.Module,
    inputs: Any,
    objective: Objective | Callable[[nn.Module, Any], Tensor],
    *,
    precision: Precision | str = FLOAT32,
) -> Predictions:
    """Return the outputs of the model for all inputs, with dropout off, and what they mean.

    Args:
        model: comes back in the mode it arrived in.
        inputs: a tensor, or a nest of tensors, of all rows; or an iterable of batches of inputs.
        objective: as in training.
        precision: as in training.
    """
    objective = as_objective(objective)
    if isinstance(objective, FromFunction):
        raise InputError(
            "objective: expected one that says what outputs are, found a function, which gives a loss only."
        )
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    precision = Precision.of(precision, device)
    batches = batches_on(device, as_batches(inputs, every_rank=True))  # rows in order, all in this process
    with torch.no_grad(), evaluation_mode(model), precision.autocast():
        outputs = torch.cat([objective.forward(model, batch).cpu() for batch in batches])
    return Predictions(outputs, objective.scores(outputs), objective.predictions(outputs))


@dataclass
class Predictor:
    """A trained model with everything around it: how rows become inputs, and outputs answers."""

    model: nn.Module
    architecture: dict[str, Any]  # {"name": ..., "args": {...}}
    objective: Objective
    encoder: Encoder
    target: Target
    precision: str = "fp32"
    threads: int = 1
    layout: str = "contiguous"

    def save(self, path: Path) -> None:
        """Write `model.safetensors` and `model.json` into a folder."""
        folder.save_model(
            path,
            self.model,
            {
                "architecture": self.architecture,
                "objective": self.objective.to_json(),
                "encoder": self.encoder.to_json(),
                "target": asdict(self.target),
                "precision": self.precision,
                "threads": self.threads,
                "layout": self.layout,
            },
        )

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu", own_model: str | None = None) -> Predictor:
        """Read what `save` wrote. Nothing in it is run, and no code that it names.

        Args:
            path: the folder of a run, or its `model` folder.
            device: to compute on.
            own_model: for a model of your own, the `file.py:Class` or `package.module:Class` that may be run for it.

        Raises:
            InputError: there is no model here.
            RefusedError: it is damaged, or from a newer truestep.
        """
        path = Path(path)
        path = path / "model" if (path / "model").is_dir() or not (path / "model.json").exists() else path
        content = folder.read_description(path)
        try:
            architecture = content["architecture"]
            model = _built(architecture, own_model)
            predictor = cls(
                model=model,
                architecture=architecture,
                objective=objective_from_json(content["objective"]),
                encoder=encoder_from_json(content["encoder"]),
                target=target_from_json(content["target"]),
                precision=str(content["precision"]),
                threads=int(content["threads"]),
                layout=str(content["layout"]),
            )
            predictor.check()
        except RefusedError as error:
            raise RefusedError(f"{path / 'model.json'}: {error}") from None
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
            if isinstance(error, InputError) and own_model is not None:
                raise  # it is the user's own code that is wrong, or not the one that was trained
            words = " ".join(str(error).split())
            raise RefusedError(f"{path / 'model.json'}: damaged ({type(error).__name__}: {words}).") from None
        folder.load_weights(path, model, str(content.get("weights_sha256")))
        model.to(choose(device)).eval()
        lay_out(model, predictor.layout)
        return predictor

    def check(self) -> None:
        """Raise ValueError if the parts contradict each other, as those of a damaged file may."""
        names = self.target.class_names
        if not 1 <= self.threads <= MOST_THREADS:
            raise ValueError(f"{self.threads} threads")
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout {self.layout}")
        if self.objective.name != self.target.task:
            raise ValueError(f"objective {self.objective.name} for a target that is {self.target.task}")
        if names is not None and (len(set(names)) != len(names) or not all(isinstance(name, str) for name in names)):  # pyright: ignore[reportUnnecessaryIsInstance]  # who knows what a file holds
            raise ValueError("class names that are not different texts")
        if isinstance(self.objective, Multiclass) and self.objective.num_classes != len(names or ()):
            raise ValueError(f"{len(names or ())} class names for {self.objective.num_classes} classes")

    def batches(self, examples: Any, **choices: Any) -> Batches:
        """Return batches to evaluate or predict from: the same for the same rows, wherever that is done."""
        return Batches(
            examples,
            evaluation_batch_size(self.encoder.spec),
            device=next(self.model.parameters()).device,
            transform=preparation(self.encoder),
            **choices,
        )

    def predict(self, source: Any, say: Callable[[str], None] = lambda _: None, tokens: int = 100) -> pl.DataFrame:
        """Return one row for each of the source's: its id if it has one, the prediction, and the probabilities.

        Args:
            source: a CSV or Parquet file, a table, or arrays, as for training but without the target; or
                `file.py:function` that returns such, which is run.
            say: called with a sentence for whatever training did not know, such as a new category.
            tokens: to continue each text by, for a model of the next token.
        """
        import polars as pl

        if isinstance(source, str) and is_code(source):
            source = call_code(source, "data")
        raw = self.encoder.read(source)
        for note in self.encoder.notes(raw):
            say(note)
        inputs, ids = self.encoder.encode(raw), self.encoder.ids(raw)
        if isinstance(self.encoder, StreamEncoder):
            answers = {
                "prediction": self._run(lambda: [self._continued(inputs[row], tokens) for row in range(len(inputs))])
            }
        else:
            batches = self.batches(inputs, every_rank=True)  # rows in order, all in this process
            answers = self._answers(
                self._run(lambda: predict(self.model, batches, self.objective, precision=self._format))
            )
        before = {} if ids is None else {f"{c.name}_id" if c.name in answers else c.name: c for c in ids}
        return pl.DataFrame({**before, **answers})

    def measure(self, batches: Batches) -> tuple[float, Metrics | None]:
        """Return the mean loss and the tally over labelled examples."""
        return self._run(lambda: measure(self.model, batches, self.objective, precision=self._format))

    @property
    def _format(self) -> Precision:
        return Precision.of(self.precision, next(self.model.parameters()).device)

    def _run(self, function: Callable[[], Any]) -> Any:
        with reproducible(seed=0, threads=self.threads):
            return function()

    def _continued(self, prompt: Sequence[int], tokens: int) -> str:
        """Return the most likely text after a prompt of tokens."""
        assert isinstance(self.encoder, StreamEncoder)
        with self._format.autocast():
            found = continue_text(self.model, prompt, tokens, length=self.encoder.length)
        return self.encoder.tokenizer.decode(found)

    def _answers(self, found: Predictions) -> dict[str, Any]:
        """Return the columns of the output table."""
        classes, scores = self.target.class_names, found.scores.numpy()
        if classes is None and scores.ndim == 1:
            return {"prediction": scores}
        if classes is None:
            answers = {f"prediction_{index}": column for index, column in enumerate(found.predictions.numpy().T)}
            probabilities = {f"probability_{index}": column for index, column in enumerate(scores.T)}
            return answers | probabilities if self.target.task == "multilabel" else answers
        if scores.ndim == 1:  # binary: of the second class
            scores = np.stack([1 - scores, scores], axis=1)
        answers = [classes[index] for index in found.predictions.tolist()]
        return {"prediction": answers} | {f"probability_{name}": scores[:, i] for i, name in enumerate(classes)}


def _built(architecture: Mapping[str, Any], own_model: str | None) -> nn.Module:
    """Return the model of a saved folder, without weights; of code that only the folder names, nothing is run."""
    name, args = architecture["name"], architecture["args"]
    if own_model is not None and own_model != name:
        raise InputError(f"model: this run's is '{name}', found '{own_model}'.")
    if own_model is not None:  # whole, because it may hold values that are not among its weights
        with preserved_rng():
            return models.build(name, args, trusted=True)
    with torch.device("meta"):  # takes no memory, whatever sizes a damaged file may ask for
        return models.build(name, args)


def preparation(encoder: Encoder) -> Callable[[Any, Keys], Any] | None:
    """Return what turns a batch as it is kept, of inputs or of (inputs, targets), into one for the model."""
    if not isinstance(encoder, ImageEncoder):  # only images are kept as something else: bytes
        return None

    def prepare(batch: Any, _: Keys) -> Any:
        return (encoder.prepare(batch[0]), batch[1]) if isinstance(batch, tuple) else encoder.prepare(batch)

    return prepare


def evaluation_batch_size(spec: Mapping[str, Any]) -> int:
    """Return how many examples to evaluate at once: fixed by what an example is, since the last bits depend on it."""
    match spec["kind"]:
        case "image":
            numbers = spec["channels"] * spec["height"] * spec["width"]
        case "tokens":
            numbers = TOKEN_WIDTH * spec["length"]
        case "sequence":
            numbers = spec["length"] * (spec["num_numeric"] + len(spec["cardinalities"]))
        case _:
            return EVALUATION_BATCH_SIZE
    fitting = 2 ** int(math.log2(max(NUMBERS_AT_ONCE // numbers, 1)))
    return max(FEWEST_AT_ONCE, min(EVALUATION_BATCH_SIZE, fitting))


def check_table_path(path: Path) -> None:
    """Raise InputError unless predictions can be written to this file."""
    if path.suffix not in WRITERS:
        raise InputError(f"{path}: expected a name ending in {', '.join(WRITERS)}, found '{path.suffix}'.")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"{path}: expected a file in a folder that exists.")
    folder.check_regular(path)


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a whole table or nothing, in the format that its name asks for."""
    content = io.BytesIO()
    getattr(table, WRITERS[path.suffix])(content)
    try:
        folder.write(path, content.getvalue())
    except OSError as error:
        raise InputError(f"{path}: can't write here ({error.strerror}).") from None
