"""The benchmarks' machinery, on made figures. How fast anything is, no test asks."""

import itertools
import json

import pytest
import torch
from benchmarks import __main__ as command_line
from benchmarks import rows
from benchmarks.measure import Goal, Result, Row, as_json, format_table, interleave
from benchmarks.usual import PilImages, pil_loader, usual_loop
from torch import nn

from resnet_lib.datasets import Dataset
from resnet_lib.training import build_model

CPU = torch.device("cpu")
AT_LEAST_2 = Goal("≥", 2)


def made_result(*ratios: float, goal: Goal = AT_LEAST_2, missing: str = "") -> Result:
    row = Row("made", "ours / theirs", "images/s", goal, None, 1, missing)
    return Result(row, [(1000 * ratio, 1000.0) for ratio in ratios], missing)


def test_sides_take_turns_and_the_first_turn_does_not_count():
    turns = itertools.count()
    assert interleave(lambda: next(turns), lambda: next(turns), pairs=3) == [(2, 3), (4, 5), (6, 7)]


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


def test_table_and_file_show_the_medians_and_what_was_not_measured():
    results = [made_result(2.5, 40.0, 2.0, 2.25, 3.0), made_result(missing="no CUDA GPU here")]
    *_, measured, missing = format_table(results).splitlines()
    cells = ["≥ 2", "2.500", "2.000–40.000", "2,500 images/s", "1,000 images/s", "yes |"]
    assert measured.split(" | ")[1:] == cells and "not measured: no CUDA GPU here" in missing
    written = json.loads(json.dumps(as_json(results, {"cores": 2})))
    measured, missing = written["rows"]
    assert (measured["median"], measured["min"], measured["max"], len(measured["ours"])) == (2.5, 2, 40, 5)
    assert missing["not_measured"] == "no CUDA GPU here" and "median" not in missing


def holding(mebibytes: int) -> nn.Module:
    """A small network, and so many MiB of weights that get no gradient."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    model.register_buffer("weights", torch.zeros(mebibytes * 2**18))
    return model


def test_peak_memory_counts_every_mebibyte_of_a_network(monkeypatch):
    monkeypatch.setattr(rows, "RESNET50", {"ours": lambda: holding(4), "theirs": lambda: holding(7)})
    ours, theirs = (side() for side in rows.resnet50_memory(1))
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


def test_one_command_measures_a_row_and_writes_it(tmp_path, capsys):
    out = tmp_path / "out.json"
    command_line.main(["--quick", "--rows", "readable-loop", "captured-20", "--out", str(out)])
    written = json.loads(out.read_text(encoding="utf-8"))
    assert [row["name"] for row in written["rows"]] == ["readable-loop", "captured-20"]
    assert written["rows"][0]["median"] > 0 and written["environment"]["quick"]
    assert "| readable loop / bare loop over the same tensors | ≥ 0.97 |" in capsys.readouterr().out
