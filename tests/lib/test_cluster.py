"""A grid on a Ray cluster gives the records of a grid without it, also when a worker is killed."""

import builtins
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from outcomes import figures

import resnet_lib
from resnet_lib import cluster
from resnet_lib.checkpoints import checkpoint_path
from resnet_lib.cluster import require_ray, run_on_cluster
from resnet_lib.datasets import load_dataset
from resnet_lib.experiments import degradation_grid, run_grid
from resnet_lib.records import Record, find_record
from resnet_lib.runs import BusyError

PATIENCE = 400  # seconds; a busy machine can be ten times slower than usual
GRID = degradation_grid(depths=[8], seeds=2, width=2, epochs=5, images=400, augment=True)
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(Path(resnet_lib.__file__).parents[1]), str(Path(__file__).parents[1])]),
    "PYTHONIOENCODING": "utf-8",
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
}


# Without Ray


@pytest.fixture
def no_ray(monkeypatch) -> None:
    """A machine without Ray."""
    whole = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return whole(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)


def test_without_ray_one_sentence_says_how_to_get_it(no_ray, tmp_path):
    for call in (require_ray, lambda: run_grid(GRID, tmp_path / "runs", "cpu", engine="ray")):
        with pytest.raises(ValueError) as caught:
            call()
        sentence = str(caught.value)
        assert "\n" not in sentence and "not installed" in sentence
        assert 'pip install "resnet-lib[cluster]"' in sentence and "'local'" in sentence
    assert not (tmp_path / "runs").exists()


def test_without_ray_the_command_line_refuses_in_one_line(no_ray, tmp_path, monkeypatch, capsys):
    from resnet_lib.__main__ import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["degradation", "--engine", "ray", "--device", "cpu"])
    out, err = capsys.readouterr()
    assert caught.value.code == 2 and out == "" and err.count("\n") == 1
    assert 'pip install "resnet-lib[cluster]"' in err and not list(tmp_path.iterdir())


# What is asked of Ray, with a pretended one


class PretendedRay:
    """Ray as `run_on_cluster` uses it: tasks run where they are called for, and end in reverse order."""

    def __init__(self) -> None:
        self.initialized, self.options, self.stored = 0, [], []

    def is_initialized(self) -> bool:
        return bool(self.initialized)

    def init(self, **options) -> None:
        self.initialized += 1

    def remote(self, **options):
        self.options.append(options)
        return lambda function: SimpleNamespace(remote=lambda *args: Reference(function, args))

    def put(self, value):
        self.stored.append(value)
        return value

    def wait(self, references: list["Reference"]) -> tuple[list["Reference"], list["Reference"]]:
        return references[-1:], references[:-1]

    def get(self, reference: "Reference"):
        return reference.function(*reference.args)


class Reference:
    """A task to come."""

    def __init__(self, function, args) -> None:
        self.function, self.args = function, args


@pytest.fixture
def pretended_ray(monkeypatch) -> PretendedRay:
    ray = PretendedRay()
    monkeypatch.setattr(cluster, "require_ray", lambda: ray)
    return ray


def made_up(recipe, train_loss: float | None = 0.5) -> Record:
    return Record(recipe, 1.0, 2.0, 2.0, None, train_loss, {}, 0.5, 100.0)


@pytest.mark.parametrize("gpus", [0, 0.25, 1])
def test_every_run_is_a_task_that_gets_its_share_of_a_gpu_and_each_data_set_is_stored_once(
    pretended_ray, monkeypatch, tmp_path, gpus
):
    asked = []
    monkeypatch.setattr(cluster, "run_in_folder", lambda *args: asked.append(args) or made_up(args[0]))
    digits, finished = load_dataset("digits"), []
    records = run_on_cluster(GRID, {"digits": digits}, "cpu", tmp_path, gpus, lambda *args: finished.append(args))
    assert [record.recipe for record in records] == GRID, "in the order of the recipes"
    assert finished == [(recipe, 5, 0.5) for recipe in reversed(GRID)], "as they end"
    assert [args[0] for args in asked] == GRID[::-1] and {args[1] for args in asked} == {digits}
    assert {(str(args[2]), args[3]) for args in asked} == {("cpu", tmp_path.absolute())}
    assert pretended_ray.initialized == 1 and pretended_ray.stored == [digits]
    (options,) = pretended_ray.options
    assert options["num_gpus"] == gpus and options["num_cpus"] == 1 and options["max_retries"] > 1


def test_a_cluster_that_is_there_is_used(pretended_ray, monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "run_in_folder", lambda *args: made_up(args[0]))
    pretended_ray.initialized = 1
    run_on_cluster(GRID, {"digits": load_dataset("digits")}, "cpu", tmp_path, 0, lambda *args: None)
    assert pretended_ray.initialized == 1


def test_a_run_that_another_process_works_on_is_none_and_not_finished(pretended_ray, monkeypatch, tmp_path):
    def busy_with_the_second(recipe, *rest):
        if recipe == GRID[1]:
            raise BusyError("busy")
        return made_up(recipe)

    monkeypatch.setattr(cluster, "run_in_folder", busy_with_the_second)
    finished = []
    records = run_on_cluster(
        GRID, {"digits": load_dataset("digits")}, "cpu", tmp_path, 0, lambda recipe, *rest: finished.append(recipe)
    )
    assert [record is None for record in records] == [recipe == GRID[1] for recipe in GRID]
    assert set(finished) == set(GRID) - {GRID[1]}


# A real cluster of two workers, in a process of its own

DRIVER = """
import sys
import ray
from resnet_lib.__main__ import main

ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
main(sys.argv[1:])
ray.shutdown()
"""


def workers_below(pid: int) -> dict:
    """The processes of the cluster that work on a task now, {pid: process}."""
    import psutil

    workers = {}
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if any("ray::" in word and "IDLE" not in word for word in [process.name(), *process.cmdline()[:1]]):
                workers[process.pid] = process
        except psutil.Error:  # it has just ended
            continue
    return workers


@pytest.mark.skipif(sys.platform == "win32", reason="Ray's processes can't be found by their names on Windows")
def test_a_grid_on_two_workers_one_of_which_is_killed_gives_the_records_of_a_grid_without_ray(tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install resnet-lib[cluster]")
    pytest.importorskip("psutil", reason="needs psutil, to find the workers")
    grid = degradation_grid(depths=[8, 14], seeds=1, width=4, epochs=8, augment=True)
    options = "--depths 8 14 --seeds 1 --width 4 --epochs 8 --augment --device cpu --engine ray --json"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, "degradation", *options.split(), "--out", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=ENVIRONMENT,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        killed = None
        while killed is None:
            assert driver.poll() is None, driver.stderr.read()
            assert time.monotonic() < deadline, "no run came as far as a checkpoint"
            begun = [recipe for recipe in grid if checkpoint_path(recipe, tmp_path).exists()]
            workers = workers_below(driver.pid) if begun else {}
            for worker in workers.values():
                locks = {Path(file.path).stem for file in worker.open_files() if file.path.endswith(".lock")}
                victims = [recipe for recipe in begun if checkpoint_path(recipe, tmp_path).stem in locks]
                if victims:
                    worker.suspend()  # so that it is in the middle of its run when it dies
                    if not (tmp_path / victims[0].file_name).exists():
                        killed = victims[0]
                        worker.kill()
                        break
                    worker.resume()
        document, errors = driver.communicate(timeout=PATIENCE)
    finally:
        driver.kill()
    assert driver.returncode == 0, errors
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(recipe.file_name for recipe in grid)
    records = [find_record(recipe, tmp_path) for recipe in grid]
    assert [figures(record) for record in records] == [figures(record) for record in run_grid(grid, device="cpu")]
    printed = json.loads(document)["runs"]  # and not what Ray has to say about the killed worker
    assert [run["curves"] for run in printed] == [record.curves for record in records], "none is lost or doubled"
