"""Probes against networks that are made by hand and sequences whose answers are known."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_course import probes
from resnet_course.probes.gradients import cosines, gradient_agreement, hessian_range, mean_cosine
from resnet_course.probes.plans import DOSES
from resnet_course.probes.variants import KINDS
from resnet_lib import BasicBlock, Bottleneck, ResNet, cifar_resnet
from resnet_lib.datasets import Dataset

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = torch.arange(6)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=generator())


def network(depth: int = 14, shortcut: str = "A") -> nn.Module:
    """A small network in evaluation mode whose BatchNorms have seen images and have weights of their own."""
    torch.manual_seed(0)
    model = cifar_resnet(depth, shortcut, width=4, in_channels=1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return probes.freeze_batchnorm(model, images())


def bottlenecks() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return ResNet(Bottleneck, [2, 1, 1, 1], num_classes=3).eval(), torch.randn(1, 3, 32, 32)


def adds(constant: float, block: type = BasicBlock) -> nn.Module:
    """A block of narrow branch that adds a constant: its last BatchNorm puts out its bias alone."""
    made = block(block.expansion, 1).eval()
    norm = made.bn2 if block is BasicBlock else made.bn3
    nn.init.zeros_(norm.weight)
    nn.init.constant_(norm.bias, constant)
    return made


class Counter(nn.Module):
    """Whatever comes in, its blocks add their constants to 0, and the sum is the class."""

    def __init__(self, *constants: float) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(*map(adds, constants))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(self.layer1(0 * x).mean((1, 2, 3)).unsqueeze(1) - torch.arange(8)).square()


class Multiplier(nn.Module):
    """The branch of each block multiplies by a number what is not negative."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(*(BasicBlock(1, 1) for _ in factors))
        for block, factor in zip(self.layer1, factors, strict=True):
            block.bn1 = block.bn2 = nn.Identity()
            nn.init.dirac_(block.conv1.weight)
            nn.init.dirac_(block.conv2.weight)
            block.conv2.weight.data *= factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(self.layer1(x).mean((2, 3)), (0, 1))


def linear_chain(*factors: float) -> nn.Sequential:
    """Linear layers, each of which multiplies by one number."""
    layers = [nn.Linear(4, 4, bias=False) for _ in factors]
    for layer, factor in zip(layers, factors, strict=True):
        layer.weight.data = factor * torch.eye(4)
    return nn.Sequential(*layers)


def plane(model: nn.Module) -> tuple:
    return tuple(probes.filter_normalised_direction(model, generator(seed)) for seed in (0, 1))


PROBES = {
    "gradient_norms": lambda model: probes.gradient_norms(model, images(), LABELS),
    "gradient_agreement": lambda model: gradient_agreement(model, images(), LABELS, [0.1]),
    "hessian_range": lambda model: hessian_range(model, images(), LABELS, iterations=2),
    "dead_channels": lambda model: probes.dead_channels(model, images()),
    "signal_by_layer": lambda model: probes.signal_by_layer(model, images()),
    "freeze_batchnorm": lambda model: probes.freeze_batchnorm(model, images()),
    "input_gradients": lambda model: probes.input_gradients(probes.freeze_batchnorm(model, images()), images()),
    "gradient_by_path_length": lambda model: probes.gradient_by_path_length(copy.deepcopy(model), images(), LABELS),
    "gradient_by_way": lambda model: probes.gradient_by_way(model, images(), LABELS),
    "lesion": lambda model: probes.lesion(model, ["layer1.0"]),
    "swap_blocks": lambda model: probes.swap_blocks(model, 3, generator()),
    "insert_zero_blocks": lambda model: probes.insert_zero_blocks(model, 1),
    "response_std": lambda model: probes.response_std(model, images()),
    "branch_shares": lambda model: probes.branch_shares(model, images()),
    "loss_surface": lambda model: probes.loss_surface(model, plane(model), [1.0], images(), LABELS),
    "loss_surface, batch": lambda model: probes.loss_surface(model, plane(model), [1.0], images(), LABELS, True),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_leaves_the_model_as_it_is(probe, training):
    model = network().train(training)
    model.layer1[0].bn1.train(not training)
    modes = [module.training for module in model.modules()]
    before, text = copy.deepcopy(model.state_dict()), str(model)
    PROBES[probe](model)
    assert str(model) == text and [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


# Gradients


def test_gradient_norms_of_a_linear_chain_are_those_of_the_closed_form():
    factors = [0.25, 4.0, 1.0, 3.0]
    x, label = torch.tensor([[0.3, -0.2, 0.1, 0.4]]), torch.tensor([2])
    # dL/dW_i = (product of the other factors) · (p - onehot) xᵀ, and the norm of an outer product is that of both.
    p = F.softmax(math.prod(factors) * x, dim=1) - F.one_hot(label, 4)
    norms = list(probes.gradient_norms(linear_chain(*factors), x, label).values())
    for i, norm in enumerate(norms):
        others = math.prod(factors[:i] + factors[i + 1 :])
        assert norm == pytest.approx(others * p.norm().item() * x.norm().item(), rel=1e-4)


def test_gradient_norms_see_batchnorm_as_in_training():
    model = network()
    trained = copy.deepcopy(model).train()
    F.cross_entropy(trained(images()), LABELS).backward()
    expected = trained.conv1.weight.grad.double().norm().item()
    assert probes.gradient_norms(model, images(), LABELS)["conv1"] == pytest.approx(expected, rel=1e-6)


def test_the_agreement_moves_and_counts_every_parameter_that_trains():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    x, labels = torch.randn(8, 2, generator=generator()), torch.tensor([0, 1] * 4)
    parameters = list(model.parameters())
    before = torch.cat([g.flatten() for g in torch.autograd.grad(F.cross_entropy(model(x), labels), parameters)])
    length = torch.cat([p.flatten() for p in parameters]).norm()
    moved, place = copy.deepcopy(model), 0
    with torch.no_grad():
        for parameter in moved.parameters():
            step = before[place : (place := place + parameter.numel())].view_as(parameter)
            parameter -= 0.2 * length * step / before.norm()
    after = torch.autograd.grad(F.cross_entropy(moved(x), labels), list(moved.parameters()))
    expected = F.cosine_similarity(before, torch.cat([g.flatten() for g in after]), dim=0).item()
    assert gradient_agreement(model, x, labels, [0.2]) == pytest.approx([expected], abs=1e-5)


def test_gradients_too_small_for_float32_squares_keep_their_norms_and_directions():
    model, x = linear_chain(*[1e-4] * 9), torch.ones(2, 4)
    first = probes.gradient_norms(model, x, torch.tensor([0, 1]))["0"]
    assert first == pytest.approx(1e-32 * (0.5**2 * 2 * 4) ** 0.5, rel=1e-3)
    tiny = torch.tensor([[3e-30, 0.0], [0.0, 1e-30], [-2e-30, 0.0]])
    assert cosines(tiny, tiny[[0, 0, 0]]).tolist() == pytest.approx([1, 0, -1])
    assert mean_cosine(tiny) == pytest.approx(-1 / 3)


def test_the_hessian_range_of_a_small_network_is_that_of_its_whole_hessian():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    x, labels = torch.randn(6, 2), torch.tensor([0, 1, 0, 1, 0, 1])
    parameters = list(model.parameters())
    first = torch.autograd.grad(F.cross_entropy(model(x), labels), parameters, create_graph=True)
    flat = torch.cat([gradient.flatten() for gradient in first])
    rows = [torch.autograd.grad(entry, parameters, retain_graph=True) for entry in flat]
    whole = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    eigenvalues = torch.linalg.eigvalsh(whole.double())
    expected = [eigenvalues[0].item(), eigenvalues[-1].item()]
    assert hessian_range(model, x, labels, iterations=17) == pytest.approx(expected, rel=1e-3)


def test_frozen_batchnorm_holds_the_mean_and_variance_of_the_images_and_treats_each_by_itself():
    x = torch.randn(50, 3, generator=generator()) * 4 + 2
    norm = nn.BatchNorm1d(3)
    norm(x + 100)  # what it saw before is forgotten
    frozen = probes.freeze_batchnorm(norm, x)
    assert torch.allclose(frozen.running_mean, x.mean(0), atol=1e-5)
    assert torch.allclose(frozen.running_var, x.var(0), rtol=1e-5)
    assert frozen.momentum == norm.momentum
    together, alone = (probes.input_gradients(network(), x) for x in (images(), images()[:1]))
    assert torch.allclose(together[:1], alone, rtol=1e-4, atol=1e-7)


def test_input_gradients_of_a_known_function():
    def squares_and_sums(x):
        return torch.stack([x.square().flatten(1).sum(1), x.flatten(1).sum(1)], dim=1)

    inputs = torch.randn(4, 2, 3, generator=generator())
    assert torch.allclose(probes.input_gradients(squares_and_sums, inputs), 2 * inputs.flatten(1))
    assert torch.equal(probes.input_gradients(squares_and_sums, inputs, output=1), torch.ones(4, 6))


def test_autocorrelation_is_its_formula():
    values = torch.randn(30, generator=generator())
    centred = (values.double() - values.double().mean()).tolist()
    by_hand = [sum(a * b for a, b in zip(centred, centred[lag:], strict=False)) for lag in range(7)]
    got = probes.autocorrelation(values, 6)
    assert got.tolist() == pytest.approx([product / by_hand[0] for product in by_hand], abs=1e-5)
    vectors = torch.stack([values, torch.zeros_like(values), values], 1)  # of vectors, inner products
    assert torch.allclose(probes.autocorrelation(vectors, 6), got, atol=1e-5)


@pytest.mark.parametrize("residual", [False, True])
def test_line_net_is_what_its_docstring_says_and_has_a_gradient_for_each_input(residual):
    x = torch.linspace(-2, 2, 8).unsqueeze(1)
    torch.manual_seed(0)
    net = probes.LineNet(2, residual, width=20, beta=0.5)

    def bn(h):
        return (h - h.mean(0)) / h.std(0)

    h, (weights,) = net.first(x), net.hidden
    h = h + 0.5 * weights(F.relu(bn(h))) if residual else bn(weights(F.relu(h)))
    assert torch.allclose(net(x), net.last(F.relu(h)), atol=1e-5)
    jacobian = torch.autograd.functional.jacobian(net, x).reshape(8, 8)
    assert torch.equal(jacobian, jacobian.diag().diag())


# Lesions


def test_lesion_table_says_what_goes_wrong_without_each_subset():
    digits = torch.randint(0, 16, (20, 1, 4, 4), generator=generator(), dtype=torch.uint8)
    labels = torch.tensor([7] * 10 + [6] * 6 + [3] * 4)
    table = probes.lesion_table(Counter(1, 2, 4), Dataset("counts", 8, digits, 0 * labels, digits, labels))
    assert [*table] == list(range(8))
    # A network that adds constants adds those of the blocks that are left: without block 0 the class is 6.
    for mask, wrong in table.items():
        assert torch.equal(wrong, labels != 7 - mask)


def test_a_lesion_leaves_shortcut_and_relu_of_a_residual_block_and_the_input_of_a_plain_one():
    x = torch.randn(3, 2, 8, 8, generator=generator())
    block = BasicBlock(2, 4, stride=2, shortcut="B").eval()
    assert torch.equal(probes.lesion(nn.Sequential(block), ["0"])(x), F.relu(block.downsample(x)))
    assert torch.equal(probes.lesion(nn.Sequential(BasicBlock(2, 2, shortcut="none")), ["0"])(x), x)
    for training in (True, False):
        rest = probes.lesion(network().train(training), ["layer2.0"])
        assert all(module.training == training for module in rest.modules()), "it keeps the mode"


def test_blocks_are_drawn_without_repetition_and_by_the_generator():
    model = network(20)
    drawn = probes.choose_blocks(model, 5, generator())
    assert probes.removable_blocks(model) == list(probes.blocks_of(model)), "of a residual network all"
    assert len(set(drawn)) == 5 and set(drawn) <= set(probes.removable_blocks(model))
    assert drawn == probes.choose_blocks(model, 5, generator()) != probes.choose_blocks(model, 5, generator(1))


def test_swaps_move_blocks_within_their_stage_only():
    model = network(26)
    swapped = probes.swap_blocks(model, 20, generator())
    for name in ("layer1", "layer2", "layer3"):
        before, after = ([block.conv1.weight for block in getattr(net, name)] for net in (model, swapped))
        places = [next(i for i, weight in enumerate(before) if torch.equal(weight, w)) for w in after]
        assert sorted(places) == [0, 1, 2, 3] != places
        assert name == "layer1" or places[0] == 0, "the block that changes the shape stays"


# Path lengths


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shortcut", ["A", "C"])
def test_the_gradients_of_all_path_lengths_add_up_to_the_gradient(shortcut, training):
    model, seen = network(shortcut=shortcut).train(training), []
    by_length = probes.gradient_by_path_length(model, images(), LABELS)
    model.layer1[0].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0]))
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(images()), LABELS), seen)
    assert len(by_length) == 7 and torch.allclose(by_length.sum(0), gradient, atol=1e-6)


def test_path_lengths_of_branches_that_multiply_are_the_coefficients_of_their_polynomial():
    factors = 0.5, 0.25, 2.0
    x = torch.rand(2, 1, 3, 3, generator=generator()) + 0.1
    by_length = probes.gradient_by_path_length(Multiplier(*factors), x, torch.tensor([0, 1]))
    assert len(by_length) == 4
    for length, part in enumerate(by_length):  # ∏ (1 + w t): every way to go through so many of the branches
        ways = sum(math.prod(chosen) for chosen in itertools.combinations(factors, length))
        assert torch.allclose(part, ways * by_length[0], rtol=1e-4, atol=1e-7)


def test_shortcut_and_branch_hand_back_the_gradient_as_their_factors_say():
    x = torch.rand(2, 1, 3, 3, generator=generator()) + 0.1
    ways = probes.gradient_by_way(Multiplier(0.5, 0.25, 2.0), x, torch.tensor([0, 1]))
    assert [branch / shortcut for shortcut, branch in ways.values()] == pytest.approx([0.5, 0.25, 2.0])
    (first, _), _, (last, _) = ways.values()
    assert first / last == pytest.approx((1 + 0.25) * (1 + 2.0))


# Responses


def test_responses_are_taken_behind_batchnorm_and_before_the_addition():
    model = network().train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight), nn.init.zeros_(module.bias)
    nn.init.constant_(model.layer1[0].bn1.weight, 0.25)
    nn.init.zeros_(model.layer2[0].bn2.weight)
    responses = probes.response_std(probes.freeze_batchnorm(model, images(100)), images(100))
    assert len(responses) == 13, "one for each 3×3 layer, none for a shortcut"
    for name, deviation in responses.items():
        assert deviation == pytest.approx({"layer1.0.bn1": 0.25, "layer2.0.bn2": 0}.get(name, 1.0), rel=0.02), name


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_the_share_of_a_branch_that_adds_a_constant_to_ones_is_the_constant(block):
    ones = torch.ones(2, block.expansion, 3, 3)
    assert probes.branch_shares(nn.Sequential(adds(2.0, block)), ones) == pytest.approx({"0": 2.0})
    assert probes.branch_shares(network(shortcut="none"), images()) == {}, "plain blocks have none"


def test_dead_channels_likeness_and_rank_behind_the_relus_of_a_block():
    block = BasicBlock(4, 4, shortcut="none")
    block.bn1 = block.bn2 = nn.Identity()
    nn.init.dirac_(block.conv1.weight)
    nn.init.dirac_(block.conv2.weight)
    block.conv1.weight.data[0] *= -1  # channel 0 is positive, so it dies at once; later channel 1 does, too
    block.conv2.weight.data[1] *= -1
    one_hot = torch.eye(4).view(4, 4, 1, 1).expand(4, 4, 3, 3) + 0.0
    assert probes.dead_channels(nn.Sequential(block), one_hot) == [0.25, 0.5]
    likeness, rank = probes.signal_by_layer(nn.Sequential(block), one_hot)
    assert likeness == pytest.approx([0, 0]) and rank == pytest.approx([3, 2])
    likeness, rank = probes.signal_by_layer(nn.Sequential(block), torch.ones(5, 4, 3, 3))
    assert likeness == pytest.approx([1, 1]) and rank == pytest.approx([1, 1])


# The loss around the weights


def test_every_filter_of_a_direction_is_as_long_as_the_model_s_own_and_drawn_by_the_generator():
    model = network(shortcut="C")
    first, second = plane(model)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            assert not first[name].any(), name
        else:
            assert torch.allclose(first[name].flatten(1).norm(dim=1), parameter.flatten(1).norm(dim=1)), name
            assert not torch.allclose(first[name], second[name])
    assert torch.equal(plane(model)[0]["fc.weight"], first["fc.weight"])


def test_the_loss_surface_of_a_linear_model_is_the_loss_at_each_point():
    model, x, labels = nn.Linear(3, 2), torch.randn(5, 3, generator=generator()), torch.tensor([0, 1, 1, 0, 1])
    one, other = plane(model)
    surface = probes.loss_surface(model, (one, other), [-2.0, 0.0, 0.5], x, labels)
    for (i, a), (j, b) in itertools.product(enumerate([-2.0, 0.0, 0.5]), repeat=2):
        weight = model.weight + a * one["weight"] + b * other["weight"]
        expected = F.cross_entropy(x @ weight.T + model.bias, labels)
        assert surface[i, j].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("batch_statistics", [True, False])
def test_along_its_own_weights_a_network_with_batchnorm_is_flat_only_if_batchnorm_sees_the_move(batch_statistics):
    model = network()
    own = {name: p.detach() * (p.dim() == 4) for name, p in model.named_parameters()}
    nowhere = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    surface = probes.loss_surface(model, (own, nowhere), [0.0, 1.0], images(), LABELS, batch_statistics)
    assert torch.allclose(surface[0], surface[1], rtol=1e-3) == batch_statistics


# Networks with one thing changed


@pytest.mark.parametrize("training", [True, False])
def test_inserted_zero_blocks_change_no_bit_and_can_learn(training):
    model = network().train(training)
    deeper = probes.insert_zero_blocks(model, 3)
    assert len(probes.blocks_of(deeper)) == len(probes.blocks_of(model)) + 9
    assert torch.equal(copy.deepcopy(model)(images()), deeper(images()))
    F.cross_entropy(deeper(images()), LABELS).backward()
    assert deeper.layer1[-1].bn2.weight.grad.abs().sum() > 0
    bottleneck, x = bottlenecks()
    assert torch.equal(bottleneck(x), probes.insert_zero_blocks(bottleneck, 1)(x))


def convolutions(kind: str) -> list[nn.Conv2d]:
    return [module for module in probes.build_kind(kind, 14, 0, images()).modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("kind", [*KINDS, *DOSES])
def test_every_kind_has_its_depth_runs_repeats_and_has_batchnorm_unless_its_name_says_no(kind):
    models = [probes.build_kind(kind, 14, seed, images()) for seed in (0, 0, 1)]
    assert len(probes.weight_layers(models[0])) == 14 and models[0](images()).shape == (6, 10)
    states = [dict(model.named_parameters()) for model in models]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["conv1.weight"], states[2]["conv1.weight"])
    assert any(isinstance(module, nn.BatchNorm2d) for module in models[0].modules()) == ("no BN" not in kind)
    assert all((block.downsample is None) == kind.startswith("plain") for block in models[0].layer1)


@pytest.mark.parametrize("base", ["plain", "residual"])
def test_without_batchnorm_weights_stay_as_drawn_and_biases_come(base):
    for drawn, bare in zip(convolutions(base), convolutions(f"{base}, no BN"), strict=True):
        assert torch.equal(drawn.weight, bare.weight) and not bare.bias.any()


def test_small_weights_have_the_variance_of_pytorch_s_start():
    for small in convolutions("plain, no BN, small weights"):
        fan_in = small.weight[0].numel()
        assert small.weight.abs().max() <= fan_in**-0.5 and not small.bias.any()
        assert small.weight.var().item() == pytest.approx(1 / (3 * fan_in), rel=0.3)


@pytest.mark.parametrize("changes", ["", ", bare", ", identity start", ", bare, identity start"])
def test_projections_lose_their_batchnorm_and_start_as_the_identity_where_the_shape_stays(changes):
    model = probes.build_kind(f"projections{changes}", 8, 0, torch.rand(2, 1, 8, 8))
    (conv, norm), x = model.layer1[0].downsample, torch.randn(2, 8, 8, 8)
    assert isinstance(norm, nn.Identity) == ("bare" in changes)
    assert torch.equal(conv(x), x) == ("identity start" in changes)
    assert isinstance(model.layer2[0].downsample[1], nn.BatchNorm2d), "not where the shape changes"


@pytest.mark.parametrize(("kind", "noise"), [("plain, near identity", 0.1), ("plain, near identity 0.5", 0.5)])
def test_near_the_identity_is_a_share_of_the_weights_as_drawn(kind, noise):
    for drawn, near in list(zip(convolutions("plain"), convolutions(kind), strict=True))[1:]:
        assert torch.allclose(near.weight, nn.init.dirac_(torch.empty_like(near.weight)) + noise * drawn.weight)


def test_delta_orthogonal_kernels_are_a_centre_that_keeps_lengths_times_root_2():
    for conv in convolutions("plain, delta-orthogonal")[1:]:
        centre = conv.weight[:, :, 1, 1]
        assert conv.weight.square().sum().item() == pytest.approx(centre.square().sum().item())
        assert torch.allclose(centre.T @ centre, 2 * torch.eye(conv.in_channels), atol=1e-5)


def test_a_leaky_slope_of_1_makes_blocks_linear():
    block = probes.build_kind("plain, leaky 1.0", 14, 0, images()).eval().layer1[0]
    x = torch.randn(2, 8, 6, 6, generator=generator())
    assert torch.allclose(block(-x), -block(x), atol=1e-5)


def test_unit_responses_have_deviation_1():
    model = probes.build_kind("plain, no BN, unit responses", 20, 0, images())
    responses = probes.response_std(model, images())
    assert list(responses.values()) == pytest.approx([1.0] * 19, rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "share", "more_parameters"),
    [("residual, no BN, scaled", 6**-0.5, 0), ("residual, no BN, SkipInit", 0, 6), ("residual, zero-gamma", 0, None)],
)
def test_branches_begin_weaker_by_a_factor(kind, share, more_parameters):
    bare, weaker = (probes.build_kind(kind, 14, 0, images()) for kind in ("residual, no BN", kind))
    shares = [probes.branch_shares(model, images())["layer1.0"] for model in (bare, weaker)]
    assert shares[1] == pytest.approx(share * shares[0], rel=1e-4)
    counts = [sum(p.numel() for p in model.parameters() if p.requires_grad) for model in (bare, weaker)]
    assert more_parameters is None or counts[1] - counts[0] == more_parameters


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: probes.lesion(network(), ["layer9.0"]), "layer1.0.*'layer9.0'"),
        (lambda: probes.lesion(network(14, "none"), ["layer2.0"]), "'layer2.0'"),
        (lambda: probes.lesion_table(network(32), None), "at most 12 removable blocks, got 15"),
        (lambda: probes.choose_blocks(network(), 7, generator()), "at most 6.*got 7"),
        (lambda: probes.gradient_by_way(network(8, "none"), images(), LABELS), "must be residual"),
        (lambda: probes.insert_zero_blocks(network(8, "none"), 1), "must be residual"),
    ],
)
def test_what_has_no_answer_is_refused_in_a_sentence(call, named):
    with pytest.raises(ValueError, match=named):
        call()
