"""Batched crops and mirror images equal torchvision's, one image at a time, and repeat by their seed."""

from dataclasses import replace

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from torch import Tensor

from resnet_lib.augment import PADDING, AugmentedImages, Shifts, crop_and_mirror, draw_shifts
from resnet_lib.datasets import Dataset, load_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
OFFSETS = 2 * PADDING + 1
# Every way to shift an image: 9 rows × 9 columns × mirrored or not.
EVERY_SHIFT = Shifts(
    *(
        column.contiguous()
        for column in torch.cartesian_prod(torch.arange(OFFSETS), torch.arange(OFFSETS), torch.arange(2)).T[:2]
    ),
    torch.cartesian_prod(torch.arange(OFFSETS), torch.arange(OFFSETS), torch.arange(2)).T[2].bool(),
)


def noise(count: int, channels: int, height: int = 32, width: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


def by_torchvision(image: Tensor, down: int, right: int, mirrored: bool, fill: list[float]) -> Tensor:
    """The reference, for one image (C, H, W)."""
    padded = reference.pad(image, PADDING, fill=fill)
    crop = reference.crop(padded, down, right, *image.shape[1:])
    return reference.horizontal_flip(crop) if mirrored else crop


def shifted_by_torchvision(images: Tensor, shifts: Shifts, fill: list[float]) -> Tensor:
    moves = zip(images, *(shift.tolist() for shift in shifts), strict=True)
    return torch.stack([by_torchvision(image, *move, fill) for image, *move in moves])


# Every shift


def test_there_are_81_places_and_two_orientations():
    assert PADDING == 4 and len(set(zip(*(shift.tolist() for shift in EVERY_SHIFT), strict=True))) == 81 * 2


@pytest.mark.parametrize(("channels", "fill"), [(1, [7]), (3, [7, 130, 255]), (3, [0, 0, 0])], ids=str)
@pytest.mark.parametrize("size", [(32, 32), (28, 28), (8, 8), (5, 11)], ids=str)
def test_every_shift_equals_torchvisions_pad_crop_and_flip(channels, fill, size):
    images = noise(162, channels, *size)
    ours = crop_and_mirror(images, EVERY_SHIFT, torch.tensor(fill, dtype=torch.float32))
    assert ours.dtype == images.dtype and ours.shape == images.shape
    assert torch.equal(ours, shifted_by_torchvision(images, EVERY_SHIFT, fill))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_images_of_any_type_are_shifted_alike(dtype):
    images, fill = noise(162, 3, 8, 8), torch.tensor([1.0, 2.0, 3.0])
    ours = crop_and_mirror(images.to(dtype), EVERY_SHIFT, fill)
    assert ours.dtype == dtype and torch.equal(ours, crop_and_mirror(images, EVERY_SHIFT, fill).to(dtype))


def test_an_image_in_the_middle_comes_out_as_it_was_or_as_its_mirror_image():
    images, middle = noise(6, 3), torch.full((6,), PADDING)
    fill = torch.zeros(3)
    assert torch.equal(crop_and_mirror(images, Shifts(middle, middle, torch.zeros(6).bool()), fill), images)
    assert torch.equal(crop_and_mirror(images, Shifts(middle, middle, torch.ones(6).bool()), fill), images.flip(3))


def test_the_images_that_come_in_are_left_alone():
    images = noise(162, 3)
    before = images.clone()
    crop_and_mirror(images, EVERY_SHIFT, torch.zeros(3))
    assert torch.equal(images, before)


# Chance


def test_the_same_seed_draws_the_same_shifts_and_another_seed_others():
    first, again, other = (draw_shifts(500, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    for one, two, three in zip(first, again, other, strict=True):
        assert torch.equal(one, two) and not torch.equal(one, three)


def test_the_shifts_of_a_seed_never_change():
    shifts = draw_shifts(6, torch.Generator().manual_seed(0))
    assert [shift.int().tolist() for shift in shifts] == [[8, 0, 2, 6, 7, 6], [7, 1, 1, 0, 8, 2], [0, 1, 0, 0, 0, 0]]


def test_the_next_draw_is_another_one():
    generator = torch.Generator().manual_seed(0)
    first, second = draw_shifts(500, generator), draw_shifts(500, generator)
    assert not any(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_drawing_leaves_the_callers_random_state_alone():
    before = torch.get_rng_state()
    draw_shifts(100, torch.Generator().manual_seed(0))
    AugmentedImages(load_dataset("digits"), CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_shift_occurs_and_all_about_equally_often():
    count = 162 * 400
    down, right, mirrored = draw_shifts(count, torch.Generator().manual_seed(0))
    counts = ((down * OFFSETS + right) * 2 + mirrored).bincount(minlength=162)
    assert len(counts) == 162
    assert counts.min() > 400 - 5 * 20 and counts.max() < 400 + 5 * 20, "within five standard deviations"


# The images of a run


def colour(count: int = 300) -> Dataset:
    """Noise in three channels of their own brightness and contrast."""
    images = noise(count, 3, 8, 8) // torch.tensor([1, 2, 8], dtype=torch.uint8).view(3, 1, 1) + 20
    labels = torch.zeros(count, dtype=torch.int64)
    return Dataset("noise", 1, images, labels, images[:1], labels[:1])


DATASETS = {"grey": lambda: load_dataset("digits"), "colour": colour}
every_dataset = pytest.mark.parametrize("dataset", [make() for make in DATASETS.values()], ids=DATASETS)


@every_dataset
def test_a_batch_is_the_reference_for_each_image_and_then_normalised(dataset):
    augmented = AugmentedImages(dataset, CPU)
    augmented.draw(torch.Generator().manual_seed(1))
    fill = dataset.mean.flatten().round().tolist()
    for seed in range(3):
        batch = torch.randperm(len(dataset.train_images), generator=torch.Generator().manual_seed(seed))[:64]
        shifts = Shifts(*(shift[batch] for shift in augmented.shifts))
        crops = shifted_by_torchvision(dataset.train_images[batch], shifts, fill)
        ours = augmented[batch]
        assert ours.dtype == torch.float32 and torch.equal(ours, dataset.normalise(crops))


@every_dataset
def test_the_padding_normalises_to_about_zero(dataset):
    augmented = AugmentedImages(dataset, CPU)
    count, channels = len(dataset.train_images), dataset.channels
    corner = Shifts(torch.zeros(count).long(), torch.zeros(count).long(), torch.zeros(count).bool())
    for held, wanted in zip(augmented.shifts, corner, strict=True):
        held.copy_(wanted)
    padding = augmented[torch.arange(count)][:, :, :PADDING]
    half_a_grey = 0.5 / dataset.std.flatten()
    for channel in range(channels):
        assert padding[:, channel].unique().numel() == 1
        assert padding[:, channel].abs().max() <= half_a_grey[channel] * 1.001, "the mean, rounded to a grey value"


def test_draw_gives_every_image_a_shift_of_its_own_and_new_ones_each_epoch():
    augmented, generator = AugmentedImages(colour(), CPU), torch.Generator().manual_seed(0)
    batch, seen = torch.arange(300), []
    for _ in range(3):
        augmented.draw(generator)
        assert torch.equal(augmented[batch], augmented[batch]), "within an epoch they stay"
        seen.append(augmented[batch])
        assert len(set(zip(*(shift.tolist() for shift in augmented.shifts), strict=True))) > 100
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])


def test_an_image_is_shifted_alike_in_whatever_batch_it_comes():
    augmented = AugmentedImages(colour(), CPU)
    augmented.draw(torch.Generator().manual_seed(5))
    whole = augmented[torch.arange(300)]
    for batch in torch.randperm(300, generator=torch.Generator().manual_seed(6)).split(32):
        assert torch.equal(augmented[batch], whole[batch])


def test_new_shifts_are_written_where_the_old_ones_lay():
    """A captured graph reads them from there."""
    augmented = AugmentedImages(colour(), CPU)
    places = [shift.data_ptr() for shift in augmented.shifts]
    augmented.draw(torch.Generator().manual_seed(1))
    assert [shift.data_ptr() for shift in augmented.shifts] == places


def test_the_data_set_is_left_alone():
    dataset = colour()
    before = dataset.train_images.clone()
    augmented = AugmentedImages(dataset, CPU)
    augmented.draw(torch.Generator().manual_seed(1))
    augmented[torch.arange(300)].zero_()
    assert torch.equal(dataset.train_images, before)


def test_mean_and_deviation_are_those_of_the_images_themselves():
    dataset = colour()
    black = replace(dataset, test_images=torch.zeros_like(dataset.test_images))
    batch = torch.arange(300)
    assert torch.equal(AugmentedImages(dataset, CPU)[batch], AugmentedImages(black, CPU)[batch])
