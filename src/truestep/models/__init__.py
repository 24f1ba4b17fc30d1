"""The models that come with truestep, and which arguments make one fit the data.

Each model is one file that imports only torch and can be read, copied and changed on its own. A model of the user's own
is named as `file.py:Class` or `package.module:Class`; see `truestep.own_model`.
"""

from __future__ import annotations

import math
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin, get_type_hints

from truestep import own_model
from truestep.code import is_code
from truestep.errors import InputError, RefusedError, did_you_mean
from truestep.models.bag import Bag
from truestep.models.cnn import CNN
from truestep.models.linear import Linear
from truestep.models.mlp import MLP
from truestep.models.recurrent import Recurrent
from truestep.models.resnet import ResNet
from truestep.models.transformer import Transformer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

MODELS: dict[str, type[nn.Module]] = {
    "linear": Linear,
    "mlp": MLP,
    "cnn": CNN,
    "resnet": ResNet,
    "bag": Bag,
    "recurrent": Recurrent,
    "transformer": Transformer,
}
SMALLEST_IMAGE = 4  # pixels; below it a convolution sees little more than its own padding
LARGER_IMAGE = 64  # pixels from which averaging over places loses less than a weight for each place costs
# How many times the usual learning rate of Adam these take; ten, where no layer follows that a large step would upset.
FASTER = {"linear": 10.0, "bag": 10.0, "cnn": 3.0}
CONVOLVING = {"cnn", "resnet"}
# A model.json may be damaged, and a layer takes time to make even where it takes no memory.
MOST_LAYERS = {"hidden": 1000, "layers": 1000, "blocks": 1000, "cardinalities": 10_000}


def choose(spec: Mapping[str, Any]) -> str:
    """Return the name of the model to try first on inputs like these: the encoder's `spec`."""
    match spec["kind"]:
        case "image" if _is_image(spec):
            return "resnet" if min(spec["height"], spec["width"]) >= LARGER_IMAGE else "cnn"
        case "tokens":
            return "transformer" if spec["causal"] else "bag"
        case "sequence":
            return "recurrent"
        case _:
            return "mlp"


def arguments_for(name: str, spec: Mapping[str, Any], num_outputs: int, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a model for these data, ready for JSON.

    Args:
        name: one of `MODELS`, `file.py:Class` or `package.module:Class`.
        spec: of the encoder: what the inputs look like.
        num_outputs: of the target: classes, labels, values or tokens.
        overrides: the user's own choices, such as `hidden`.

    Raises:
        InputError: no such model or argument, a value that does not fit, or a model that is not for such inputs.
    """
    if is_code(name):
        return own_model.arguments_for(name, spec, num_outputs, overrides)
    parameters = signature(_model_class(name)).parameters
    given_by_data = {**_input_arguments(name, spec), "num_outputs": num_outputs}
    defaults = {key: parameter.default for key, parameter in parameters.items() if key not in given_by_data}
    if spec.get("causal") and "dropout" in defaults:
        defaults["dropout"] = 0.0  # a few passes over a text teach nothing by heart
    kinds = get_type_hints(_model_class(name).__init__)
    for key, value in overrides.items():
        if key in given_by_data:
            if value != given_by_data[key]:
                raise InputError(
                    f"model.args.{key}: the data have {given_by_data[key]}, found {value!r}. Leave it out."
                )
        elif key not in defaults:
            known = ", ".join(defaults) or "no arguments"
            raise InputError(f"model.args: expected {known} for {name}, found '{key}'.{did_you_mean(key, defaults)}")
        else:
            _check_like(defaults[key], kinds[key], value, key)
    arguments = given_by_data | defaults | dict(overrides)
    return {key: _as_json(value) for key, value in arguments.items()}


def build(name: str, args: Mapping[str, Any], *, trusted: bool = False) -> nn.Module:
    """Return a new model, its weights drawn from torch's global generator.

    Args:
        name: one of `MODELS`, `file.py:Class` or `package.module:Class`.
        args: as `arguments_for` gave them.
        trusted: whether the name comes from the user, who may name code to run, or from a file, which may not.

    Raises:
        InputError: no such model, or arguments that make none.
        RefusedError: the name is one of code, and is not trusted.
    """
    if is_code(name):
        if not trusted:
            raise RefusedError(
                f"the model is '{name}', which is code, and a saved model runs none. If you trust it: --model {name}"
            )
        return own_model.build(name, args)
    model = _model_class(name)
    _check_sizes(args)
    try:
        return model(**args)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, KeyError) as error:
        raise InputError(f"model '{name}': {' '.join(str(error).split())}") from error


def _model_class(name: str) -> type[nn.Module]:
    if name not in MODELS:
        known = f"{', '.join(MODELS)}, file.py:Class or package.module:Class"
        hint = f" Did you mean '{name}:CLASS'?" if name.endswith(".py") else did_you_mean(name, MODELS)
        raise InputError(f"model: expected one of {known}, found '{name}'.{hint}")
    return MODELS[name]


def _is_image(spec: Mapping[str, Any]) -> bool:
    return spec["kind"] == "image" and min(spec["height"], spec["width"]) >= SMALLEST_IMAGE


def _input_arguments(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the data say about a model's arguments; InputError if it is not for such data."""
    if name in ("linear", "mlp"):
        return _flat_arguments(name, spec)
    if name in ("cnn", "resnet"):
        if not _is_image(spec):
            found = "smaller ones" if spec["kind"] == "image" else f"inputs of kind {spec['kind']}"
            size = f"{SMALLEST_IMAGE}x{SMALLEST_IMAGE}"
            raise InputError(
                f"model '{name}': expected images of at least {size} pixels, found {found}. Use {choose(spec)}."
            )
        return {key: spec[key] for key in ("channels", "height", "width")}
    if spec["kind"] == "tokens" and name == "bag" and not spec["causal"]:
        return {"vocabulary": spec["vocabulary"]}
    if spec["kind"] == "tokens" and name != "bag":
        steps = {"vocabulary": spec["vocabulary"], "num_numeric": 0, "cardinalities": [], "causal": spec["causal"]}
        return steps | ({"bidirectional": False} if spec["causal"] and name == "recurrent" else {})
    if spec["kind"] == "sequence" and name != "bag":
        columns = {"num_numeric": spec["num_numeric"], "cardinalities": list(spec["cardinalities"])}
        return {"vocabulary": 0, **columns, "causal": False}
    expected = "texts to classify" if name == "bag" else "texts or time series"
    found = "texts to continue" if spec["kind"] == "tokens" else f"inputs of kind {spec['kind']}"
    raise InputError(f"model '{name}': expected {expected}, found {found}. Use {choose(spec)}.")


def _flat_arguments(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    match spec["kind"]:
        case "table":
            return {"num_numeric": spec["num_numeric"], "cardinalities": list(spec["cardinalities"])}
        case "sequence":
            steps = spec["length"]
            return {"num_numeric": steps * spec["num_numeric"], "cardinalities": list(spec["cardinalities"]) * steps}
        case "vector":
            num_numeric = spec["num_features"]
        case "image":
            num_numeric = spec["channels"] * spec["height"] * spec["width"]
        case "array":
            num_numeric = math.prod(spec["shape"])
        case _:
            raise InputError(f"model '{name}': expected numbers or categories, found texts. Use {choose(spec)}.")
    return {"num_numeric": num_numeric, "cardinalities": []}


def _as_json(value: Any) -> Any:
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


def _check_like(default: Any, kind: Any, value: Any, key: str) -> None:
    """Raise InputError unless `value` is what `default` is: a choice, a size, several of them, or a share in [0, 1)."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            hint = did_you_mean(str(value), get_args(kind))
            raise InputError(f"model.args.{key}: expected one of {', '.join(get_args(kind))}, found {value!r}.{hint}")
        return
    if isinstance(default, bool):
        fits, expected = isinstance(value, bool), "true or false"
    elif isinstance(default, tuple):
        fits = isinstance(value, list | tuple) and all(_is_size(units) for units in cast("list[Any]", value))
        expected = f"a list of whole numbers such as {_as_json(default)}"
    elif isinstance(default, float):
        fits, expected = type(value) in (int, float) and 0 <= value < 1, "a number in [0, 1)"
    else:
        fits, expected = _is_size(value), "a whole number above 0"
    if not fits:
        raise InputError(f"model.args.{key}: expected {expected}, found {value!r}.")


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0


def _check_sizes(args: Mapping[str, Any]) -> None:
    """Raise InputError if a model would have so many layers that making them takes long."""
    for key, most in MOST_LAYERS.items():
        value = args.get(key, 0)
        sizes = cast("list[Any]", value) if isinstance(value, list | tuple) else [value]
        layers = sum(abs(size) for size in sizes if isinstance(size, int)) if key in ("layers", "blocks") else 0
        if max(len(sizes), layers) > most:
            raise InputError(f"model.args.{key}: expected at most {most}, found {max(len(sizes), layers)}.")
