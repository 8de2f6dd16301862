"""A run goes on from its checkpoint to the same bits; a checkpoint that can't be used is named and set aside."""

import errno
import hashlib
import io
import os
import pickle
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from outcomes import figures

from resnet_lib.checkpoints import FORMAT, checkpoint_path, find_checkpoint, save_checkpoint
from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.recipes import Recipe
from resnet_lib.training import Run, train

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
RECIPE = Recipe(depth=8, width=2, epochs=4, batch_size=32, augment=True, held_out=10)


@pytest.fixture(scope="module")
def few() -> Dataset:
    """The digits cut to 100 and 40 images."""
    digits = load_dataset("digits")
    return replace(
        digits,
        train_images=digits.train_images[:100],
        train_labels=digits.train_labels[:100],
        test_images=digits.test_images[:40],
        test_labels=digits.test_labels[:40],
    )


@pytest.fixture(scope="module")
def state(few) -> dict[str, Any]:
    """That of RECIPE's run after two epochs."""
    run = Run(RECIPE, few, CPU)
    run.train_epoch()
    run.train_epoch()
    return run.state()


@pytest.fixture
def path(tmp_path, state) -> Path:
    """A good checkpoint."""
    path = checkpoint_path(RECIPE, tmp_path)
    save_checkpoint(state, RECIPE, path)
    return path


def same(one: Any, other: Any) -> bool:
    """Equal in type and value, through and through."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


# There and back


def test_a_state_comes_back_as_it_was_saved(path, state):
    found = find_checkpoint(RECIPE, path)
    assert same({key: dict(value) if key == "model" else value for key, value in found.items()}, plain(state))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def plain(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "model": dict(state["model"])}


def test_a_state_holds_only_what_can_be_loaded_without_running_code(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    torch.load(buffer, weights_only=True)


def test_where_there_is_no_checkpoint_none_is_found(tmp_path):
    assert find_checkpoint(RECIPE, tmp_path / "none") is None and not list(tmp_path.iterdir())


def test_each_recipe_has_a_checkpoint_of_its_own_beside_its_record(tmp_path):
    recipes = [RECIPE, replace(RECIPE, seed=1), replace(RECIPE, augment=False), replace(RECIPE, precision="bfloat16")]
    paths = [checkpoint_path(recipe, tmp_path) for recipe in recipes]
    assert len(set(paths)) == 4
    for recipe, path in zip(recipes, paths, strict=True):
        assert path.parent == tmp_path and path.stem == Path(recipe.file_name).stem
        assert path.suffix != ".json", "else it would pass for a record"


RUNS = [
    {},
    {"shortcut": "none", "augment": False, "held_out": 0},
    {"schedule": "steps", "lr": 0.2},
    {"schedule": "steps", "warm_up": True, "batch_size": 8},
    {"precision": "bfloat16"},
    {"shortcut": "B", "momentum": 0.0},
    {"batch_size": 1000},
]


@pytest.mark.parametrize("settings", RUNS, ids=str)
def test_after_every_epoch_a_run_can_go_on_from_its_checkpoint_to_the_same_bits(few, tmp_path, settings):
    recipe, path = replace(RECIPE, **settings), tmp_path / "checkpoint"
    undisturbed = figures(train(recipe, few, CPU))
    for done in range(recipe.epochs):
        calls: list[int] = []

        def stop(epochs: int, loss: float | None, calls=calls, wanted=[done, 1] if done else [1]) -> None:
            calls.append(epochs)
            if len(calls) == len(wanted):
                assert calls == wanted, "what is done already, then one epoch more"
                raise InterruptedError

        with pytest.raises(InterruptedError):
            train(recipe, few, CPU, stop, path)
    assert figures(train(recipe, few, CPU, checkpoint=path)) == undisturbed


def test_time_is_counted_over_all_starts(few, tmp_path, monkeypatch):
    now = iter(range(0, 10_000, 10))  # seconds: each look at the clock is 10 later
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            train(RECIPE, few, CPU, lambda epochs, loss: 1 / 0 if epochs == 1 else None, tmp_path / "checkpoint")
    record = train(RECIPE, few, CPU, checkpoint=tmp_path / "checkpoint")
    assert record.seconds == 4 * (10 + 10) + 10 and record.images_per_second == pytest.approx(90 / 10)


def test_without_a_checkpoint_nothing_is_written(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(replace(RECIPE, epochs=1), few, CPU)
    assert not list(tmp_path.iterdir())


# All or nothing


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("step", ["os.replace", "os.fsync", "torch.save"])
def test_a_failure_while_saving_leaves_the_checkpoint_before(path, state, monkeypatch, step, error):
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(type(error)):
            save_checkpoint({**state, "curves": {}}, RECIPE, path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_the_checkpoint_is_whole_before_it_takes_its_place(path, state, monkeypatch):
    seen, move = [], os.replace

    def look_then_move(source, target):
        seen.append(find_checkpoint(RECIPE, Path(source)))
        move(source, target)

    monkeypatch.setattr(os, "replace", look_then_move)
    save_checkpoint(state, RECIPE, path)
    assert len(seen) == 1 and same(plain(seen[0]), plain(state))


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


def whole(state: dict, **changes: Any) -> dict[str, Any]:
    return {"format": FORMAT, "recipe": asdict(RECIPE), "state": state, **changes}


def without(state: dict, name: str) -> dict[str, Any]:
    return {key: value for key, value in whole(state).items() if key != name}


NOT_CHECKPOINTS: dict[str, Callable[[bytes, dict], bytes]] = {
    "empty": lambda good, state: b"",
    "cut off in the digest": lambda good, state: good[:30],
    "cut off after the digest": lambda good, state: good[:65],
    "cut off at the start": lambda good, state: good[:200],
    "cut off in the middle": lambda good, state: good[: len(good) // 2],
    "cut off by one byte": lambda good, state: good[:-1],
    "with a byte too many": lambda good, state: good + b"\0",
    "with zeros for its end": lambda good, state: good[:-4096] + bytes(4096),
    "only zeros": lambda good, state: bytes(len(good)),
    "a text": lambda good, state: b"Dear diary,\nnothing happened today\n",
    "a picture": lambda good, state: b"\x89PNG\r\n\x1a\n\xff\xfe",
    "saved by PyTorch alone": lambda good, state: saved(whole(state)),
    "without its digest": lambda good, state: good[65:],
    "with another's digest": lambda good, state: b"0" * 64 + good[64:],
    "sealed, but nothing": lambda good, state: sealed(b""),
    "sealed, but a text": lambda good, state: sealed(b"nothing happened today"),
    "sealed, but cut off": lambda good, state: sealed(good[65:-1000]),
    "sealed, but no dictionary": lambda good, state: sealed(saved([1, 2])),
    "sealed, but a tensor": lambda good, state: sealed(saved(torch.ones(3))),
    "sealed, but a pickle": lambda good, state: sealed(pickle.dumps({"format": FORMAT}, protocol=2)),
    "of another format": lambda good, state: sealed(saved(whole(state, format="resnet_lib checkpoint 0"))),
    "without a format": lambda good, state: sealed(saved(without(state, "format"))),
    "without a recipe": lambda good, state: sealed(saved(without(state, "recipe"))),
    "without a state": lambda good, state: sealed(saved(without(state, "state"))),
    "of another seed": lambda good, state: sealed(saved(whole(state, recipe=asdict(replace(RECIPE, seed=1))))),
    "of another width": lambda good, state: sealed(saved(whole(state, recipe=asdict(replace(RECIPE, width=3))))),
    "of a recipe that is a name": lambda good, state: sealed(saved(whole(state, recipe=RECIPE.name))),
}


def check_set_aside(path: Path, content: bytes) -> None:
    """find_checkpoint finds nothing usable, says so, and moves the content, unchanged."""
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="the run starts again") as warned:
        assert find_checkpoint(RECIPE, path) is None
    assert len(warned) == 1
    sentence = str(warned[0].message)
    assert str(path) in sentence and "\n" not in sentence
    (aside,) = path.parent.iterdir()
    assert aside.read_bytes() == content and aside.name != path.name and aside.name in sentence
    assert find_checkpoint(RECIPE, path) is None, "and there is no second warning"


@pytest.mark.parametrize("make", NOT_CHECKPOINTS.values(), ids=NOT_CHECKPOINTS)
def test_what_is_not_the_runs_checkpoint_is_named_and_set_aside(path, state, make):
    check_set_aside(path, make(path.read_bytes(), state))


@pytest.mark.parametrize("seed", range(12))
def test_a_checkpoint_with_one_bit_flipped_is_named_and_set_aside(path, seed):
    content, chance = bytearray(path.read_bytes()), random.Random(seed)
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    check_set_aside(path, bytes(content))


@pytest.mark.parametrize("seed", range(6))
def test_a_checkpoint_cut_off_anywhere_is_named_and_set_aside(path, seed):
    content = path.read_bytes()
    check_set_aside(path, content[: random.Random(seed).randrange(len(content))])


@pytest.mark.parametrize("how", ["a pickle", "saved by PyTorch", "in a checkpoint"])
def test_a_checkpoint_that_would_run_code_runs_none(path, state, tmp_path_factory, how):
    marker = tmp_path_factory.mktemp("elsewhere") / "code was run"
    malice = Malice(marker)
    content = {
        "a pickle": lambda: pickle.dumps(malice, protocol=2),
        "saved by PyTorch": lambda: saved(malice),
        "in a checkpoint": lambda: saved(whole({**state, "curves": malice})),
    }[how]()
    check_set_aside(path, sealed(content))
    check_set_aside_again(path, content)
    assert not marker.exists()
    torch.load(io.BytesIO(saved(malice)), weights_only=False)
    assert marker.exists(), "it would have"


def check_set_aside_again(path: Path, content: bytes) -> None:
    """As `check_set_aside`, where one file was set aside before."""
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="the run starts again"):
        assert find_checkpoint(RECIPE, path) is None
    assert not path.exists() and len(list(path.parent.iterdir())) == 2


def test_nothing_set_aside_is_ever_overwritten(path):
    broken = [b"first", b"second", b"third"]
    for content in broken:
        path.write_bytes(content)
        with pytest.warns(UserWarning, match="the run starts again"):
            assert find_checkpoint(RECIPE, path) is None
    assert sorted(file.read_bytes() for file in path.parent.iterdir()) == sorted(broken)


@pytest.mark.parametrize("kind", ["cut off in the middle", "of another seed"])
def test_a_run_with_a_checkpoint_that_cannot_be_used_starts_again_and_ends_right(few, path, state, kind):
    content = NOT_CHECKPOINTS[kind](path.read_bytes(), state)
    path.write_bytes(content)
    epochs = []
    with pytest.warns(UserWarning, match="the run starts again"):
        record = train(RECIPE, few, CPU, lambda count, loss: epochs.append(count), path)
    assert epochs == [1, 1, 1, 1] and figures(record) == figures(train(RECIPE, few, CPU))
    assert content in [file.read_bytes() for file in path.parent.iterdir()]
