"""Image files against Pillow and NumPy; and whatever is wrong with one, in one line that names it."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import multiprocessing
import os
import struct
import warnings
import zlib

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image, ImageOps

from truestep.data import image_files
from truestep.data.image_files import (
    decode,
    image_keys,
    is_image_folder,
    looks_like_images,
    pixel_keys,
    read_header,
    read_image_table,
)
from truestep.data.images import ImageEncoder, ImageFiles, available_memory
from truestep.data.table import Table
from truestep.data.targets import Target
from truestep.errors import InputError
from truestep.nest import Store, take

RANDOM = np.random.default_rng(0)


def pixels(height=6, width=8, *channels):
    return RANDOM.integers(0, 256, (height, width, *channels), dtype=np.uint8)


def write(path, values=None, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = pixels(6, 8, 3) if values is None else values
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(path, **how)
    return path


def class_folders(root, count=4, classes=("cat", "dog"), make=lambda: pixels(6, 8, 3)):
    for label in classes:
        for number in range(count):
            write(root / label / f"{number}.png", make())
    return root


def as_tensor(image):
    values = np.asarray(image)
    return torch.from_numpy(values.reshape(*values.shape[:2], -1).transpose(2, 0, 1).copy())


# Tables


def test_a_folder_for_each_class_is_a_sorted_table(tmp_path):
    for name in ("dog/b.PNG", "cat/z.jpg", "dog/a.gif", "cat/ü b.webp"):
        write(tmp_path / "pets" / name)
    table = read_image_table(tmp_path / "pets")
    assert table.frame.rows() == [
        ("cat/z.jpg", "cat"),
        ("cat/ü b.webp", "cat"),
        ("dog/a.gif", "dog"),
        ("dog/b.PNG", "dog"),
    ]
    assert (table.name, table.target, table.kinds) == ("pets", "label", {"image": "image"})
    assert table.folder == tmp_path / "pets"
    assert table.belongs is None
    assert table.notes == []


@pytest.mark.parametrize(
    "names", [("train", "valid", "test"), ("Train", "val", "Testing"), ("training", "dev", "test")]
)
def test_folders_of_splits_say_where_rows_belong(tmp_path, names):
    for split in names:
        class_folders(tmp_path / split, 2)
    write(tmp_path / names[1] / "fox" / "only.png")
    table = read_image_table(tmp_path)
    found = dict(zip(table.frame["image"], zip(table.belongs, table.frame["label"], strict=True), strict=True))
    assert len(found) == 13
    for number, split in enumerate(names):
        assert found[f"{split}/dog/1.png"] == (number, "dog")
    assert found[f"{names[1]}/fox/only.png"] == (1, "fox")


def test_a_class_may_be_called_train(tmp_path):
    table = read_image_table(class_folders(tmp_path, 2, ("train", "car")))
    assert table.belongs is None
    assert table.frame["label"].to_list() == ["car", "car", "train", "train"]


def test_images_alone_have_no_label(tmp_path):
    for name in ("b.png", "a.png"):
        write(tmp_path / name)
    table = read_image_table(tmp_path)
    assert table.frame.to_dict(as_series=False) == {"image": ["a.png", "b.png"]}
    assert table.target is None
    one = read_image_table(tmp_path / "b.png")
    assert one.frame.rows() == [("b.png",)]
    assert one.folder == tmp_path


def test_what_is_left_out_is_said(tmp_path):
    class_folders(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("hm")
    (tmp_path / "README.md").write_text("hm")
    for silent in (".DS_Store", "cat/Thumbs.db", "dog/.hidden.png", "desktop.ini"):
        (tmp_path / silent).write_text("hm")
    write(tmp_path / "__MACOSX" / "cat" / "0.png")
    table = read_image_table(tmp_path)
    assert len(table.frame) == 8
    assert table.notes == [
        "folder 'empty' holds no image; its class is left out there.",
        "2 files are no images and were left out ('README.md').",
    ]


def odd_folders(root):
    """Yield folders that can't be understood, and what is said of each."""
    yield root / "missing", r"missing: expected a folder of images, but it can't be read \(No such file or directory\)"
    (root / "none").mkdir()
    yield root / "none", r"none: expected images \(.bmp, .*.webp\), found none\."
    (root / "others").mkdir()
    (root / "others" / "a.heic").write_text("")
    yield root / "others", r"others: expected images .* found 1 other file \('a.heic'\)"
    (root / "hollow" / "cat").mkdir(parents=True)
    yield root / "hollow", "hollow: expected images .* found none"
    write(class_folders(root / "beside") / "loose.png")
    yield (
        root / "beside",
        r"beside: found images \(loose.png\) beside folders \(cat\)\. Expected images alone, a folder",
    )
    write(root / "deep" / "cat" / "more" / "0.png")
    write(root / "deep" / "dog" / "0.png")
    yield root / "deep", r"deep/cat: expected the images of one class, found a folder 'more'"
    class_folders(root / "wrapped" / "pets")
    yield root / "wrapped", r"wrapped/pets: expected the images of one class, .* Is .*wrapped/pets the one to give\?"
    class_folders(root / "flat_test" / "train")
    write(root / "flat_test" / "test" / "0.png")
    yield root / "flat_test", "flat_test: expected a folder for each class in every split, found none in 'test'"
    class_folders(root / "half" / "train")
    class_folders(root / "half", 1, ("fox",))
    yield root / "half", "half: expected a folder for each class in every split, found none in 'fox'"
    class_folders(root / "no_train" / "test")
    yield root / "no_train", "no_train: expected a train folder, found test only"
    class_folders(root / "unlabelled", 1, ("train", "test"))
    yield root / "unlabelled", "unlabelled: expected a folder for each class in every split, found none in 'test'"
    write(class_folders(root / "loose_split" / "train") / "0.png")
    yield root / "loose_split", r"loose_split/train: found images \(0.png\) beside folders \(cat\)"
    class_folders(root / "circle")
    (root / "circle" / "cat" / "up").symlink_to(root / "circle")
    yield root / "circle", "circle/cat: expected the images of one class, found a folder 'up'"
    class_folders(root / "itself")
    (root / "itself" / "me").symlink_to("me")
    yield root / "itself", r"itself: expected a folder of images, but it can't be read \(Too many levels of symbolic"
    class_folders(root / "broken")
    (root / "broken" / "cat" / "9.png").symlink_to("nowhere")
    yield root / "broken", r"broken/cat/9.png: expected an image file, found a broken link, a pipe or a device"
    class_folders(root / "pipe")
    os.mkfifo(root / "pipe" / "dog" / "9.png")
    yield root / "pipe", r"pipe/dog/9.png: expected an image file, found a broken link, a pipe or a device"
    class_folders(root / "latin")
    write(root / "latin" / "cat" / "x.png").rename(os.fsdecode(os.fsencode(root / "latin" / "cat") + b"/\xe9.png"))
    yield root / "latin", r"latin: expected names of files in UTF-8, found 'cat/\\udce9.png'. Rename it"
    (root / "text.txt").write_text("hm")
    yield root / "text.txt", r"text.txt: expected one of .bmp, .* found '.txt'"
    yield root / "a\0b", "not the name of a folder"


def test_what_a_folder_means_is_never_guessed(tmp_path):
    cases = list(odd_folders(tmp_path))
    assert len(cases) >= 19
    for path, expected in cases:
        with pytest.raises(InputError, match=expected) as caught:
            read_image_table(path)
        assert len(str(caught.value).splitlines()) == 1


def test_folders_of_images_are_told_from_others(tmp_path):
    assert is_image_folder(class_folders(tmp_path / "pets"))
    assert is_image_folder(class_folders(tmp_path / "split" / "train").parent)
    assert is_image_folder(tmp_path / "pets" / "cat")
    (tmp_path / "texts" / "good").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "texts" / "good" / f"{number}.txt").write_text("hm")
    write(tmp_path / "texts" / "cover.png")
    assert not is_image_folder(tmp_path / "texts")
    assert not is_image_folder(tmp_path / "missing")
    assert not is_image_folder(tmp_path / "pets" / "cat" / "0.png")


def test_columns_of_image_names_are_told_from_others():
    assert looks_like_images(pl.Series(["a/b.PNG", None, "c.jpeg"]))
    assert not looks_like_images(pl.Series(["a.png", "hello"]))
    assert not looks_like_images(pl.Series([1, 2]))
    assert not looks_like_images(pl.Series([None], dtype=pl.String))


# Decoding


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_images_are_turned_as_the_camera_was_held(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path / f"a.{suffix}", exif=exif.tobytes())
    with Image.open(path) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    assert torch.equal(decode(path), as_tensor(expected))
    header = read_header(path)
    assert (header.width, header.height) == expected.size
    small = decode(path, (3, 4))
    upright = write(tmp_path / "upright.png", expected)
    if suffix != "jpg":  # which is decoded at half the size
        assert torch.equal(small, decode(upright, (3, 4)))


@pytest.mark.parametrize("suffix", ["bmp", "gif", "png", "tif", "tiff", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_written_without_loss_is_read_without(tmp_path, suffix, channels):
    values = pixels(6, 8) if channels == 1 else pixels(6, 8, 3)
    if suffix == "gif" and channels == 3:
        values = values // 64 * 64  # of at most 256 colours
    path = write(tmp_path / f"a.{suffix}", values, **({"lossless": True} if suffix == "webp" else {}))
    assert torch.equal(decode(path, channels=channels), as_tensor(values))


@pytest.mark.parametrize(
    ("mode", "is_grey"),
    [
        ("L", True),
        ("1", True),
        ("LA", True),
        ("RGB", False),
        ("RGBA", False),
        ("P", False),
        ("CMYK", False),
        ("YCbCr", False),
    ],
)
def test_every_mode_is_read_as_pillow_shows_it(tmp_path, mode, is_grey):
    image = Image.fromarray(pixels(6, 8, 3)).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(pixels(6, 8)))
    path = write(tmp_path / f"a.{'tif' if mode in ('CMYK', 'YCbCr') else 'png'}", image)
    rgba = np.asarray(image.convert("RGBA"), np.float64)
    alpha = rgba[..., 3:] / 255 if mode in ("LA", "RGBA") else 1.0
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    np.testing.assert_allclose(decode(path).numpy().transpose(1, 2, 0), expected, atol=1)
    assert read_header(path).is_grey == is_grey
    grey = decode(path, channels=1)
    np.testing.assert_allclose(grey[0].numpy(), expected @ (0.299, 0.587, 0.114), atol=1.5)


def test_transparent_colours_of_a_palette_are_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    image = image.convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    for suffix in ("png", "gif"):
        found = decode(write(tmp_path / f"a.{suffix}", image, transparency=1))
        assert found[:, 0, 0].tolist() == [10, 20, 30]
        assert found[:, 0, 1].tolist() == found[:, 1, 1].tolist() == [255, 255, 255]
    found = decode(write(tmp_path / "b.png", Image.fromarray(pixels(2, 2, 3)), transparency=(1, 2, 3)))
    assert found.shape == (3, 2, 2)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_by_their_range_and_not_cut_off(tmp_path, suffix):
    values = RANDOM.integers(0, 65536, (6, 8), dtype=np.uint16)
    values[0, :3] = 0, 300, 65535
    path = write(tmp_path / f"a.{suffix}", values)
    expected = np.round(values / 257.0).astype(np.uint8)
    assert read_header(path).is_grey
    assert torch.equal(decode(path, channels=1)[0], torch.from_numpy(expected))


def test_whole_numbers_of_32_bits_count_as_16_and_floats_as_0_to_1(tmp_path):
    whole = write(tmp_path / "whole.tif", np.array([[0, 257], [65535, 514]], np.int32))
    assert decode(whole, channels=1).tolist() == [[[0, 1], [255, 2]]]
    floats = write(tmp_path / "floats.tif", np.array([[0, 0.5], [1.0, 0.2]], np.float32))
    assert decode(floats, channels=1).tolist() == [[[0, 128], [255, 51]]]


def test_of_several_frames_the_first_is_taken(tmp_path):
    frames = [Image.fromarray(np.full((6, 8, 3), level, np.uint8)) for level in (10, 200, 90)]
    for suffix in ("gif", "webp", "png", "tif"):
        path = write(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
        assert abs(int(decode(path).float().mean()) - 10) <= 2, suffix


def test_an_image_is_scaled_to_cover_and_cut_to_its_centre(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    square = decode(write(tmp_path / "wide.png", wide), (10, 10))
    assert bool((square[:, :, 1:-1] == 255).all())
    assert 200 < int(square.min()) < 255  # antialiasing looks over the edge, as it does before a cut
    assert torch.equal(decode(write(tmp_path / "tall.png", wide.transpose(1, 0, 2)), (10, 10)), square.mT)
    smooth = (128 + 100 * np.sin(np.arange(90) / 9) * np.cos(np.arange(60) / 8)[:, None]).astype(np.uint8)
    path = write(tmp_path / "smooth.png", smooth)
    expected = Image.fromarray(smooth).resize((45, 30), Image.Resampling.BILINEAR).crop((7, 0, 37, 30))
    assert int((decode(path, (30, 30), 1).int() - as_tensor(expected).int()).abs().max()) <= 12  # half a pixel aside
    assert torch.equal(decode(path, (60, 90), 1), as_tensor(smooth))
    assert decode(path, (100, 70), 3).shape == (3, 100, 70)
    thin = write(tmp_path / "thin.png", pixels(1, 3000, 3))
    assert decode(thin, (32, 32)).shape == (3, 32, 32)


def test_a_large_jpeg_decoded_at_a_part_of_its_size_looks_the_same(tmp_path):
    y, x = np.mgrid[:1200, :1600]
    values = np.stack([128 + 100 * np.sin(x / 90), 128 + 100 * np.cos(y / 70), (x + y) % 256 * 0 + 77], -1).astype(
        np.uint8
    )
    path = write(tmp_path / "a.jpg", values, quality=95)
    expected = Image.open(path).resize((80, 60), Image.Resampling.BILINEAR)
    assert int((decode(path, (60, 80)).int() - as_tensor(expected).int()).abs().max()) <= 3


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, content=b""):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def encoded(kind, values=None, **how):
    file = io.BytesIO()
    Image.fromarray(pixels(40, 50, 3) if values is None else values).save(file, kind, **how)
    return file.getvalue()


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


LARGE = "expected at most 100,000,000 pixels, found"
DAMAGED = {
    "empty.png": (b"", "expected a BMP, .* or WebP image, found an empty file"),
    "text.jpg": (b"hello", r"found other or damaged content \(it begins with b'hello'\)"),
    "page.jpg": (b"<!DOCTYPE html><html>", r"found other or damaged content \(it begins with b'<!DOCTYPE html>"),
    "zeros.png": (bytes(1000), "found other or damaged content"),
    "magic.png": (b"\x89PNG\r\n\x1a\n", "it can't be decoded|found other or damaged content"),
    "postscript.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "found other or damaged content"),
    "ppm.png": (b"P6 2 2 255\n" + bytes(12), "found other or damaged content"),
    "cut.png": (encoded("PNG")[:-900], "it can't be decoded"),
    "cut.jpg": (encoded("JPEG")[:700], r"it can't be decoded \(.*truncated"),
    "cut.gif": (encoded("GIF")[:-500], "it can't be decoded"),
    "cut.bmp": (encoded("BMP")[:-500], "it can't be decoded"),
    "cut.webp": (encoded("WEBP")[:-300], "it can't be decoded|found other or damaged content"),
    "cut.tif": (encoded("TIFF")[:100], "it can't be decoded|found other or damaged content"),
    "flipped.png": (flipped(encoded("PNG"), 60), "it can't be decoded"),
    "header.png": (flipped(encoded("PNG"), 20), f"{LARGE}|it can't be decoded|found other or damaged content"),
    "short.png": (png(9, 9, b"\0"), "it can't be decoded"),
    "nothing.png": (png(0, 9), "it can't be decoded|found other or damaged content"),
    "bomb.png": (png(12_000, 10_000), f"{LARGE} 120,000,000. Scale it down"),
    "huge.png": (png(60_000, 60_000), f"{LARGE} more than 178,956,970. Scale it down"),
    "bomb.gif": (
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b";",
        f"{LARGE} more|found other or damaged content",
    ),
    "text_bomb.png": (
        png(2, 2, bytes(14))[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8))) + png(2, 2, bytes(14))[33:],
        "it can't be decoded",
    ),
    "negative.tif": (
        encoded("TIFF", np.array([[-5, 3]], np.int32)),
        r"expected values of 0 to 65535, found -5 to 3\. Convert",
    ),
    "nan.tif": (
        encoded("TIFF", np.array([[np.nan, 1]], np.float32)),
        r"expected values of 0 to 1, found nan to nan\. Convert",
    ),
    "bright.tif": (
        encoded("TIFF", np.array([[0, 200]], np.float32)),
        r"expected values of 0 to 1, found 0 to 200\. Convert",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named_in_one_line(tmp_path, name):
    content, expected = DAMAGED[name]
    path = tmp_path / name
    path.write_bytes(content)
    for size in (None, (4, 4)):
        with pytest.raises(InputError, match=expected) as caught:
            decode(path, size)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert len(message.splitlines()) == 1
        assert len(message) < len(str(path)) + 300


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for path, expected in {
        tmp_path / "missing.png": r"missing.png: expected an image file, but it can't be read \(No such file",
        tmp_path / "folder.png": "folder.png: expected an image file, found a folder",
        tmp_path / "pipe.png": "pipe.png: expected an image file, found a pipe or a device",
        "/dev/zero": "/dev/zero: expected an image file, found a pipe or a device",
        "a\0.png": "not the name of a file",
    }.items():
        for read in (decode, read_header):
            with pytest.raises(InputError, match=expected):
                read(path)


def test_a_wrong_suffix_does_no_harm(tmp_path):
    values = pixels(6, 8, 3)
    write(tmp_path / "a.png", values).rename(tmp_path / "a.jpg")
    assert torch.equal(decode(tmp_path / "a.jpg"), as_tensor(values))


def test_pillow_warns_nobody(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(9_700, 9_700))  # more than Pillow likes, less than is refused
    odd = write(tmp_path / "odd.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x00")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert read_header(path).width == 9_700
        assert decode(odd).shape == (3, 6, 8)
    assert not seen


# The encoder


def test_images_are_scaled_by_the_exact_mean_and_deviation_of_training(tmp_path):
    table = read_image_table(class_folders(tmp_path, 5))
    rows = torch.tensor([0, 2, 3, 7, 8])
    encoder, inputs = ImageEncoder.fit_encode(table, rows)
    expected = np.stack([np.asarray(Image.open(tmp_path / name)) for name in table.frame["image"]])
    assert inputs.dtype == torch.uint8
    assert torch.equal(inputs, torch.from_numpy(expected.transpose(0, 3, 1, 2).copy()))
    assert encoder.spec == {"kind": "image", "channels": 3, "height": 6, "width": 8}
    train = expected[rows.numpy()].astype(np.float64)
    np.testing.assert_allclose(encoder.mean, train.mean((0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(encoder.std, train.std((0, 1, 2)), rtol=1e-13)
    prepared = encoder.prepare(inputs[rows])
    assert prepared.dtype == torch.float32
    torch.testing.assert_close(prepared.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(prepared.std((0, 2, 3), correction=0), torch.ones(3))
    assert torch.equal(encoder.prepare(inputs.float()), encoder.prepare(inputs))
    assert encoder.prepare(inputs.to("meta")).device.type == "meta"
    assert table.notes == []


def test_held_out_images_leave_the_encoder_unchanged(tmp_path):
    table = read_image_table(class_folders(tmp_path, 5))
    rows = torch.tensor([0, 2, 3, 7, 8])
    encoder, _ = ImageEncoder.fit_encode(table, rows)
    write(tmp_path / "cat" / "1.png", pixels(90, 70))
    assert ImageEncoder.fit_encode(table, rows)[0] == encoder


def test_images_too_many_for_memory_are_decoded_to_the_same_bits(tmp_path):
    root = class_folders(tmp_path, 20, make=lambda: pixels(*RANDOM.integers(30, 60, 2), 3))
    table = read_image_table(root)
    encoder, inputs = ImageEncoder.fit_encode(table, torch.arange(30))
    other, files = ImageEncoder.fit_encode(read_image_table(root), torch.arange(30), memory=1000)
    assert isinstance(inputs, torch.Tensor)
    assert isinstance(files, ImageFiles)
    assert isinstance(files, Store)
    assert encoder == other
    indices = torch.tensor([39, 0, 7, 7, 21])
    assert torch.equal(take(files, indices), inputs[indices])
    assert torch.equal(copy.deepcopy(files).batch_of(indices), inputs[indices])
    assert len(files) == 40
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # which pickles them
        assert torch.equal(pool.apply(take_as_array, (files, indices.tolist())), inputs[indices])
    assert encoder.encode(table, memory=0).paths == files.paths


def take_as_array(files, rows):
    return files.batch_of(torch.tensor(rows))


def test_statistics_of_many_images_are_those_of_some_whatever_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("truestep.data.images.STATISTICS_IMAGES", 5)
    table = read_image_table(class_folders(tmp_path, 10))
    encoder, inputs = ImageEncoder.fit_encode(table, torch.arange(1, 20))
    expected = inputs[[1, 5, 10, 15, 19]].double().mean((0, 2, 3))
    torch.testing.assert_close(torch.tensor(encoder.mean, dtype=torch.float64), expected)
    assert table.notes == ["mean and deviation of pixels are those of 5 of the 19 training images."]
    other, _ = ImageEncoder.fit_encode(table, torch.arange(1, 20), memory=0)
    assert other == encoder
    assert table.notes[-1] == "20 images take more memory than they may; they are decoded when they are needed."


@pytest.mark.parametrize(
    ("sizes", "asked", "expected"),
    [
        ([(28, 28)] * 4, 0, (28, 28)),
        ([(224, 100)] * 4, 0, (224, 100)),
        ([(225, 100)] * 4, 0, (96, 96)),
        ([(28, 28)] * 3 + [(29, 28)], 0, (32, 32)),
        ([(300, 500), (200, 100), (640, 480), (250, 250)], 0, (224, 224)),
        ([(70, 80), (90, 75), (60, 60)], 0, (64, 64)),
        ([(28, 28)] * 4, 40, (40, 40)),
    ],
)
def test_the_size_suits_the_training_images(tmp_path, sizes, asked, expected):
    for number, size in enumerate(sizes):
        write(tmp_path / f"{number}.png", pixels(*size))
    write(tmp_path / "z.png", pixels(3, 500, 3))  # held out
    encoder, inputs = ImageEncoder.fit_encode(read_image_table(tmp_path), torch.arange(len(sizes)), size=asked)
    assert (encoder.height, encoder.width) == expected
    assert inputs.shape == (len(sizes) + 1, 1, *expected)


def test_one_colour_image_in_training_makes_all_of_them_colour(tmp_path):
    for number in range(3):
        write(tmp_path / f"{number}.png", pixels(8, 8))
    write(tmp_path / "3.png", pixels(8, 8, 3))
    table = read_image_table(tmp_path)
    grey, _ = ImageEncoder.fit_encode(table, torch.arange(3))
    assert grey.channels == 1
    assert grey.notes(table) == ["1 of 4 images are in colour; they become grey, as training images were."]
    colour, _ = ImageEncoder.fit_encode(table, torch.arange(4))
    assert colour.channels == 3
    assert colour.notes(table) == []


def test_pixels_that_never_change_have_deviation_one(tmp_path):
    for number in range(3):
        write(tmp_path / f"{number}.png", np.full((8, 8), 7, np.uint8))
    encoder, inputs = ImageEncoder.fit_encode(read_image_table(tmp_path), torch.arange(3))
    assert (encoder.mean, encoder.std) == ((7.0,), (1.0,))
    assert not encoder.prepare(inputs).any()


def test_a_damaged_file_is_named_while_fitting_or_when_it_is_taken(tmp_path):
    table = read_image_table(class_folders(tmp_path, 40))
    damaged = tmp_path / "dog" / "17.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    row = table.frame["image"].to_list().index("dog/17.png")
    rows = torch.arange(40)
    with pytest.raises(InputError, match=r"dog/17.png: expected an image, but it can't be decoded"):
        ImageEncoder.fit_encode(table, rows)
    encoder, files = ImageEncoder.fit_encode(table, rows, memory=0)
    assert files.batch_of(torch.tensor([1, 2])).shape == (2, 3, 6, 8)
    with pytest.raises(InputError, match=r"dog/17.png: expected an image, but it can't be decoded"):
        files.batch_of(torch.tensor([1, row]))
    with pytest.raises(InputError, match=r"dog/17.png"):
        encoder.encode(tmp_path)


def test_of_several_damaged_files_the_first_is_named(tmp_path):
    table = read_image_table(class_folders(tmp_path, 60))
    for name in table.frame["image"][25:110]:
        (tmp_path / name).write_bytes(b"")
    for _ in range(5):
        with pytest.raises(InputError, match=table.frame["image"][25]):
            ImageEncoder.fit_encode(table, torch.arange(120))


def test_whatever_names_images_is_read_in_its_order(tmp_path):
    root = class_folders(tmp_path / "pets")
    table = read_image_table(root)
    encoder, inputs = ImageEncoder.fit_encode(table, torch.arange(8))
    assert torch.equal(encoder.encode(root), inputs)
    assert torch.equal(encoder.encode(str(root / "cat")), inputs[:4])
    assert torch.equal(encoder.encode(root / "dog" / "2.png"), inputs[6:7])
    assert torch.equal(encoder.encode([root / "dog" / "2.png", str(root / "cat" / "0.png")]), inputs[[6, 0]])
    assert encoder.ids(root)["image"].to_list() == table.frame["image"].to_list()
    assert encoder.ids(encoder.read(root / "cat")).columns == ["image"]
    table.frame.reverse().write_csv(root / "names.csv")
    assert torch.equal(encoder.encode(root / "names.csv"), inputs.flip(0))
    (root / "names.csv").unlink()
    array = inputs.permute(0, 2, 3, 1)
    assert torch.equal(encoder.encode(array), inputs)
    assert torch.equal(encoder.encode(array.numpy()), inputs)
    assert encoder.ids(array) is None
    assert encoder.encode(array[..., 0].numpy()).shape == inputs.shape
    for wrong in (array.float(), array[0, 0], inputs[..., :5]):
        with pytest.raises(InputError, match="images: expected uint8 of shape"):
            encoder.encode(wrong)
    target = Target("binary", "label", ("cat", "dog"), 1, "two")
    found, targets = encoder.encode_labelled(root, target)
    assert torch.equal(found, inputs)
    assert targets.tolist() == [0] * 4 + [1] * 4


def test_a_column_of_any_name_may_hold_the_files(tmp_path):
    root = class_folders(tmp_path)
    frame = pl.DataFrame({"file": ["dog/1.png", "cat/3.png"], "age": [1, 2]})
    table = Table(frame, "pets.csv", lines=[2, 3], folder=root)
    encoder, inputs = ImageEncoder.fit_encode(table, torch.arange(2), column="file")
    assert torch.equal(inputs[1], decode(root / "cat" / "3.png"))
    assert encoder.ids(table).to_dict(as_series=False) == {"file": ["dog/1.png", "cat/3.png"]}
    assert encoder.ids(root / "dog").columns == ["file"]
    with pytest.raises(InputError, match=r"pets.csv: expected a column 'image', found file, age"):
        image_keys(table)
    gap = dataclasses.replace(table, frame=pl.DataFrame({"file": ["dog/1.png", None]}))
    with pytest.raises(
        InputError, match=r"pets.csv, line 3, column 'file': expected the name of an image file, found none"
    ):
        encoder.encode(gap)
    with pytest.raises(InputError, match=r"pets.csv, column 'age': expected names of image files, found Int64"):
        image_keys(table, "age")
    with pytest.raises(InputError, match="image_size: expected pixels"):
        ImageEncoder.fit_encode(table, torch.arange(2), column="file", size=-1)
    with pytest.raises(InputError, match=r"pets.csv: expected images to learn from, found none"):
        ImageEncoder.fit_encode(table, torch.arange(0), column="file")


def test_json_gives_back_the_same_encoder():
    encoder = ImageEncoder(3, 32, 48, (1 / 3, 2.0, 100.1), (0.1, 55.0, 1e-3), "file")
    content = json.loads(json.dumps(encoder.to_json()))
    assert ImageEncoder.from_json(content) == encoder
    assert content["kind"] == "image"


@pytest.mark.parametrize(
    "damage",
    [
        {"height": 0}, {"width": 3.5}, {"channels": 2}, {"mean": [1.0]}, {"std": [0.0, 1.0, 1.0]}, {"std": [1.0]},
        {"mean": [1.0, float("nan"), 1.0]}, {"mean": None}, {"column": 3}, {"std": ["a", "b", "c"]},
    ],
)  # fmt: skip
def test_damaged_json_is_refused(damage):
    content = ImageEncoder(3, 32, 48, (1.0,) * 3, (1.0,) * 3).to_json() | damage
    with pytest.raises((ValueError, TypeError, KeyError)):
        ImageEncoder.from_json(content)


def test_json_without_one_of_its_parts_is_refused():
    content = ImageEncoder(3, 32, 48, (1.0,) * 3, (1.0,) * 3).to_json()
    for name in content.keys() - {"kind"}:
        with pytest.raises(KeyError):
            ImageEncoder.from_json({key: value for key, value in content.items() if key != name})


def test_progress_counts_every_image_and_ends_at_all(tmp_path):
    table = read_image_table(class_folders(tmp_path, 30))
    seen = []
    ImageEncoder.fit_encode(table, torch.arange(50), progress=lambda done, total: seen.append((done, total)))
    headers, images = [done for done, total in seen if total == 50], [done for done, total in seen if total == 60]
    assert len(headers) + len(images) == len(seen)
    assert headers == sorted(headers)
    assert images == sorted(images)
    assert (headers[-1], images[-1]) == (50, 60)


def test_memory_is_shared_among_the_processes_of_a_machine(monkeypatch):
    alone = available_memory()
    assert 2**20 < alone < 2**50
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert available_memory() < alone / 3


# Keys


def test_equal_files_have_equal_keys_and_equal_pixels_others(tmp_path):
    table = read_image_table(class_folders(tmp_path, 10))
    (tmp_path / "dog" / "3.png").write_bytes((tmp_path / "cat" / "5.png").read_bytes())
    write(tmp_path / "dog" / "4.png", Image.open(tmp_path / "cat" / "6.png"), compress_level=0)
    keys = image_keys(table)
    assert keys.dtype == np.uint64
    assert keys[13] == keys[5]
    assert keys[14] != keys[6]
    assert len(np.unique(keys)) == 19
    by_pixel = pixel_keys(ImageEncoder.fit_encode(table, torch.arange(20))[1])
    assert by_pixel[13] == by_pixel[5]
    assert by_pixel[14] == by_pixel[6]
    assert len(np.unique(by_pixel)) == 18
    reversed_keys = image_keys(dataclasses.replace(table, frame=table.frame.reverse()))
    assert np.array_equal(reversed_keys[::-1], keys)
    import hashlib

    digest = hashlib.blake2b((tmp_path / "cat" / "0.png").read_bytes(), digest_size=8).digest()
    assert keys[0] == np.frombuffer(digest, "<u8")[0]


def test_other_formats_than_the_six_are_never_opened():
    assert set(image_files.FORMATS) == {"BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"}
