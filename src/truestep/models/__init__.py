"""The models that come with truestep, and which arguments make one fit the data.

Each model is one file that imports only torch and can be read, copied and changed on its own.
"""

from __future__ import annotations

import math
from inspect import signature
from typing import TYPE_CHECKING, Any, cast

from truestep.errors import InputError, did_you_mean
from truestep.models.cnn import CNN
from truestep.models.linear import Linear
from truestep.models.mlp import MLP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

MODELS: dict[str, type[nn.Module]] = {"linear": Linear, "mlp": MLP, "cnn": CNN}
SMALLEST_IMAGE = 4  # pixels; below it a convolution sees little more than its own padding


def choose(spec: Mapping[str, Any]) -> str:
    """Return the name of the model to try on inputs like these: the encoder's `spec`."""
    return "cnn" if _is_image(spec) else "mlp"


def arguments_for(name: str, spec: Mapping[str, Any], num_outputs: int, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a model for these data, ready for JSON.

    Args:
        name: one of `MODELS`.
        spec: of the encoder: what the inputs look like.
        num_outputs: of the target: classes, labels or values.
        overrides: the user's own choices, such as `hidden`.

    Raises:
        InputError: no such model or argument, a value that does not fit, or a model that is not for such inputs.
    """
    parameters = signature(_model_class(name)).parameters
    given_by_data = {**_input_arguments(name, spec), "num_outputs": num_outputs}
    defaults = {key: parameter.default for key, parameter in parameters.items() if key not in given_by_data}
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
            _check_like(defaults[key], value, key)
    arguments = given_by_data | defaults | dict(overrides)
    return {key: _as_json(value) for key, value in arguments.items()}


def build(name: str, args: Mapping[str, Any]) -> nn.Module:
    """Return a new model, its weights drawn from torch's global generator.

    Raises:
        InputError: no such model, or arguments that make none.
    """
    try:
        return _model_class(name)(**args)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"model '{name}': {error}") from error


def _model_class(name: str) -> type[nn.Module]:
    if name not in MODELS:
        raise InputError(f"model: expected one of {', '.join(MODELS)}, found '{name}'.{did_you_mean(name, MODELS)}")
    return MODELS[name]


def _is_image(spec: Mapping[str, Any]) -> bool:
    return spec["kind"] == "image" and min(spec["height"], spec["width"]) >= SMALLEST_IMAGE


def _input_arguments(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    if name == "cnn":
        if not _is_image(spec):
            found = "smaller ones" if spec["kind"] == "image" else f"inputs of kind {spec['kind']}"
            size = f"{SMALLEST_IMAGE}x{SMALLEST_IMAGE}"
            raise InputError(f"model 'cnn': expected images of at least {size} pixels, found {found}. Use mlp.")
        return {key: spec[key] for key in ("channels", "height", "width")}
    match spec["kind"]:
        case "table":
            return {"num_numeric": spec["num_numeric"], "cardinalities": list(spec["cardinalities"])}
        case "vector":
            num_numeric = spec["num_features"]
        case "image":
            num_numeric = spec["channels"] * spec["height"] * spec["width"]
        case _:
            num_numeric = math.prod(spec["shape"])
    return {"num_numeric": num_numeric, "cardinalities": []}


def _as_json(value: Any) -> Any:
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


def _check_like(default: Any, value: Any, key: str) -> None:
    """Raise InputError unless `value` is what `default` is: whole numbers above 0, or a share in [0, 1)."""
    if isinstance(default, tuple):
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
