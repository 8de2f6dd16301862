"""Training as in He et al. 2016, section 4.2: one readable loop, and runs that go on where they were cut off."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lib.augment import AugmentedImages
from resnet_lib.checkpoints import find_checkpoint, save_checkpoint
from resnet_lib.datasets import Dataset
from resnet_lib.environment import choose_device, describe_environment
from resnet_lib.fast import FastLoop, choose_layout, make_optimizer, repeatable, restore_optimizer
from resnet_lib.files import refuse
from resnet_lib.networks import CifarResNet, cifar_resnet
from resnet_lib.parallel import seeded
from resnet_lib.recipes import Recipe
from resnet_lib.records import Record, finite_or_none
from resnet_lib.schedules import make_scheduler

OnEpoch = Callable[[int, float | None], None]  # called with epochs done since the last call, and the last one's loss


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


def build_model(recipe: Recipe, dataset: Dataset) -> CifarResNet:
    """The recipe's network with the initial weights of its seed.

    A plain network and its twin with option A start from the very same weights, since they draw the same numbers.
    """
    shape = {"width": recipe.width, "in_channels": dataset.channels, "num_classes": dataset.num_classes}
    with seeded(recipe.seed):
        return cifar_resnet(recipe.depth, recipe.shortcut, **shape)


class Run:
    """A model in training: the data, the model, and all that changes from epoch to epoch.

    The same recipe on the same machine and PyTorch release, with as many threads, gives the same bits. A model that is
    given is trained in place; what the recipe says of the network (depth, shortcut, width) then has no meaning. A
    recipe that asks for more images than there are is a ValueError.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, device: torch.device, model: nn.Module | None = None) -> None:
        self.recipe = recipe
        self.device = device
        self.dataset, held_images, held_labels = dataset.part(recipe.images, recipe.held_out)
        network = build_model(recipe, dataset) if model is None else model
        self.layout = choose_layout(network, device)
        self.model = network.to(device).to(memory_format=self.layout)
        self.optimizer = make_optimizer(self.model, recipe, device)
        # On a CPU in float32 nothing is faster than the loop above; of others' models a graph may not be captured.
        is_readable = device.type == "cpu" and recipe.precision == "float32"
        self.fast_loop = None if is_readable else FastLoop(self.model, self.optimizer, recipe.precision, model is None)

        self.labels = self.dataset.train_labels.to(device)
        images, mean, std = self.dataset.train_images, self.dataset.mean, self.dataset.std
        self.images: Any = AugmentedImages(images.to(device), mean, std) if recipe.augment else self._normalised(images)
        self.test = self._normalised(self.dataset.test_images), self.dataset.test_labels.to(device)
        self.held_out = self._normalised(held_images), held_labels.to(device)

        self.generator = torch.Generator()  # of the orders and the shifts
        self.generator.manual_seed(recipe.seed)
        curves = ["train_loss", "train_error", "test_error", *["held_out_error"] * bool(recipe.held_out)]
        self.curves: dict[str, list[Any]] = {name: [] for name in curves}
        self.steps = -(-len(self.labels) // recipe.batch_size)  # in an epoch, rounded up
        total = recipe.epochs * self.steps
        self.scheduler = make_scheduler(self.optimizer, recipe, total, self.curves["train_error"])
        self.training_seconds = self.evaluation_seconds = 0.0

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        return self.dataset.normalise(images).contiguous(memory_format=self.layout).to(self.device)

    @property
    def epochs_done(self) -> int:
        return len(self.curves["train_loss"])

    @property
    def has_diverged(self) -> bool:
        return self.curves["train_loss"][-1:] == [None]

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the last one's loss is not finite, after which none means anything."""
        return self.has_diverged or self.epochs_done >= self.recipe.epochs

    def train_epoch(self) -> None:
        """Train for one epoch, evaluate, and extend the curves."""
        start = time.perf_counter()
        order = torch.randperm(len(self.labels), generator=self.generator).to(self.device)
        if self.recipe.augment:
            self.images.draw(self.generator)
        data = self.images, self.labels, order, self.recipe.batch_size
        if self.fast_loop:
            loss, error = self.fast_loop.train_epoch(*data, self.scheduler)
        else:
            loss, error = train_epoch(self.model, *data, self.optimizer, self.scheduler)
        trained = time.perf_counter()
        self.curves["train_loss"].append(finite_or_none(loss))
        self.curves["train_error"].append(error)
        self.curves["test_error"].append(evaluate(self.model, *self.test)[1])
        if self.recipe.held_out:
            self.curves["held_out_error"].append(evaluate(self.model, *self.held_out)[1])
        self.training_seconds += trained - start
        self.evaluation_seconds += time.perf_counter() - trained

    def state(self) -> dict[str, Any]:
        """All that changes, for a checkpoint: tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "generator": self.generator.get_state(),
            "curves": self.curves,
            "seconds": [self.training_seconds, self.evaluation_seconds],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; after an error, of whatever kind, the run is of no use any more."""
        self.model.load_state_dict(state["model"])
        restore_optimizer(self.optimizer, state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scheduler.base_lrs = [float(lr) for lr in self.scheduler.base_lrs]  # tensors, if they come from a GPU
        self.generator.set_state(state["generator"])
        for name, curve in self.curves.items():
            curve[:] = state["curves"][name]
        self.training_seconds, self.evaluation_seconds = map(float, state["seconds"])
        steps = {len(curve) * self.steps for curve in self.curves.values()}
        if steps != {self.scheduler.last_epoch} or self.epochs_done > self.recipe.epochs:
            raise ValueError("its parts are of different epochs")
        if self.fast_loop:
            self.fast_loop.graphs.clear()  # they read momenta that are no longer the optimizer's

    def record(self) -> Record:
        """Evaluate the trained model and say what came out."""
        start = time.perf_counter()
        train_loss, train_error = evaluate(self.model, self._normalised(self.dataset.train_images), self.labels)
        self.evaluation_seconds += time.perf_counter() - start
        return Record(
            recipe=self.recipe,
            train_error=train_error,
            test_error=self.curves["test_error"][-1],
            best_test_error=min(self.curves["test_error"]),
            held_out_error=self.curves["held_out_error"][-1] if self.recipe.held_out else None,
            train_loss=None if self.has_diverged else finite_or_none(train_loss),
            curves=self.curves,
            seconds=self.training_seconds + self.evaluation_seconds,
            images_per_second=self.epochs_done * len(self.labels) / self.training_seconds,
            environment=describe_environment(self.device),
        )


def train(
    recipe: Recipe,
    dataset: Dataset,
    device: torch.device,
    on_epoch: OnEpoch = lambda epochs, loss: None,
    checkpoint: Path | None = None,
) -> Record:
    """Train the recipe's network and return its record; what ``on_epoch`` raises ends the run.

    The file ``checkpoint`` keeps the run's state after each epoch. If it is there already, the run goes on from it, and
    on a CPU it ends with the same bits as a run that was never cut off. A loss that is not finite ends the run.
    """
    with repeatable(device):
        run = resume(recipe, dataset, device, on_epoch, checkpoint)
        while not run.is_over:
            run.train_epoch()
            if checkpoint:
                save_checkpoint(run.state(), recipe, checkpoint)
            on_epoch(1, run.curves["train_loss"][-1])
        return run.record()


def resume(recipe: Recipe, dataset: Dataset, device: torch.device, on_epoch: OnEpoch, checkpoint: Path | None) -> Run:
    """The run of ``recipe`` as its checkpoint says, or from the start; one that does not fit is set aside."""
    run = Run(recipe, dataset, device)
    if checkpoint and (state := find_checkpoint(recipe, checkpoint)) is not None:
        try:
            run.restore(state)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            refuse(checkpoint, f"{checkpoint} does not fit the run: {reason}", "the run starts again")
            return Run(recipe, dataset, device)
        on_epoch(run.epochs_done, run.curves["train_loss"][-1])
    return run


def fit(model: nn.Module, recipe: Recipe, dataset: Dataset, device: str = "cpu") -> dict[str, list[float | None]]:
    """Train any model in place as the recipe says, and return its curves; the model is then in evaluation mode.

    >>> from resnet_lib.datasets import load_dataset
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> curves = fit(model, Recipe(epochs=2), load_dataset("digits"))
    >>> len(curves["train_error"])
    2
    """
    run = Run(recipe, dataset, choose_device(device), model)
    with repeatable(run.device):
        while not run.is_over:
            run.train_epoch()
    return run.curves
