"""Feedback on an ImageNet network that was turned into its form for images of 32×32 pixels.

That form keeps the four stages, and works on all pixels: a 3×3 stem with stride 1 and no max pooling. It is common
practice and not the paper's own network for CIFAR-10, which is narrower and has three stages (section 4.2).
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from resnet_course.checks.blocks import JOIN_PROPERTIES, LAYER_PROPERTIES, NOTES, PROJECTION_NORM
from resnet_course.checks.network import (
    BLOCK_COUNTS,
    Network,
    count_parameters,
    find_wrong_counts,
    find_wrong_first_convolution,
    find_wrong_head,
    read_network,
)
from resnet_course.checks.report import OPEN, Line, Property, Report, judge, take_notes, undisturbed
from resnet_course.checks.runs import NO_DROPOUT, RUN_PROPERTIES, describe_shape
from resnet_course.checks.trace import close, make_run
from resnet_lib._arguments import check_choice, check_count


def find_wrong_stem(network: Network) -> str | None:
    if network.stem is None:
        return OPEN
    call = network.stem.branch[0]
    wrong = find_wrong_first_convolution(call, kernel=3, stride=1, side=32)
    if wrong:
        return wrong
    if call.went_out is not None and call.went_out.shape[2:] != (32, 32):
        return f"its convolution makes {call.went_out.shape[2]} of 32 pixels: it needs padding=1"
    value, out = network.stem.value_after(call), network.stem.out
    if value is None or out is None:
        return OPEN
    if network.stem.norm_after(call) is None:
        return "no BatchNorm follows the first convolution"
    if close(out, F.relu(value)):
        return None
    if close(out, value):
        return "the ReLU behind BatchNorm is missing"
    return f"the first block gets {describe_shape(out.shape)}"


def find_pooling(network: Network) -> str | None:
    if network.stem is None or network.stem.out is None:
        return OPEN
    value = network.stem.value_after(network.stem.branch[0])
    if value is None:
        return OPEN
    if network.stem.out.shape[2:] == value.shape[2:]:
        return None
    return "a pooling stands behind the first convolution: put nn.Identity() in its place"


def find_wrong_sizes(network: Network) -> str | None:
    if not all(network.stages):
        return OPEN
    sizes = [stage[0].branch[-1].went_out for stage in network.stages]
    if any(size is None for size in sizes):
        return OPEN
    got = [size.shape[-1] for size in sizes]
    return None if got == [32, 16, 8, 4] else f"the stages work on {got} pixels a side instead of [32, 16, 8, 4]"


def find_wrong_total(network: Network) -> str | None:
    run = network.run
    if run.module is None:
        return OPEN
    biases = {id(call.bias): call.bias.numel() for call in run.calls("conv2d") if call.bias is not None}
    found = sum(parameter.numel() for parameter in run.module.parameters()) - sum(biases.values())
    wanted = count_parameters(network) - 3 * 64 * (7 * 7 - 3 * 3)  # the smaller stem
    if found == wanted:
        return None
    return f"{found:,} parameters instead of {wanted:,} ({found - wanted:+,}), not counting biases of convolutions"


PROPERTIES = [
    Property("stem", "3×3 convolution with stride 1, BatchNorm, ReLU", find_wrong_stem),
    Property("no max pooling", "the first stage gets all pixels", find_pooling),
    Property("pixels", "the stages work on 32, 16, 8 and 4 a side", find_wrong_sizes),
    Property("blocks in each stage", "as the depth asks", find_wrong_counts),
    Property("parameters", "as many as the form has", find_wrong_total),
    Property("head", "average over height and width, then one linear layer", find_wrong_head),
]


def check_cifar_form(model: nn.Module, depth: int = 50, num_classes: int = 10) -> Report:
    """Check a network of 18, 34, 50, 101 or 152 layers in its form for images (N, 3, 32, 32).

    The model stays as it is: a copy of it runs, on the CPU.

    Source: the stages are those of He et al. 2016, table 1; the stem is that of section 4.2, with 64 channels.

    >>> from resnet_lib.networks import resnet18
    >>> check_cifar_form(resnet18(num_classes=10), 18).ok
    False
    """
    title = "check_cifar_form"
    if not isinstance(model, nn.Module):
        sentence = (
            f"model must be a network that is built, such as resnet50(10), got an object of type {type(model).__name__}"
        )
        return Report(title, (Line("wrong", "argument", sentence),))
    try:
        check_choice("depth", depth, BLOCK_COUNTS)
        check_count("num_classes", num_classes)
        copied = copy.deepcopy(model).to("cpu", torch.float32).train().requires_grad_()
    except Exception as error:
        return Report(title, (Line("wrong", "argument", str(error)),))
    with undisturbed():
        run = make_run(type(model).__name__, lambda: copied, torch.randn(2, 3, 32, 32), (2, num_classes))
        network = read_network(run, depth, num_classes)
        lines = [
            *judge([*RUN_PROPERTIES, NO_DROPOUT], [run]),
            *judge(PROPERTIES, [network]),
            *judge([*LAYER_PROPERTIES, PROJECTION_NORM, *JOIN_PROPERTIES], network.blocks),
            *take_notes(NOTES, network.blocks),
        ]
    return Report(title, tuple(lines))
