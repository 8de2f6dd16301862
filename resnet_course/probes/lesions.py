"""Lesions: take blocks out of a trained network, or change their order, and see what is lost.

Source: Veit, Wilber, Belongie 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks",
https://arxiv.org/abs/1605.06431, section 4.
"""

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from resnet_course.probes.variants import Block, blocks_of
from resnet_lib.datasets import Dataset


def _keeps_shape(block: Block) -> bool:
    """Does the block hand on as many channels and pixels as it gets?"""
    convolutions = [layer for layer in block.children() if isinstance(layer, nn.Conv2d)]
    same_channels = convolutions[0].in_channels == convolutions[-1].out_channels
    return same_channels and all(layer.stride[0] == 1 for layer in convolutions)


def removable_blocks(model: nn.Module) -> list[str]:
    """The names of the blocks that `lesion` can remove, from the first to the last.

    Of a residual network these are all blocks, since a shortcut stays behind; of a plain network those that keep the
    shape.

    >>> from resnet_lib.networks import cifar_resnet
    >>> removable_blocks(cifar_resnet(14, "none"))
    ['layer1.0', 'layer1.1', 'layer2.1', 'layer3.1']
    """
    return [name for name, block in blocks_of(model).items() if block.downsample is not None or _keeps_shape(block)]


def lesion(model: nn.Module, removed: Iterable[str]) -> nn.Module:
    """A copy without the blocks of these names: of a residual block the shortcut and the ReLU stay, of a plain none.

    Raises:
        ValueError: a name that is not among `removable_blocks`.

    Source: Veit et al. 2016, section 4.1.

    >>> from resnet_lib.networks import cifar_resnet
    >>> lesion(cifar_resnet(8), ["layer1.0"]).layer1
    Sequential(
      (0): Sequential(
        (0): Identity()
        (1): ReLU()
      )
    )
    """
    model, removable = copy.deepcopy(model), removable_blocks(model)
    blocks = blocks_of(model)
    for name in removed:
        if name not in removable:
            raise ValueError(f"removed must name blocks among {', '.join(removable)}, got {name!r}")
        block = blocks[name]
        rest = nn.Identity() if block.downsample is None else nn.Sequential(block.downsample, nn.ReLU())
        model.set_submodule(name, rest.train(block.training))
    return model


def lesion_table(model: nn.Module, data: Dataset) -> dict[int, torch.Tensor]:
    """Which test images go wrong for every subset of removable blocks: by bitmask, from 0, the whole network, up.

    Bit i of the mask is 1 where block i of `removable_blocks` is removed. Shapes: the images' answers are (N,) bool.

    Raises:
        ValueError: more than 12 removable blocks, which have too many subsets.

    Source: Veit et al. 2016, section 4, for one block and for random ones; a small network allows them all.

    >>> from resnet_lib.datasets import load_dataset
    >>> from resnet_lib.networks import cifar_resnet
    >>> table = lesion_table(cifar_resnet(8, width=4, in_channels=1), load_dataset("digits"))
    >>> [*table]
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    names = removable_blocks(model)
    if len(names) > 12:
        raise ValueError(f"model must have at most 12 removable blocks, got {len(names)}: 4,096 subsets are enough")
    images = data.normalise(data.test_images)
    table = {}
    for mask in range(2 ** len(names)):
        removed = [name for i, name in enumerate(names) if mask >> i & 1]
        with torch.no_grad():
            table[mask] = lesion(model, removed).eval()(images).argmax(1) != data.test_labels
    return table


def choose_blocks(model: nn.Module, count: int, generator: torch.Generator) -> list[str]:
    """So many of the removable blocks, drawn at random.

    >>> from resnet_lib.networks import cifar_resnet
    >>> len(choose_blocks(cifar_resnet(20), 3, torch.Generator().manual_seed(0)))
    3
    """
    names = removable_blocks(model)
    if count > len(names):
        raise ValueError(f"count must be at most {len(names)}, the number of removable blocks, got {count}")
    return [names[i] for i in torch.randperm(len(names), generator=generator)[:count].tolist()]


def swap_blocks(model: nn.Module, swaps: int, generator: torch.Generator) -> nn.Module:
    """A copy in which random pairs of blocks have changed places, ``swaps`` times; both of a pair are in one stage.

    Only blocks that keep their shape take part, so that each fits where it comes to stand.

    Source: Veit et al. 2016, section 4.3.

    >>> from resnet_lib.networks import cifar_resnet
    >>> model = cifar_resnet(14)
    >>> swapped = swap_blocks(model, 1, torch.Generator().manual_seed(0))
    >>> torch.equal(swapped.layer1[0].conv1.weight, model.layer1[1].conv1.weight)
    True
    """
    model = copy.deepcopy(model)
    by_stage: dict[str, list[str]] = {}
    for name, block in blocks_of(model).items():
        if _keeps_shape(block):
            by_stage.setdefault(name.rpartition(".")[0], []).append(name)
    pairs = [(a, b) for names in by_stage.values() for i, a in enumerate(names) for b in names[i + 1 :]]
    for choice in torch.randint(len(pairs), (swaps,), generator=generator).tolist():
        first, second = pairs[choice]
        one, other = model.get_submodule(first), model.get_submodule(second)
        model.set_submodule(first, other)
        model.set_submodule(second, one)
    return model


def rank_correlation(order: Sequence[int]) -> float:
    """Kendall's τ of an order with the numbers in order: 1 for the same, 0 for a random one, -1 for the reverse.

    Source: Veit et al. 2016, section 4.3, figure 5 b.

    >>> rank_correlation([0, 1, 2]), rank_correlation([2, 1, 0]), rank_correlation([1, 0, 2])
    (1.0, -1.0, 0.3333333333333333)
    """
    pairs = [1 if a < b else -1 for i, a in enumerate(order) for b in order[i + 1 :]]
    return sum(pairs) / len(pairs)
