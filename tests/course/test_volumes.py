"""The pictures of networks show what the modules do: every volume, to scale, and every shortcut with its kind."""

import re
from functools import cache
from itertools import combinations, pairwise

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import nn

from resnet_course import pictures, volumes
from resnet_course.volumes import draw_network, draw_stages, draw_volumes, trace_block, trace_network
from resnet_lib import BasicBlock, Bottleneck, cifar_resnet, figures, plain34, resnet18, resnet50
from resnet_lib.orderings import OrderedBlock, OrderedResNet

IMAGENET = ["input", "conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "mean", "fc"]
CIFAR = ["input", "conv1", "layer1", "layer2", "layer3", "mean", "fc"]
ORDERED = ["input", "stem", "blocks", "mean", "fc"]
ORDER = "bn relu conv bn relu conv +"


def fine_tuned() -> nn.Module:
    """Grey images into a network for colours, and a head of its own."""
    model = resnet18()
    model.conv1 = nn.Sequential(nn.Conv2d(1, 3, 1), model.conv1)
    model.fc = nn.Sequential(nn.Dropout(), nn.Linear(512, 10))
    return model


# Network → (how to build it, the image, its stages, the number of its blocks, shortcuts by kind).
NETWORKS = {
    "resnet50": (resnet50, (3, 64, 64), IMAGENET, 16, {"identity": 12, "projection": 4}),
    "plain34": (plain34, (3, 64, 64), IMAGENET, 16, {}),
    "resnet18, C": (lambda: resnet18(10, 1, shortcut="C"), (1, 48, 160), IMAGENET, 8, {"projection": 8}),
    "fine-tuned": (fine_tuned, (1, 64, 64), IMAGENET, 8, {"identity": 5, "projection": 3}),
    "cifar 110": (lambda: cifar_resnet(110), (3, 32, 32), CIFAR, 54, {"identity": 52, "zero padding": 2}),
    "ordered": (lambda: OrderedResNet(20, ORDER), (3, 32, 32), ORDERED, 9, {"identity": 7, "zero padding": 2}),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context(figures.style()):
        yield
        plt.close("all")


def build_without_numbers(name):
    """The network on PyTorch's meta device, where tensors have a shape and no values: quick at any size."""
    with torch.device("meta"):
        return NETWORKS[name][0]()


@cache
def trace(name):
    return trace_network(build_without_numbers(name), NETWORKS[name][1])


def patches(figure, prefix):
    """Left, bottom, width and height in inches of what is labelled ``prefix`` and a volume's name, by that name."""
    found = [patch for patch in figure.axes[0].patches if patch.get_label().startswith(prefix)]
    boxes = {patch.get_label().removeprefix(prefix): patch.get_path().get_extents().bounds for patch in found}
    assert len(boxes) == len(found), "one patch a volume"
    return boxes


def arcs(figure):
    """Every arc as (kind, name of the volume that it ends in, patch)."""
    labels = [(patch.get_label().partition(" to "), patch) for patch in figure.axes[0].patches]
    return [(kind, name, patch) for (kind, to, name), patch in labels if to]


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def scale(figure, unit):
    """Inches of one pixel or channel, as the picture itself states it: a bar, and the number beside it."""
    (bar,) = [line for line in figure.axes[0].lines if line.get_label() == f"scale of {unit}s"]
    (number,) = [int(text.split()[0]) for text in texts(figure) if re.fullmatch(rf"\d+ {unit}s?", text)]
    xs, ys = bar.get_data()
    return max(max(xs) - min(xs), max(ys) - min(ys)) / number


def check_that_all_words_are_on_the_page_and_none_over_another(figure):
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in [*figure.axes[0].texts, *figure.texts] if text.get_text()]
    assert all(figure.bbox.fully_contains(*corner) for box in boxes for corner in box.corners())
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


@every_network
def test_every_block_has_the_shape_that_it_puts_out_and_the_shortcut_that_its_option_asks_for(name):
    _, input_size, stages, num_blocks, expected = NETWORKS[name]
    model, put_out = build_without_numbers(name).eval(), {}
    for path, module in model.named_modules():
        if isinstance(module, (BasicBlock, Bottleneck, OrderedBlock)):
            module.register_forward_hook(lambda m, i, out, path=path: put_out.update({path: tuple(out.shape[1:])}))
    with torch.no_grad():
        scores = model(torch.zeros(1, *input_size, device="meta"))
    traced = {volume.name: volume.shape for volume in trace(name) if "." in volume.name}
    assert list(traced.items()) == list(put_out.items()) and len(traced) == num_blocks
    assert list(dict.fromkeys(volume.stage for volume in trace(name))) == stages
    last_block, mean, fc = trace(name)[-3:]
    assert mean.shape == last_block.shape[:1] and fc.shape == scores.shape[1:]
    kinds = [volume.shortcut for volume in trace(name) if volume.shortcut]
    assert {kind: kinds.count(kind) for kind in kinds} == expected
    for before, volume in pairwise(trace(name)):
        if volume.shortcut in ("identity", "zero padding"):
            assert (before.shape == volume.shape) == (volume.shortcut == "identity")


@pytest.mark.parametrize(
    ("block", "input_size", "shapes", "shortcut"),
    [
        (Bottleneck(64, 32, 2), (64, 14, 14), ["64×14×14", "32×14×14", "32×7×7", "128×7×7"], "projection"),
        (BasicBlock(8, 8, 1, "none"), (8, 9, 9), ["8×9×9", "8×9×9", "8×9×9"], None),
    ],
)
def test_a_block_from_inside_has_a_volume_for_every_convolution_and_its_shortcut_around_them(
    block, input_size, shapes, shortcut
):
    traced = trace_block(block, input_size)
    assert [str(volume) for volume in traced] == shapes
    assert [volume.shortcut for volume in traced] == [None] * (len(shapes) - 1) + [shortcut]
    figure = draw_volumes(traced, "title")
    assert [(kind, end) for kind, end, _ in arcs(figure)] == ([(shortcut, traced[-1].name)] if shortcut else [])
    left, _, width, _ = patches(figure, "top of ")["input"]
    for _, _, arc in arcs(figure):
        assert left <= arc.get_path().vertices[0][0] <= left + width, "the arc begins at the block's input"


@every_network
def test_every_volume_is_drawn_to_the_scales_that_are_stated_with_its_shortcut_and_its_stage_s_label(name):
    traced, expected = trace(name), NETWORKS[name][-1]
    figure = draw_volumes(traced, "title")
    pixel, channel = scale(figure, "pixel"), scale(figure, "channel")
    fronts, sides, tops = (patches(figure, f"{face} of ") for face in ("front", "side", "top"))
    assert list(fronts) == list(sides) == list(tops) == [volume.name for volume in traced]
    for volume in traced:
        height, width = volume.shape[1:] or (1, 1)
        assert fronts[volume.name][1:] == pytest.approx((volumes.FLOOR, volume.shape[0] * channel, height * pixel))
        assert sides[volume.name][2] == pytest.approx(width * pixel * volumes.RIGHT)
        assert sides[volume.name][0] + sides[volume.name][2] <= volumes.PAGE[0]
    for front, following in pairwise(fronts.values()):
        assert front[0] + front[2] < following[0]

    assert [(kind, end) for kind, end, _ in arcs(figure)] == [(v.shortcut, v.name) for v in traced if v.shortcut]
    names = list(fronts)
    for _, end, arc in arcs(figure):
        for volume, (x, y) in zip((names[names.index(end) - 1], end), arc.get_path().vertices[[0, -1]], strict=True):
            left, bottom, width, height = tops[volume]
            assert left <= x <= left + width and bottom <= y <= bottom + height
    assert len({str(arc._dash_pattern[1]) for _, _, arc in arcs(figure)}) == len(expected), "a line for each kind"
    assert {f"{kind} ({number})" for kind, number in expected.items()} <= {*texts(figure)}
    assert ("Shortcuts: none" in texts(figure)) == (not expected)

    for stage in NETWORKS[name][2]:
        members = [volume for volume in traced if volume.stage == stage]
        blocks = [f"{len(members)} block{'s' * (len(members) > 1)}"] if "." in members[-1].name else []
        assert texts(figure).count("\n".join([stage, str(members[-1]), *blocks])) == 1
    check_that_all_words_are_on_the_page_and_none_over_another(figure)


@pytest.mark.parametrize(
    ("model", "input_size", "error", "named"),
    [
        (nn.Sequential(nn.Conv2d(3, 3, 1)), (3, 8, 8), TypeError, "resnet_lib.*got Sequential"),
        (cifar_resnet(8), (3, 32), ValueError, r"\(channels, height, width\), got \(3, 32\)"),
        (cifar_resnet(8), (1, 32, 32), ValueError, r"can't take input_size=\(1, 32, 32\)"),
    ],
)
def test_a_wrong_model_or_size_is_refused_and_leaves_no_empty_picture(model, input_size, error, named):
    before = plt.get_fignums()
    with pytest.raises(error, match=named):
        draw_network(model, input_size, "title")
    assert plt.get_fignums() == before


def test_two_pictures_compare_if_one_is_drawn_like_the_other():
    small, large = build_without_numbers("fine-tuned"), build_without_numbers("resnet50")
    large.conv1 = nn.Conv2d(1, 64, 7, 2, 3, device="meta")
    drawings = [(small, None), (small, large), (large, None)]
    own, like, of_large = (
        scale(draw_network(model, (1, 64, 64), "title", like=other), "channel") for model, other in drawings
    )
    assert like == pytest.approx(of_large) and like < own  # 2048 channels must fit, instead of 512


def test_the_picture_for_a_phone_has_a_box_and_an_arc_for_every_block_and_a_line_for_all_else():
    figure = draw_stages(build_without_numbers("resnet50"), (3, 64, 64), "title")
    blocks = [volume for volume in trace("resnet50") if volume.shortcut]
    assert list(patches(figure, "box of ")) == [block.name for block in blocks]
    assert [(kind, place) for kind, place, _ in arcs(figure)] == [(block.shortcut, block.name) for block in blocks]
    lines = texts(figure)
    assert lines[1:5] == ["image", "3×64×64", "7×7 convolution, stride 2", "64×32×32"]
    assert lines[5:8] == ["3×3 max pooling, stride 2", "64×16×16", "layer1: 3 blocks"]
    assert [lines[-4], lines[-2]] == ["mean of each channel", "linear layer"]
    check_that_all_words_are_on_the_page_and_none_over_another(figure)


@pytest.mark.parametrize("draw", ["draw_block", "draw_insertions", "draw_options", "draw_paths", "draw_two_blocks"])
def test_a_diagram_of_the_chapters_has_all_words_on_the_page_and_none_over_another(draw):
    check_that_all_words_are_on_the_page_and_none_over_another(getattr(pictures, draw)("title"))
