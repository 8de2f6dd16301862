"""Random crops and mirror images, for whole batches at once.

Source: He et al. 2016, section 4.2: pad each side by 4 pixels, crop 32×32 at random from the image or its mirror
image. The padding here is the training images' mean, which normalises to zero.
"""

from typing import NamedTuple

import torch

PADDING = 4  # pixels on each side


class Shifts(NamedTuple):
    """How each of N images is cropped and mirrored: int64 (N,), int64 (N,) and bool (N,)."""

    down: torch.Tensor  # the crop's first row in the padded image, from 0 to 2·PADDING
    right: torch.Tensor  # its first column
    mirrored: torch.Tensor  # whether the crop is mirrored, left to right


def draw_shifts(count: int, generator: torch.Generator) -> Shifts:
    """Shifts for ``count`` images, all offsets and both orientations equally likely.

    They are drawn on the CPU, so that a seed means the same on every device.

    >>> shifts = draw_shifts(1000, torch.Generator().manual_seed(0))
    >>> shifts.down.min().item(), shifts.down.max().item()
    (0, 8)
    """
    places = 2 * PADDING + 1
    down = torch.randint(places, (count,), generator=generator)
    right = torch.randint(places, (count,), generator=generator)
    mirrored = torch.randint(2, (count,), generator=generator).bool()
    return Shifts(down, right, mirrored)


def crop_and_mirror(images: torch.Tensor, shifts: Shifts, padding_value: torch.Tensor) -> torch.Tensor:
    """Pad every image, crop it back to its size at its own place, and mirror it if so told.

    Shapes: images (N, C, H, W) of any type, padding_value (C,) → (N, C, H, W) of that type, on the images' device.

    >>> image = torch.arange(4, dtype=torch.uint8).view(1, 1, 2, 2)
    >>> stay_mirrored = Shifts(torch.tensor([4]), torch.tensor([4]), torch.tensor([True]))
    >>> crop_and_mirror(image, stay_mirrored, torch.zeros(1)).tolist()
    [[[[1, 0], [3, 2]]]]
    """
    n, channels, height, width = images.shape
    wide = width + 2 * PADDING
    padded = padding_value.to(images).view(1, channels, 1, 1).repeat(n, 1, height + 2 * PADDING, wide)
    padded[:, :, PADDING:-PADDING, PADDING:-PADDING] = images

    down, right, mirrored = (shift.to(images.device).unsqueeze(1) for shift in shifts)
    rows = down + torch.arange(height, device=images.device)  # (N, H)
    columns = right + torch.arange(width, device=images.device)  # (N, W)
    columns = torch.where(mirrored, columns.flip(1), columns)
    # One index a pixel, the same for all channels: a single gather crops and mirrors.
    pixels = (rows.unsqueeze(2) * wide + columns.unsqueeze(1)).view(n, 1, height * width)
    return padded.flatten(2).gather(2, pixels.expand(n, channels, -1)).view_as(images)


class AugmentedImages:
    """Training images, uint8 (N, C, H, W), that come out cropped, mirrored and normalised when a batch is taken.

    It stands in for a tensor in `resnet_lib.training.train_epoch`, which asks for its device and for ``images[batch]``:
    indices (B,) → float32 (B, C, H, W). Mean and deviation of the channels are (1, C, 1, 1).
    """

    def __init__(self, images: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> None:
        self.images, self.device = images, images.device
        self.mean, self.std = mean.to(self.device), std.to(self.device)
        self.padding_value = self.mean.flatten().round()
        self.shifts = Shifts(*(shift.to(self.device) for shift in draw_shifts(len(images), torch.Generator())))

    def draw(self, generator: torch.Generator) -> None:
        """Draw new shifts, one an image, for the epoch to come."""
        # Copied in place: a captured graph reads them from where they are.
        for held, drawn in zip(self.shifts, draw_shifts(len(self.images), generator), strict=True):
            held.copy_(drawn)

    def __getitem__(self, batch: torch.Tensor) -> torch.Tensor:
        shifts = Shifts(*(shift[batch] for shift in self.shifts))
        # index_select copies whole images, and is several times faster here than images[batch].
        crops = crop_and_mirror(self.images.index_select(0, batch), shifts, self.padding_value)
        return crops.float().sub_(self.mean).div_(self.std)
