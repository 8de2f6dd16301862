"""The other side: data and training as most tutorials write them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from resnet_lib.datasets import Dataset

BATCH = 128


class PilImages(torch.utils.data.Dataset):
    """The training images as torchvision's data sets hand them out: decoded already, transformed one by one."""

    def __init__(self, dataset: Dataset) -> None:
        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in dataset.train_images]
        self.labels = dataset.train_labels.tolist()
        mean, std = ((statistic.flatten() / 255).tolist() for statistic in (dataset.mean, dataset.std))
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[i]), self.labels[i]


def pil_loader(dataset: Dataset, workers: int, pin_memory: bool = False) -> DataLoader:
    """A DataLoader at its best: its workers live on from epoch to epoch and work ahead."""
    return DataLoader(
        PilImages(dataset),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        prefetch_factor=4,
        pin_memory=pin_memory,
    )


def usual_loop(model: nn.Module, loader: DataLoader, device: torch.device, precision: str) -> Callable[[], None]:
    """An epoch as most tutorials write it, with automatic mixed precision unless the precision is float32."""
    dtype = getattr(torch, precision)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def epoch() -> None:
        model.train()
        loss_sum, right = 0.0, 0
        for images, labels in loader:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = model(images)
                loss = F.cross_entropy(logits, labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            loss_sum += loss.item()
            right += (logits.argmax(1) == labels).sum().item()

    return epoch
