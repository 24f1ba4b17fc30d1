"""What the templates of models are filled with: the sizes of this run's model, read off the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from truestep.eject.literals import WIDTH
from truestep.errors import InputError
from truestep.models import ResNet

LAYERS_OF_STAGE = 5  # of a CNN
CLASSES = {
    "linear": "Linear",
    "mlp": "MLP",
    "cnn": "CNN",
    "resnet": "ResNet",
    "bag": "Bag",
    "recurrent": "Recurrent",
    "transformer": "Transformer",
}


def describe(name: str, args: Mapping[str, Any], model: nn.Module, argument: str, *, is_flat: bool) -> dict[str, Any]:
    """Return what the template of a model needs.

    Args:
        name: of the model.
        args: it was made with.
        model: itself, its weights of no matter.
        argument: what its inputs are called where they are one tensor.
        is_flat: whether these are vectors already.
    """
    flattened = argument if is_flat else f"{argument}.flatten(1)"
    found: dict[str, Any] = {
        **args,
        "argument": argument,
        "flattened": flattened,
        "output": getattr(model, "output", None),
    }
    found |= {part: module for part, module in model.named_children() if isinstance(module, nn.Sequential)}
    if isinstance(model, ResNet):
        first = cast("nn.Conv2d", model.stem[0])
        found["stem_is_large"], found["filters"] = len(model.stem) > 1, first.out_channels
        found["blocks"] = [_block(block) for block in model.stages]
    if name == "recurrent":
        layers = cast("list[list[nn.LSTM]]", list(cast("Any", model).layers))
        units = [layer[0].input_size for layer in layers]
        found["units"] = str(units) if len(units) < 3 else f"[{units[0]}] + [{units[1]}] * {len(units) - 1}"
    if name == "transformer":
        found["tied"] = args["causal"] and args["num_outputs"] == args["vocabulary"]
    return found


def plain(name: str, args: Mapping[str, Any], model: nn.Module, *, is_flat: bool) -> list[str]:
    """Return the lines that make a model out of PyTorch's own layers, one after the other; none if it takes a class."""
    if name not in ("linear", "mlp", "cnn") or args.get("cardinalities"):
        return []
    lines = ["model = nn.Sequential()  # its parts one after the other"]
    lines += ["model.flatten = nn.Flatten()"] if name != "cnn" and not is_flat else []
    for key, part in model.named_children():
        if key == "stages" and len(cast("nn.Sequential", part)) > LAYERS_OF_STAGE:
            lines += _stages(cast("nn.Sequential", part))
        elif isinstance(part, nn.Linear):
            lines.append(f"model.{key} = {_module(part)}")
        elif len(cast("nn.Sequential", part)):  # a table without categories has no embeddings
            lines.append(f"model.{key} = {sequential(cast('nn.Sequential', part), 4, len(f'model.{key} = '))}")
    if name == "linear":
        lines.append("nn.init.zeros_(model.output.weight)  # it needs no random start")
        lines.append("nn.init.zeros_(model.output.bias)")
    return lines


def _stages(part: nn.Sequential) -> list[str]:
    """Return the stages of a CNN as a loop: two convolutions and a pooling each."""
    first = [cast("nn.Conv2d", part[place]) for place in range(0, len(part), LAYERS_OF_STAGE)]
    pairs = ", ".join(f"({conv.in_channels}, {conv.out_channels})" for conv in first)
    return [
        "model.stages = nn.Sequential()",
        f"for channels, filters in [{pairs}]:",
        "    conv = nn.Conv2d(channels, filters, 3, padding=1)",
        "    again = nn.Conv2d(filters, filters, 3, padding=1)",
        "    model.stages.extend([conv, nn.ReLU(), again, nn.ReLU(), nn.MaxPool2d(2)])",
    ]


def _block(block: Any) -> str:
    before, after = block.body[2], block.body[5]
    return f"Block({before.in_channels}, {after.out_channels}, {before.stride[0]})"


def sequential(modules: nn.Sequential, indent: int, more: int = len("self.hidden = ")) -> str:
    """Return an `nn.Sequential` as source, a module a line unless all of them fit beside the `more` that is there."""
    if not len(modules):
        return "nn.Sequential()"
    line = f"nn.Sequential({', '.join(map(_module, modules))})"
    if indent + more + len(line) <= WIDTH:
        return line
    lines = "".join(f"{' ' * (indent + 4)}{_module(module)},\n" for module in modules)
    return f"nn.Sequential(\n{lines}{' ' * indent})"


def _module(module: nn.Module) -> str:
    match module:
        case nn.Linear():
            return f"nn.Linear({module.in_features}, {module.out_features})"
        case nn.Conv2d():
            return f"nn.Conv2d({module.in_channels}, {module.out_channels}, 3, padding=1)"
        case nn.MaxPool2d():
            return "nn.MaxPool2d(2)"
        case nn.Dropout():
            return f"nn.Dropout({module.p})"
        case nn.LayerNorm():
            return f"nn.LayerNorm({module.normalized_shape[0]})"
        case nn.ReLU() | nn.Flatten():
            return f"nn.{type(module).__name__}()"
        case _:
            raise InputError(f"model: no plain way is known to write {type(module).__name__}.")
