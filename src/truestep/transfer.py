"""Begin with the weights of another model, and leave some of them as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from truestep.disk import open_regular
from truestep.errors import InputError, RefusedError
from truestep.folder import read_json
from truestep.patterns import check_patterns, matches

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

PREFIXES = ("module.", "_orig_mod.", "model.")  # that DistributedDataParallel, torch.compile and trainers put before
SHOWN = 5  # names in a sentence


@dataclass(frozen=True)
class Initialised:
    """Which weights were taken from elsewhere. Names are those of the model, `unused` those of the file."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]  # not in the file
    misfits: tuple[str, ...]  # in the file, but of another shape or kind
    unused: tuple[str, ...]  # in the file, but not in the model


def initialise(model: nn.Module, source: Path | str, say: Callable[[str], None] = lambda _: None) -> Initialised:
    """Give `model` the weights that bear the same names and shapes in a file; the others stay as they are.

    Args:
        model: on any device, in any number format; the weights are converted.
        source: the folder of a run, its `model` folder, or a .safetensors file. Prefixes that wrappers leave before
            names, or the name of the part that a model is of another, are seen through if that makes more names match.
        say: called with sentences about what was taken and what was not.

    Raises:
        InputError: there is no such file, it is of another kind, or none of its weights fits.
        RefusedError: it is damaged.
    """
    path = _weights_file(Path(source))
    weights = _read(path)
    state = model.state_dict()
    weights, renamed = _renamed(weights, state)
    matched = [name for name in state if _fits(state[name], weights.get(name))]
    taken = {state[name].data_ptr() for name in matched if state[name].numel()}
    left = [name for name in state if name not in set(matched) and state[name].data_ptr() not in taken]  # tied ones are
    misfits = {name: _difference(state[name], weights[name]) for name in left if name in weights}
    missing = [name for name in left if name not in weights]
    unused = sorted(name for name in weights if name not in state)
    if not matched:
        wrong = next((f"'{name}' is {difference}" for name, difference in misfits.items()), None)
        wrong = wrong or f"the model has '{next(iter(state), '')}', the file '{next(iter(weights), '')}'"
        raise InputError(f"{path}: expected weights that fit this model, found none: {wrong}.")
    with torch.no_grad():
        for name in matched:
            state[name].copy_(weights[name])
    say(f"{path}: took {len(matched)} of {len(state)} weights{renamed}")
    if misfits:
        say(f"other shape: {_some([f'{name} {difference}' for name, difference in misfits.items()])}")
    if missing:
        say(f"not in it: {_some(missing)}")
    if unused:
        say(f"not used: {_some(unused)}")
    return Initialised(tuple(matched), tuple(missing), tuple(misfits), tuple(unused))


@dataclass
class Frozen:
    """Weights that stay as they are until `unfreeze`."""

    parameters: list[nn.Parameter]
    handles: list[RemovableHandle]

    def unfreeze(self) -> None:
        """Let them be trained from now on. An optimizer that has them needs nothing new; DDP has to be made anew."""
        for parameter in self.parameters:
            parameter.requires_grad = True
        for handle in self.handles:
            handle.remove()
        self.handles.clear()


def freeze(model: nn.Module, patterns: Sequence[str]) -> Frozen:
    """Leave weights as they are: those whose names, or whose modules' names, match one of the patterns.

    The running statistics of a batch norm whose weights are all frozen are frozen too, and used while training: else
    it would answer otherwise than where its weights come from, and drift with the new data. Dropout stays as it is.

    Args:
        model: whose weights are meant.
        patterns: such as `stages`, `stages.*`, `*.bias`.

    Raises:
        InputError: a pattern is for none of the weights, or nothing is left to train.
    """
    check_patterns(model, patterns, "model.freeze")
    frozen = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and any(matches(name, pattern) for pattern in patterns)
    ]
    if len(frozen) == sum(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("model.freeze: expected weights left to train, found none. Leave out a pattern.")
    for parameter in frozen:
        parameter.requires_grad = False
    handles: list[RemovableHandle] = []
    for name, module in model.named_modules():
        own = [p.requires_grad for p in module.parameters(recurse=False)]
        still = not any(own) if own else any(matches(name, pattern) for pattern in patterns)
        if still and getattr(module, "running_mean", None) is not None:
            handles.append(module.register_forward_pre_hook(_keep_statistics))
    return Frozen(frozen, handles)


def _keep_statistics(module: nn.Module, _: Any) -> None:
    module.training = False  # before each forward, because `model.train()` sets it anew each epoch


def _weights_file(source: Path) -> Path:
    """Return the .safetensors file of a folder of a run, of its `model` folder, or the file itself."""
    if source.is_dir():
        for path in (source / "model" / "model.safetensors", source / "model.safetensors"):
            if path.is_file():
                return path
        raise InputError(f"{source}: expected the folder of a run, found no model/model.safetensors in it.")
    if source.suffix != ".safetensors":
        how = ""
        if source.is_file():  # a pickle is a program, and running one from elsewhere is not ours to do
            how = (
                " Convert it: safetensors.torch.save_file(torch.load(PATH, weights_only=True), 'weights.safetensors')."
            )
        raise InputError(f"{source}: expected the folder of a run or a .safetensors file.{how}")
    if not source.is_file():
        raise InputError(f"{source}: no such file.")
    return source


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        with open_regular(path, through_links=True) as file:
            content = file.read()
        description = path.with_name("model.json")
        if path.name == "model.safetensors" and description.is_file():
            told = read_json(description).get("weights_sha256")
            if told is not None and told != hashlib.sha256(content).hexdigest():
                raise RefusedError(f"{path}: damaged (its SHA-256 is not the one in model.json).")
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise RefusedError(f"{path}: damaged ({' '.join(str(error).split())}).") from None
    except OSError as error:
        raise InputError(f"{path}: can't read it ({error.strerror}).") from None


def _fits(mine: Tensor, other: Tensor | None) -> bool:
    return other is not None and mine.shape == other.shape and mine.is_floating_point() == other.is_floating_point()


def _difference(mine: Tensor, other: Tensor) -> str:
    if mine.shape == other.shape:
        return f"{mine.dtype} here, {other.dtype} there"
    return f"{tuple(mine.shape)} here, {tuple(other.shape)} there"


def _renamed(weights: dict[str, Tensor], state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return the weights under the names that fit the model best, and words about it."""

    def count(candidate: Mapping[str, Tensor]) -> int:
        return sum(_fits(tensor, candidate.get(name)) for name, tensor in state.items())

    bare = _without(weights, PREFIXES)
    parts = {name.partition(".")[0] + "." for name in [*weights, *bare, *state] if "." in name}
    candidates = [(weights, ""), (bare, ", without what wrappers put before their names")]
    for prefix in sorted({*parts, *PREFIXES}):
        candidates += [
            (_without(bare, [prefix]), f", their names without '{prefix}'"),
            ({prefix + name: tensor for name, tensor in bare.items()}, f", their names after '{prefix}'"),
        ]
    return max(candidates, key=lambda candidate: count(candidate[0]))  # the first of equals: as little as needed


def _without(weights: Mapping[str, Tensor], prefixes: Iterable[str]) -> dict[str, Tensor]:
    """Return the weights without prefixes, however many; a name that would then be another's stays."""
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        short = name
        while cut := next((prefix for prefix in prefixes if short.startswith(prefix)), ""):
            short = short.removeprefix(cut)
        found[name if short in weights and short != name else short] = tensor
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > SHOWN else "")
