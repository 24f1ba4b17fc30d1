"""Augmentation against array operations, Pillow and the formulas of the papers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch.nn import functional as F

from truestep import keyed
from truestep.data import augment
from truestep.data.augment import STREAM, Augment
from truestep.errors import InputError


@dataclass
class Keys:
    indices: torch.Tensor
    seed: int = 3
    epoch: int = 2


def some_images(count=64, channels=3, height=13, width=17):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


IMAGES = some_images()
TARGETS = torch.arange(64) % 5
KEYS = Keys(torch.arange(64) * 7 + 1)
CHOICES = {
    "flip": {"flip": True},
    "shift": {"shift": 3},
    "rotate": {"rotate": 40.0},
    "zoom": {"zoom": 0.3},
    "colour": {"colour": 0.5},
    "random": {"random": 3},
    "erase": {"erase": 0.7},
    "all": {"flip": True, "shift": 2, "rotate": 9.0, "zoom": 0.1, "colour": 0.2, "random": 2, "erase": 0.5},
}


def test_nothing_chosen_changes_nothing():
    images, targets = Augment()((IMAGES, TARGETS), KEYS)
    assert images is IMAGES
    assert targets is TARGETS
    assert Augment(num_classes=5)((IMAGES, TARGETS), KEYS)[0] is IMAGES


@pytest.mark.parametrize("choices", CHOICES.values(), ids=CHOICES)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_example_is_changed_alike_whatever_its_batch(choices, channels):
    images = some_images(channels=channels)
    whole, targets = Augment(**choices)((images, TARGETS), KEYS)
    assert whole.dtype == torch.float32
    assert 0 <= float(whole.min()) < float(whole.max()) <= 255
    assert torch.equal(targets, TARGETS)
    assert not torch.equal(whole, images.float())
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    for size in (1, 2, 3, 7, 16, 33):
        for rows in order.split(size):
            part, _ = Augment(**choices)((images[rows], TARGETS[rows]), Keys(KEYS.indices[rows]))
            assert torch.equal(part, whole[rows])


def test_another_seed_epoch_or_example_is_changed_otherwise():
    change = Augment(**CHOICES["all"])
    same = IMAGES[:1].expand(64, -1, -1, -1)
    found = [
        change((same, TARGETS), keys)[0] for keys in (KEYS, Keys(KEYS.indices, seed=4), Keys(KEYS.indices, epoch=1))
    ]
    assert len(torch.cat(found).flatten(1).unique(dim=0)) == 3 * 64


def test_another_process_sees_the_same():
    program = (
        "import torch; torch.set_num_threads(1)\n"
        "from types import SimpleNamespace\n"
        "from truestep.data.augment import Augment\n"
        "images = torch.arange(8 * 3 * 11 * 11).remainder(251).to(torch.uint8).view(8, 3, 11, 11)\n"
        "keys = SimpleNamespace(seed=1, epoch=2, indices=torch.arange(8))\n"
        "change = Augment(True, 2, 30, 0.2, 0.3, 2, 0.5, 0.4, 1.0, 4)\n"
        "changed, targets = change((images, torch.arange(8) % 4), keys)\n"
        "import hashlib\n"
        "print(hashlib.sha256(changed.numpy().tobytes() + targets.numpy().tobytes()).hexdigest())\n"
    )
    found = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout for _ in "ab"
    }
    assert len(found) == 1
    assert len(found.pop()) == 65


def test_flips_are_those_of_arrays_and_about_half():
    images = some_images(2000, 1, 4, 5)
    changed, _ = Augment(flip=True)((images, torch.zeros(2000)), Keys(torch.arange(2000)))
    flipped = (changed == images.numpy()[..., ::-1].copy()).flatten(1).all(1)
    kept = (changed == images).flatten(1).all(1)
    assert bool((flipped | kept).all())
    assert 930 < int(flipped.sum()) < 1070  # three deviations


def test_shifts_are_those_of_a_reflected_array_and_even():
    images = some_images(3000, 2, 6, 7)
    changed, _ = Augment(shift=2)((images, torch.zeros(3000)), Keys(torch.arange(3000)))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    found = np.zeros((5, 5), int)
    for row in range(3000):
        matches = [
            (down, across)
            for down in range(5)
            for across in range(5)
            if np.array_equal(padded[row, :, down : down + 6, across : across + 7], changed[row].numpy())
        ]
        assert len(matches) == 1
        found[matches[0]] += 1
    assert found.min() > 120 - 3.5 * 11
    assert found.max() < 120 + 3.5 * 11


def test_a_shift_as_large_as_the_image_is_refused():
    with pytest.raises(InputError, match=r"augment\.shift: expected fewer pixels than images have \(17 x 13 pixels\)"):
        Augment(shift=13)((IMAGES, TARGETS), KEYS)


@pytest.mark.parametrize("turns", [1, 2, 3, -1])
def test_a_quarter_turn_is_rot90(turns):
    images = some_images(4, 3, 12, 12).float()
    turned = augment.warp(images, augment.rotations(torch.full((4,), 90.0 * turns), torch.ones(4)))
    torch.testing.assert_close(turned, images.rot90(turns, (2, 3)), atol=0.01, rtol=0)


def test_a_half_turn_of_an_image_that_is_not_square_is_a_flip_of_both_sides():
    turned = augment.warp(IMAGES.float(), augment.rotations(torch.full((64,), 180.0), torch.ones(64)))
    torch.testing.assert_close(turned, IMAGES.float().flip(2, 3), atol=0.01, rtol=0)


@pytest.mark.parametrize("angle", [-30.0, 7.0, 45.0])
def test_turns_are_those_of_pillow(angle):
    y, x = torch.meshgrid(torch.arange(41.0), torch.arange(61.0), indexing="ij")
    image = 128 + 100 * torch.sin(x / 7) * torch.cos(y / 9)  # smooth: Pillow's weights are not ours to the last bit
    turned = augment.warp(image[None, None], augment.rotations(torch.tensor([angle]), torch.ones(1)))[0, 0]
    expected = np.asarray(Image.fromarray(image.numpy()).rotate(angle, Image.Resampling.BILINEAR))
    seen = np.asarray(Image.fromarray(np.ones((41, 61), np.float32)).rotate(angle, Image.Resampling.BILINEAR)) == 1
    assert seen.mean() > 0.4
    np.testing.assert_allclose(turned.numpy()[seen], expected[seen], atol=1.5)


def test_zooming_by_two_shows_the_middle_half():
    x = torch.arange(40.0).expand(1, 1, 40, 40)
    zoomed = augment.warp(x, augment.rotations(torch.zeros(1), torch.full((1,), 2.0)))
    np.testing.assert_allclose(zoomed[0, 0, 5].numpy(), 19.5 + (np.arange(40) - 19.5) / 2, atol=1e-3)


def test_turning_and_zooming_by_nothing_is_the_image():
    same = augment.warp(IMAGES.float(), augment.rotations(torch.zeros(64), torch.ones(64)))
    torch.testing.assert_close(same, IMAGES.float(), atol=0.01, rtol=0)


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
@pytest.mark.parametrize(
    ("change", "theirs", "border"),
    [
        (augment.brighten, ImageEnhance.Brightness, 0),
        (augment.contrast, ImageEnhance.Contrast, 0),
        (augment.saturate, ImageEnhance.Color, 0),
        (augment.sharpen, ImageEnhance.Sharpness, 1),  # Pillow leaves the border unsharpened
    ],
)
def test_colours_are_those_of_pillow(change, theirs, border, factor):
    image = some_images(1, 3, 20, 24)
    ours = change(image.float(), torch.tensor([factor]))[0].permute(1, 2, 0).numpy()
    expected = np.asarray(theirs(Image.fromarray(image[0].permute(1, 2, 0).numpy())).enhance(factor), np.float32)
    inner = slice(border, -border or None)
    np.testing.assert_allclose(ours[inner, inner], expected[inner, inner], atol=1.5)


@pytest.mark.parametrize("bits", [8, 7, 6, 5, 4])
def test_posterizing_is_that_of_pillow(bits):
    image = some_images(1, 3, 20, 24)
    ours = augment.posterize(image.float(), torch.tensor([-(8 - bits + 0.5) / 4.999]))[0].permute(1, 2, 0).numpy()
    assert np.array_equal(
        ours, np.asarray(ImageOps.posterize(Image.fromarray(image[0].permute(1, 2, 0).numpy()), bits))
    )


def test_solarizing_is_that_of_pillow():
    image = some_images(1, 3, 20, 24)
    ours = augment.solarize(image.float(), torch.tensor([0.5]))[0].permute(1, 2, 0).numpy()
    theirs = ImageOps.solarize(Image.fromarray(image[0].permute(1, 2, 0).numpy()), 128)
    assert np.array_equal(ours, np.asarray(theirs))


def test_every_operation_is_drawn_about_as_often_and_does_something():
    draws = keyed.uniform(3, 2, torch.arange(6000), 2, augment.RANDOM_STREAM)
    counts = (draws[:, 0] * len(augment.OPERATIONS)).long().bincount()
    assert len(counts) == len(augment.OPERATIONS)
    assert int(counts.min()) > 430
    images, same = IMAGES.float(), 0
    for operation in augment.OPERATIONS:
        changed = operation(images, torch.full((64,), -0.9))
        assert changed.shape == images.shape
        assert 0 <= float(changed.min()) <= float(changed.max()) <= 255
        same += torch.equal(changed, images)
    assert same == 1  # the one that leaves images alone


def test_a_share_of_images_loses_one_rectangle_of_a_plausible_size():
    images = torch.zeros(2000, 3, 32, 32, dtype=torch.uint8)
    changed, _ = Augment(erase=0.25)((images, torch.zeros(2000)), Keys(torch.arange(2000)))
    erased = changed[:, 0] == augment.GREY
    assert bool((changed == augment.GREY).all(1).eq(erased).all())
    areas = erased.flatten(1).sum(1)
    hit = areas > 0
    assert 440 < int(hit.sum()) < 560
    for mask in erased[hit]:
        box = mask[mask.any(1)][:, mask.any(0)]
        assert bool(box.all())  # one rectangle
    shares = areas[hit] / 32**2
    assert 0.005 < float(shares.min()) < float(shares.max()) < 0.4
    assert 0.14 < float(shares.mean()) < 0.19


def test_mixup_is_its_formula():
    change = Augment(mixup=0.4, num_classes=5)
    images, targets = change((IMAGES, TARGETS), KEYS)
    share = augment.beta(0.4, KEYS)
    places = 1 + int(float(keyed.uniform(3, 2, KEYS.indices, 17, STREAM)[0, 16]) * 63)
    assert 1 <= places <= 63
    other = (torch.arange(64) - places) % 64
    expected = share.view(-1, 1, 1, 1) * IMAGES + (1 - share.view(-1, 1, 1, 1)) * IMAGES[other]
    torch.testing.assert_close(images, expected)
    soft = share[:, None] * F.one_hot(TARGETS, 5) + (1 - share[:, None]) * F.one_hot(TARGETS[other], 5)
    torch.testing.assert_close(targets, soft)
    torch.testing.assert_close(targets.sum(1), torch.ones(64))


def test_cutmix_pastes_a_rectangle_and_counts_its_pixels():
    own = torch.arange(64).view(-1, 1, 1, 1).expand(64, 1, 20, 30).to(torch.uint8)
    images, targets = Augment(cutmix=1.0, num_classes=64)((own, torch.arange(64)), KEYS)
    torch.testing.assert_close(targets.sum(1), torch.ones(64))
    for row in range(64):
        shares = images[row].flatten().long().bincount(minlength=64) / 600
        torch.testing.assert_close(targets[row], shares)
        pasted = images[row, 0] != row
        assert bool(pasted[pasted.any(1)][:, pasted.any(0)].all())
    assert 0.15 < float((images != own).float().mean()) < 0.5


def test_with_both_an_example_gets_one_or_the_other():
    own = (torch.arange(200) % 100).view(-1, 1, 1, 1).expand(200, 1, 9, 9) * 2.0
    images, _ = Augment(mixup=1.0, cutmix=1.0, num_classes=100)((own, torch.arange(200) % 100), Keys(torch.arange(200)))
    values = [len(image.unique()) for image in images]
    pure = sum(bool((image == own_image).any()) for image, own_image in zip(images, own, strict=True))
    assert set(values) == {1, 2}
    assert 60 < pure < 140


def test_numbers_and_labels_are_mixed_as_numbers():
    for targets in (torch.randn(64), torch.randn(64, 3), torch.arange(64) // 5 % 2):
        _, mixed = Augment(mixup=1.0)((IMAGES, targets), KEYS)
        assert mixed.dtype == torch.float32
        assert mixed.shape == targets.shape
        assert float(targets.float().min()) <= float(mixed.min())
        assert float(mixed.max()) <= float(targets.float().max())
        assert not torch.equal(mixed, targets.float())


def test_a_batch_of_one_has_no_partner():
    images, targets = Augment(mixup=1.0, num_classes=5)((IMAGES[:1], TARGETS[:1]), Keys(torch.tensor([9])))
    assert torch.equal(images, IMAGES[:1].float())
    assert targets.tolist() == [[1.0, 0, 0, 0, 0]]
    images, _ = Augment(cutmix=1.0)((IMAGES[:1], torch.zeros(1)), Keys(torch.tensor([9])))
    assert torch.equal(images, IMAGES[:1].float())


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_from_the_beta_distribution(alpha):
    from scipy.stats import beta, kstest

    found = augment.beta(alpha, Keys(torch.arange(5000))).double().numpy()
    assert kstest(found, beta(alpha, alpha).cdf).pvalue > 0.001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shift", -1),
        ("rotate", 181),
        ("zoom", 1.0),
        ("colour", -0.1),
        ("erase", 1.1),
        ("mixup", float("nan")),
        ("random", -2),
    ],
)
def test_choices_out_of_range_are_refused(name, value):
    with pytest.raises(InputError, match=rf"augment\.{name}: expected 0 to .*, found"):
        Augment(**{name: value})


@pytest.mark.parametrize("choices", [*CHOICES.values(), {"mixup": 0.3, "cutmix": 1.0, "num_classes": 5}])
def test_no_step_waits_for_the_device(choices):
    """On the meta device, whatever asks for a value raises."""
    images, targets = Augment(**choices)((IMAGES.to("meta"), TARGETS.to("meta")), KEYS)
    assert images.device.type == targets.device.type == "meta"
    assert images.shape == IMAGES.shape
