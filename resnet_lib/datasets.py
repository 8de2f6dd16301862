"""Data sets: images as uint8 tensors, and how they are split and normalised.

Source of "digits": the test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI
Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49; it ships with scikit-learn.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from resnet_lib._arguments import check_choice
from resnet_lib.archives import load_cifar10, load_fashion_mnist
from resnet_lib.image_folders import load_folder


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

        The choice is random and always the same: whoever holds out as many holds out the same ones.

        Raises:
            ValueError: more images than there are.

        >>> fewer, held_images, held_labels = load_dataset("digits").part(images=1000, held_out=400)
        >>> len(fewer.train_images), len(held_images)
        (1000, 400)
        """
        count = len(self.train_labels)
        wanted = count - held_out if images is None else images
        if wanted < 1 or wanted + held_out > count:
            raise ValueError(
                f"images and held_out must leave from 1 to {count} training images of {self.name} in all, "
                f"got {wanted} and {held_out}"
            )
        order = torch.from_numpy(np.random.RandomState(0).permutation(count))
        chosen, held = order[:wanted].sort().values, order[count - held_out :]
        fewer = replace(self, train_images=self.train_images[chosen], train_labels=self.train_labels[chosen])
        return fewer, self.train_images[held], self.train_labels[held]


def load_digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8×8 pixels with values 0 to 16, split into 1,437 and 360.

    >>> digits = load_digits()
    >>> digits.train_images.shape, digits.test_images.shape
    (torch.Size([1437, 1, 8, 8]), torch.Size([360, 1, 8, 8]))
    """
    from sklearn.datasets import load_digits as load  # here, since only this data set needs scikit-learn

    bunch = load()
    # NumPy keeps RandomState's numbers the same in every release, so the split never changes.
    order = np.random.RandomState(0).permutation(len(bunch.images))
    images = torch.from_numpy(bunch.images[order].astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(bunch.target[order].astype(np.int64))
    return Dataset("digits", 10, images[:-360], labels[:-360], images[-360:], labels[-360:])


FOLDER = "folder:"


def load_dataset(name: str, data: Path = Path("data")) -> Dataset:
    """The data set of that name.

    Args:
        name: "digits"; "cifar10" or "fashion_mnist", which are downloaded; or "folder:PATH" for images in
            ``PATH/train/CLASS`` and ``PATH/test/CLASS``, whose data set is named after the folder and its content.
        data: the folder that keeps downloads and decoded images.

    Raises:
        ValueError: an unknown name, or a folder or file that is not what it must be.
        ConnectionError, OSError: a download failed.

    >>> load_dataset("digits").num_classes
    10
    """
    if isinstance(name, str) and name.startswith(FOLDER):
        path = Path(name.removeprefix(FOLDER))
        images, classes, digest = load_folder(path, data)
        # Not the path: a record must mean the same on every machine.
        return Dataset(f"{_plain_name(path.resolve().name)}-{digest}", len(classes), *images)
    check_choice("dataset", name, [*LOADERS, f"{FOLDER}PATH"])
    return LOADERS[name](data)


def _plain_name(name: str) -> str:
    """A name that can be part of any file's name: letters, digits, dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "images"


LOADERS: dict[str, Callable[[Path], Dataset]] = {
    "digits": lambda data: load_digits(),
    "cifar10": lambda data: Dataset("cifar10", 10, *load_cifar10(data)),
    "fashion_mnist": lambda data: Dataset("fashion_mnist", 10, *load_fashion_mnist(data)),
}
