"""Lesions, paths and variants against networks that are made by hand, so that what must come out is known."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_course.probes import (
    blocks_of,
    choose_blocks,
    freeze_batchnorm,
    gradient_by_path_length,
    input_gradients,
    insert_zero_blocks,
    lesion,
    lesion_table,
    path_gradient,
    path_length_distribution,
    removable_blocks,
    remove_batchnorm,
    scale_branches,
    scale_to_unit_responses,
    start_near_identity,
    swap_blocks,
)
from resnet_course.probes.variants import last_norm
from resnet_lib import BasicBlock, Bottleneck, ResNet, cifar_resnet
from resnet_lib.datasets import Dataset

pytestmark = pytest.mark.usefixtures("one_thread")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(depth: int = 14, shortcut: str = "A", width: int = 4) -> nn.Module:
    """A small network whose BatchNorms have seen images and have weights of their own."""
    torch.manual_seed(0)
    model = cifar_resnet(depth, shortcut, width=width, in_channels=1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return freeze_batchnorm(model, images())


def images(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=generator())


def adds(constant: float) -> BasicBlock:
    """A block of one channel that adds a constant: its last BatchNorm puts out its bias alone."""
    block = BasicBlock(1, 1).eval()
    nn.init.zeros_(block.bn2.weight)
    nn.init.constant_(block.bn2.bias, constant)
    return block


class Counter(nn.Module):
    """The blocks add 1, 2, 4, …, and the class is what comes out in the end."""

    def __init__(self, constants: list[float], classes: int = 8) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(*map(adds, constants))
        self.classes = torch.arange(classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(self.layer1(x).mean((1, 2, 3)).unsqueeze(1) - self.classes).square()


def same(a: nn.Module, b: nn.Module, x: torch.Tensor) -> bool:
    with torch.no_grad():
        return torch.equal(a(x), b(x))


# Lesions


@pytest.mark.parametrize("removed", [set(c) for n in range(4) for c in itertools.combinations(range(3), n)])
def test_a_network_that_adds_constants_adds_those_of_the_blocks_that_are_left(removed):
    model = Counter([1.0, 2.0, 4.0])
    rest = lesion(model, [f"layer1.{i}" for i in removed])
    left = sum(2**i for i in range(3) if i not in removed)
    assert rest(torch.zeros(1, 1, 2, 2)).argmax(1).item() == left


def test_lesion_table_gives_the_error_of_every_subset():
    digits = torch.randint(0, 16, (20, 1, 4, 4), generator=generator(), dtype=torch.uint8)
    labels = torch.tensor([7] * 10 + [6] * 6 + [3] * 4)
    zeros = torch.zeros_like(digits)  # the model below multiplies its input by 0
    data = Dataset("counts", 8, digits, labels, zeros, labels)
    counter = Counter([1.0, 2.0, 4.0])

    class IgnoresItsInput(Counter):
        def forward(self, x):
            return super().forward(0 * x)

    counter.__class__ = IgnoresItsInput
    table = lesion_table(counter, data)
    assert [mask for mask, _ in table] == list(range(8))
    # Without block 0 the class is 6, which 30 % are; without block 2 it is 3, which 20 % are.
    assert dict(table) == pytest.approx({0: 50, 1: 70, 2: 100, 3: 100, 4: 80, 5: 100, 6: 100, 7: 100})


def test_a_lesion_leaves_the_shortcut_and_the_relu():
    block = BasicBlock(2, 4, stride=2, shortcut="B").eval()
    model = nn.Sequential(block)
    x = torch.randn(3, 2, 8, 8, generator=generator())
    assert torch.equal(lesion(model, ["0"])(x), F.relu(block.downsample(x)))


def test_a_lesion_of_a_plain_block_leaves_its_input():
    model = nn.Sequential(BasicBlock(2, 2, shortcut="none"))
    x = torch.randn(3, 2, 8, 8, generator=generator())
    assert torch.equal(lesion(model, ["0"])(x), x)


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_no_branch_at_all_is_the_same_as_every_branch_times_zero(shortcut):
    model = network(shortcut=shortcut)
    assert same(lesion(model, removable_blocks(model)), scale_branches(copy.deepcopy(model), 0.0), images())


@pytest.mark.parametrize(
    ("shortcut", "removable"),
    [
        ("A", ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"]),
        ("none", ["layer1.0", "layer1.1", "layer2.1", "layer3.1"]),
    ],
)
def test_removable_are_all_residual_blocks_and_the_plain_ones_that_keep_the_shape(shortcut, removable):
    assert removable_blocks(network(14, shortcut)) == removable


def test_bottlenecks_can_be_removed_too():
    model = ResNet(Bottleneck, [2, 1, 1, 1], num_classes=3).eval()
    x = torch.randn(1, 3, 32, 32, generator=generator())
    assert len(removable_blocks(model)) == 5
    assert not same(lesion(model, ["layer1.1"]), model, x)


@pytest.mark.parametrize("act", [lambda m: lesion(m, ["layer1.0"]), lambda m: swap_blocks(m, 3, generator())])
def test_a_lesion_leaves_the_model_as_it_is(act):
    model = network()
    before, blocks = copy.deepcopy(model), list(blocks_of(model).values())
    act(model)
    assert same(model, before, images()) and list(blocks_of(model).values()) == blocks


@pytest.mark.parametrize("training", [True, False])
def test_a_lesion_keeps_the_mode(training):
    model = network().train(training)
    assert all(module.training == training for module in lesion(model, ["layer2.0"]).modules())


def test_blocks_are_drawn_without_repetition_and_by_the_generator():
    model = network(20)
    drawn = choose_blocks(model, 5, generator())
    assert len(set(drawn)) == 5 and set(drawn) <= set(removable_blocks(model))
    assert drawn == choose_blocks(model, 5, generator()) != choose_blocks(model, 5, generator(1))


def test_swaps_move_blocks_within_their_stage_only():
    model = network(26)
    swapped = swap_blocks(model, 20, generator())
    weights = {name: [block.conv1.weight for block in getattr(model, name)] for name in ("layer1", "layer2", "layer3")}
    moved = 0
    for name, before in weights.items():
        after = [block.conv1.weight for block in getattr(swapped, name)]
        places = [next(i for i, weight in enumerate(before) if torch.equal(weight, w)) for w in after]
        assert sorted(places) == [0, 1, 2, 3]
        if name != "layer1":
            assert places[0] == 0, "the block that changes the shape stays"
        moved += places != [0, 1, 2, 3]
    assert moved == 3


def test_swaps_of_blocks_that_add_constants_change_nothing():
    model = Counter([1.0, 2.0, 4.0])
    swapped = swap_blocks(model, 1, generator())
    assert [block.bn2.bias.item() for block in swapped.layer1] != [1.0, 2.0, 4.0]
    assert same(model, swapped, torch.zeros(1, 1, 2, 2))


def test_no_swap_changes_nothing():
    model = network()
    assert same(model, swap_blocks(model, 0, generator()), images())


# Paths


def test_path_lengths_are_binomial():
    assert path_length_distribution(3) == [1 / 8, 3 / 8, 3 / 8, 1 / 8]
    assert sum(path_length_distribution(54)) == pytest.approx(1)
    assert path_length_distribution(54)[27] == math.comb(54, 27) / 2**54


def gradient_at_first_block(model, x, labels):
    seen = []
    first = next(iter(blocks_of(model).values()))
    hook = first.register_forward_pre_hook(lambda block, arguments: seen.append(arguments[0]))
    loss = F.cross_entropy(model(x), labels)
    hook.remove()
    return torch.autograd.grad(loss, seen[0])[0]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_the_gradients_of_all_path_lengths_add_up_to_the_gradient(shortcut, training):
    model, labels = network(shortcut=shortcut).train(training), torch.arange(6)
    by_length = gradient_by_path_length(model, images(), labels)
    assert len(by_length) == 7
    assert torch.allclose(by_length.sum(0), gradient_at_first_block(model, images(), labels), atol=1e-6)


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_the_gradient_of_a_path_length_is_the_sum_over_its_paths(length):
    model, labels = network(8), torch.arange(6)
    names = list(blocks_of(model))
    paths = [path_gradient(model, images(), labels, through) for through in itertools.combinations(names, length)]
    by_length = gradient_by_path_length(model, images(), labels)
    assert torch.allclose(by_length[length], torch.stack(paths).sum(0), atol=1e-6)


def test_paths_through_branches_that_multiply_by_w_carry_the_binomial_theorem():
    class Chain(nn.Module):
        def __init__(self, factors):
            super().__init__()
            self.layer1 = nn.Sequential(*(BasicBlock(1, 1) for _ in factors))
            remove_batchnorm(self)
            for block, factor in zip(self.layer1, factors, strict=True):
                nn.init.dirac_(block.conv1.weight)
                nn.init.dirac_(block.conv2.weight)
                with torch.no_grad():
                    block.conv2.weight.mul_(factor)

        def forward(self, x):
            return F.pad(self.layer1(x).mean((2, 3)), (0, 1))

    x, labels = torch.rand(2, 1, 3, 3, generator=generator()) + 0.1, torch.tensor([0, 1])
    by_length = gradient_by_path_length(Chain([0.5] * 4), x, labels)
    for length in range(5):
        assert torch.allclose(by_length[length], math.comb(4, length) * 0.5**length * by_length[0], atol=1e-7)
    through = path_gradient(Chain([0.5, 0.25, 2.0]), x, labels, ["layer1.1", "layer1.2"])
    past = path_gradient(Chain([0.5, 0.25, 2.0]), x, labels)
    assert torch.allclose(through, 0.25 * 2.0 * past, atol=1e-7)


def test_paths_leave_the_model_as_it_is():
    model = network().train()
    before = copy.deepcopy(model)
    gradient_by_path_length(model, images(), torch.arange(6))
    path_gradient(model, images(), torch.arange(6), ["layer1.0"])
    assert str(model) == str(before) and model.training
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.state_dict().values(), strict=True)
    )


# Variants


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_inserted_zero_blocks_change_no_bit(shortcut, training):
    model = network(shortcut=shortcut).train(training)
    deeper = insert_zero_blocks(model, 3)
    assert len(blocks_of(deeper)) == len(blocks_of(model)) + 9
    assert same(model, deeper, images())


def test_inserted_bottlenecks_change_no_bit():
    model = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=3).eval()
    assert same(model, insert_zero_blocks(model, 1), torch.randn(1, 3, 32, 32, generator=generator()))


def test_inserted_blocks_can_learn():
    deeper = insert_zero_blocks(network(), 1).train()
    F.cross_entropy(deeper(images()), torch.arange(6)).backward()
    assert deeper.layer1[-1].bn2.weight.grad.abs().sum() > 0


def test_inserting_leaves_the_model_as_it_is():
    model = network()
    insert_zero_blocks(model, 2)
    assert len(blocks_of(model)) == 6


@pytest.mark.parametrize("shortcut", ["none", "A", "C"])
def test_without_batchnorm_weights_stay_and_biases_come(shortcut):
    torch.manual_seed(0)
    model = cifar_resnet(14, shortcut, width=4)
    weights = [m.weight.clone() for m in model.modules() if isinstance(m, nn.Conv2d)]
    remove_batchnorm(model)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert all(torch.equal(m.weight, w) and not m.bias.any() for m, w in zip(convolutions, weights, strict=True))


def test_branches_times_one_change_no_bit():
    model = network()
    assert same(model, scale_branches(copy.deepcopy(model), 1.0), images())


def test_branches_are_scaled_by_the_factor():
    block = adds(3.0)
    scale_branches(nn.Sequential(block), 0.5)
    assert torch.equal(block(torch.zeros(1, 1, 2, 2)), torch.full((1, 1, 2, 2), 1.5))


@pytest.mark.parametrize("learned", [True, False])
def test_a_learned_factor_is_one_more_number_a_block_to_train(learned):
    model = network()
    before = sum(p.numel() for p in model.parameters() if p.requires_grad)
    scale_branches(model, 0.0, learned)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) - before == (6 if learned else 0)


def test_a_plain_network_that_starts_as_the_identity_hands_on_what_it_gets():
    model = start_near_identity(remove_batchnorm(cifar_resnet(20, "none", width=4)), noise=0.0)
    x = torch.rand(2, 4, 8, 8, generator=generator())
    assert torch.equal(model.layer1(x), x)


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_the_noise_around_the_identity_is_the_weights_as_drawn(noise):
    model = cifar_resnet(8, "none", width=4)
    drawn = model.layer1[0].conv2.weight.detach().clone()
    start_near_identity(model, noise)
    identity = nn.init.dirac_(torch.empty_like(drawn))
    assert torch.allclose(model.layer1[0].conv2.weight, identity + noise * drawn)


@pytest.mark.parametrize("shortcut", ["none", "A"])
def test_every_convolution_has_unit_responses(shortcut):
    model = remove_batchnorm(network(20, shortcut)).eval()
    scale_to_unit_responses(model, images())
    responses = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: responses.append(output.std().item()))
    model(images())
    assert responses == pytest.approx([1.0] * 19, rel=1e-3)


@pytest.mark.parametrize("block", [BasicBlock(4, 4), Bottleneck(8, 2)])
def test_a_branch_ends_with_its_last_norm(block):
    x = torch.rand(2, block.conv1.in_channels, 4, 4, generator=generator())
    nn.init.zeros_(getattr(block, last_norm(block)).weight)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: lesion(network(), ["layer9.0"]), "removed must be one of 'layer1.0', .*, got 'layer9.0'"),
        (lambda: lesion(network(14, "none"), ["layer2.0"]), "removed must be one of .*, got 'layer2.0'"),
        (lambda: lesion_table(network(32), None), "model must have at most 12 removable blocks, got 15"),
        (lambda: choose_blocks(network(), 7, generator()), "count must be at most 6, .*, got 7"),
        (lambda: swap_blocks(network(8), 1, generator()), "model must have two blocks of the same shape"),
        (lambda: path_gradient(network(8, "none"), images(), torch.arange(6)), "model must be residual"),
        (lambda: gradient_by_path_length(network(8, "none"), images(), torch.arange(6)), "model must be residual"),
        (lambda: path_gradient(network(8), images(), torch.arange(6), ["stem"]), "through must be one of"),
        (lambda: insert_zero_blocks(network(8, "none"), 1), "model must be residual"),
        (lambda: insert_zero_blocks(network(8), 0), "count must be a whole number from 1 up, got 0"),
        (lambda: scale_branches(network(8), -1.0), "factor must be a finite number from 0 up"),
    ],
)
def test_what_has_no_answer_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_input_gradients_of_a_lesioned_network_are_those_of_what_is_left():
    model = Counter([1.0, 2.0])
    x = torch.rand(2, 1, 2, 2, generator=generator())
    assert torch.allclose(input_gradients(lesion(model, ["layer1.0"]), x), -2 * (x.mean((1, 2, 3)) + 2).view(2, 1) / 4)
