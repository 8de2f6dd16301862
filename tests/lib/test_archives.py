"""Published archives are verified before they are read, and read without running anything that they say."""

import gzip
import hashlib
import importlib.util
import io
import pickle
import pickletools
import re
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from resnet_lib import archives
from resnet_lib.archives import (
    CIFAR10,
    CIFAR10_TEST,
    CIFAR10_TRAIN,
    FASHION_MNIST,
    PublishedFile,
    load_cifar10,
    load_fashion_mnist,
    read_idx,
    unpickle_arrays,
)

RANDOM = np.random.RandomState(0)
COUNTS = dict.fromkeys(CIFAR10_TRAIN, 3) | {"test_batch": 2}
PIXELS = {name: RANDOM.randint(0, 256, (count, 3072)).astype(np.uint8) for name, count in COUNTS.items()}
LABELS = {name: RANDOM.randint(0, 10, count).tolist() for name, count in COUNTS.items()}


def python2_string(text: bytes) -> bytes:
    return pickle.BINSTRING + len(text).to_bytes(4, "little") + text


def number(value: int) -> bytes:
    return pickle.BININT + value.to_bytes(4, "little", signed=True)


def batch_pickle(pixels: np.ndarray, labels: list[int], dtype: bytes = b"u1") -> bytes:
    """A batch as Python 2 and NumPy 1 pickled it: protocol 2, strings of bytes, numpy.core, and align=0."""
    dtype_call = b"cnumpy\ndtype\n" + python2_string(dtype) + number(0) + number(1) + pickle.TUPLE3 + pickle.REDUCE
    dtype_state = number(3) + python2_string(b"|") + pickle.NONE * 3 + number(-1) * 2 + number(0)
    array_call = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        + (number(0) + pickle.TUPLE1)
        + (python2_string(b"b") + pickle.TUPLE3 + pickle.REDUCE)
    )
    shape = b"".join(map(number, pixels.shape)) + pickle.TUPLE2
    array_state = (
        (number(1) + shape + dtype_call + pickle.MARK + dtype_state + pickle.TUPLE + pickle.BUILD)
        + pickle.NEWFALSE
        + python2_string(pixels.tobytes())
    )
    items = {
        b"batch_label": python2_string(b"training batch 1 of 5"),
        b"data": array_call + pickle.MARK + array_state + pickle.TUPLE + pickle.BUILD,
        b"labels": pickle.EMPTY_LIST + pickle.MARK + b"".join(map(number, labels)) + pickle.APPENDS,
        b"filenames": pickle.EMPTY_LIST + pickle.MARK + python2_string(b"a.png") * len(labels) + pickle.APPENDS,
    }
    pairs = b"".join(python2_string(key) + value for key, value in items.items())
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK + pairs + pickle.SETITEMS + pickle.STOP


PICKLES = {name: batch_pickle(PIXELS[name], LABELS[name]) for name in COUNTS}


def make_archive(pickles: dict[str, bytes] = PICKLES) -> bytes:
    """An archive with the batches in another order, and files that are none."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        folder = tarfile.TarInfo("cifar-10-batches-py")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        files = {"readme.html": b"<html>", **dict(reversed(pickles.items())), "batches.meta": b"meta"}
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVE = make_archive()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def publish(monkeypatch, archive: bytes = ARCHIVE, pickles: dict[str, bytes] = PICKLES) -> None:
    """Let the small archive be the published one, without a mirror."""
    monkeypatch.setattr(archives, "CIFAR10", PublishedFile(CIFAR10.place, md5(archive), len(archive), ()))
    monkeypatch.setattr(archives, "CIFAR10_TRAIN", {name: md5(pickles[name]) for name in CIFAR10_TRAIN})
    monkeypatch.setattr(archives, "CIFAR10_TEST", {name: md5(pickles[name]) for name in CIFAR10_TEST})


def put_archive(folder: Path, archive: bytes = ARCHIVE) -> None:
    (folder / "cifar-10-python.tar.gz").write_bytes(archive)


def put_unpacked(folder: Path, **changes: bytes | None) -> None:
    unpacked = folder / "cifar-10-batches-py"
    unpacked.mkdir()
    for name, content in {**PICKLES, **changes}.items():
        if content is not None:
            (unpacked / name).write_bytes(content)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def check_cifar10(images: archives.Images) -> None:
    train = np.concatenate([PIXELS[name] for name in CIFAR10_TRAIN]).reshape(-1, 3, 32, 32)
    assert torch.equal(images.train_images, torch.from_numpy(train)) and images.train_images.dtype == torch.uint8
    assert images.train_labels.tolist() == [label for name in CIFAR10_TRAIN for label in LABELS[name]]
    assert images.train_labels.dtype == images.test_labels.dtype == torch.int64
    assert torch.equal(images.test_images, torch.from_numpy(PIXELS["test_batch"].reshape(-1, 3, 32, 32)))
    assert images.test_labels.tolist() == LABELS["test_batch"]


# The tables


def torchvision_source(name: str) -> str:
    """Read, not imported, which would take seconds."""
    found = importlib.util.find_spec("torchvision")
    if found is None:
        pytest.skip("torchvision is not installed")
    return (Path(found.origin).parent / "datasets" / name).read_text(encoding="utf-8")


def test_the_digests_and_places_of_cifar10_are_those_of_torchvision():
    source = torchvision_source("cifar.py")
    for entry in (CIFAR10.md5, CIFAR10.place, CIFAR10.urls[-1], archives.CIFAR10_FOLDER):
        assert f'"{entry}"' in source
    for name, digest in (CIFAR10_TRAIN | CIFAR10_TEST).items():
        assert f'["{name}", "{digest}"]' in source


def test_the_digests_and_places_of_fashion_mnist_are_those_of_torchvision():
    source = torchvision_source("mnist.py")
    for file in FASHION_MNIST:
        folder, _, name = file.place.rpartition("/")
        assert f'("{name}", "{file.md5}")' in source and f'"{file.urls[-1].removesuffix(name)}"' in source
        assert folder == "FashionMNIST/raw"


@pytest.mark.parametrize("file", [CIFAR10, *FASHION_MNIST], ids=lambda file: Path(file.place).name)
def test_every_file_has_several_mirrors_of_its_own_name_and_the_first_is_encrypted(file):
    assert len(set(file.urls)) == len(file.urls) >= 2
    assert all(Path(file.place).name in url for url in file.urls)
    assert file.urls[0].startswith("https://")


# CIFAR-10


def test_cifar10_is_read_from_the_archive_and_nothing_is_unpacked(tmp_path, monkeypatch):
    publish(monkeypatch)
    put_archive(tmp_path)
    check_cifar10(load_cifar10(tmp_path))
    assert contents(tmp_path) == {"cifar-10-python.tar.gz": ARCHIVE}


def test_cifar10_is_read_from_the_folder_that_torchvision_has_unpacked(tmp_path, monkeypatch):
    publish(monkeypatch)
    put_unpacked(tmp_path)
    check_cifar10(load_cifar10(tmp_path))


@pytest.mark.parametrize("content", [None, b"", PICKLES["test_batch"]], ids=["missing", "empty", "another"])
def test_an_unpacked_folder_with_a_wrong_file_is_passed_over(tmp_path, monkeypatch, content):
    publish(monkeypatch)
    put_unpacked(tmp_path, data_batch_3=content)
    put_archive(tmp_path)
    with pytest.warns(UserWarning, match=r"data_batch_3 is not as it was published \(MD5 \w+\): .* is not used$"):
        check_cifar10(load_cifar10(tmp_path))


def test_a_wrong_archive_is_set_aside_and_never_read(tmp_path, monkeypatch):
    publish(monkeypatch)
    put_archive(tmp_path, make_archive(dict.fromkeys(PICKLES, b"others")))
    before = contents(tmp_path)["cifar-10-python.tar.gz"]
    with (
        pytest.warns(UserWarning, match="set-aside"),
        pytest.raises(ConnectionError, match=rf"get the file with MD5 {md5(ARCHIVE)} elsewhere and put it at "),
    ):
        load_cifar10(tmp_path)
    assert contents(tmp_path) == {"cifar-10-python.tar.gz.set-aside": before}


def test_the_images_of_cifar10_can_be_written_to(tmp_path, monkeypatch):
    publish(monkeypatch)
    put_archive(tmp_path)
    images = load_cifar10(tmp_path)
    for tensor in images:
        tensor.zero_()
    check_cifar10(load_cifar10(tmp_path))


# Pickles


def test_the_pickles_of_these_tests_are_like_the_published_ones():
    names = [argument for _, argument, _ in pickletools.genops(PICKLES["test_batch"]) if isinstance(argument, str)]
    assert {name for name in names if name.startswith("numpy")} == {
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
    }
    with warnings.catch_warnings():  # Python's own unpickler reads them, but NumPy 2 warns of their age
        warnings.simplefilter("ignore")
        batch = pickle.loads(PICKLES["test_batch"], encoding="latin1")
    assert np.array_equal(batch["data"], PIXELS["test_batch"]) and batch["labels"] == LABELS["test_batch"]


def test_a_batch_of_an_old_numpy_loads_without_a_warning():
    batch = unpickle_arrays(PICKLES["test_batch"], "test_batch")
    assert np.array_equal(batch["data"], PIXELS["test_batch"]) and batch["data"].dtype == np.uint8
    assert np.dtype(np.uint8) == np.dtype("u1") and np.zeros(1, np.uint8).dtype.byteorder == "|"


EVIL = {
    "os.system": b"cos\nsystem\n(S'touch evil'\ntR.",
    "builtins.eval": b'cbuiltins\neval\n(S\'open("evil", "w")\'\ntR.',
    "builtins.getattr": b"cbuiltins\ngetattr\n.",
    "numpy.fromfile": b"cnumpy\nfromfile\n.",
    "numpy.ndarray.tofile": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "numpy._core.multiarray._reconstruct": pickle.dumps(np.zeros(3), 2),
    "an array of O8": batch_pickle(PIXELS["test_batch"], [1, 2], dtype=b"O8"),
    "an array of f8": batch_pickle(PIXELS["test_batch"], [1, 2], dtype=b"f8"),
}


@pytest.mark.parametrize("asked", EVIL)
def test_a_pickle_that_asks_for_more_than_arrays_of_bytes_is_refused(tmp_path, monkeypatch, asked):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^data_batch_2 is no batch of CIFAR-10 \(it .*\): get the archive from") as e:
        unpickle_arrays(EVIL[asked], "data_batch_2")
    assert asked in str(e.value) or asked.startswith("numpy.")
    assert list(tmp_path.iterdir()) == []


def test_an_evil_archive_runs_nothing_even_where_its_digest_fits(tmp_path, monkeypatch):
    pickles = {**PICKLES, "data_batch_4": EVIL["os.system"]}
    archive = make_archive(pickles)
    publish(monkeypatch, archive, pickles)
    put_archive(tmp_path, archive)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^data_batch_4 is no batch of CIFAR-10 \(it asks for os\.system\)"):
        load_cifar10(tmp_path)
    assert contents(tmp_path).keys() == {"cifar-10-python.tar.gz"}


@pytest.mark.parametrize("content", [b"", b"\x80\x02", PICKLES["test_batch"][:-100], b"nonsense"])
def test_a_damaged_pickle_is_named(content):
    with pytest.raises(ValueError, match=r"^test_batch is no batch of CIFAR-10 \(.+\): get the archive from"):
        unpickle_arrays(content, "test_batch")


# Fashion-MNIST


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return header + array.tobytes()


FASHION = [
    RANDOM.randint(0, 256, (6, 28, 28)).astype(np.uint8),
    RANDOM.randint(0, 10, 6).astype(np.uint8),
    RANDOM.randint(0, 256, (4, 28, 28)).astype(np.uint8),
    RANDOM.randint(0, 10, 4).astype(np.uint8),
]


def publish_fashion(monkeypatch, folder: Path) -> None:
    files = []
    for file, array in zip(FASHION_MNIST, FASHION, strict=True):
        content = gzip.compress(idx(array))
        (folder / file.place).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.place).write_bytes(content)
        files.append(PublishedFile(file.place, md5(content), len(content), ()))
    monkeypatch.setattr(archives, "FASHION_MNIST", tuple(files))


def test_fashion_mnist_is_read_where_torchvision_keeps_it(tmp_path, monkeypatch):
    publish_fashion(monkeypatch, tmp_path)
    images = load_fashion_mnist(tmp_path)
    assert torch.equal(images.train_images, torch.from_numpy(FASHION[0]).unsqueeze(1))
    assert torch.equal(images.test_images, torch.from_numpy(FASHION[2]).unsqueeze(1))
    assert images.train_images.dtype == images.test_images.dtype == torch.uint8
    assert images.train_labels.tolist() == FASHION[1].tolist() and images.test_labels.tolist() == FASHION[3].tolist()
    assert images.train_labels.dtype == images.test_labels.dtype == torch.int64


@pytest.mark.parametrize("number", range(4))
def test_a_missing_file_of_fashion_mnist_is_named(tmp_path, monkeypatch, number):
    publish_fashion(monkeypatch, tmp_path)
    missing = tmp_path / FASHION_MNIST[number].place
    missing.unlink()
    with pytest.raises(ConnectionError, match=rf"^{missing.name} can't be .* put it at {re.escape(str(missing))}$"):
        load_fashion_mnist(tmp_path)


@pytest.mark.parametrize("array", [*FASHION, np.zeros((0, 28, 28), np.uint8), np.zeros((2, 3, 4, 5), np.uint8)])
def test_idx_gives_back_what_was_written(array):
    result = read_idx(idx(array))
    assert np.array_equal(result, array) and result.shape == array.shape
    assert result.flags.writeable


WHOLE = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", r"must start with 0, 0, 8 and its shape, got \[\]"),
        (b"<htm", r"must start with 0, 0, 8 and its shape, got \[60, 104, 116, 109\]"),
        (b"\0\0\x0d" + WHOLE[3:], r"must start with 0, 0, 8 and its shape, got \[0, 0, 13, 2\]"),
        (WHOLE[:3], r"must start with 0, 0, 8 and its shape, got \[0, 0, 8\]"),
        (WHOLE[:9], r"must start with 0, 0, 8 and its shape, got \[0, 0, 8, 2\]"),
        (WHOLE[:-1], r"of shape \(2, 3\) must hold 6 values, got 5"),
        (WHOLE + b"\0", r"of shape \(2, 3\) must hold 6 values, got 7"),
    ],
)
def test_what_is_no_idx_file_is_refused_in_one_sentence(content, sentence):
    with pytest.raises(ValueError, match=rf"^an IDX file .*{sentence}$"):
        read_idx(content)
