"""``python -m resnet_course``."""

from pathlib import Path

import pytest

from resnet_course import __main__ as command_line
from resnet_course.__main__ import main
from resnet_course.probes import load_measurement


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_probes_makes_the_measurements_that_are_named_and_prints_their_records(capsys, monkeypatch):
    tiny = (lambda value: {"square": value * value}, [{"value": 2}, {"value": 3}])
    monkeypatch.setitem(command_line.MEASUREMENTS, "identity", tiny)
    main(["probes", "--out", "here", "--only", "identity"])
    assert capsys.readouterr().out == f"{Path('here', 'identity.json')}\n"
    assert [row["square"] for row in load_measurement(Path("here", "identity.json"))["rows"]] == [4, 9]


def test_probes_refuses_a_folder_that_is_a_file(capsys):
    Path("here").write_text("")
    with pytest.raises(SystemExit) as caught:
        main(["probes", "--out", "here"])
    assert caught.value.code == 2 and "here" in capsys.readouterr().err
