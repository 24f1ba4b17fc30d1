"""Images changed at random while training, a batch at a time, by plain torch on the device where they are.

What happens to an example is a function of (seed, epoch, example) and of nothing else in its batch, so that a resumed
run, another number of workers or another batch size sees the same images. Only mixup and cutmix need the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from truestep import keyed
from truestep.code import told
from truestep.errors import InputError
from truestep.nest import take

STREAM, RANDOM_STREAM = 0x1A6E, 0x1A6F  # of random numbers that nothing else uses
GREY = 128.0  # of an erased rectangle
ERASED = (0.02, 0.33)  # share of the image that is erased, from and to (Zhong et al. 2020)
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


class Keys(Protocol):
    """What tells the examples of a batch from all others."""

    @property
    def seed(self) -> int: ...

    @property
    def epoch(self) -> int: ...

    @property
    def indices(self) -> Tensor:
        """(N,) int64."""
        ...


@dataclass(frozen=True)
class Augment:
    """Changes a batch of images; a choice of 0 changes nothing.

    Args:
        flip: mirror left to right, every other image on average.
        shift: move by up to so many pixels along each side; what comes in from outside is reflected.
        rotate: turn by up to so many degrees, either way.
        zoom: enlarge or shrink by up to this share.
        colour: change brightness, contrast and saturation by up to this share.
        random: apply so many operations drawn at random.
        erase: chance of blanking a rectangle.
        mixup: alpha of the Beta distribution by which pairs of images and their targets are mixed.
        cutmix: the same for the area of a rectangle that is pasted from one into the other. With both, an example gets
            one or the other.
        num_classes: that targets are turned into shares of where images are mixed; 0 mixes them as numbers.

    Raises:
        InputError: a choice is out of its range.
    """

    flip: bool = False
    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    colour: float = 0.0
    random: int = 0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    num_classes: int = 0

    def __post_init__(self) -> None:
        most = {"rotate": 180.0, "zoom": 0.99, "colour": 1.0, "erase": 1.0}
        for name in ("shift", "rotate", "zoom", "colour", "random", "erase", "mixup", "cutmix", "num_classes"):
            value = getattr(self, name)
            if not 0 <= value <= most.get(name, 2**31):  # NaN is not, either
                raise InputError(f"augment.{name}: expected 0 to {most.get(name, 2**31):g}, found {value}.")

    @property
    def mixes(self) -> bool:
        """Whether targets become shares of classes, or mixed numbers."""
        return self.mixup > 0 or self.cutmix > 0

    def __call__(self, batch: tuple[Tensor, Tensor], keys: Keys) -> tuple[Tensor, Tensor]:
        """Return changed images and targets; the same ones if nothing was chosen.

        Args:
            batch: images (N, C, H, W), uint8 or floats in 0 to 255; targets (N,) int64 classes, or (N, ...) numbers.
            keys: of the examples.

        Returns:
            Images float32 in 0 to 255; targets, (N, num_classes) float32 that sum to 1 if classes were mixed.

        Raises:
            InputError: the images are smaller than the shift.
        """
        if self == Augment(num_classes=self.num_classes):
            return batch
        images, targets = batch
        draws = keyed.uniform(keys.seed, keys.epoch, keys.indices, 17, STREAM)
        # A column for each purpose, so that one choice leaves the numbers of the others as they were.
        if self.flip:
            images = flip(images, draws[:, 0] < 0.5)
        if self.shift:
            if self.shift >= min(images.shape[2:]):
                size = f"{images.shape[3]} x {images.shape[2]} pixels"
                raise InputError(f"augment.shift: expected fewer pixels than images have ({size}), found {self.shift}.")
            images = shift(images, (draws[:, 1:3] * (2 * self.shift + 1)).long() - self.shift)
        images = images.float()
        if self.rotate or self.zoom:
            angles, zooms = (2 * draws[:, 3] - 1) * self.rotate, 1 + (2 * draws[:, 4] - 1) * self.zoom
            images = warp(images, rotations(angles, zooms))
        if self.colour:
            for column, change in ((5, brighten), (6, contrast), (7, saturate)):
                images = change(images, 1 + (2 * draws[:, column] - 1) * self.colour)
        if self.random:
            images = random_operations(images, keys, self.random)
        if self.erase:
            boxes = rectangles(draws[:, 8:12], images.shape[2:]).to(images.device, non_blocking=True)
            erased = inside(boxes, images.shape[2:]) & per_image(draws[:, 12] < self.erase, images)
            images = torch.where(erased, GREY, images)
        if self.mixes and len(images) > 1:
            images, targets = self._mix(images, targets, draws, keys)
        elif self.mixes:
            targets = self._as_numbers(targets)
        return images, targets

    def _mix(self, images: Tensor, targets: Tensor, draws: Tensor, keys: Keys) -> tuple[Tensor, Tensor]:
        """Mix each example with the one that stands so many places before it.

        Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization"; Yun et al. 2019, "CutMix".
        """
        height, width = images.shape[2:]
        cut = draws[:, 13] < (0.5 if self.mixup and self.cutmix else float(self.cutmix > 0))
        share = torch.where(cut, beta(self.cutmix or 1.0, keys), beta(self.mixup or 1.0, keys))
        # A rectangle of the same shape as the image, and of the area that is left to the partner; what lies outside
        # of the image is cut off, and counted off.
        sides = (1 - share).sqrt()[:, None] * torch.tensor([height, width])
        centres = draws[:, 14:16] * torch.tensor([height, width])
        low, high = ((centres + sign * sides / 2).round().long() for sign in (-1, 1))
        boxes = torch.cat([low, high], 1).clamp(min=0).minimum(torch.tensor([height, width] * 2))
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        share = torch.where(cut, 1 - area / (height * width), share)

        pasted = inside(boxes.to(images.device, non_blocking=True), images.shape[2:])
        weights = torch.where(per_image(cut, images), 1 - pasted.float(), per_image(share, images))
        places = 1 + int(float(draws[0, 16]) * (len(images) - 1))
        images = images * weights + images.roll(places, 0) * (1 - weights)
        targets = self._as_numbers(targets)
        share = share.to(targets.device, non_blocking=True).view(-1, *[1] * (targets.dim() - 1))
        return images, targets * share + targets.roll(places, 0) * (1 - share)

    def _as_numbers(self, targets: Tensor) -> Tensor:
        if self.num_classes and not targets.is_floating_point():
            return (targets[:, None] == torch.arange(self.num_classes, device=targets.device)).float()
        return targets.float()


# Where pixels go


class Transformed(Dataset[tuple[Tensor, Tensor]]):
    """Images changed one by one by a function of the user's, whatever it does.

    What it draws from the global generators of torch, numpy and random is a function of (seed, epoch, example): see
    `Batches`. What it draws from a generator of its own is not.

    Args:
        examples: (images, targets).
        function: takes an image, (C, H, W) uint8, and returns one of any one size, uint8 or floats in 0 to 255.
        name: of the function, for messages.
    """

    def __init__(self, examples: tuple[Any, Tensor], function: Callable[[Tensor], Tensor], name: str) -> None:
        self.images, self.targets = examples
        self.function, self.name = function, name

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        image = take(self.images, torch.tensor([row]))[0]
        try:
            image = self.function(image)
        except Exception as error:
            raise InputError(f"augment.transform, {self.name}: {told(error)}") from error
        if not isinstance(image, Tensor) or image.ndim != 3:  # pyright: ignore[reportUnnecessaryIsInstance]
            found = f"shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(f"augment.transform, {self.name}: expected a tensor (C, H, W) back, found {found}.")
        return image, self.targets[row]


def flip(images: Tensor, flips: Tensor) -> Tensor:
    """Mirror images (N, C, H, W) left to right where `flips`, (N,) bool, says so."""
    return torch.where(per_image(flips, images), images.flip(3), images)


def shift(images: Tensor, moves: Tensor) -> Tensor:
    """Move images by whole pixels, exactly; what comes in from outside is a reflection.

    Args:
        images: (N, C, H, W).
        moves: (N, 2) int64 pixels down and to the right, smaller than the sides.
    """
    height, width = images.shape[2:]
    moves = moves.to(images.device, non_blocking=True)
    rows = reflected(torch.arange(height, device=images.device) - moves[:, :1], height)
    columns = reflected(torch.arange(width, device=images.device) - moves[:, 1:], width)
    moved = images.gather(2, rows[:, None, :, None].expand(images.shape))
    return moved.gather(3, columns[:, None, None, :].expand(images.shape))


def reflected(places: Tensor, size: int) -> Tensor:
    """Return places from -size + 1 to 2 * size - 2 reflected into 0 to size - 1; the border is there once."""
    return (size - 1) - ((size - 1) - places.abs()).abs()


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Return images whose pixel (x, y), counted from the centre, comes from matrix @ (x, y, 1); bilinear, reflected.

    Written as products and sums of single numbers: a matrix product may round differently in a batch of another size.

    Args:
        images: (N, C, H, W) float32.
        matrices: (N, 2, 3), of pixels.
    """
    height, width = images.shape[2:]
    matrices = matrices.to(images.device, non_blocking=True)
    y = torch.arange(height, device=images.device)[:, None] - (height - 1) / 2
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    sides = [matrices[:, side, :, None, None] for side in (0, 1)]
    across, down = (side[:, 0] * x + side[:, 1] * y + side[:, 2] for side in sides)
    grid = torch.stack([across * (2 / width), down * (2 / height)], dim=-1)
    # Weights that sum to 1 but for rounding may go beyond 255.
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False).clamp(0, 255)


def rotations(degrees: Tensor, zooms: Tensor) -> Tensor:
    """Return matrices for `warp` that turn by so many degrees against the clock, and enlarge: (N, 2, 3) float32."""
    # math, because torch's sines differ in the last bit between the middle and the end of a batch.
    turns = [(math.radians(angle), zoom) for angle, zoom in zip(degrees.tolist(), zooms.tolist(), strict=True)]
    return torch.tensor(
        [
            [[math.cos(a) / zoom, -math.sin(a) / zoom, 0.0], [math.sin(a) / zoom, math.cos(a) / zoom, 0.0]]
            for a, zoom in turns
        ]
    ).view(-1, 2, 3)


def rectangles(draws: Tensor, size: tuple[int, ...] | torch.Size) -> Tensor:
    """Return random rectangles as (N, 4) int64 of top, left, bottom, right; draws: (N, 4) in [0, 1).

    Their share of the image is even over `ERASED`, their height 0.3 to 3.3 times their width, evenly in logarithms.
    """
    height, width = size
    found: list[list[int]] = []
    for area, aspect, down, across in draws.tolist():
        pixels = (ERASED[0] + area * (ERASED[1] - ERASED[0])) * height * width
        ratio = 0.3 * (1 / 0.3**2) ** aspect
        tall = min(max(round(math.sqrt(pixels * ratio)), 1), height)
        wide = min(max(round(math.sqrt(pixels / ratio)), 1), width)
        top, left = int(down * (height - tall + 1)), int(across * (width - wide + 1))
        found.append([top, left, top + tall, left + wide])
    return torch.tensor(found, dtype=torch.int64).view(-1, 4)


def inside(boxes: Tensor, size: tuple[int, ...] | torch.Size) -> Tensor:
    """Return which pixels lie in a box: (N, 4) of top, left, bottom, right to (N, 1, H, W) bool."""
    rows, columns = (torch.arange(side, device=boxes.device) for side in size)
    tall = (rows >= boxes[:, :1]) & (rows < boxes[:, 2:3])
    wide = (columns >= boxes[:, 1:2]) & (columns < boxes[:, 3:4])
    return (tall[:, :, None] & wide[:, None, :])[:, None]


# What becomes of their values, which stay in 0 to 255


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """Return one value for each image, (N, 1, 1, 1), where the images are."""
    return values.to(images.device, non_blocking=True).view(-1, 1, 1, 1)


def blend(images: Tensor, others: Tensor | float, factors: Tensor) -> Tensor:
    """Return others + (images - others) * factors: 1 leaves images as they are, 0 gives the others, 2 goes beyond."""
    return ((images - others) * per_image(factors, images) + others).clamp(0, 255)


def grey(images: Tensor) -> Tensor:
    """Return how light each pixel is: (N, 1, H, W)."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True) if images.shape[1] > 1 else images
    red, green, blue = images.split(1, dim=1)
    return red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]


def brighten(images: Tensor, factors: Tensor) -> Tensor:
    return blend(images, 0.0, factors)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    # A sum of whole numbers is exact, in whatever order a device adds them up.
    total = grey(images).round().to(torch.int32).sum((1, 2, 3))
    return blend(images, per_image(total / (images.shape[2] * images.shape[3]), images), factors)


def saturate(images: Tensor, factors: Tensor) -> Tensor:
    return blend(images, grey(images), factors)


def sharpen(images: Tensor, factors: Tensor) -> Tensor:
    """Blend with the images smoothed by 3 x 3 pixels of which the middle one counts five times."""
    around = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return blend(images, (around * 9 + images * 4) / 13, factors)


def posterize(images: Tensor, amounts: Tensor) -> Tensor:
    """Keep the upper 8 to 4 of 8 bits, as amounts go from 0 to 1."""
    steps = per_image(1 << (amounts.abs() * 4.999).long(), images)
    return (images / steps).floor() * steps


def solarize(images: Tensor, amounts: Tensor) -> Tensor:
    """Turn values above a threshold to their opposite; it falls from 255 to 0 as amounts go from 0 to 1."""
    return torch.where(images > 255 * (1 - per_image(amounts.abs(), images)), 255 - images, images)


# RandAugment


def shear_x(images: Tensor, amounts: Tensor) -> Tensor:
    return warp(images, _matrices(amounts, (0, 1), 0.3))


def shear_y(images: Tensor, amounts: Tensor) -> Tensor:
    return warp(images, _matrices(amounts, (1, 0), 0.3))


def translate_x(images: Tensor, amounts: Tensor) -> Tensor:
    return warp(images, _matrices(amounts, (0, 2), 0.3 * images.shape[3]))


def translate_y(images: Tensor, amounts: Tensor) -> Tensor:
    return warp(images, _matrices(amounts, (1, 2), 0.3 * images.shape[2]))


def rotate(images: Tensor, amounts: Tensor) -> Tensor:
    return warp(images, rotations(amounts * 30, torch.ones(len(amounts))))


def _matrices(amounts: Tensor, place: tuple[int, int], most: float) -> Tensor:
    """Return matrices for `warp` that change nothing but for one number."""
    matrices = torch.eye(2, 3).repeat(len(amounts), 1, 1)
    matrices[:, place[0], place[1]] = amounts * most
    return matrices


def _by_factor(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda images, amounts: change(images, 1 + amounts * 0.9)


# Each takes images (n, C, H, W) float32 and amounts (n,) in [-1, 1), on the CPU where they are drawn.
OPERATIONS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda images, _: images,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
    rotate,
    _by_factor(brighten),
    _by_factor(contrast),
    _by_factor(saturate),
    _by_factor(sharpen),
    posterize,
    solarize,
)


def random_operations(images: Tensor, keys: Keys, count: int) -> Tensor:
    """Apply so many operations to each image, drawn evenly, each by an amount drawn evenly.

    Cubuk et al. 2020, "RandAugment", with the amounts at random of Müller and Hutter 2021, "TrivialAugment".
    """
    draws = keyed.uniform(keys.seed, keys.epoch, keys.indices, 2 * count, RANDOM_STREAM)
    for turn in range(count):
        chosen, amounts = (draws[:, 2 * turn] * len(OPERATIONS)).long(), 2 * draws[:, 2 * turn + 1] - 1
        parts: list[Tensor] = []
        order: list[Tensor] = []
        for number, operation in enumerate(OPERATIONS):
            rows = (chosen == number).nonzero()[:, 0]  # on the CPU, where nothing waits for it
            if len(rows):
                parts.append(operation(images[rows.to(images.device, non_blocking=True)], amounts[rows]))
                order.append(rows)
        images = torch.cat(parts)[torch.cat(order).argsort().to(images.device, non_blocking=True)]
    return images


@cache
def _beta_numbers(alpha: float) -> np.ndarray:
    return np.random.default_rng(0).beta(alpha, alpha, 2**16).astype(np.float32)


def beta(alpha: float, keys: Keys) -> Tensor:
    """Return a number from Beta(alpha, alpha) for each example: (N,) float32, one of 65,536 that were drawn once."""
    chosen = keyed.bits(keys.seed, keys.epoch, keys.indices, STREAM + 2) >> np.uint64(48)
    return torch.from_numpy(_beta_numbers(alpha)[chosen])
