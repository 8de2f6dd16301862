"""Responses, the loss around the weights, and learning the identity, where the answer is known."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_course.probes import (
    KINDS,
    branch_shares,
    build_kind,
    filter_normalised_direction,
    freeze_batchnorm,
    identity_error,
    learn_identity,
    loss_surface,
    response_std,
    weight_layers,
)
from resnet_lib import BasicBlock, Bottleneck, cifar_resnet
from resnet_lib.networks import zero_last_batchnorm
from resnet_lib.parallel import seeded

pytestmark = pytest.mark.usefixtures("one_thread")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 8) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=generator())


def network(shortcut: str = "A", depth: int = 14) -> nn.Module:
    torch.manual_seed(0)
    return cifar_resnet(depth, shortcut, width=4, in_channels=1)


# Responses


@pytest.mark.parametrize("shortcut", ["none", "A", "C"])
def test_responses_after_batchnorm_have_its_weight_as_their_deviation(shortcut):
    model = freeze_batchnorm(network(shortcut), images(100))
    with torch.no_grad():
        model.layer1[0].bn1.weight.fill_(0.25)
        model.layer2[0].bn2.weight.fill_(3.0)
    model = freeze_batchnorm(model, images(100))
    responses = response_std(model, images(100))
    assert len(responses) == 13, "one for each 3×3 layer, none for a shortcut"
    for name, deviation in responses.items():
        expected = {"layer1.0.bn1": 0.25, "layer2.0.bn2": 3.0}.get(name, 1.0)
        assert deviation == pytest.approx(expected, rel=0.02), name


def test_the_response_is_taken_before_the_addition():
    block = BasicBlock(1, 1).eval()
    nn.init.zeros_(block.bn2.weight)
    assert response_std(block, images() * 100)["bn2"] == 0


@pytest.mark.parametrize("constant", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("block", [BasicBlock(4, 4), Bottleneck(4, 1)])
def test_the_share_of_a_branch_that_adds_a_constant_to_ones_is_the_constant(block, constant):
    norm = block.bn3 if isinstance(block, Bottleneck) else block.bn2
    nn.init.zeros_(norm.weight)
    nn.init.constant_(norm.bias, constant)
    shares = branch_shares(nn.Sequential(block), torch.ones(2, 4, 3, 3))
    assert shares == pytest.approx({"0": constant})


def test_plain_blocks_have_no_share():
    assert branch_shares(network("none"), images()) == {}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("probe", [response_std, branch_shares])
def test_watching_leaves_the_model_as_it_is(probe, training):
    model = network().train(training)
    before = copy.deepcopy(model.state_dict())
    first, second = probe(model, images()), probe(model, images())
    assert first == second and model.training == training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


# The loss around the weights


def test_every_filter_of_a_direction_is_as_long_as_the_model_s_own():
    model = network("C")
    direction = filter_normalised_direction(model, generator())
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            assert not direction[name].any(), name
        else:
            assert torch.allclose(direction[name].flatten(1).norm(dim=1), parameter.flatten(1).norm(dim=1)), name


def test_directions_follow_the_generator():
    model = network()
    same = filter_normalised_direction(model, generator())["fc.weight"]
    assert torch.equal(filter_normalised_direction(model, generator())["fc.weight"], same)
    assert not torch.allclose(filter_normalised_direction(model, generator(1))["fc.weight"], same)


def test_the_loss_surface_of_a_linear_model_is_the_loss_at_each_point():
    model, x, labels = nn.Linear(3, 2), torch.randn(5, 3, generator=generator()), torch.tensor([0, 1, 1, 0, 1])
    plane = (filter_normalised_direction(model, generator()), filter_normalised_direction(model, generator(1)))
    steps = [-2.0, 0.0, 0.5]
    surface = loss_surface(model, plane, steps, x, labels)
    for i, a in enumerate(steps):
        for j, b in enumerate(steps):
            weight = model.weight + a * plane[0]["weight"] + b * plane[1]["weight"]
            expected = F.cross_entropy(x @ weight.T + model.bias, labels)
            assert surface[i, j].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("batch_statistics", [True, False])
def test_along_its_own_weights_a_network_with_batchnorm_is_flat_only_if_batchnorm_sees_the_move(batch_statistics):
    labels = torch.arange(8)
    model = freeze_batchnorm(network(), images())
    own = {name: p.detach() * (p.dim() == 4) for name, p in model.named_parameters()}
    nowhere = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    surface = loss_surface(model, (own, nowhere), [0.0, 1.0], images(), labels, batch_statistics)
    assert torch.allclose(surface[0], surface[1], rtol=1e-3) == batch_statistics


@pytest.mark.parametrize("batch_statistics", [True, False])
def test_a_surface_leaves_the_model_as_it_is(batch_statistics):
    model = network()
    before = copy.deepcopy(model.state_dict())
    plane = (filter_normalised_direction(model, generator()), filter_normalised_direction(model, generator(1)))
    loss_surface(model, plane, [-1.0, 1.0], images(), torch.arange(8), batch_statistics)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items()) and model.training


# The identity


def test_identity_error_of_known_functions():
    x = torch.rand(50, 2, generator=generator())
    assert identity_error(nn.Identity(), x) == 0
    constant = nn.Linear(2, 2)
    nn.init.zeros_(constant.weight)
    nn.init.constant_(constant.bias, x.mean().item())
    assert identity_error(constant, x) == pytest.approx(1)


def test_more_steps_bring_a_residual_block_nearer_to_the_identity():
    errors = [learn_identity(1, "A", seed=0, steps=steps, channels=2) for steps in (1, 60)]
    assert errors[1] < 0.2 * errors[0]


def test_learning_the_identity_repeats():
    assert learn_identity(1, "none", 0, steps=3) == learn_identity(1, "none", 0, steps=3)
    assert learn_identity(1, "none", 0, steps=3) != learn_identity(1, "none", 1, steps=3)


def test_a_training_that_diverges_has_an_infinite_error():
    assert math.isinf(learn_identity(1, "none", 0, lr=1e30, steps=8))


# The kinds of networks


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_network_of_its_depth_that_runs_and_repeats(kind):
    models = [build_kind(kind, 14, seed, images()) for seed in (0, 0, 1)]
    assert len(weight_layers(models[0])) == 14
    assert models[0](images()).shape == (8, 10)
    states = [dict(model.named_parameters()) for model in models]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["conv1.weight"], states[2]["conv1.weight"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_batchnorm_unless_its_name_says_no(kind):
    model = build_kind(kind, 8, 0, images())
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == ("no BN" not in kind)


def test_zero_gamma_starts_with_branches_of_zero():
    model = build_kind("residual, zero-gamma", 14, 0, images())
    assert set(branch_shares(model, images()).values()) == {0.0}
    reference = network()
    zero_last_batchnorm(reference)
    assert {key: value.shape for key, value in model.state_dict().items()}.keys() == reference.state_dict().keys()


def test_drawing_from_a_seed_leaves_the_random_state_as_it_was():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    with seeded(0):
        torch.rand(5)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: build_kind("dense", 8, 0, images()), "kind must be one of 'plain', .*, got 'dense'"),
        (lambda: build_kind("plain", 9, 0, images()), r"depth must be 6n\+2"),
        (lambda: learn_identity(0, "A", 0), "blocks must be a whole number from 1 up, got 0"),
        (lambda: learn_identity(1, "A", -1), "seed must be a whole number from 0 up, got -1"),
        (lambda: learn_identity(1, "A", 0, lr=0.0), "lr must be a finite number above 0"),
    ],
)
def test_what_has_no_answer_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
