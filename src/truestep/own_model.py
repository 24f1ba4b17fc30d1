"""A model of the user's own: the arguments it takes from the data, how it wants its inputs, and where its outputs are.

    --model net.py:Net                                         a class
    --model timm:create_model --model.args.model_name resnet18 a function that makes one

Whoever writes one may use our names of things, those of `truestep.models`, or the common ones below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from truestep.code import load_code, told
from truestep.errors import InputError, did_you_mean

OUTPUTS = ("num_outputs", "num_classes", "num_labels", "out_features", "output_size", "output_dim")
FEATURES = ("num_features", "num_inputs", "in_features", "input_dim", "input_size")
CHANNELS = ("channels", "in_channels", "in_chans", "num_channels")
TOKENS = ("vocabulary", "vocab_size", "num_tokens", "num_embeddings")
TOGETHER = {"height": "width", "width": "height"}  # `width` alone is how wide a network is, not an image


def arguments_for(name: str, spec: Mapping[str, Any], num_outputs: int, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's arguments, and those facts of the data that the model takes by name.

    Args:
        name: `file.py:Class`, `package.module:Class`, or a function instead of the class.
        spec: of the encoder: what the inputs look like.
        num_outputs: of the target: classes, labels, values or tokens.
        overrides: the user's arguments; they win.

    Raises:
        InputError: no such code, an argument that it doesn't take, or one that it needs and nobody knows.
    """
    make = _maker(name)
    try:
        parameters = signature(make).parameters
    except (TypeError, ValueError):
        parameters = {"anything": Parameter("anything", Parameter.VAR_KEYWORD)}
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    named = {
        key: p for key, p in parameters.items() if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    }
    for key in overrides:
        if key not in named and not takes_any:
            known = ", ".join(named) or "no arguments"
            raise InputError(f"model.args: expected {known} for {name}, found '{key}'.{did_you_mean(key, named)}")
    facts = _facts(spec, num_outputs)
    given = {key: value for key, value in facts.items() if key in named and _is_meant(key, named)}
    if takes_any and not {*given, *overrides} & set(OUTPUTS):
        given["num_classes"] = num_outputs  # a function that hands its arguments on, such as those of timm, torchvision
        if spec["kind"] == "image" and spec["channels"] != 3 and not {*given, *overrides} & set(CHANNELS):
            given["in_chans"] = spec["channels"]
    given |= overrides
    for key, parameter in named.items():
        if parameter.default is Parameter.empty and key not in given:
            known = ", ".join(facts)
            raise InputError(f"model.args: {name} needs '{key}'. The data tell {known}; give the rest.")
    return given


def build(name: str, args: Mapping[str, Any]) -> nn.Module:
    """Return the user's model, ready to be called as ours are.

    Raises:
        InputError: no such code, or it failed, or what it made is no model.
    """
    make = _maker(name)
    try:
        model = make(**args)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"model '{name}': {told(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"model '{name}': expected it to make an nn.Module, found a {type(model).__name__}.")
    if any(isinstance(parameter, UninitializedParameter) for parameter in model.parameters()):
        raise InputError(
            f"model '{name}': expected layers that know their sizes, found lazy ones, whose weights an optimizer can't "
            "hold yet. Sizes of the data are filled in by name, such as num_features or channels."
        )
    # Hooks, not a module around it: the names of its weights stay what they are.
    model.register_forward_pre_hook(_rename_inputs, with_kwargs=True)
    model.register_forward_hook(_unwrap_outputs)
    return model


def _maker(name: str) -> Callable[..., Any]:
    make = load_code(name, "model")
    if isinstance(make, nn.Module) or not callable(make):
        raise InputError(f"model '{name}': expected a class or function that makes a model, found {_kind(make)}.")
    return make


def _kind(thing: Any) -> str:
    return "a model already made" if isinstance(thing, nn.Module) else f"a {type(thing).__name__}"


def _is_meant(key: str, named: Mapping[str, Parameter]) -> bool:
    """Whether an argument of this name is surely about the data."""
    if key == "length":
        return named[key].default is Parameter.empty
    return TOGETHER.get(key, key) in named


def _facts(spec: Mapping[str, Any], num_outputs: int) -> dict[str, Any]:
    """Return what is known about the data, by every name that a model may have for it."""
    facts: dict[str, Any] = dict.fromkeys(OUTPUTS, num_outputs)
    facts |= {key: value for key, value in spec.items() if key not in ("kind", "vocabulary")}
    match spec["kind"]:
        case "image":
            pixels = spec["channels"] * spec["height"] * spec["width"]
            facts |= dict.fromkeys(CHANNELS, spec["channels"]) | dict.fromkeys(FEATURES[:-1], pixels)
        case "tokens":
            facts |= dict.fromkeys(TOKENS, spec["vocabulary"])
        case "table" | "sequence":
            facts |= dict.fromkeys(FEATURES, spec["num_numeric"]) if not spec["cardinalities"] else {}
        case "vector":
            facts |= dict.fromkeys(FEATURES, spec["num_features"])
        case _:
            facts |= dict.fromkeys(FEATURES, math.prod(spec["shape"]))
    return facts


def _rename_inputs(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Hand inputs over by the names that the model's `forward` has for them."""
    takes = _takes(type(model).forward)
    if takes is None or args or set(kwargs) <= takes.keys():
        return None
    inputs = dict(kwargs)
    if "tokens" in inputs and "tokens" not in takes and "input_ids" in takes:  # as Hugging Face's models call them
        inputs["input_ids"] = tokens = inputs.pop("tokens")
        lengths = inputs.pop("lengths", None)
        if lengths is not None and "lengths" in takes:
            inputs["lengths"] = lengths
        elif lengths is not None and "attention_mask" in takes:
            steps = torch.arange(tokens.shape[1], device=tokens.device)
            inputs["attention_mask"] = (steps < lengths.unsqueeze(1)).long()
        return args, inputs
    if "lengths" in inputs and "lengths" not in takes:
        del inputs["lengths"]  # token 0 is padding and nothing else, so nothing is lost
    if set(inputs) <= takes.keys():
        return args, inputs
    others = list(takes)[1:]
    if len(inputs) == 1 and not any(takes[other] for other in others):
        return tuple(inputs.values()), {}  # one input, one place for it
    raise InputError(
        f"model '{type(model).__name__}': its forward takes {', '.join(takes)}; these data give "
        f"{', '.join(kwargs)}. Name its arguments so."
    )


@cache
def _takes(forward: Any) -> dict[str, bool] | None:
    """Return the names that a `forward` takes, and whether it needs each; None if that can't be known."""
    try:
        parameters = list(signature(forward).parameters.values())[1:]
    except (TypeError, ValueError):
        return None
    wanted = [p for p in parameters if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]
    return {p.name: p.default is Parameter.empty for p in wanted} or None


def _unwrap_outputs(model: nn.Module, _: Any, outputs: Any) -> Any:
    """Return the tensor in what a model returns: itself, or the `logits` of an object or a dict."""
    if isinstance(outputs, Tensor):
        return None
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    if not isinstance(logits, Tensor):
        raise InputError(
            f"model '{type(model).__name__}': expected its forward to return a tensor, or an object with .logits, "
            f"found a {type(outputs).__name__}."
        )
    return logits
