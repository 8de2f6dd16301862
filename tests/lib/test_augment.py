"""Batched crops and mirror images equal torchvision's, one image at a time, and repeat by their seed."""

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from torch import Tensor

from resnet_lib.augment import PADDING, AugmentedImages, Shifts, crop_and_mirror, draw_shifts

pytestmark = pytest.mark.usefixtures("one_thread")

# Every way to shift an image: 9 rows × 9 columns × mirrored or not.
DOWN, RIGHT, MIRRORED = torch.cartesian_prod(torch.arange(9), torch.arange(9), torch.arange(2)).T
EVERY_SHIFT = Shifts(DOWN, RIGHT, MIRRORED.bool())
MEAN, STD = torch.tensor([52.4, 130.5, 19.6]).view(1, 3, 1, 1), torch.tensor([30.0, 0.7, 1.0]).view(1, 3, 1, 1)


def noise(count: int, channels: int = 3, height: int = 8, width: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


def shifted_by_torchvision(images: Tensor, shifts: Shifts, fill: list[float]) -> Tensor:
    crops = []
    for image, down, right, mirrored in zip(images, *(shift.tolist() for shift in shifts), strict=True):
        crop = reference.crop(reference.pad(image, [4], fill=fill), down, right, *image.shape[1:])
        crops.append(reference.horizontal_flip(crop) if mirrored else crop)
    return torch.stack(crops)


def drawn(count: int = 300, seed: int = 0) -> AugmentedImages:
    augmented = AugmentedImages(noise(count), MEAN, STD)
    augmented.draw(torch.Generator().manual_seed(seed))
    return augmented


@pytest.mark.parametrize("fill", [[7], [7, 130, 255]], ids=["grey", "colour"])
@pytest.mark.parametrize("size", [(32, 32), (8, 8), (5, 11)], ids=str)
def test_every_shift_equals_torchvisions_pad_crop_and_flip(fill, size):
    images = noise(162, len(fill), *size)
    ours = crop_and_mirror(images, EVERY_SHIFT, torch.tensor(fill, dtype=torch.float32))
    assert ours.dtype == torch.uint8
    assert torch.equal(ours, shifted_by_torchvision(images, EVERY_SHIFT, fill))


def test_the_shifts_of_a_seed_never_change_and_the_next_draw_is_another():
    generator = torch.Generator().manual_seed(0)
    shifts = draw_shifts(6, generator)
    assert [shift.int().tolist() for shift in shifts] == [[8, 0, 2, 6, 7, 6], [7, 1, 1, 0, 8, 2], [0, 1, 0, 0, 0, 0]]
    assert not torch.equal(draw_shifts(6, generator).down, shifts.down)


def test_every_shift_occurs_and_all_about_equally_often():
    down, right, mirrored = draw_shifts(162 * 400, torch.Generator().manual_seed(0))
    counts = ((down * 9 + right) * 2 + mirrored).bincount(minlength=162)
    assert len(counts) == 162 and PADDING == 4
    assert counts.min() > 400 - 5 * 20 and counts.max() < 400 + 5 * 20, "within five standard deviations"


def test_a_batch_is_the_reference_for_each_image_padded_with_the_rounded_mean_and_then_normalised():
    augmented = drawn(seed=1)
    batch = torch.randperm(300, generator=torch.Generator().manual_seed(0))[:64]
    crops = shifted_by_torchvision(
        noise(300)[batch], Shifts(*(shift[batch] for shift in augmented.shifts)), [52, 130, 20]
    )
    assert augmented[batch].dtype == torch.float32 and torch.equal(augmented[batch], (crops.float() - MEAN) / STD)


def test_an_epoch_draws_other_shifts_which_are_written_where_the_old_ones_lay():
    """A captured graph reads them from there."""
    augmented = drawn()
    places, before = [shift.data_ptr() for shift in augmented.shifts], augmented[torch.arange(300)]
    augmented.draw(torch.Generator().manual_seed(1))
    assert [shift.data_ptr() for shift in augmented.shifts] == places
    assert not torch.equal(augmented[torch.arange(300)], before)
