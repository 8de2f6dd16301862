"""The networks are torchvision's to the last bit, and take any size."""

import math

import pytest
import torch
import torchvision
from torch import Tensor, nn

import resnet_lib
from resnet_lib import CifarResNet

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGENET = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
SHORTCUTS = ["none", "A", "B", "C"]


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_meta(build, *arguments, **options) -> nn.Module:
    with torch.device("meta"):  # neither memory nor time goes into values that nobody needs
        return build(*arguments, **options)


@pytest.mark.parametrize("name", IMAGENET)
def test_state_dict_keys_and_shapes_are_torchvisions_in_the_same_order(name):
    ours, theirs = (on_meta(getattr(module, name)).state_dict() for module in (resnet_lib, torchvision.models))
    assert [(key, value.shape) for key, value in ours.items()] == [(key, value.shape) for key, value in theirs.items()]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("zero", [False, True], ids=["", "zero_init_residual"])
def test_from_one_seed_the_initial_weights_are_torchvisions_own(name, zero):
    networks = []
    for module in (resnet_lib, torchvision.models):
        torch.manual_seed(0)
        networks.append(getattr(module, name)(zero_init_residual=zero).state_dict())
    assert [key for key, value in networks[0].items() if not torch.equal(value, networks[1][key])] == []


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_with_torchvisions_weights_outputs_gradients_and_statistics_are_equal_to_the_last_bit(name):
    theirs, ours = getattr(torchvision.models, name)(), getattr(resnet_lib, name)()
    with torch.no_grad():
        for value in theirs.state_dict().values():
            if value.dim() == 1 and value.is_floating_point():  # a fresh BatchNorm hides its own effect
                value.uniform_(0.5, 1)
    assert str(ours.load_state_dict(theirs.state_dict(), strict=True)) == "<All keys matched successfully>"
    for training in (False, True):
        results = []
        for network in (ours.train(training), theirs.train(training)):
            x = images(2, 3, 64, 64).requires_grad_()
            out = network(x)
            network.zero_grad()
            nn.functional.cross_entropy(out, torch.tensor([3, 141])).backward()
            gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
            results.append({"output": out.detach(), "input": x.grad, **gradients, **network.state_dict()})
        for key, one in results[0].items():
            assert torch.equal(one, results[1][key]), f"{key}, training: {training}"
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients.values())


# Weights and gradients


def test_a_cifar_network_draws_hes_weights_from_the_global_seed():
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(CifarResNet(20, "B").layer3[2].conv2.weight)
    assert torch.equal(networks[0], networks[1]) and not torch.equal(networks[0], networks[2])
    assert networks[0].std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
