"""A run goes on from its checkpoint to the same bits; a checkpoint that can't be used is named and set aside."""

import hashlib
import io
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from outcomes import CPU, figures, first_digits

from resnet_lib.checkpoints import FORMAT, find_checkpoint, save_checkpoint
from resnet_lib.recipes import Recipe
from resnet_lib.training import Run, build_model, train

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = Recipe(depth=8, width=2, epochs=3, batch_size=32, augment=True, held_out=10)


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    """That of RECIPE's run after two epochs."""
    run = Run(RECIPE, first_digits(100), CPU)
    run.train_epoch()
    run.train_epoch()
    return run.state()


@pytest.fixture
def path(tmp_path, state) -> Path:
    """A good checkpoint."""
    save_checkpoint(state, RECIPE, tmp_path / "run.checkpoint")
    return tmp_path / "run.checkpoint"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"schedule": "steps", "warm_up": True, "batch_size": 8},
        {"precision": "bfloat16"},
    ],
    ids=str,
)
def test_after_every_epoch_a_run_can_go_on_from_its_checkpoint_to_the_same_bits(tmp_path, settings):
    recipe, few = replace(RECIPE, **settings), first_digits(100)
    undisturbed = train(recipe, few, CPU)
    for done in range(recipe.epochs):
        wanted, calls = [done, 1] if done else [1], []

        def stop(epochs: int, loss: float | None, calls=calls, wanted=wanted, done=done) -> None:
            calls.append(epochs)
            if len(calls) == len(wanted):
                assert calls == wanted, "what is done already, then one epoch more"
                assert loss == undisturbed.curves["train_loss"][done]
                raise InterruptedError

        with pytest.raises(InterruptedError):
            train(recipe, few, CPU, stop, tmp_path / "run.checkpoint")
    assert figures(train(recipe, few, CPU, checkpoint=tmp_path / "run.checkpoint")) == figures(undisturbed)


def test_time_is_counted_over_all_starts(tmp_path, monkeypatch):
    now = iter(range(0, 10_000, 10))  # seconds: each look at the clock is 10 later
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    job = RECIPE, first_digits(100), CPU
    with pytest.raises(ZeroDivisionError):
        train(*job, lambda epochs, loss: 1 / 0, tmp_path / "run.checkpoint")
    record = train(*job, checkpoint=tmp_path / "run.checkpoint")
    assert record.seconds == 3 * (10 + 10) + 10 and record.images_per_second == pytest.approx(90 / 10)


# What can't be used


def sealed(content: bytes) -> bytes:
    """Any content with the right digest before it."""
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class Malice:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def whole(state: dict, /, **changes: Any) -> dict[str, Any]:
    """What a checkpoint holds, with entries changed, or left out where the change is `...`."""
    content = {"format": FORMAT, "recipe": asdict(RECIPE), "state": state, **changes}
    return {name: value for name, value in content.items() if value is not ...}


NOT_CHECKPOINTS: dict[str, Callable[[bytes, dict], bytes]] = {
    "empty": lambda good, state: b"",
    "cut off by one byte": lambda good, state: good[:-1],
    "saved by PyTorch alone": lambda good, state: saved(whole(state)),
    "sealed, but a tensor": lambda good, state: sealed(saved(torch.ones(3))),
    "sealed, but a pickle": lambda good, state: sealed(pickle.dumps({"format": FORMAT}, protocol=2)),
    "of another format": lambda good, state: sealed(saved(whole(state, format="resnet_lib checkpoint 0"))),
    "without a recipe": lambda good, state: sealed(saved(whole(state, recipe=...))),
    "without a state": lambda good, state: sealed(saved(whole(state, state=...))),
    "with another state": lambda good, state: sealed(saved(whole(state, state=torch.ones(3)))),
    "with a bit flipped": lambda good, state: good[:-5000] + bytes([good[-5000] ^ 1]) + good[-4999:],
    "of another seed": lambda good, state: sealed(saved(whole(state, recipe=asdict(replace(RECIPE, seed=1))))),
}


def check_set_aside(path: Path, content: bytes) -> None:
    """find_checkpoint finds nothing usable, says so, and moves the content, unchanged."""
    path.write_bytes(content)
    before = set(path.parent.iterdir())
    with pytest.warns(UserWarning, match="the run starts again") as warned:
        assert find_checkpoint(RECIPE, path) is None
    (sentence,) = (str(warning.message) for warning in warned)
    (aside,) = set(path.parent.iterdir()) - before
    assert str(path) in sentence and aside.name in sentence and "\n" not in sentence
    assert aside.read_bytes() == content and not path.exists()


@pytest.mark.parametrize("make", NOT_CHECKPOINTS.values(), ids=NOT_CHECKPOINTS)
def test_what_is_not_the_runs_checkpoint_is_named_and_set_aside(path, state, make):
    check_set_aside(path, make(path.read_bytes(), state))


UNFIT: dict[str, Callable[[dict], Any]] = {
    "empty": lambda state: {},
    "of a wider network": lambda state: {
        **state,
        "model": build_model(replace(RECIPE, width=3), first_digits(100)).state_dict(),
    },
    "with a curve that is shorter": lambda state: {**state, "curves": {**state["curves"], "test_error": [50.0]}},
    "with curves of another epoch": lambda state: {**state, "curves": {name: [1.0] for name in state["curves"]}},
    "without a time": lambda state: {**state, "seconds": [1.0]},
    "with a word for a time": lambda state: {**state, "seconds": [1.0, "two"]},
    "with random numbers of no generator": lambda state: {**state, "generator": torch.ones(3)},
}


@pytest.mark.parametrize("spoil", UNFIT.values(), ids=UNFIT)
def test_a_whole_checkpoint_that_does_not_fit_is_set_aside_and_the_run_starts_again(path, state, spoil):
    save_checkpoint(spoil(state), RECIPE, path)
    content, few = path.read_bytes(), first_digits(100)
    with pytest.warns(UserWarning, match="does not fit the run: .*; it is now run.checkpoint.set-aside, and the run"):
        record = train(RECIPE, few, CPU, checkpoint=path)
    assert path.with_name("run.checkpoint.set-aside").read_bytes() == content
    assert figures(record) == figures(train(RECIPE, few, CPU))


def test_a_checkpoint_that_would_run_code_runs_none(path, state, tmp_path_factory):
    marker = tmp_path_factory.mktemp("elsewhere") / "code was run"
    malice = Malice(marker)
    for content in (pickle.dumps(malice, protocol=2), saved(malice), saved(whole({**state, "curves": malice}))):
        check_set_aside(path, sealed(content))
    assert not marker.exists()
    torch.load(io.BytesIO(saved(malice)), weights_only=False)
    assert marker.exists(), "it would have"
