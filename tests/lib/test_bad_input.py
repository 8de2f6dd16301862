"""A slip in building a network is refused in one sentence that names the place, what came and what would do.

Recipes, grids and command lines have such tables of their own.
"""

import pytest

from resnet_lib import BasicBlock, CifarResNet, Residual, cifar_resnet, resnet50
from resnet_lib.blocks import make_shortcut
from resnet_lib.orderings import OrderedBlock, OrderedResNet
from resnet_lib.recipes import Recipe


def refusal(call) -> str:
    """The sentence with which the call refuses."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    (sentence,) = caught.value.args
    assert sentence == sentence.strip() and "\n" not in sentence and not sentence.endswith(".")
    return sentence


SHORTCUTS = ["'none'", "'A'", "'B'", "'C'"]
REFUSALS = {  # what is typed, and what the sentence must name
    "channels without a 1x1": (lambda: Residual(3, 6), ["strides=1", "3 to 6 channels", "use_1x1conv=True"]),
    "a stride without a 1x1": (lambda: Residual(3, 3, strides=2), ["strides=2", "3 to 3", "use_1x1conv=True"]),
    "zero_init_residual": (
        lambda: resnet50(shortcut="none", zero_init_residual=True),
        ["zero_init_residual=True", "shortcut='none'"],
    ),
    "fewer channels": (lambda: BasicBlock(4, 2, shortcut="A"), ["'A'", "4 to 2", "'B'"]),
    "nothing added": (lambda: OrderedBlock(4, 4, steps="conv bn relu"), ["'+'", "'conv bn relu'"]),
    "shortcut of a path": (lambda: make_shortcut("D", 4, 4), [*SHORTCUTS, "'D'"]),
    "shortcut of a network": (lambda: cifar_resnet(8, "AB"), [*SHORTCUTS, "'AB'"]),
    "step": (lambda: OrderedBlock(4, 4, steps="conv norm + relu"), ["'norm'", "'conv'", "'bn'", "'relu'", "'+'"]),
}


@pytest.mark.parametrize(("call", "names"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_names_the_place_what_came_and_what_would_do(call, names):
    sentence = refusal(call)
    assert [name for name in names if name not in sentence] == []


@pytest.mark.parametrize(
    "call",
    [CifarResNet, lambda depth: OrderedResNet(depth, "conv + relu"), lambda depth: Recipe(depth=depth)],
    ids=["CifarResNet", "OrderedResNet", "Recipe"],
)
@pytest.mark.parametrize(
    ("depth", "nearest"), [(2, (8, 14)), (7, (8, 14)), (9, (8, 14)), (18, (14, 20)), (55, (50, 56)), (57, (56, 62))]
)
def test_a_depth_that_is_not_6n_plus_2_is_refused_with_the_two_nearest(call, depth, nearest):
    sentence = refusal(lambda: call(depth))
    assert "6n+2" in sentence and f"got {depth}" in sentence
    assert sentence.endswith(f"{nearest[0]} and {nearest[1]}")
