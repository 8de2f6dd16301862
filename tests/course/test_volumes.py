"""The pictures of networks show what the modules do: every volume, to scale, and every shortcut with its kind."""

import io
import re
from functools import cache
from itertools import combinations, pairwise

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from torch import nn

from resnet_course import pictures, volumes
from resnet_course.volumes import draw_network, draw_stages, draw_volumes, trace_block, trace_network
from resnet_lib import BasicBlock, Bottleneck, cifar_resnet, figures, plain34, resnet18, resnet50
from resnet_lib.orderings import OrderedBlock, OrderedResNet


def fine_tuned() -> nn.Module:
    """Grey images into a network for colours, and a head of its own."""
    model = resnet18()
    model.conv1 = nn.Sequential(nn.Conv2d(1, 3, 1), model.conv1)
    model.fc = nn.Sequential(nn.Dropout(), nn.Linear(512, 10))
    return model


# Network → (how to build it, the image, blocks, shortcuts by kind).
NETWORKS = {
    "resnet50": (resnet50, (3, 64, 64), 16, {"identity": 12, "projection": 4}),
    "plain34": (lambda: plain34(bias=True), (3, 64, 64), 16, {}),
    "resnet18, A": (lambda: resnet18(shortcut="A"), (3, 64, 64), 8, {"identity": 5, "zero padding": 3}),
    "resnet18, C": (lambda: resnet18(10, 1, shortcut="C"), (1, 48, 160), 8, {"projection": 8}),
    "resnet18, fine-tuned": (fine_tuned, (1, 64, 64), 8, {"identity": 5, "projection": 3}),
    "cifar 8": (lambda: cifar_resnet(8, width=8, in_channels=1), (1, 8, 8), 3, {"identity": 1, "zero padding": 2}),
    "cifar 110, A": (lambda: cifar_resnet(110), (3, 32, 32), 54, {"identity": 52, "zero padding": 2}),
    "ordered": (lambda: OrderedResNet(20, "bn relu conv bn relu conv +"), (3, 32, 32), 9,
     {"identity": 7, "zero padding": 2}),
}  # fmt: skip
STAGES = {
    "resnet": ["input", "conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "mean", "fc"],
    "plain": ["input", "conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "mean", "fc"],
    "cifar": ["input", "conv1", "layer1", "layer2", "layer3", "mean", "fc"],
    "ordered": ["input", "stem", "blocks", "mean", "fc"],
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


@cache
def picture(name):
    """The picture of a network in the book's style, drawn once however many tests look at it."""
    return draw_volumes(trace(name), "title")


def patches(figure, prefix):
    """The patches whose label is ``prefix`` and a volume's name, by that name."""
    found = [patch for patch in figure.axes[0].patches if patch.get_label().startswith(prefix)]
    by_name = {patch.get_label().removeprefix(prefix): patch for patch in found}
    assert len(by_name) == len(found), "one patch a volume"
    return by_name


def arcs(figure):
    """Every arc as (kind, name of the volume that it ends in, patch)."""
    labels = [(patch.get_label().partition(" to "), patch) for patch in figure.axes[0].patches]
    return [(kind, name, patch) for (kind, to, name), patch in labels if to]


def box_of(patch):
    """Left, bottom, width and height of a patch in inches."""
    return patch.get_path().get_extents().bounds


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def scale(figure, unit):
    """Inches of one pixel or channel, as the picture itself states it: a bar, and the number beside it."""
    (bar,) = [line for line in figure.axes[0].lines if line.get_label() == f"scale of {unit}s"]
    (number,) = [int(text.split()[0]) for text in texts(figure) if re.fullmatch(rf"\d+ {unit}s?", text)]
    xs, ys = bar.get_data()
    return max(max(xs) - min(xs), max(ys) - min(ys)) / number


# The volumes


@every_network
def test_every_block_has_the_shape_that_it_puts_out_and_the_shortcut_that_its_option_asks_for(name):
    _, input_size, num_blocks, expected = NETWORKS[name]
    model, put_out = build_without_numbers(name).eval(), {}
    for path, module in model.named_modules():
        if isinstance(module, (BasicBlock, Bottleneck, OrderedBlock)):
            module.register_forward_hook(lambda m, i, out, path=path: put_out.update({path: tuple(out.shape[1:])}))
    with torch.no_grad():
        model(torch.zeros(1, *input_size, device="meta"))
    traced = {volume.name: volume.shape for volume in trace(name) if "." in volume.name}
    assert list(traced.items()) == list(put_out.items()) and len(traced) == num_blocks
    kinds = [volume.shortcut for volume in trace(name) if volume.shortcut]
    assert {kind: kinds.count(kind) for kind in kinds} == expected
    for before, volume in pairwise(trace(name)):
        if volume.shortcut in ("identity", "zero padding"):
            assert (before.shape == volume.shape) == (volume.shortcut == "identity")


@every_network
def test_stem_and_head_stand_around_the_blocks_in_order(name):
    stages = {volume.stage: volume for volume in trace(name)}
    assert list(stages) == STAGES[re.match("[a-z]+", name)[0]]
    last_block = [volume for volume in trace(name) if "." in volume.name][-1]
    assert stages["mean"].shape == last_block.shape[:1] and len(stages["fc"].shape) == 1


@pytest.mark.parametrize(
    ("block", "input_size", "shapes", "shortcut"),
    [
        (Bottleneck(256, 64), (256, 14, 14), ["256×14×14", "64×14×14", "64×14×14", "256×14×14"], "identity"),
        (Bottleneck(64, 32, 2), (64, 14, 14), ["64×14×14", "32×14×14", "32×7×7", "128×7×7"], "projection"),
        (BasicBlock(8, 16, 2, "A"), (8, 9, 9), ["8×9×9", "16×5×5", "16×5×5"], "zero padding"),
        (BasicBlock(8, 8, 1, "none"), (8, 9, 9), ["8×9×9", "8×9×9", "8×9×9"], None),
    ],
)
def test_a_block_from_inside_has_a_volume_for_every_convolution_and_its_shortcut_around_them(
    block, input_size, shapes, shortcut
):
    traced = trace_block(block, input_size)
    assert [str(volume) for volume in traced] == shapes
    assert [volume.shortcut for volume in traced] == [None] * (len(shapes) - 1) + [shortcut]
    ends = [(kind, end, arc.get_path().vertices[0]) for kind, end, arc in arcs(draw_volumes(traced, "title"))]
    left, _, width, _ = box_of(patches(plt.gcf(), "top of ")["input"])
    assert [(kind, end) for kind, end, _ in ends] == ([(shortcut, traced[-1].name)] if shortcut else [])
    assert all(left <= x <= left + width for _, _, (x, _) in ends), "the arc begins at the block's input"


# The picture


@every_network
def test_every_volume_is_drawn_once_in_order_and_to_the_scales_that_are_stated(name):
    figure = picture(name)
    for face in ("front", "side", "top"):
        assert list(patches(figure, f"{face} of ")) == [volume.name for volume in trace(name)]
    pixel, channel = scale(figure, "pixel"), scale(figure, "channel")
    fronts, sides = patches(figure, "front of "), patches(figure, "side of ")
    for volume in trace(name):
        height, width = volume.shape[1:] or (1, 1)
        _, bottom, drawn_thickness, drawn_height = box_of(fronts[volume.name])
        assert bottom == pytest.approx(volumes.FLOOR)
        assert drawn_thickness == pytest.approx(volume.shape[0] * channel)
        assert drawn_height == pytest.approx(height * pixel)
        assert box_of(sides[volume.name])[2] == pytest.approx(width * pixel * volumes.RIGHT)
    for front, following in pairwise(map(box_of, fronts.values())):
        assert front[0] + front[2] < following[0]


@every_network
def test_every_shortcut_is_one_arc_from_the_block_s_input_to_its_output(name):
    figure, traced = picture(name), trace(name)
    assert [(kind, end) for kind, end, _ in arcs(figure)] == [(v.shortcut, v.name) for v in traced if v.shortcut]
    tops, names = patches(figure, "top of "), [volume.name for volume in traced]
    for _, end, arc in arcs(figure):
        assert to_hex(arc.get_edgecolor()).upper() == figures.RESIDUAL
        start = names[names.index(end) - 1]
        for volume, (x, y) in zip((start, end), arc.get_path().vertices[[0, -1]], strict=True):
            left, bottom, width, height = box_of(tops[volume])
            assert left <= x <= left + width and bottom <= y <= bottom + height


@every_network
def test_kinds_of_shortcuts_are_named_and_counted_in_the_key(name):
    figure, expected = picture(name), NETWORKS[name][-1]
    styles = {kind: arc._dash_pattern[1] for kind, _, arc in arcs(figure)}
    assert styles.get("identity") is None and len(set(map(str, styles.values()))) == len(expected)
    in_key = [line for line in figure.axes[0].lines if line.get_color() == figures.RESIDUAL]
    entries = [f"{kind} ({number})" for kind, number in expected.items()]
    assert len(in_key) == len(entries) and set(entries) <= set(texts(figure))
    assert ("Shortcuts: none" in texts(figure)) == (not expected)


@every_network
def test_every_stage_is_labelled_once_with_name_shape_and_blocks_and_nothing_overlaps(name):
    figure, stages = picture(name), {}
    for volume in trace(name):
        stages.setdefault(volume.stage, []).append(volume)
    for stage, members in stages.items():
        lines = [stage, str(members[-1])]
        if "." in members[-1].name:
            lines.append(f"{len(members)} block{'s' if len(members) > 1 else ''}")
        assert texts(figure).count("\n".join(lines)) == 1
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in [*figure.axes[0].texts, *figure.texts]]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :]), figure.axes[0].texts[i]
    for patch in figure.axes[0].patches:
        left, bottom, width, height = box_of(patch)
        assert left >= 0 and left + width <= volumes.PAGE[0]
        assert bottom >= volumes.FLOOR - 1e-9 and bottom + height <= volumes.KEY_LINE


def test_a_picture_is_small_and_the_same_however_often_it_is_drawn_and_saved():
    pictures = set()
    for figure in (draw_volumes(trace("cifar 110, A"), "title"), draw_volumes(trace("cifar 110, A"), "title")):
        for _ in range(2):  # a warning about the layout would fail here
            file = io.BytesIO()
            figure.savefig(file, format="png", bbox_inches="tight")
            pictures.add(file.getvalue())
    assert len(pictures) == 1 and len(pictures.pop()) < 80_000


@pytest.mark.parametrize(
    ("model", "input_size", "error", "named"),
    [
        (nn.Linear(3, 3), (3, 32, 32), TypeError, "resnet_lib.*got Linear"),
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
    small, large = build_without_numbers("resnet18, A"), build_without_numbers("resnet50")
    own, like, of_large = (
        scale(figure, "channel")
        for figure in (
            draw_network(small, (3, 64, 64), "title"),
            draw_network(small, (3, 64, 64), "title", like=large),
            draw_network(large, (3, 64, 64), "title"),
        )
    )
    assert like == pytest.approx(of_large) and like < own  # 2048 channels must fit, instead of 512


@pytest.mark.parametrize("name", ["resnet50", "resnet18, A"])
def test_the_picture_for_a_phone_has_a_box_and_an_arc_for_every_block_and_a_line_for_all_else(name):
    figure = draw_stages(build_without_numbers(name), (3, 64, 64), "title")
    blocks = [volume for volume in trace(name) if volume.shortcut]
    assert list(patches(figure, "box of ")) == [block.name for block in blocks]
    assert [(kind, place) for kind, place, _ in arcs(figure)] == [(block.shortcut, block.name) for block in blocks]
    lines = texts(figure)
    assert lines[1:5] == ["image", "3×64×64", "7×7 convolution, stride 2", "64×32×32"]
    assert lines[5:7] == ["3×3 max pooling, stride 2", "64×16×16"] and lines[7].startswith("layer1: ")
    assert [lines[-4], lines[-2]] == ["mean of each channel", "linear layer"]
    figure.canvas.draw()
    assert figure.get_figwidth() < 3.6 and max(text.get_window_extent().x1 for text in figure.axes[0].texts) < 386


DIAGRAMS = ["draw_block", "draw_insertions", "draw_options", "draw_paths", "draw_two_blocks"]


@pytest.mark.parametrize("draw", DIAGRAMS)
def test_a_diagram_of_the_chapters_has_all_words_on_the_page_and_none_over_another(draw):
    with plt.rc_context(figures.style()):
        figure = getattr(pictures, draw)("title")
        FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    assert all(figure.bbox.fully_contains(*corner) for box in boxes for corner in box.corners())
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
