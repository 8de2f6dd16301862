"""The benchmarks' machinery, on made figures and a made clock. How fast anything is, no test asks."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks import __main__ as command_line
from benchmarks import rows
from benchmarks.measure import Goal, Result, Row, as_json, format_table, interleave
from benchmarks.usual import PilImages, pil_loader, usual_loop
from torch import nn

from resnet_lib.augment import AugmentedImages
from resnet_lib.datasets import Dataset
from resnet_lib.training import build_model

CPU = torch.device("cpu")
AT_LEAST_2 = Goal("≥", 2)


def made_row(name: str = "made", goal: Goal = AT_LEAST_2, prepare=None, missing: str = "") -> Row:
    return Row(name, f"{name} / theirs", "images/s", goal, prepare, 1, missing)


def made_result(*ratios: float, goal: Goal = AT_LEAST_2) -> Result:
    return Result(made_row(goal=goal), [(1000 * ratio, 1000.0) for ratio in ratios])


def test_sides_take_turns_and_the_first_turn_does_not_count():
    turns = []
    ours, theirs = itertools.count(0), itertools.count(100)

    def take(side: str, figures) -> float:
        turns.append(side)
        return next(figures)

    pairs = interleave(lambda: take("ours", ours), lambda: take("theirs", theirs), pairs=3)
    assert turns == ["ours", "theirs"] * 4
    assert pairs == [(1, 101), (2, 102), (3, 103)]


def test_every_pair_is_reported_while_measuring():
    reports = []
    interleave(lambda: 1.0, lambda: 1.0, pairs=3, on_pair=lambda: reports.append("pair"))
    assert len(reports) == 3


def test_a_machine_that_slows_down_for_a_while_leaves_the_ratios_alone():
    speed = [1.0, 1.0, 0.2, 0.2, 1.0]  # of the warm-up and of four pairs
    ours, theirs = (iter([factor * at_best for factor in speed]) for at_best in (300, 100))
    result = Result(made_row(), interleave(lambda: next(ours), lambda: next(theirs), pairs=4))
    assert result.ratios == pytest.approx([3] * 4)


def test_the_table_shows_the_median_ratio_and_the_outermost_ones():
    cells = format_table([made_result(2.5, 40.0, 2.0, 2.25, 3.0)]).splitlines()[-1].split(" | ")
    assert cells[1:] == ["≥ 2", "2.500", "2.000–40.000", "2,500 images/s", "1,000 images/s", "yes |"]


def test_the_table_is_markdown_with_as_many_cells_in_every_row():
    missing = Result(made_row("elsewhere"), not_measured="no CUDA GPU here")
    lines = format_table([made_result(2.0), missing]).splitlines()
    assert {line.count("|") for line in lines} == {8}
    assert "elsewhere / theirs | ≥ 2 | not measured: no CUDA GPU here |" in lines[-1]


@pytest.mark.parametrize(
    "sign, goal, ratios, verdict",
    [
        ("≥", 2, (1.9, 2.0, 2.1), "yes"),
        ("≥", 2, (1.8, 1.9, 2.1), "within the noise"),
        ("≥", 2, (1.7, 1.8, 1.9), "no"),
        ("≤", 1, (0.9, 1.0, 1.1), "yes"),
        ("≤", 1, (0.9, 1.1, 1.2), "within the noise"),
        ("≤", 1, (1.1, 1.2, 1.3), "no"),
    ],
)
def test_the_verdict_judges_the_median(sign, goal, ratios, verdict):
    assert made_result(*ratios, goal=Goal(sign, goal)).verdict == verdict


def test_the_file_keeps_every_figure_and_names_what_was_not_measured():
    missing = Result(made_row("elsewhere"), not_measured="no CUDA GPU here")
    written = json.loads(json.dumps(as_json([made_result(2.0, 3.0), missing], {"cores": 2})))
    measured, elsewhere = written["rows"]
    assert written["environment"] == {"cores": 2}
    assert (measured["ours"], measured["theirs"]) == ([2000, 3000], [1000, 1000])
    assert (measured["median"], measured["min"], measured["max"]) == (2.5, 2, 3)
    assert elsewhere["not_measured"] == "no CUDA GPU here" and "median" not in elsewhere


def test_a_rate_is_images_over_the_seconds_of_the_work_alone(monkeypatch):
    clock = itertools.count(10.0, 0.5)
    monkeypatch.setattr(rows.time, "perf_counter", lambda: next(clock))
    assert rows.rate(lambda: None, images=128, device=CPU)() == 256


def test_ctrl_c_keeps_the_rows_that_are_done():
    def stop(work: int):
        raise KeyboardInterrupt

    done = made_row("done", prepare=lambda work: (lambda: 2.0, lambda: 1.0))
    results = command_line.measure_all([done, made_row("cut off", prepare=stop), made_row("after")], 2, quick=True)
    assert results[0].ratios == [2, 2]
    assert [(result.row.name, result.not_measured) for result in results[1:]] == [
        ("cut off", "stopped"),
        ("after", "stopped"),
    ]


def test_a_row_that_this_machine_cannot_measure_is_not_tried():
    [result] = command_line.measure_all([made_row(missing="no CUDA GPU here")], 2, quick=True)
    assert result.not_measured == "no CUDA GPU here"


def test_both_augmentations_make_the_same_pixels():
    # Two images, each of one colour: wherever it is cropped, the pixel in the middle stays the same.
    colours = torch.tensor([[10, 200, 30], [250, 0, 90]], dtype=torch.uint8)
    images = colours.view(2, 3, 1, 1).repeat(1, 1, 32, 32)
    dataset = Dataset("made", 10, images, torch.tensor([3, 7]), images, torch.tensor([3, 7]))
    theirs = PilImages(dataset)
    ours = AugmentedImages(images, dataset.mean, dataset.std)[torch.tensor([0, 1])]
    for i, label in enumerate((3, 7)):
        pixels, their_label = theirs[i]
        assert their_label == label and pixels.shape == ours[i].shape
        torch.testing.assert_close(pixels[:, 16, 16], ours[i, :, 16, 16])


class Small(nn.Module):
    """A network with so many MiB of weights, which get no gradient."""

    def __init__(self, mebibytes: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(mebibytes * 2**18))
        self.fc = nn.Linear(3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.mean((2, 3)))


def test_peak_memory_counts_every_mebibyte_of_a_network(monkeypatch):
    monkeypatch.setattr(rows, "RESNET50", {"ours": lambda: Small(4), "theirs": lambda: Small(7)})
    ours, theirs = (side() for side in rows.resnet50_memory(1))
    assert theirs - ours == 3 and 4 < ours < 7  # MiB; the images take one and a half


def test_the_usual_loop_trains():
    dataset = rows.made_dataset(32)
    run = rows.made_run(8, dataset, CPU, "float32")
    model = build_model(run.recipe, dataset)
    before = model.fc.weight.clone()
    usual_loop(model, pil_loader(dataset, workers=1), CPU, "float32")()
    assert not torch.equal(model.fc.weight, before) and model.fc.weight.isfinite().all()


def test_one_command_measures_a_row_and_writes_it(tmp_path):
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--rows", "readable-loop", "captured-20"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, "--out", tmp_path / "out.json"], cwd=root, check=True, capture_output=True, encoding="utf-8"
    )
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in written["rows"]] == ["readable-loop", "captured-20"]
    assert len(written["rows"][0]["ours"]) == 1 and written["rows"][0]["median"] > 0
    assert written["environment"]["quick"] and written["environment"]["threads"] >= 1
    assert "| readable loop / bare loop over the same tensors | ≥ 0.97 |" in done.stdout


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--pairs", "0"], "--pairs must be at least 1, got 0"),
        (["--rows", "nonsense"], "nonsense"),
        (["--out", "."], "--out must be a file"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_measured(arguments, complaint, capsys, monkeypatch):
    monkeypatch.setattr(command_line, "measure_all", lambda *_: pytest.fail("it measured"))
    with pytest.raises(SystemExit) as caught:
        command_line.main(arguments)
    assert caught.value.code == 2 and complaint in capsys.readouterr().err
