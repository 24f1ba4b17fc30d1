from __future__ import annotations

import io
import pickle
import sys
import types
import zipfile

import numpy as np
import polars as pl
import pytest
import safetensors.torch
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from truestep.data import load
from truestep.data.examples import kept_targets, scan_dataset
from truestep.data.own import Arrays, Datasets, check_iterable, is_own, read_own, read_own_inputs
from truestep.data.table import Table
from truestep.errors import InputError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 3)).astype(np.float32), RNG.integers(0, 3, 20)
MORE, MORE_Y = RNG.normal(size=(6, 3)).astype(np.float32), RNG.integers(0, 3, 6)


def equal(arrays, *parts):
    """Whether the arrays are these parts (split, inputs, targets), one behind the other."""
    assert isinstance(arrays, Arrays)
    assert np.array_equal(arrays.inputs, np.concatenate([inputs for _, inputs, _ in parts]))
    assert np.array_equal(arrays.targets, np.concatenate([targets for *_, targets in parts]))
    expected = np.concatenate([np.full(len(targets), split) for split, _, targets in parts])
    assert np.array_equal(arrays.belongs if len(parts) > 1 else expected, expected)
    return True


@pytest.mark.parametrize("names", ["X y", "x Y", "inputs targets", "images labels", "features target"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_a_npz_file_are_found_by_name(tmp_path, names, save):
    inputs, targets = names.split()
    save(tmp_path / "a.npz", **{inputs: X, targets: Y, "other": np.arange(3)})
    assert equal(read_own(tmp_path / "a.npz"), (0, X, Y))
    assert equal(read_own(str(tmp_path / "a.npz")), (0, X, Y))


@pytest.mark.parametrize("pattern", ["{array}_{split}", "{split}_{array}", "{split}_{array}".upper()])
def test_splits_of_a_npz_file_are_found_by_name(tmp_path, pattern):
    arrays = {}
    for split, inputs, targets in (("test", MORE, MORE_Y), ("train", X, Y), ("val", X[:4], Y[:4])):
        if pattern.isupper():
            arrays |= {f"{split}_X".upper(): inputs, f"{split}_Y".upper(): targets}
        else:
            arrays[pattern.format(split=split, array="x")] = inputs
            arrays[pattern.format(split=split, array="y")] = targets
    np.savez(tmp_path / "a.npz", **arrays)
    read = read_own(tmp_path / "a.npz")
    order = np.argsort(read.belongs, kind="stable")
    read = Arrays(read.inputs[order], read.targets[order], read.belongs[order])
    assert equal(read, (0, X, Y), (1, X[:4], Y[:4]), (2, MORE, MORE_Y))


@pytest.mark.parametrize(
    "inputs",
    [X.astype(">f8"), np.asfortranarray(X), (X * 40).astype(np.uint8).reshape(20, 1, 3), X > 0, X[::-1]],
)
def test_arrays_are_read_as_numpy_reads_them(tmp_path, inputs):
    words = np.array(["cat", "dog", "fox"])[Y]
    np.savez_compressed(tmp_path / "a.npz", x=inputs, y=words)
    with np.load(tmp_path / "a.npz") as file:
        read = read_own(tmp_path / "a.npz")
        assert np.array_equal(read.inputs, file["x"])
        assert read.inputs.dtype == file["x"].dtype.newbyteorder("=")
        assert read.targets.tolist() == file["y"].tolist()


@pytest.mark.parametrize(
    "content",
    [
        {"inputs": torch.tensor(X), "targets": torch.tensor(Y)},
        (torch.tensor(X), torch.tensor(Y)),
        [torch.tensor(X), torch.tensor(Y)[:, None]],
        {"train": {"x": torch.tensor(X), "y": torch.tensor(Y)}},
        {"x_train": torch.tensor(X), "y_train": torch.tensor(Y)},
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_tensors_of_torch_save_are_read(tmp_path, content, old):
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not old)
    assert equal(read_own(tmp_path / "a.pt"), (0, X, Y))


def test_tensors_of_safetensors_are_read(tmp_path):
    content = {"x": torch.tensor(X).bfloat16(), "y": torch.tensor(Y)}
    safetensors.torch.save_file(content, tmp_path / "a.safetensors")
    assert equal(read_own(tmp_path / "a.safetensors"), (0, torch.tensor(X).bfloat16().float().numpy(), Y))


def test_inputs_to_predict_need_no_targets(tmp_path):
    np.savez(tmp_path / "a.npz", X=X)
    np.save(tmp_path / "a.npy", X)
    torch.save(torch.tensor(X), tmp_path / "a.pt")
    torch.save((torch.tensor(X), torch.tensor(Y)), tmp_path / "b.pt")
    for name in ("a.npz", "a.npy", "a.pt", "b.pt"):
        assert np.array_equal(read_own_inputs(tmp_path / name), X)
    np.savez(tmp_path / "c.npz", a=X, b=X)
    with pytest.raises(
        InputError, match=r"c.npz: expected an array of inputs \(inputs, x, .*found a \(20, 3\), b \(20, 3\)"
    ):
        read_own_inputs(tmp_path / "c.npz")


class Pairs(Dataset):
    """Examples made when they are asked for, and counted."""

    def __init__(self, inputs=X, answers=Y, **kept):
        self.inputs, self.answers, self.read = torch.as_tensor(inputs), answers, 0
        for name, value in kept.items():
            setattr(self, name, value)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, row):
        self.read += 1
        return self.inputs[row], self.answers[row]


class Stream(IterableDataset):
    def __init__(self, make):
        self.make = make

    def __iter__(self):
        return iter(self.make())


def test_datasets_come_alone_in_a_tuple_or_by_name():
    one, two, three = Pairs(), Pairs(), Pairs()
    assert read_own(one) == Datasets(one)
    assert read_own((one, two)) == read_own([one, two]) == Datasets(one, two)
    assert read_own((one, two, three)) == Datasets(one, two, three)
    assert read_own((one, None, three)) == Datasets(one, None, three)
    assert read_own({"test": three, "train": one, "dev": two}) == Datasets(one, two, three)
    stream = Stream(list)
    assert read_own({"train": stream, "valid": two}) == Datasets(stream, two)
    assert read_own((one, TensorDataset(torch.tensor(X), torch.tensor(Y)))).train is one
    assert all(is_own(source) for source in (one, (one, two), {"train": one}, "a.NPZ", (X, Y)))
    assert not is_own("a.csv")


def test_datasets_of_tensors_and_pairs_of_arrays_are_arrays():
    tensors = TensorDataset(torch.tensor(X), torch.tensor(Y)), TensorDataset(torch.tensor(MORE), torch.tensor(MORE_Y))
    assert equal(read_own(tensors[0]), (0, X, Y))
    assert equal(read_own(tensors), (0, X, Y), (1, MORE, MORE_Y))
    assert equal(read_own((X, Y)), (0, X, Y))
    assert equal(read_own({"X": X, "y": Y}), (0, X, Y))
    assert equal(read_own(((X, Y), None, (MORE, MORE_Y))), (0, X, Y), (2, MORE, MORE_Y))
    assert equal(read_own({"train": (X, Y), "test": tensors[1]}), (0, X, Y), (2, MORE, MORE_Y))


def test_frames_are_a_table():
    one, two = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}), pl.DataFrame({"a": [3.5], "b": ["z"]})
    table = read_own((one, two))
    assert table.frame["a"].to_list() == [1, 2, 3.5]
    assert table.belongs == [0, 0, 1]
    assert read_own({"train": one}).frame.equals(one)
    with pytest.raises(InputError, match=r"data, valid: expected the columns a, b as in train, found b, a"):
        read_own((one, two.select("b", "a")))


# Reading examples


@pytest.mark.parametrize("keep", [list, np.asarray, torch.as_tensor])
@pytest.mark.parametrize("name", ["targets", "labels"])
def test_targets_that_a_dataset_keeps_are_taken_from_there(keep, name):
    inputs, targets = np.zeros((500, 2), np.float32), RNG.integers(0, 9, 500)
    dataset = Pairs(inputs, targets, **{name: keep(targets)})
    scan = scan_dataset(dataset)
    assert np.array_equal(scan.targets, targets)
    assert scan.checked == dataset.read == 20
    part = Subset(ConcatDataset([dataset, dataset]), [*range(700, 800), 3, 1])
    again = scan_dataset(part)
    assert again.targets.tolist() == np.r_[targets, targets][part.indices].tolist()
    assert again.checked == 20


@pytest.mark.parametrize(
    "kept",
    [
        Y + 1,
        Y[:-1],
        [str(answer) for answer in Y],
        lambda: Y,
        {"a": Y},
        [[1], [2, 3]] * 10,
        np.where(np.arange(20) == 19, 7, Y),
    ],
)
def test_what_a_dataset_keeps_is_checked_and_else_every_example_is_read(kept):
    dataset, calls = Pairs(targets=kept), []
    scan = scan_dataset(dataset, lambda done, total: calls.append((done, total)))
    assert np.array_equal(scan.targets, Y)
    assert scan.checked == 20
    assert calls == [(done, 20) for done in range(1, 21)]


def test_kept_targets_have_the_type_that_the_examples_have():
    dataset = Pairs(answers=[float(answer) for answer in Y], targets=torch.as_tensor(Y))
    assert scan_dataset(dataset).targets.dtype == np.float64
    assert kept_targets(dataset).dtype == np.int64


@pytest.mark.parametrize(
    "inputs",
    [
        torch.ones(3, 4, 4, dtype=torch.uint8),
        np.ones((2, 2), np.float32),
        {"numeric": torch.ones(3), "categories": torch.ones(2, dtype=torch.int64)},
        (torch.ones(3), np.ones(2, np.uint8)),
    ],
)
def test_inputs_may_be_bytes_numbers_and_nests(inputs):
    scan = scan_dataset([(inputs, 1.5)] * 3)
    assert type(scan.inputs) is (type(inputs) if isinstance(inputs, dict | tuple) else torch.Tensor)
    assert scan.targets.tolist() == [1.5] * 3


def test_looking_at_examples_leaves_random_numbers_alone():
    class Random(Pairs):
        def __getitem__(self, row):
            return torch.rand(3) + float(np.random.rand()), 1  # noqa: NPY002

    before = torch.get_rng_state(), np.random.get_state()[2]  # noqa: NPY002
    scan_dataset(Random())
    check_iterable(Stream(lambda: [(torch.rand(3), 1)]), valid=1, max_steps=1)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[2]  # noqa: NPY002


# Streams


def test_a_stream_is_known_by_its_first_examples():
    same = check_iterable(Stream(lambda: [(X[0], 1), (X[1], 2)]), valid=Pairs(), max_steps=10)
    assert torch.equal(same.inputs, torch.tensor(X[0]))
    assert same.target == 1
    assert same.repeats
    assert not check_iterable(Stream(lambda: [(torch.rand(3), 1)]), valid=Pairs(), max_steps=10).repeats
    once = iter([(X[row], 1) for row in range(9)])
    assert not check_iterable(Stream(lambda: once), valid=Pairs(), max_steps=10).repeats


STREAMS = [
    ({"valid": None}, "Stream: expected validation data beside a dataset that can't be split"),
    ({"shuffled": True}, "Stream: its order is its own: it can't be shuffled"),
    ({"num_workers": 2}, "Stream: expected one reader, found 2 workers: each of them would read every example."),
    ({"world_size": 4}, "Stream: expected one reader, found 4 processes"),
    ({"max_steps": None}, "Stream: expected max_steps for a dataset without a length, found none. Give --max-steps."),
    ({"make": list}, "Stream: expected examples, found none."),
    ({"make": lambda: [3]}, "Stream, example 0: expected a pair (input, target), found int"),
    ({"make": lambda: [(X[0].astype(float), 1)]}, "expected inputs in float32, uint8 or int64 of at least one dimension, found float64 of shape (3,)"),
    ({"make": lambda: [({}, 1)]}, "Stream, example 0: expected a tensor as input, found none in a dict."),
]  # fmt: skip


@pytest.mark.parametrize(("choices", "words"), STREAMS)
def test_what_no_stream_can_promise_is_refused(choices, words):
    choices = {"valid": Pairs(), "max_steps": 9, "make": lambda: [(X[0], 1)], **choices}
    with pytest.raises(InputError) as error:
        check_iterable(Stream(choices.pop("make")), **choices)
    assert words in str(error.value)


# The library `datasets`


@pytest.fixture
def hugging_face(monkeypatch):
    """The library if it is there, else nothing: its tests are skipped."""
    return pytest.importorskip("datasets")


def reviews(library, count=6):
    features = library.Features(
        {
            "text": library.Value("string"),
            "stars": library.Value("int64"),
            "label": library.ClassLabel(names=["neg", "pos"]),
        }
    )
    content = {
        "text": [f"r{n}" for n in range(count)],
        "stars": list(range(count)),
        "label": [n % 2 for n in range(count)],
    }
    return library.Dataset.from_dict(content, features=features)


def test_a_data_set_of_the_library_is_a_table_with_its_classes(hugging_face):
    table = read_own(reviews(hugging_face))
    assert isinstance(table, Table)
    assert table.target == "label"
    assert table.frame["label"].to_list() == ["neg", "pos"] * 3
    assert table.frame["stars"].to_list() == list(range(6))
    assert table.belongs is None
    chosen = read_own(reviews(hugging_face).shuffle(seed=1).select([3, 1]))
    assert chosen.frame["text"].to_list() == reviews(hugging_face).shuffle(seed=1)[:4]["text"][3:0:-2]


def test_its_splits_and_unlabelled_rows_are_kept_apart(hugging_face):
    data = reviews(hugging_face)
    unlabelled = data.map(lambda row: row | {"label": -1})
    table = read_own(hugging_face.DatasetDict(train=data, validation=data.select([2]), test=unlabelled))
    assert table.belongs == [0] * 6 + [1]
    assert table.notes == ["split 'test' left out: its column 'label' says of no row which class it is."]


def test_its_images_are_files_and_its_streams_are_refused(hugging_face, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    features = hugging_face.Features({"image": hugging_face.Image()})
    paths = hugging_face.Dataset.from_dict({"image": [str(tmp_path / "a.png")]}, features=features)
    table = read_own(paths)
    assert table.frame["image"].to_list() == [str(tmp_path / "a.png")]
    assert table.kinds == {"image": "image"}
    held = hugging_face.Dataset.from_dict({"image": [image.new("RGB", (4, 4))]}, features=features)
    with pytest.raises(
        InputError, match="data, column 'image': expected paths of image files, found images kept as bytes"
    ):
        read_own(held)
    with pytest.raises(InputError, match="expected a data set with a length, found IterableDataset"):
        read_own(reviews(hugging_face).to_iterable_dataset())


def test_the_little_of_the_library_that_is_needed(monkeypatch):
    """As above with a stand-in, so that it is tested where the library is not installed."""

    class ClassLabel:
        names = ("neg", "pos")

    class Image: ...

    class Value: ...

    class Stored:
        def __init__(self, frame, **features):
            self.frame, self.features = frame, features

        def with_format(self, name):
            assert name == "arrow"
            return self

        def __len__(self):
            return len(self.frame)

        def __getitem__(self, rows):
            assert rows == slice(None)
            return Arrow(self.frame)

    class Arrow:
        def __init__(self, frame):
            self.frame = frame

        def __arrow_c_stream__(self, schema=None):
            return self.frame.__arrow_c_stream__(schema)

    Stored.__module__ = "datasets.arrow_dataset"
    monkeypatch.setitem(sys.modules, "datasets", types.ModuleType("datasets"))
    frame = pl.DataFrame({"text": ["a", "b", "c"], "label": [1, 0, 1]})
    data = Stored(frame, text=Value(), label=ClassLabel())
    table = read_own({"train": data, "validation": data})
    assert table.frame["label"].to_list() == ["pos", "neg", "pos"] * 2
    assert table.belongs == [0, 0, 0, 1, 1, 1]
    assert table.target == "label"
    held = Stored(pl.DataFrame({"i": [{"bytes": b"..", "path": None}]}), i=Image())
    with pytest.raises(InputError, match="data, column 'i': expected paths of image files, found images kept as bytes"):
        read_own(held)
    files = Stored(
        pl.DataFrame(
            {"i": [{"bytes": None, "path": "a.png"}]},
            schema_overrides={"i": pl.Struct({"bytes": pl.Binary, "path": pl.String})},
        ),
        i=Image(),
    )
    assert read_own(files).frame["i"].to_list() == ["a.png"]


# What is refused


class Harmful:
    def __reduce__(self):
        return print, ("code was run",)


def npz(**members):
    """A .npz of these members, bytes as they are, arrays as NumPy writes them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content if isinstance(content, bytes) else npy(content))
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def header(text, data=b""):
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


CLAIM = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 9), }"
FILES = [
    ("a.npz", npz(x=X, y=np.array([Harmful()] * 20, dtype=object)), "a.npz, array 'y': expected numbers or words, found Python objects"),
    ("a.npz", npz(x=X, other=Y), "a.npz: expected an array of targets named targets, target, y, labels or label, found x (20, 3), other (20,)."),
    ("a.npz", npz(y=Y), "a.npz: expected an array of inputs named inputs, x, features, images or data, found y (20,)."),
    ("a.npz", npz(), "a.npz: expected datasets or arrays, found an empty dict."),
    ("a.npz", npz(x=X, y=Y[:-1]), "a.npz: expected as many targets as inputs, found 20 inputs, 19 targets"),
    ("a.npz", npz(x=header(CLAIM), y=Y), "a.npz, array 'x': damaged: its header says 72000000000000 bytes (float64, (1000000000000, 9)), found 0."),
    ("a.npz", npz(x=header("{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,), }"), y=Y), "a.npz, array 'x': not a NumPy array"),
    ("a.npz", npz(x=b"hello", y=Y), "a.npz, array 'x': not a NumPy array"),
    ("a.npz", npz(x=header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1), }", b"8bytes!!"), y=Y), "a.npz, array 'x': damaged"),
    ("a.npz", npz(x=X, y=Y)[:-30], "a.npz: expected a .npz file, but it can't be read (File is not a zip file)."),
    ("a.npz", npz(x=X, y=Y).replace(X.tobytes()[:16], b"0" * 16, 1), "a.npz: expected a .npz file, but it can't be read (Bad CRC-32"),
    ("a.npz", b"", "a.npz: expected a .npz file, but it can't be read"),
    ("a.npz", npz(x_train=X, y_train=Y, x_test=X[:, :2], y_test=Y), "a.npz, test: expected inputs and targets of shape (N, 3) and (N) as in train, found (N, 2) and (N)."),
    ("a.npz", npz(x_test=X, y_test=Y), "a.npz: expected a part 'train', found test."),
    ("a.npz", npz(x_train=X, y_train=Y, x_val=X, y_val=Y, x_dev=X, y_dev=Y), "a.npz: expected each split once, found 'valid' under two names"),
    ("a.npz", npz(x=X.astype(complex), y=Y), "a.npz, array 'x': expected an array of numbers, found complex128"),
    ("a.pt", saved({"x": torch.tensor(X), "y": Harmful()}), "a.pt: expected only tensors, in a dict or a tuple, found objects that need code to be read"),
    ("a.pt", saved({"x": X, "y": Y}), "a.pt: expected only tensors"),
    ("a.pt", pickle.dumps(Harmful()), "a.pt: expected a file of torch.save, found a plain pickle, which can only be read by running what it says; nothing was run. Save"),
    ("a.pt", pickle.dumps({"x": X, "y": Y}, protocol=2), "a.pt: expected a file of torch.save, found a plain pickle"),
    ("a.npz", npz(x=np.where(X[3, 1] == X, np.inf, X), Y=Y), "a.npz, array 'x', row 3, place (1,): expected a finite number, found inf."),
    ("a.pt", saved({"x": torch.tensor(X), "y": torch.tensor(Y)})[:-700], "a.pt: expected"),
    ("a.pt", b"not at all", "a.pt: expected a file of torch.save, but it can't be read"),
    ("a.pt", b"", "a.pt: expected a file of torch.save, but it can't be read"),
    ("a.pt", saved(torch.nn.Linear(2, 2).state_dict()), "a.pt: expected an array of inputs named inputs, x, features, images or data, found weight (2, 2), bias (2,)."),
    ("a.pt", saved((torch.tensor(X).to_sparse(), torch.tensor(Y))), "a.pt: expected a tensor of plain numbers, found torch.sparse_coo torch.float32."),
    ("a.pt", saved((torch.ones(1).expand(10**9, 10**9), torch.tensor(Y))), "a.pt: expected arrays that fit in the"),
    ("a.pt", saved({"x": torch.ones(3, device="meta"), "y": torch.tensor(Y)}), "a.pt: expected"),
    ("a.pt", saved({"x": "words", "y": torch.tensor(Y)}), "a.pt: expected arrays or tensors, found str"),
    ("a.pt", saved(3), "a.pt: expected arrays of inputs and targets, in a dict or a pair, found int."),
    ("a.safetensors", b"\xff" * 40, "a.safetensors: expected a .safetensors file, but it can't be read"),
    ("a.safetensors", b"", "a.safetensors: expected a .safetensors file, but it can't be read"),
    ("a.npy", npy(X), "a.npy: expected arrays of inputs and targets, in a dict or a pair, found ndarray."),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "content", "words"), FILES)
def test_a_file_that_is_no_data_is_refused_in_one_line_and_nothing_in_it_is_run(tmp_path, capsys, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        read_own(tmp_path / name)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert "code was run" not in capsys.readouterr().out


def test_what_is_wrong_with_targets_of_a_file_names_the_file_and_the_array(tmp_path):
    odd = np.where(np.arange(20) == 3, np.inf, np.arange(20) / 7)
    np.savez(tmp_path / "a.npz", x=np.ones((20, 3)), y=odd)
    torch.save({"data": torch.rand(20, 3), "Label": torch.zeros(20)}, tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"^a\.npz, array 'y', row 3: expected a finite number, found inf\.$"):
        load(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"^b\.pt, array 'Label': expected targets that differ"):
        load(tmp_path / "b.pt")


def test_an_archive_that_unpacks_to_more_than_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1000, 1000)), y=np.zeros(1000))
    monkeypatch.setattr("os.sysconf", lambda name: 1000)
    with pytest.raises(InputError, match=r"a.npz: expected arrays that fit in the 0.0 GB of memory here, found 0.0 GB"):
        read_own(tmp_path / "a.npz")


def refusal(path):
    try:
        read_own_inputs(path)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("suffix", ["npz", "npy", "pt", "safetensors"])
def test_damage_anywhere_is_an_error_of_one_line_or_does_not_matter(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "npz":
        np.savez_compressed(path, x=X, y=Y)
    elif suffix == "npy":
        np.save(path, X)
    elif suffix == "pt":
        torch.save({"x": torch.tensor(X), "y": torch.tensor(Y)}, path)
    else:
        safetensors.torch.save_file({"x": torch.tensor(X), "y": torch.tensor(Y)}, path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged[: rng.integers(1, len(content))] if rng.random() < 0.3 else damaged))
        if message := refusal(path):
            assert len(message.splitlines()) == 1
            refused += 1
    assert refused > 40


OBJECTS = [
    (DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y))), "data: expected datasets, found a DataLoader. Return its dataset"),
    ((Pairs(), DataLoader(Pairs())), "data, valid: expected datasets, found a DataLoader."),
    ((Pairs(), X), "data, valid: expected a PyTorch dataset like the others, found ndarray."),
    ((Pairs(), []), "data, valid: expected a PyTorch dataset like the others, found list."),
    ((Pairs(),) * 4, "data: expected (train, valid) or (train, valid, test), found 4 parts."),
    ((), "data: expected (train, valid) or (train, valid, test), found 0 parts."),
    ((None, Pairs()), "data: expected (train, valid) or (train, valid, test), found 2 parts."),
    ({}, "data: expected datasets or arrays, found an empty dict."),
    ({"train": Pairs(), "tset": Pairs()}, "data: expected only train, valid and test beside each other, found 'tset'. Did you mean 'test'?"),
    ({"valid": Pairs(), "test": Pairs()}, "data: expected a part 'train', found valid, test."),
    ({"a": Pairs()}, "data: expected only train, valid and test beside each other, found 'a'."),
    ((Pairs(), Pairs(X[:0], [])), "data, valid: expected examples, found none."),
    (Dataset(), "data, train: expected a dataset with a length, found Dataset without."),
    (None, "data: expected arrays of inputs and targets, in a dict or a pair, found NoneType."),
    (((X, Y), (X, Y.astype(str))), "data, valid: expected inputs and targets"),
    (((X, Y), (X.astype(np.uint8), Y)), "data, valid: expected inputs of type float32 as in train, found uint8."),
    ((X, [1, 2]), "data: expected arrays of inputs and targets, in a dict or a pair, found ndarray."),
]  # fmt: skip


@pytest.mark.parametrize(("source", "words"), OBJECTS)
def test_what_a_function_should_not_return_is_refused_in_one_line(source, words):
    with pytest.raises(InputError) as error:
        read_own(source)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path):
    for path, words in (
        (tmp_path / "none.npz", "expected a file, found none"),
        (tmp_path, r"expected a file \(.npz, .pt, .pth, .safetensors\), found a folder"),
        ("/dev/zero", "found a pipe or a device"),
        ("a\0.npz", "not the name of a file"),
    ):
        with pytest.raises(InputError, match=words):
            read_own(path)
