"""The networks go wherever torchvision's go: every tool that takes its ResNet takes ours, and computes the same."""

import copy
import pickle

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from resnet_lib import BasicBlock, Bottleneck, Residual, ResNet, cifar_resnet, resnet18
from resnet_lib.orderings import OrderedResNet

pytestmark = pytest.mark.usefixtures("one_thread")

NETWORKS = {
    "torchvision": lambda: torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], 7),
    "ResNet, basic": lambda: ResNet(BasicBlock, [1, 1, 1, 1], 7),
    "ResNet, bottleneck, A": lambda: ResNet(Bottleneck, [1, 1, 1, 1], 7, shortcut="A"),
    "CIFAR, plain": lambda: cifar_resnet(8, "none", num_classes=7),
    "CIFAR, C": lambda: cifar_resnet(8, "C", num_classes=7),
    "ordered": lambda: OrderedResNet(8, "bn relu conv bn relu conv +", num_classes=7),
}
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def exported(model: nn.Module, strict: bool) -> Tensor:
    """From a program that was exported with two images and takes any number of them."""
    batch = {0: torch.export.Dim("batch", min=2, max=64)}
    return torch.export.export(model, (IMAGES[:2],), dynamic_shapes=(batch,), strict=strict).module()(IMAGES)


def onnx(model: nn.Module) -> Tensor:
    pytest.importorskip("onnxscript")
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
    program = evaluator(torch.onnx.export(model, (IMAGES,), dynamo=True, verbose=False).model_proto)
    return torch.from_numpy(program.run(None, {program.input_names[0]: IMAGES.numpy()})[0])


def compiled(model: nn.Module) -> Tensor:
    torch.compiler.reset()  # else a network too many makes it give up
    return torch.compile(model, fullgraph=True, backend="eager")(IMAGES)


WAYS = {
    "torch.fx": lambda model: torch.fx.symbolic_trace(model)(IMAGES),
    "jit.script": lambda model: torch.jit.script(model)(IMAGES),
    "jit.trace": lambda model: torch.jit.trace(model, IMAGES[:2])(IMAGES),
    "export": lambda model: exported(model, strict=False),
    "compile": compiled,
    "deepcopy": lambda model: copy.deepcopy(model)(IMAGES),
    "pickle": lambda model: pickle.loads(pickle.dumps(model))(IMAGES),
    "vmap": lambda model: torch.func.vmap(lambda image: model(image.unsqueeze(0)).squeeze(0))(IMAGES),
    "channels_last": lambda model: model.to(memory_format=torch.channels_last)(
        IMAGES.to(memory_format=torch.channels_last)
    ),
    "SyncBatchNorm": lambda model: nn.SyncBatchNorm.convert_sync_batchnorm(model)(IMAGES),
    "double": lambda model: model.double()(IMAGES.double()).float(),
}
SLOW_WAYS = {"export, strict": lambda model: exported(model, strict=True), "ONNX": onnx}


def built(name: str) -> nn.Module:
    """The network in evaluation mode, with BatchNorms that are not those of a fresh one."""
    torch.manual_seed(0)
    model = NETWORKS[name]()
    with torch.no_grad():
        model(IMAGES)
    return model.eval()


@pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated")
@pytest.mark.parametrize(
    ("network", "way"),
    [
        *((network, way) for network in NETWORKS for way in WAYS),
        *((network, way) for network in ("ResNet, bottleneck, A", "CIFAR, plain") for way in SLOW_WAYS),
    ],
)
def test_by_every_way_a_network_computes_the_same(network, way):
    model = built(network)
    with torch.no_grad():
        wanted = model(IMAGES)
        torch.testing.assert_close((WAYS | SLOW_WAYS)[way](model), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("network", NETWORKS)
def test_in_half_precision_the_output_has_that_type_and_is_near(network, dtype):
    model = built(network)
    with torch.no_grad():
        wanted = model(IMAGES)
        got = model.to(dtype)(IMAGES.to(dtype))
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), wanted, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("network", NETWORKS)
def test_on_the_meta_device_a_network_has_shapes_and_no_values(network):
    with torch.device("meta"):
        out = NETWORKS[network]()(torch.empty(5, 3, 64, 64))
    assert out.shape == (5, 7) and out.is_meta


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "ordered"])
def test_features_can_be_taken_from_any_stage(network):
    model, seen = built(network), []
    model.layer2.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        out = model(IMAGES)
        taken = create_feature_extractor(model, {"layer2": "maps", "fc": "logits"})(IMAGES)
    assert torch.equal(taken["maps"], seen[0]) and torch.equal(taken["logits"], out)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # its own, of which there are many
@pytest.mark.parametrize("network", NETWORKS)
def test_fx_quantisation_gives_nearly_the_same(network):
    quantize_fx = pytest.importorskip("torch.ao.quantization.quantize_fx")
    from torch.ao.quantization import get_default_qconfig_mapping

    if torch.backends.quantized.engine == "none":
        pytest.skip("this build of PyTorch has no quantised kernels")
    model = built(network)
    prepared = quantize_fx.prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping(), (IMAGES,))
    with torch.no_grad():
        wanted = model(IMAGES)
        prepared(IMAGES)
        got = quantize_fx.convert_fx(prepared)(IMAGES)
    assert (got - wanted).abs().max() < 0.15 * wanted.abs().max()


@pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated")
@pytest.mark.parametrize("block", [BasicBlock(3, 3), Bottleneck(3, 4, 2, "A"), Residual(3, 3), Residual(3, 4, True, 2)])
def test_a_block_can_be_scripted(block):
    assert torch.equal(torch.jit.script(block.eval())(IMAGES), block(IMAGES))


def grey_first(model: nn.Module) -> tuple[nn.Module, int]:
    model.conv1 = nn.Sequential(nn.Conv2d(1, 3, 1), model.conv1)
    return model, 1


def grey_summed(model: nn.Module) -> tuple[nn.Module, int]:
    model.conv1.weight = nn.Parameter(model.conv1.weight.sum(1, keepdim=True))
    return model, 1


def other_head(model: nn.Module) -> tuple[nn.Module, int]:
    model.fc = nn.Sequential(nn.Dropout(), nn.Linear(model.fc.in_features, 7))
    return model, 3


@pytest.mark.parametrize("change", [grey_first, grey_summed, other_head])
@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "ordered"])
def test_stem_and_head_can_be_replaced_and_train(network, change):
    model, channels = change(built(network).train())
    model(IMAGES[:, :channels]).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_numpys_integers_are_whole_numbers():
    numpy = pytest.importorskip("numpy")
    one, four, eight = (numpy.int64(number) for number in (1, 4, 8))
    labels = numpy.array([0, 2, 1])
    assert resnet18(num_classes=labels.max() + 1)(IMAGES).shape == (3, 3)
    assert cifar_resnet(eight, width=four, num_classes=eight, in_channels=one)(IMAGES[:, :1]).shape == (3, 8)
    assert Residual(four, eight, True, numpy.int32(2))(torch.rand(1, 4, 6, 6)).shape == (1, 8, 3, 3)
    assert ResNet(Bottleneck, numpy.array([1, 1, 1, 1]), shortcut="A")(IMAGES).shape == (3, 1000)
