"""Gradient probes against networks and sequences whose answers are known."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_course.probes import (
    LineNet,
    autocorrelation,
    brown_noise,
    freeze_batchnorm,
    gradient_agreement,
    gradient_norms,
    input_gradients,
    mean_cosine,
    points_on_line,
    weight_layers,
    white_noise,
)
from resnet_lib.networks import cifar_resnet


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_network(shortcut: str = "A") -> nn.Module:
    torch.manual_seed(0)
    return cifar_resnet(14, shortcut, width=4, in_channels=1)


def images_and_labels(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, 1, 8, 8, generator=generator()), torch.arange(n) % 10


def chain(factors: list[float], size: int = 4) -> nn.Sequential:
    """Linear layers, each of which multiplies by one number."""
    layers = [nn.Linear(size, size, bias=False) for _ in factors]
    with torch.no_grad():
        for layer, factor in zip(layers, factors, strict=True):
            layer.weight.copy_(factor * torch.eye(size))
    return nn.Sequential(*layers)


@pytest.mark.parametrize("factors", [[1.0, 1.0, 1.0], [0.5] * 12, [2.0] * 6, [0.25, 4.0, 1.0, 3.0]])
def test_gradient_norms_of_a_linear_chain_are_those_of_the_closed_form(factors):
    x, label = torch.tensor([[0.3, -0.2, 0.1, 0.4]]), torch.tensor([2])
    # dL/dW_i = (product of the other factors) · (p - onehot) xᵀ, and the norm of an outer product is that of both.
    p = F.softmax(math.prod(factors) * x, dim=1) - F.one_hot(label, 4)
    norms = list(gradient_norms(chain(factors), x, label).values())
    for i, norm in enumerate(norms):
        others = math.prod(factors[:i] + factors[i + 1 :])
        assert norm == pytest.approx(others * p.norm().item() * x.norm().item(), rel=1e-4)


@pytest.mark.parametrize("shortcut", ["none", "A", "B", "C"])
@pytest.mark.parametrize("depth", [8, 20])
def test_there_are_as_many_weight_layers_as_the_depth_says(depth, shortcut):
    assert len(weight_layers(cifar_resnet(depth, shortcut, width=4))) == depth


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "probe",
    [
        gradient_norms,
        lambda model, images, labels: gradient_agreement(model, images, labels, [0.1]),
        lambda model, images, labels: freeze_batchnorm(model, images),
        lambda model, images, labels: input_gradients(model.eval(), images) if not model.training else None,
    ],
)
def test_a_probe_leaves_the_model_as_it_is(probe, training):
    model = small_network().train(training)
    before = copy.deepcopy(model.state_dict())
    probe(model, *images_and_labels())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training == training


def test_gradient_norms_see_batchnorm_as_in_training():
    model = small_network().eval()
    images, labels = images_and_labels()
    trained = copy.deepcopy(model).train()
    F.cross_entropy(trained(images), labels).backward()
    assert gradient_norms(model, images, labels)["conv1"] == trained.conv1.weight.grad.norm().item()


@pytest.mark.parametrize("step", [0.0, 0.1, 3.0])
def test_the_gradient_of_one_example_of_two_classes_keeps_its_direction(step):
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    agreement = gradient_agreement(model, torch.tensor([[1.0, 2.0, -1.0]]), torch.tensor([0]), [step])
    assert agreement == pytest.approx([1.0], abs=1e-4)


def test_a_step_over_the_minimum_turns_the_gradient_round():
    # The same input twice with label 0 and once with label 1: the best probability of label 0 is 2/3.
    model = nn.Sequential(nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    inputs, labels = torch.ones(3, 1), torch.tensor([0, 0, 1])
    assert gradient_agreement(model, inputs, labels, [0.01, 5.0]) == pytest.approx([1.0, -1.0], abs=1e-4)


def test_layers_without_a_gradient_do_not_count_in_the_agreement():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 2, bias=False))
    nn.init.zeros_(model[1].weight)  # so that no gradient reaches the first layer
    agreement = gradient_agreement(model, torch.rand(1, 3), torch.tensor([0]), [0.0])
    assert agreement == pytest.approx([1.0], abs=1e-4)


def test_frozen_batchnorm_treats_each_image_by_itself():
    images, _ = images_and_labels()
    frozen = freeze_batchnorm(small_network(), images)
    together, alone = input_gradients(frozen, images), input_gradients(frozen, images[:1])
    assert torch.allclose(together[:1], alone, rtol=1e-4, atol=1e-7)


def test_frozen_batchnorm_holds_the_mean_and_variance_of_the_images():
    x = torch.randn(50, 3, generator=generator()) * 4 + 2
    norm = nn.BatchNorm1d(3)
    norm(x + 100)  # what it saw before is forgotten
    frozen = freeze_batchnorm(norm, x)
    assert torch.allclose(frozen.running_mean, x.mean(0), atol=1e-5)
    assert torch.allclose(frozen.running_var, x.var(0), rtol=1e-5)
    assert frozen.momentum == norm.momentum


class Squares(nn.Module):
    def forward(self, x):
        return torch.stack([x.square().flatten(1).sum(1), x.flatten(1).sum(1)], dim=1)


def test_input_gradients_of_a_known_function():
    inputs = torch.randn(4, 2, 3, generator=generator())
    assert torch.allclose(input_gradients(Squares(), inputs), 2 * inputs.flatten(1))
    assert torch.equal(input_gradients(Squares(), inputs, output=1), torch.ones(4, 6))


def test_points_on_a_line_are_equally_spaced():
    start, end = torch.zeros(2, 3), torch.full((2, 3), 4.0)
    line = points_on_line(start, end, 5)
    assert line.shape == (5, 2, 3)
    assert torch.equal(line[:, 0, 0], torch.arange(5.0))


def autocorrelation_by_hand(values, lag):
    values = values.double().tolist()
    mean = sum(values) / len(values)
    products = [(values[t] - mean) * (values[t + lag] - mean) for t in range(len(values) - lag)]
    return sum(products) / sum((value - mean) ** 2 for value in values)


@pytest.mark.parametrize(
    "values", [torch.arange(20.0), torch.randn(30, generator=generator()), torch.sin(torch.arange(40.0) / 3)]
)
def test_autocorrelation_is_its_formula(values):
    got = autocorrelation(values, 6)
    assert got.tolist() == pytest.approx([autocorrelation_by_hand(values, lag) for lag in range(7)], abs=1e-5)
    assert torch.allclose(autocorrelation(3 - 2 * values, 6), got, atol=1e-5)  # no shift and no factor changes it


def test_autocorrelation_of_an_alternating_sequence_alternates():
    values = torch.tensor([1.0, -1.0]).repeat(50)
    assert autocorrelation(values, 4).tolist() == pytest.approx([1, -0.99, 0.98, -0.97, 0.96])


def test_autocorrelation_of_vectors_takes_inner_products():
    one = torch.randn(30, generator=generator())
    nothing = torch.zeros(30)
    assert torch.allclose(autocorrelation(torch.stack([one, nothing], 1), 5), autocorrelation(one, 5))
    assert torch.allclose(autocorrelation(torch.stack([one, one], 1), 5), autocorrelation(one, 5))


def test_white_noise_is_like_itself_at_no_distance_and_brown_noise_at_many():
    white = torch.stack([autocorrelation(white_noise(256, generator(seed)), 30) for seed in range(50)]).mean(0)
    brown = torch.stack([autocorrelation(brown_noise(256, generator(seed)), 30) for seed in range(50)]).mean(0)
    assert white[0] == brown[0] == 1
    assert white[1:].abs().max() < 0.03
    assert brown[1] > 0.96 and (brown[:-1] > brown[1:]).all() and brown[30] > 0.3


def test_the_steps_of_brown_noise_are_white_noise():
    white, brown = white_noise(20, generator()), brown_noise(20, generator())
    assert torch.allclose(brown.diff(), white[1:], atol=1e-5) and brown[0] == white[0]


@pytest.mark.parametrize(
    ("gradients", "mean"),
    [
        ([[1.0, 2.0]] * 3, 1.0),
        ([[1.0, 0.0], [-3.0, 0.0]], -1.0),
        ([[1.0, 0.0], [0.0, 5.0]], 0.0),
        ([[1.0, 0.0], [-0.5, 3**0.5 / 2], [-0.5, -(3**0.5) / 2]], -0.5),  # a regular triangle
        ([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]], 1 / 3),  # cosines 1, 0 and 0
    ],
)
def test_mean_cosine_of_known_directions(gradients, mean):
    assert mean_cosine(torch.tensor(gradients)) == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("residual", [False, True])
def test_line_net_has_one_gradient_an_input(residual):
    x = torch.linspace(-2, 2, 8).unsqueeze(1)
    torch.manual_seed(0)
    jacobian = torch.autograd.functional.jacobian(LineNet(4, residual, width=20), x).reshape(8, 8)
    assert torch.equal(jacobian, jacobian.diag().diag())


def test_line_net_whose_branches_are_zero_is_its_first_and_last_layer():
    x = torch.linspace(-2, 2, 8).unsqueeze(1)
    net = LineNet(4, residual=True, width=20)
    for layer in net.hidden:
        nn.init.zeros_(layer.weight)
    assert torch.equal(net(x), net.last(F.relu(net.first(x))))


def test_line_net_normalises_each_layer_over_the_inputs():
    net = LineNet(3, width=20)
    h = net.normalise(torch.randn(100, 20, generator=generator()) * 5 + 3)
    assert torch.allclose(h.mean(0), torch.zeros(20), atol=1e-5) and torch.allclose(h.std(0), torch.ones(20))


def test_gradients_of_deep_plain_line_nets_are_whiter_than_those_of_residual_ones():
    x = torch.linspace(-2, 2, 128).unsqueeze(1)

    def mean_autocorrelation(residual):
        values = []
        for seed in range(5):
            torch.manual_seed(seed)
            values.append(autocorrelation(input_gradients(LineNet(20, residual, width=50), x), 2)[2].item())
        return sum(values) / len(values)

    assert mean_autocorrelation(True) > mean_autocorrelation(False) + 0.2


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: autocorrelation(torch.rand(4), 4), "max_lag must be below the number of values, 4, got 4"),
        (lambda: autocorrelation(torch.ones(4), 1), "values must vary"),
        (lambda: points_on_line(torch.zeros(1), torch.ones(1), 1), "points must be a whole number from 2 up, got 1"),
        (lambda: LineNet(0), "depth must be a whole number from 1 up, got 0"),
        (lambda: LineNet(2, beta=0.0), "beta must be a finite number above 0"),
        (lambda: mean_cosine(torch.ones(1, 3)), "gradients must hold at least 2 rows, got 1"),
    ],
)
def test_what_has_no_answer_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
