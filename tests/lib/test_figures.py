"""What the figures draw is what the records hold."""

from dataclasses import replace
from itertools import pairwise

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgb

from resnet_lib import figures
from resnet_lib.recipes import Recipe
from resnet_lib.records import Record


@pytest.fixture(autouse=True)
def no_window():
    plt.switch_backend("agg")
    with plt.rc_context(figures.style()):
        yield
    plt.close("all")


def run(train: list[float], test: list[float], shortcut="none", depth=8, seed=0) -> Record:
    recipe = Recipe(depth=depth, shortcut=shortcut, seed=seed, epochs=len(test))
    curves = {"train_loss": [value / 100 for value in train], "train_error": train, "test_error": test}
    return Record(recipe, train[-1], test[-1], min(test), None, 0.1, curves, 1.0, 1.0)


TWO_KINDS = [
    run([60, 12], [70, 10]),
    run([40, 8], [50, 14], seed=1),
    run([80, 12], [90, 15], depth=20),
    run([30, 1], [35, 3], "A"),
    run([20, 0], [25, 2], "A", depth=20),
]
DIVERGED = replace(run([90, 90], [90, 90], seed=2), train_loss=None, curves={"train_error": [90], "test_error": [90]})


def lines_of(axes) -> list[tuple[str, str, list[float]]]:
    return [(line.get_linestyle(), line.get_color(), list(line.get_ydata())) for line in axes.lines]


def labels_of(axes) -> set[tuple[str, str, float]]:
    return {(text.get_text(), text.get_color(), text.xy[0]) for text in axes.texts}


def test_errors_against_depth_are_a_dot_for_each_run_and_a_line_through_the_means():
    (axes,) = figures.plot_error_against_depth([*TWO_KINDS, DIVERGED], "title").axes
    assert lines_of(axes) == [
        ("None", figures.PLAIN, [12, 8, 12]),
        ("-", figures.PLAIN, [10, 12]),
        ("None", figures.RESIDUAL, [1, 0]),
        ("-", figures.RESIDUAL, [1, 0]),
    ]
    assert labels_of(axes) == {("plain", figures.PLAIN, 20), ("residual (option A)", figures.RESIDUAL, 20)}
    assert [list(line.get_xdata()) for line in axes.lines[:2]] == [[8, 8, 20], [8, 20]]


def test_there_is_a_curve_for_each_run_that_ended_heavier_with_depth():
    (axes,) = figures.plot_curves([*TWO_KINDS, DIVERGED], "title").axes
    drawn = {(line.get_color(), tuple(line.get_ydata()), line.get_linewidth() > 2) for line in axes.lines}
    assert drawn == {
        (figures.PLAIN, (60, 12), False),
        (figures.PLAIN, (40, 8), False),
        (figures.PLAIN, (80, 12), True),
        (figures.RESIDUAL, (30, 1), False),
        (figures.RESIDUAL, (20, 0), True),
    }
    assert {text.get_text() for text in axes.texts} == {"plain-8", "plain-20", "residual-8", "residual-20"}
    assert axes.get_ylabel() == "training error (%)"


def test_plain_and_residual_networks_stand_side_by_side_on_one_scale_as_means_over_seeds():
    left, right = figures.plot_training([*TWO_KINDS, DIVERGED], "title").axes
    assert (left.get_title("left"), right.get_title("left")) == ("plain networks", "residual networks")
    assert {axes.get_xlim()[0] for axes in (left, right)} == {0}
    assert left.spines["bottom"].get_bounds() == right.spines["bottom"].get_bounds() == (0, 2), (
        "the axis is drawn from 0"
    )
    assert left.get_ylim() == right.get_ylim() and left.get_position().y0 == pytest.approx(right.get_position().y0)
    dashed, bold = ([values for style, _, values in lines_of(left) if style == kind] for kind in ("--", "-"))
    assert dashed == [[50, 10], [80, 12]] and bold == [[60, 12], [90, 15]], "training error dashed, test error bold"
    assert [values for _, _, values in lines_of(right)] == [[30, 1], [35, 3], [20, 0], [25, 2]]
    for axes in (left, right):
        assert all((line.get_linewidth() > 2) == (line.get_linestyle() == "-") for line in axes.lines)
        colours = dict.fromkeys(colour for _, colour, _ in lines_of(axes))
        assert labels_of(axes) == set(zip(["8 layers", "20 layers"], colours, [2, 2], strict=True))


def test_the_band_reaches_from_the_lowest_to_the_highest_run_and_is_named_in_the_legend():
    figure = figures.plot_training(TWO_KINDS, "title")
    left, right = figure.axes
    assert len(left.collections) == 2 and len(right.collections) == 0, "a network of one run has no band"
    train_band, test_band = ({tuple(point) for point in band.get_paths()[0].vertices} for band in left.collections)
    assert train_band == {(1, 40), (1, 60), (2, 8), (2, 12)}
    assert test_band == {(1, 50), (1, 70), (2, 10), (2, 14)}
    named = [text.get_text() for text in figure.legends[0].texts]
    assert named == ["test error", "training error", "from the lowest to the highest run"]
    assert len(figures.plot_training(TWO_KINDS[2:], "title").legends[0].texts) == 2


def test_several_options_are_named_beside_the_depth_and_one_epoch_is_drawn_as_points():
    (axes,) = figures.plot_training([run([5], [7], option) for option in "AB"], "title").axes
    assert [text.get_text() for text in axes.texts] == ["8 layers, A", "8 layers, B"]
    assert all(line.get_marker() == "o" for line in axes.lines)
    assert axes.get_xlim()[0] < 1 < axes.get_xlim()[1]


@pytest.mark.parametrize(("end", "top"), [(16, 20), (17, 50), (100, 100)])
@pytest.mark.parametrize("curve", ["training", "test"])
def test_the_scale_shows_every_end(end, top, curve):
    ends = ([90, end], [90, 1]) if curve == "training" else ([90, 1], [90, end])
    (axes,) = figures.plot_training([run(*ends)], "title").axes
    assert axes.get_ylim() == (0, top)


@pytest.mark.parametrize(
    ("plot", "records", "words"),
    [
        (figures.plot_training, [run([1], [1]), run([1, 1], [1, 1], seed=1)], r"of one length, got \[1, 2\] epochs"),
        (figures.plot_training, [DIVERGED], "of one length, got no epochs"),
        (figures.plot_error_against_depth, [DIVERGED], "must hold a run that has not diverged"),
        (figures.plot_curves, [], "must hold a run that has not diverged"),
    ],
)
def test_records_that_make_no_one_figure_are_refused(plot, records, words):
    with pytest.raises(ValueError, match=words):
        plot(records, "title")


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(colour: str, other: str) -> float:
    low, high = sorted([luminance(colour), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("depths", [[8], [8, 20], [20, 32, 44, 56, 110]], ids=str)
@pytest.mark.parametrize(("shortcut", "own"), [("none", "#D55E00"), ("A", "#0072B2")])
def test_shades_read_on_light_and_dark_paper_and_darken_with_depth(depths, shortcut, own):
    (axes,) = figures.plot_training([run([1], [1], shortcut, depth) for depth in depths], "title").axes
    colours = [line.get_color() for line in axes.lines if line.get_linewidth() > 2]
    assert len(colours) == len(depths)
    for colour in colours:
        assert contrast(colour, "#ffffff") >= 3 and contrast(colour, "#121212") >= 3
    assert all(luminance(shallow) > luminance(deep) for shallow, deep in pairwise(colours))
    assert len(depths) > 1 or colours[0].lower() == own.lower()
