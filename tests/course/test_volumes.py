"""The pictures of networks show what the modules do: every volume, to scale, and every shortcut with its kind."""

import io
import re
from functools import cache
from itertools import pairwise

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import PathPatch
from torch import nn

from resnet_course import volumes
from resnet_course.volumes import Volume, draw_network, draw_volumes, trace_block, trace_network
from resnet_lib import (
    BasicBlock,
    Bottleneck,
    cifar_resnet,
    figures,
    plain18,
    plain34,
    resnet18,
    resnet34,
    resnet50,
    resnet152,
)

# Network → (how to build it, the image, blocks, shortcuts by kind).
NETWORKS = {
    "resnet18": (resnet18, (3, 224, 224), 8, {"identity": 5, "projection": 3}),
    "resnet34": (resnet34, (3, 64, 64), 16, {"identity": 13, "projection": 3}),
    "resnet50": (resnet50, (3, 64, 64), 16, {"identity": 12, "projection": 4}),
    "resnet152": (resnet152, (3, 32, 32), 50, {"identity": 46, "projection": 4}),
    "plain18": (plain18, (3, 64, 64), 8, {}),
    "plain34": (lambda: plain34(bias=True), (3, 64, 64), 16, {}),
    "resnet18, A": (lambda: resnet18(shortcut="A"), (3, 64, 64), 8, {"identity": 5, "zero padding": 3}),
    "resnet18, C": (lambda: resnet18(shortcut="C", bias=True), (3, 64, 64), 8, {"projection": 8}),
    "resnet18, wide image": (lambda: resnet18(10, 1), (1, 48, 160), 8, {"identity": 5, "projection": 3}),
    "cifar 8": (lambda: cifar_resnet(8, width=8, in_channels=1), (1, 8, 8), 3, {"identity": 1, "zero padding": 2}),
    "cifar 20, plain": (lambda: cifar_resnet(20, "none"), (3, 32, 32), 9, {}),
    "cifar 20, B": (lambda: cifar_resnet(20, "B"), (3, 32, 32), 9, {"identity": 7, "projection": 2}),
    "cifar 110, A": (lambda: cifar_resnet(110), (3, 32, 32), 54, {"identity": 52, "zero padding": 2}),
    "cifar 110, C": (lambda: cifar_resnet(110, "C"), (3, 30, 30), 54, {"projection": 54}),
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
    found = []
    for patch in figure.axes[0].patches:
        kind, to, name = patch.get_label().partition(" to ")
        if to:
            found.append((kind, name, patch))
    return found


def box_of(patch):
    """Left, bottom, width and height of a patch in inches."""
    return patch.get_path().get_extents().bounds


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def scale(figure, unit):
    """Inches of one pixel or channel, as the picture itself states it: a bar, and the number beside it."""
    axes = figure.axes[0]
    (bar,) = [line for line in axes.lines if line.get_label() == f"scale of {unit}s"]
    (number,) = [int(text.split()[0]) for text in texts(figure) if re.fullmatch(rf"\d+ {unit}s?", text)]
    xs, ys = bar.get_data()
    return max(max(xs) - min(xs), max(ys) - min(ys)) / number


# The volumes


@every_network
def test_every_block_has_the_shape_that_it_puts_out(name):
    _, input_size, num_blocks, _ = NETWORKS[name]
    model, put_out = build_without_numbers(name).eval(), {}
    for path, module in model.named_modules():
        if isinstance(module, (BasicBlock, Bottleneck)):
            module.register_forward_hook(lambda m, i, out, path=path: put_out.update({path: tuple(out.shape[1:])}))
    with torch.no_grad():
        model(torch.zeros(1, *input_size, device="meta"))
    traced = {volume.name: volume.shape for volume in trace(name) if "." in volume.name}
    assert list(traced) == list(put_out) and traced == put_out
    assert len(traced) == num_blocks


@every_network
def test_stem_and_head_stand_around_the_blocks_in_order(name):
    stages = list(dict.fromkeys(volume.stage for volume in trace(name)))
    if name.startswith("cifar"):
        assert stages == ["input", "conv1", "layer1", "layer2", "layer3", "mean", "fc"]
    else:
        assert stages == ["input", "conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "mean", "fc"]


def test_resnet34_makes_the_paper_s_sizes_of_a_224_pixel_image():
    shapes = {volume.stage: str(volume) for volume in trace_network(resnet34(), (3, 224, 224))}
    assert shapes == {
        "input": "3×224×224",
        "conv1": "64×112×112",
        "maxpool": "64×56×56",
        "layer1": "64×56×56",
        "layer2": "128×28×28",
        "layer3": "256×14×14",
        "layer4": "512×7×7",
        "mean": "512",
        "fc": "1000",
    }


@every_network
def test_shortcuts_are_of_the_kind_that_their_option_asks_for(name):
    *_, expected = NETWORKS[name]
    kinds = [volume.shortcut for volume in trace(name) if volume.shortcut]
    assert {kind: kinds.count(kind) for kind in kinds} == expected
    for before, volume in pairwise(trace(name)):
        if volume.shortcut == "identity":
            assert before.shape == volume.shape, "an identity can't change the shape"
        elif volume.shortcut == "zero padding":
            assert before.shape != volume.shape


def test_volume_counts_its_values():
    assert Volume("conv1", (64, 112, 112)).values == 64 * 112 * 112
    assert Volume("mean", (512,)).values == 512


@pytest.mark.parametrize(
    ("block", "input_size", "shapes", "shortcut"),
    [
        (Bottleneck(256, 64), (256, 14, 14), ["256×14×14", "64×14×14", "64×14×14", "256×14×14"], "identity"),
        (Bottleneck(64, 32, 2), (64, 14, 14), ["64×14×14", "32×14×14", "32×7×7", "128×7×7"], "projection"),
        (BasicBlock(8, 16, 2, "A"), (8, 9, 9), ["8×9×9", "16×5×5", "16×5×5"], "zero padding"),
        (BasicBlock(8, 8, 1, "none"), (8, 9, 9), ["8×9×9", "8×9×9", "8×9×9"], None),
    ],
)
def test_block_from_inside_has_a_volume_for_every_convolution_and_its_shortcut_around_them(
    block, input_size, shapes, shortcut
):
    traced = trace_block(block, input_size)
    assert [str(volume) for volume in traced] == shapes
    assert [volume.shortcut for volume in traced] == [None] * (len(shapes) - 1) + [shortcut]
    assert traced[-1].reach == len(shapes) - 1


def test_tracing_leaves_the_model_as_it_was():
    model = resnet18().train()
    model.layer1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trace_network(model, (3, 32, 32))
    assert model.training and not model.layer1.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# The picture


@every_network
def test_every_volume_is_drawn_once_and_all_on_one_floor(name):
    figure = picture(name)
    for face in ("front", "side", "top"):
        assert list(patches(figure, f"{face} of ")) == [volume.name for volume in trace(name)]
    bottoms = {round(box_of(front)[1], 9) for front in patches(figure, "front of ").values()}
    assert len(bottoms) == 1


@every_network
def test_every_shortcut_is_one_arc_from_the_block_s_input_to_its_output(name):
    figure, traced = picture(name), trace(name)
    assert [(kind, end) for kind, end, _ in arcs(figure)] == [(v.shortcut, v.name) for v in traced if v.shortcut]
    tops, names = patches(figure, "top of "), [volume.name for volume in traced]
    for _, end, arc in arcs(figure):
        start = names[names.index(end) - 1]
        first, last = arc.get_path().vertices[[0, -1]]
        for volume, (x, y) in ((start, first), (end, last)):
            left, bottom, width, height = box_of(tops[volume])
            assert left <= x <= left + width and bottom <= y <= bottom + height


def test_arc_around_a_whole_block_begins_at_its_input():
    figure = draw_volumes(trace_block(Bottleneck(256, 64), (256, 56, 56)), "title")
    ((kind, end, arc),) = arcs(figure)
    assert (kind, end) == ("identity", "conv3")
    left, _, width, _ = box_of(patches(figure, "top of ")["input"])
    assert left <= arc.get_path().vertices[0, 0] <= left + width


@pytest.mark.parametrize("name", ["resnet50", "resnet18, A", "resnet18, C", "cifar 110, A"])
def test_kinds_are_told_apart_by_line_style_and_named_and_counted_in_the_key(name):
    figure, expected = picture(name), NETWORKS[name][-1]
    styles = {kind: arc._dash_pattern[1] for kind, _, arc in arcs(figure)}
    assert len({str(style) for style in styles.values()}) == len(expected)
    in_key = [line for line in figure.axes[0].lines if line.get_color() == figures.RESIDUAL]
    assert len(in_key) == len(expected)
    assert [text for text in texts(figure) if text in {f"{k} ({n})" for k, n in expected.items()}] == [
        f"{kind} ({number})" for kind, number in expected.items()
    ]
    assert styles.get("identity") is None, "the identity is a solid line"


def test_the_three_kinds_have_three_line_styles():
    pictures = [picture(name) for name in ("resnet50", "resnet18, A")]
    styles = {kind: str(arc._dash_pattern) for figure in pictures for kind, _, arc in arcs(figure)}
    assert len(styles) == len(set(styles.values())) == 3


@pytest.mark.parametrize("name", ["plain18", "plain34", "cifar 20, plain"])
def test_plain_network_has_no_arcs_and_says_so(name):
    figure = picture(name)
    assert arcs(figure) == []
    assert "Shortcuts: none" in texts(figure)


@every_network
def test_height_is_pixels_and_thickness_is_channels_on_the_scales_that_are_stated(name):
    figure = picture(name)
    pixel, channel = scale(figure, "pixel"), scale(figure, "channel")
    fronts, sides = patches(figure, "front of "), patches(figure, "side of ")
    for volume in trace(name):
        height, width = volume.shape[1:] or (1, 1)
        _, _, drawn_thickness, drawn_height = box_of(fronts[volume.name])
        assert drawn_thickness == pytest.approx(volume.shape[0] * channel)
        assert drawn_height == pytest.approx(height * pixel)
        assert box_of(sides[volume.name])[2] == pytest.approx(width * pixel * volumes.RIGHT)


@every_network
def test_every_stage_is_labelled_once_with_name_shape_and_blocks(name):
    expected = {}
    for volume in trace(name):
        expected.setdefault(volume.stage, []).append(volume)
    for stage, members in expected.items():
        lines = [stage, str(members[-1])]
        if stage.startswith("layer"):
            lines.append(f"{len(members)} block{'s' if len(members) > 1 else ''}")
        assert texts(picture(name)).count("\n".join(lines)) == 1


@every_network
def test_nothing_written_overlaps_or_leaves_the_page(name):
    figure = picture(name)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in [*figure.axes[0].texts, *figure.texts]]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        for other in boxes[i + 1 :]:
            assert not box.overlaps(other), (figure.axes[0].texts, i)


@every_network
def test_what_is_drawn_stays_between_the_labels_and_the_key(name):
    figure = picture(name)
    for side in patches(figure, "side of ").values():
        assert box_of(side)[3] <= volumes.TALLEST + 1e-9
    for patch in figure.axes[0].patches:
        left, bottom, width, height = box_of(patch)
        assert left >= 0 and left + width <= volumes.PAGE[0]
        assert bottom >= volumes.FLOOR - 1e-9 and bottom + height <= volumes.KEY_LINE


@every_network
def test_volumes_follow_each_other_from_left_to_right_without_touching(name):
    fronts = patches(picture(name), "front of ").values()
    for front, following in pairwise(map(box_of, fronts)):
        assert front[0] + front[2] < following[0]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet152", "cifar 110, C"])
@pytest.mark.parametrize("colours", [{}, {"ink": "#e6e6e6", "paper": "#121212"}], ids=["light", "dark"])
def test_picture_s_file_is_small(name, colours):
    plt.rcParams.update(figures.style(**colours))
    file = io.BytesIO()
    draw_volumes(trace(name), "title").savefig(file)
    assert len(file.getvalue()) < 80_000


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("ink", "paper"), [("#1a1a1a", "#ffffff"), ("#e6e6e6", "#121212")])
def test_edges_and_arcs_stand_out_on_a_light_page_and_on_a_dark_one(ink, paper):
    plt.rcParams.update(figures.style(ink, paper))
    figure = draw_volumes(trace("cifar 8"), "title")
    assert to_hex(figure.get_facecolor()) == paper
    for patch in figure.axes[0].patches:
        assert contrast(patch.get_edgecolor()[:3], paper) >= 3
    for front in patches(figure, "front of ").values():
        assert contrast(front.get_facecolor()[:3], paper) < 4, "a tinted page, on which the edges stand out"
    assert {to_hex(text.get_color()) for text in figure.axes[0].texts} == {ink}


def test_lines_are_finer_where_hundreds_of_blocks_stand_close_together():
    def edge_of(num_blocks):
        blocks = [Volume(f"layer1.{i}", (16, 32, 32), "identity") for i in range(num_blocks)]
        patches = draw_volumes([Volume("conv1", (16, 32, 32)), *blocks], "title").axes[0].patches
        return {round(patch.get_linewidth(), 6) for patch in patches}

    assert edge_of(30) == edge_of(10)
    assert max(edge_of(300)) < max(edge_of(30)) and min(edge_of(300)) < min(edge_of(30))


def test_arcs_are_blue_as_residual_networks_are_in_every_figure():
    figure = draw_network(cifar_resnet(8), (3, 32, 32))
    arcs = [patch for patch in figure.axes[0].patches if isinstance(patch, PathPatch)]
    assert len(arcs) == 3
    assert {to_hex(arc.get_edgecolor()).upper() for arc in arcs} == {figures.RESIDUAL}


@pytest.mark.parametrize(
    ("build", "input_size", "finding"),
    [
        (resnet18, (3, 224, 224), "224×224 pixels become 7×7, and 3 channels become 512"),
        (lambda: cifar_resnet(8, width=8, in_channels=1), (1, 8, 8), "8×8 pixels become 2×2, and 1 channel becomes 32"),
        (lambda: resnet18(in_channels=4), (4, 64, 128), "64×128 pixels become 2×4, and 4 channels become 512"),
    ],
)
def test_title_states_the_finding_unless_the_caller_gives_one(build, input_size, finding):
    with torch.device("meta"):
        model = build()
    assert draw_network(model, input_size).get_suptitle() == finding
    assert draw_network(model, input_size, "Mine").get_suptitle() == "Mine"
    assert draw_network(model, input_size, title="").get_suptitle() == ""


def test_same_network_gives_the_same_picture():
    pictures = []
    for _ in range(2):
        file = io.BytesIO()
        draw_network(cifar_resnet(8), (3, 32, 32)).savefig(file)
        pictures.append(file.getvalue())
    assert pictures[0] == pictures[1]


def test_picture_can_be_saved_again_as_notebooks_do_and_stays_the_same():
    figure, pictures = draw_network(cifar_resnet(8), (3, 32, 32)), []
    for _ in range(2):  # a warning about the layout would fail here
        file = io.BytesIO()
        figure.savefig(file, bbox_inches="tight")
        pictures.append(file.getvalue())
    assert pictures[0] == pictures[1]


# Bad input

NO_NETWORK = "model must be a network of resnet_lib, stages of BasicBlock or Bottleneck between stem and head, got "


@pytest.mark.parametrize(
    ("model", "input_size", "kind", "sentence"),
    [
        ("resnet18", (3, 32, 32), TypeError, NO_NETWORK + "str"),
        (resnet18, (3, 32, 32), TypeError, NO_NETWORK + "function"),
        (nn.Linear(3, 3), (3, 32, 32), TypeError, NO_NETWORK + "Linear"),
        (BasicBlock(3, 3), (3, 32, 32), TypeError, NO_NETWORK + "BasicBlock"),
        (nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1))), (3, 8, 8), TypeError, NO_NETWORK + "Sequential"),
        (cifar_resnet(8), (3, 32), ValueError, "input_size must be (channels, height, width), got (3, 32)"),
        (cifar_resnet(8), 32, ValueError, "input_size must be (channels, height, width), got 32"),
        (cifar_resnet(8), (3, 0, 32), ValueError, "input_size must be (channels, height, width), got (3, 0, 32)"),
        (
            cifar_resnet(8),
            (1, 32, 32),
            ValueError,
            "the model can't take input_size=(1, 32, 32): ",
        ),
    ],
)
def test_wrong_model_or_size_is_refused_in_one_sentence(model, input_size, kind, sentence):
    with pytest.raises(kind) as caught:
        draw_network(model, input_size)
    assert str(caught.value).startswith(sentence)
    assert plt.get_fignums() == [], "no empty picture is left behind"


@pytest.mark.parametrize("block", [None, nn.Conv2d(3, 3, 1), BasicBlock])
def test_anything_but_a_block_is_refused_in_one_sentence(block):
    with pytest.raises(TypeError, match=r"^block must be a BasicBlock or a Bottleneck, got \w+$"):
        trace_block(block, (3, 8, 8))
