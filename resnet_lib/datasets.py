"""Images as uint8 tensors in, normalised batches out.

Source of "digits": the test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI
Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49; it ships with scikit-learn.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from resnet_lib._arguments import check_choice


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
        """The standard deviation of each channel over the *training* images, (1, C, 1, 1) float32."""
        return self.train_images.float().std((0, 2, 3), keepdim=True)

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


DATASETS: dict[str, Callable[[], Dataset]] = {"digits": load_digits}


def load_dataset(name: str) -> Dataset:
    """The data set of that name.

    Raises:
        ValueError: an unknown name.
    """
    check_choice("dataset", name, DATASETS)
    return DATASETS[name]()
