"""Data sets come out with the right pixels, labels, splits and names, whatever they are read from, or say why not."""

import gzip
import hashlib
import io
import os
import pickle
import runpy
import shutil
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10, FashionMNIST

from resnet_lib import datasets
from resnet_lib.datasets import Dataset, load_dataset


def noise(seed: int, *shape: int, below: int = 256) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, below, shape).astype(np.uint8)


def check(dataset: Dataset, *expected: np.ndarray) -> None:
    tensors = (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    for tensor, array, dtype in zip(tensors, expected, [torch.uint8, torch.int64] * 2, strict=True):
        assert tensor.dtype == dtype and tensor.is_contiguous() and np.array_equal(tensor.numpy(), array)
        tensor.zero_()  # they can be written to


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_channel_that_never_changes_is_normalised_to_zero_and_the_others_as_ever():
    images = torch.from_numpy(noise(0, 20, 2, 4, 4))
    images[:, 1] = 7
    labels = torch.zeros(20, dtype=torch.int64)
    dataset = Dataset("made", 1, images, labels, images[:5], labels[:5])
    grey = images[:, :1].float()
    assert dataset.std.flatten().tolist() == [grey.std().item(), 1]
    assert torch.equal(dataset.normalise(images)[:, :1], (grey - grey.mean()) / grey.std())
    assert dataset.normalise(images)[:, 1].unique().tolist() == [0]


def test_what_is_held_out_is_trained_on_by_no_run_that_holds_out_as_many():
    images, labels = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1), torch.arange(20)
    dataset = Dataset("made", 20, images, labels, images, labels)
    whole, held_images, held_labels = dataset.part(held_out=5)
    few, again, _ = dataset.part(images=4, held_out=5)
    assert torch.equal(held_images.flatten(), held_labels) and torch.equal(held_images, again)
    assert sorted([*whole.train_labels.tolist(), *held_labels.tolist()]) == list(range(20))
    assert torch.equal(whole.train_images.flatten(), whole.train_labels)
    assert {*few.train_labels.tolist()} < {*whole.train_labels.tolist()} and len(few.train_labels) == 4


# CIFAR-10 and Fashion-MNIST: small ones take the place of the published ones, and there is no mirror


FASHION_MNIST_FILES = [name for name, _ in FashionMNIST.resources]


def test_every_file_has_mirrors():
    for mirrors in datasets.MIRRORS.values():
        assert len(set(mirrors)) == len(mirrors) >= 2 and mirrors[0].startswith("https://")
        assert all(mirror.format("FILE").count("/FILE") == 1 for mirror in mirrors)


BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
PIXELS = [noise(seed, 3, 3072) for seed in range(6)]
LABELS = [noise(seed, 3, below=10) for seed in range(6)]
CIFAR10_EXPECTED = [
    np.concatenate(PIXELS[:5]).reshape(-1, 3, 32, 32),
    np.concatenate(LABELS[:5]),
    PIXELS[5].reshape(-1, 3, 32, 32),
    LABELS[5],
]


@pytest.fixture
def cifar10(tmp_path, monkeypatch) -> dict[str, bytes]:
    """The files of a small CIFAR-10: its archive, and what is in it."""
    monkeypatch.setitem(datasets.MIRRORS, "cifar10", ())
    files = {
        f"cifar-10-batches-py/{name}": pickle.dumps({"data": pixels, "labels": labels.tolist()})
        for name, pixels, labels in zip(BATCHES, PIXELS, LABELS, strict=True)
    }
    meta = pickle.dumps({"label_names": [str(label) for label in range(10)]})
    files["cifar-10-batches-py/batches.meta"] = meta
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for place, content in files.items():
            info = tarfile.TarInfo(place)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    digests = [[name, hashlib.md5(files[f"cifar-10-batches-py/{name}"]).hexdigest()] for name in BATCHES]
    monkeypatch.setattr(CIFAR10, "train_list", digests[:5])
    monkeypatch.setattr(CIFAR10, "test_list", digests[5:])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": hashlib.md5(meta).hexdigest()})
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(buffer.getvalue()).hexdigest())
    return {**files, "cifar-10-python.tar.gz": buffer.getvalue()}


def put(folder: Path, files: dict[str, bytes]) -> None:
    for place, content in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)


ARCHIVE, BATCH = "cifar-10-python.tar.gz", "cifar-10-batches-py/data_batch_3"
THERE = {
    "the archive": lambda files: {ARCHIVE: files[ARCHIVE]},
    "the folder that torchvision has unpacked": lambda files: {**files, ARCHIVE: b"not asked for"},
    "both, with an empty batch": lambda files: {**files, BATCH: b""},
    "both, with a batch missing": lambda files: {place: files[place] for place in files if place != BATCH},
}


@pytest.mark.parametrize("there", THERE)
def test_cifar10_is_read_from_what_is_there_and_right_and_nothing_is_changed(tmp_path, cifar10, there):
    files = THERE[there](cifar10)
    put(tmp_path, files)
    dataset = load_dataset("cifar10", str(tmp_path))
    assert (dataset.name, dataset.num_classes) == ("cifar10", 10)
    check(dataset, *CIFAR10_EXPECTED)
    assert contents(tmp_path) == files


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return header + array.tobytes()


FASHION = [noise(0, 6, 28, 28), noise(1, 6, below=10), noise(2, 4, 28, 28), noise(3, 4, below=10)]


@pytest.fixture
def fashion_mnist(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(datasets.MIRRORS, "fashion_mnist", ())
    files = dict(zip(FASHION_MNIST_FILES, (gzip.compress(idx(array)) for array in FASHION), strict=True))
    digests = [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
    monkeypatch.setattr(FashionMNIST, "resources", digests)
    put(tmp_path / "FashionMNIST" / "raw", files)


def test_fashion_mnist_is_read_from_the_archives_and_not_from_what_lies_unpacked_beside_them(tmp_path, fashion_mnist):
    put(tmp_path, {f"FashionMNIST/raw/{name[:-3]}": b"damaged" for name in FASHION_MNIST_FILES})
    dataset = load_dataset("fashion_mnist", str(tmp_path))
    assert (dataset.name, dataset.num_classes) == ("fashion_mnist", 10)
    check(dataset, FASHION[0][:, None], FASHION[1], FASHION[2][:, None], FASHION[3])


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist", "folder:images"])
def test_without_torchvision_there_are_the_digits_and_a_sentence_that_says_what_to_install(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    load = runpy.run_path(datasets.__file__)["load_dataset"]
    assert load("digits").train_images.shape == (1437, 1, 8, 8)
    with pytest.raises(ValueError, match=f"{name}.*pip install torchvision"):
        load(name)


# Folders

HEIGHT, WIDTH = 6, 8
CLASSES = ("Bee", "ant", "cat")  # in their order


def make_folder(root: Path, colour: bool = True, test: str = "test", suffix: str = ".png") -> list[np.ndarray]:
    """Three classes, three images each for training and two for testing, all different; what must come out."""
    expected = []
    for split, count in (("train", 3), (test, 2)):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = noise(len(list(root.rglob("*.*"))), HEIGHT, WIDTH, *([3] if colour else []))
                Image.fromarray(pixels).save(root / split / name / f"{number}{suffix}")
        files = sorted((root / split).rglob("*.*"))
        images = [np.atleast_3d(np.asarray(Image.open(file))).transpose(2, 0, 1) for file in files]
        expected += [np.stack(images), np.repeat([0, 1, 2], count)]
    return expected


@pytest.fixture
def folder(tmp_path) -> Path:
    make_folder(tmp_path / "my images")
    return tmp_path / "my images"


@pytest.mark.parametrize("suffix, test", [(".png", "test"), (".jpg", "val"), (".JPEG", "test")])
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "grey"])
def test_images_and_labels_are_those_of_the_folder(tmp_path, colour, suffix, test):
    expected = make_folder(tmp_path / ".cache" / "images", colour, test, suffix)
    (tmp_path / ".cache" / "images" / "val").mkdir(exist_ok=True)  # test/ comes first
    dataset = load_dataset(f"folder:{tmp_path / '.cache' / 'images'}")
    assert dataset.num_classes == 3 and dataset.channels == (3 if colour else 1)
    check(dataset, *expected)


def test_the_name_is_that_of_the_folder_and_a_digest_that_never_changes(tmp_path, monkeypatch):
    for place in ("train/ant", "train/bee", "test/ant", "test/bee"):
        (tmp_path / "~ two_insects" / place).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "~ two_insects" / place / "0.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_dataset("folder:~/~ two_insects").name == "two-insects-85455723"
    monkeypatch.chdir(tmp_path / "~ two_insects")
    assert load_dataset("folder:.").name == "two-insects-85455723"


OTHER = os.fsdecode(b"\xff\n") if sys.platform == "linux" else "art"  # there a name may be no text
CHANGES = {
    "a pixel": lambda root: shutil.copy(root / "test" / "ant" / "1.png", root / "train" / "ant" / "1.png"),
    "a class's name": lambda root: [(root / split / "ant").rename(root / split / OTHER) for split in ("train", "test")],
    "a label": lambda root: (root / "train" / "Bee" / "2.png").rename(root / "train" / "ant" / "-.png"),
    "the split": lambda root: (root / "train" / "cat" / "2.png").rename(root / "test" / "Bee" / "-.png"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_changes_with_the_content_and_with_nothing_else(folder, tmp_path, change):
    name = load_dataset(f"folder:{folder}").name
    copy = tmp_path / "elsewhere" / "my images"
    shutil.copytree(folder, copy)
    (copy / "test").rename(copy / "val")
    (copy / "train" / "ant" / "0.png").rename(copy / "train" / "ant" / "00.png")
    hidden = (".DS_Store", "train/ant/._0.png", "train/ant/.old/0.png", "train/.ipynb_checkpoints/0.png")
    put(copy, dict.fromkeys([*hidden, "train/notes.txt", "train/ant/notes.txt"], b"no image"))
    assert load_dataset(f"folder:{copy}").name == name
    CHANGES[change](folder)
    assert load_dataset(f"folder:{folder}").name != name


@pytest.mark.parametrize("mode", ["LA", "P", "CMYK"])
def test_other_kinds_of_images_are_read_as_grey_or_rgb(folder, mode):
    shown = Image.fromarray(noise(1, HEIGHT, WIDTH, 3)).convert(mode)
    for file in folder.rglob("*.png"):
        shown.save(file, format="JPEG" if mode == "CMYK" else "PNG")
        expected = Image.open(file).convert("L" if mode == "LA" else "RGB")
    pixels = load_dataset(f"folder:{folder}").test_images[-1]
    assert np.array_equal(pixels.numpy(), np.atleast_3d(np.asarray(expected)).transpose(2, 0, 1))


def test_one_image_in_colour_makes_all_of_them_rgb(tmp_path):
    expected = make_folder(tmp_path / "images", colour=False)
    Image.fromarray(noise(99, HEIGHT, WIDTH, 3)).save(tmp_path / "images" / "test" / "cat" / "1.png")
    expected[0], expected[2] = expected[0].repeat(3, axis=1), expected[2].repeat(3, axis=1)
    expected[2][-1] = noise(99, HEIGHT, WIDTH, 3).transpose(2, 0, 1)
    check(load_dataset(f"folder:{tmp_path / 'images'}"), *expected)


def bomb(file: Path) -> None:
    """A PNG file whose header promises 12,000 × 12,000 pixels; decoding would find it cut off."""
    content = bytearray(file.read_bytes())
    content[16:24] = (12_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    file.write_bytes(content)


# What is wrong with an image, or a place in the folder, and what the sentence must name.
WRONG = {
    "cut off": ("test/cat/1.png", lambda file: file.write_bytes(file.read_bytes()[:-30]), "8 bits"),
    "another format": ("train/ant/1.png", lambda file: Image.open(file).save(file, format="BMP"), "8 bits"),
    "16 bits": ("train/ant/1.png", lambda file: Image.new("I;16", (8, 6), 40_000).save(file), "8 bits"),
    "144 megapixels": ("train/Bee/0.png", bomb, "144000000"),
    "another size": ("test/ant/1.png", lambda file: Image.new("RGB", (7, 6)).save(file), "7×6 .*Bee.0.png .*8×6"),
    "an empty class": ("train", lambda split: (split / "dog").mkdir(), "dog"),
    "a class too many": ("test", lambda split: shutil.copytree(split / "ant", split / "art"), "train.*'art'"),
    "one class": ("train", lambda split: [shutil.rmtree(split / name) for name in CLASSES[1:]], "'Bee' alone"),
    "no class": ("train", lambda split: [shutil.rmtree(name) for name in split.iterdir()], "class"),
    "no test": ("test", shutil.rmtree, "test"),
    "nothing": ("", shutil.rmtree, "train"),
}
if sys.platform != "win32":  # where links need a right, and pipes are otherwise
    WRONG["a pipe"] = ("train/ant/9.png", os.mkfifo, "not a file")
    WRONG["a folder twice"] = ("train/ant/all", lambda link: link.symlink_to(".."), "second name")


@pytest.mark.filterwarnings("default")  # as for a reader, whom Pillow only warns of a bomb
@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_used_is_named_in_one_sentence(folder, case):
    place, spoil, named = WRONG[case]
    spoil(folder / place)
    with pytest.raises(ValueError, match=named) as error:
        load_dataset(f"folder:{folder}")
    assert str(folder / place) in str(error.value) and "\n" not in str(error.value)
