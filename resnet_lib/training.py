"""One readable training loop: SGD with momentum, a one-cycle learning rate, and the error in percent.

Sources
-------
He et al. 2016, section 4.2: batch 128, momentum 0.9, weight decay 1e-4, learning rate 0.1.
Smith and Topin 2018, "Super-Convergence", https://arxiv.org/abs/1708.07120: the one-cycle schedule, which replaces the
    paper's steps because these runs last ten epochs instead of 164.
"""

import threading
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lib._arguments import check_choice
from resnet_lib.datasets import Dataset
from resnet_lib.networks import CifarResNet, cifar_resnet
from resnet_lib.records import Recipe, Record, describe_environment, finite_or_none

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(device: str = "auto") -> torch.device:
    """The device asked for, or for "auto" the best one here: CUDA, else MPS, else the CPU.

    Raises:
        ValueError: an unknown device, or one that this machine lacks.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    check_choice("device", device, DEVICES)
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, is_here in here.items() if is_here)
    if not here[device]:
        raise ValueError(f"device must be one that this machine has, got {device!r}: use 'cpu' or 'auto'")
    return torch.device(device)


def train_epoch(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    order: torch.Tensor,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
) -> tuple[float, float]:
    """One pass over the images in the given order → mean loss, and error in percent, as seen while training.

    Shapes: images (N, C, H, W) float32, labels (N,) int64, order (N,) int64.
    """
    model.train()
    loss_sum = torch.zeros((), device=images.device)
    wrong = torch.zeros((), dtype=torch.int64, device=images.device)
    for batch in order.split(batch_size):
        logits = model(images[batch])
        loss = F.cross_entropy(logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        loss_sum += loss.detach() * len(batch)
        wrong += (logits.argmax(1) != labels[batch]).sum()
    return loss_sum.item() / len(order), 100 * wrong.item() / len(order)


@torch.no_grad()
def evaluate(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, batch_size: int = 1024
) -> tuple[float, float]:
    """The model in evaluation mode over all images → mean loss, and error in percent.

    Shapes: images (N, C, H, W) float32, labels (N,) int64.
    """
    model.eval()
    logits = torch.cat([model(batch) for batch in images.split(batch_size)])
    wrong = (logits.argmax(1) != labels).sum().item()
    return F.cross_entropy(logits, labels).item(), 100 * wrong / len(labels)


_seeding = threading.Lock()


def build_model(recipe: Recipe, dataset: Dataset) -> CifarResNet:
    """The recipe's network with the initial weights of its seed.

    A plain network and its twin with option A start from the very same weights, since they draw the same numbers.
    """
    # The lock: runs side by side share PyTorch's one random state. The fork: the caller's state stays as it was.
    with _seeding, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)  # torch.manual_seed would seed the GPUs too
        return cifar_resnet(
            recipe.depth,
            recipe.shortcut,
            width=recipe.width,
            in_channels=dataset.channels,
            num_classes=dataset.num_classes,
        )


def train(
    recipe: Recipe,
    dataset: Dataset,
    device: torch.device,
    on_epoch: Callable[[float], None] = lambda loss: None,
) -> Record:
    """Train the recipe's network and return its record.

    The same recipe on the same machine and PyTorch release, with as many threads, gives the same bits.

    Args:
        recipe: what to train.
        dataset: its images; ``recipe.dataset`` is their name.
        device: where to train.
        on_epoch: called after each epoch with the epoch's loss; what it raises ends the run.
    """
    start = time.perf_counter()
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True  # the fastest convolutions on a GPU differ from run to run
    model = build_model(recipe, dataset).to(device, memory_format=torch.channels_last)
    train_images, train_labels = _on_device(dataset, dataset.train_images, dataset.train_labels, device)
    test_images, test_labels = _on_device(dataset, dataset.test_images, dataset.test_labels, device)

    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    steps_per_epoch = -(-len(train_labels) // recipe.batch_size)  # rounded up
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.lr, total_steps=recipe.epochs * steps_per_epoch, cycle_momentum=False
    )
    shuffle = torch.Generator().manual_seed(recipe.seed)

    curves: dict[str, list[float | None]] = {"train_loss": [], "train_error": [], "test_error": []}
    for _ in range(recipe.epochs):
        order = torch.randperm(len(train_labels), generator=shuffle).to(device)
        loss, error = train_epoch(model, train_images, train_labels, order, recipe.batch_size, optimizer, scheduler)
        curves["train_loss"].append(finite_or_none(loss))
        curves["train_error"].append(error)
        curves["test_error"].append(evaluate(model, test_images, test_labels)[1])
        on_epoch(loss)

    train_loss, train_error = evaluate(model, train_images, train_labels)
    return Record(
        recipe=recipe,
        train_error=train_error,
        test_error=curves["test_error"][-1],
        train_loss=finite_or_none(train_loss),
        curves=curves,
        seconds=time.perf_counter() - start,
        environment=describe_environment(device),
    )


def _on_device(
    dataset: Dataset, images: torch.Tensor, labels: torch.Tensor, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    images = dataset.normalise(images).contiguous(memory_format=torch.channels_last)
    return images.to(device), labels.to(device)
