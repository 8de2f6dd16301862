"""The benchmarks' machinery, on made figures. How fast anything is, no test asks."""

import itertools
import json
from dataclasses import replace

import pytest
import torch
from benchmarks import __main__ as command_line
from benchmarks import rows
from benchmarks.measure import Goal, Result, Row
from benchmarks.usual import PilImages, pil_loader, usual_loop
from torch import nn

from resnet_lib.datasets import Dataset
from resnet_lib.training import build_model

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("goal", "ratios", "verdict"),
    [
        (Goal("≥", 2), (1.9, 2.0, 2.1), "yes"),
        (Goal("≥", 2), (1.8, 1.9, 2.1), "within the noise"),
        (Goal("≤", 1), (1.1, 1.2, 1.3), "no"),
    ],
)
def test_the_verdict_judges_the_median(goal, ratios, verdict):
    row = Row("made", "ours / theirs", "images/s", goal, None, 1)
    assert Result(row, [(ratio, 1.0) for ratio in ratios]).verdict == verdict


def holding(mebibytes: int) -> nn.Module:
    """A small network, and so many MiB of weights that get no gradient."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    model.register_buffer("weights", torch.zeros(mebibytes * 2**18))
    return model


def test_peak_memory_counts_every_mebibyte_of_a_network(monkeypatch):
    monkeypatch.setattr(rows, "RESNET50", {"ours": lambda: holding(4), "theirs": lambda: holding(7)})
    ours, theirs = (side() for side in rows.resnet50_memory(CPU, 1))
    assert theirs - ours == 3 and 4 < ours < 7  # MiB; the images take one and a half


def test_the_usual_loop_trains_on_normalised_pixels():
    # Images of one colour each: wherever they are cropped, the pixel in the middle stays the same.
    images = torch.tensor([[10, 200, 30], [250, 0, 90]], dtype=torch.uint8).view(2, 3, 1, 1).repeat(16, 1, 32, 32)
    labels = torch.tensor([3, 7]).repeat(16)
    dataset = Dataset("made", 10, images, labels, images[:1], labels[:1])
    theirs, ours = PilImages(dataset), dataset.normalise(images)
    for i in range(2):
        pixels, label = theirs[i]
        assert label == labels[i]
        torch.testing.assert_close(pixels[:, 16, 16], ours[i, :, 16, 16])
    model = build_model(rows.made_run(8, dataset, CPU, "float32").recipe, dataset)
    before = model.fc.weight.clone()
    usual_loop(model, pil_loader(dataset, workers=1), CPU, "float32")()
    assert not torch.equal(model.fc.weight, before) and model.fc.weight.isfinite().all()


def test_one_command_measures_each_side_in_turn_after_a_turn_that_does_not_count_and_writes_all(
    tmp_path, capsys, monkeypatch
):
    row = Row("turns", "ours / theirs", "images/s", Goal("≥", 1), lambda _: (turns.__next__,) * 2, 1)
    turns, out = itertools.count(), tmp_path / "out.json"
    monkeypatch.setattr(command_line, "all_rows", lambda: [row, replace(row, name="gpu", missing="no CUDA GPU here")])
    command_line.main(["--pairs", "3", "--out", str(out)])
    measured, missing = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert (measured["ours"], measured["theirs"], measured["median"]) == ([2, 4, 6], [3, 5, 7], 4 / 5)
    said = capsys.readouterr().out
    assert missing["not_measured"] == "no CUDA GPU here" and "not measured: no CUDA GPU here" in said
    assert "| ours / theirs | ≥ 1 | 0.800 | 0.667–0.857 | 4 images/s | 5 images/s | no |" in said
