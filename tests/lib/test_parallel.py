"""Side by side: results in order, one thread each, errors and interrupts heard, the caller's state left alone."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from outcomes import figures, made_up

import resnet_lib
from resnet_lib import experiments, parallel
from resnet_lib.__main__ import main
from resnet_lib.experiments import degradation_grid, lock_of, run_grid
from resnet_lib.parallel import one_per_core, one_per_task
from resnet_lib.records import find_record, format_table

PATIENCE = 400  # seconds; a busy machine can be ten times slower than usual


@pytest.mark.parametrize("cores", [1, 2])
def test_results_come_in_the_order_of_the_items_each_from_one_thread(threads, cores):
    threads(cores)
    second_done = threading.Event()

    def slow_first(item):
        if item == 0 and cores > 1:
            assert second_done.wait(60)
        second_done.set()
        return item**2, torch.get_num_threads()

    assert one_per_core(slow_first, range(4)) == [(0, 1), (1, 1), (4, 1), (9, 1)]
    assert one_per_core(slow_first, []) == [] and torch.get_num_threads() == cores
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == cores, "also for threads to come"


def test_an_error_is_raised_tells_the_others_to_stop_and_cancels_the_rest(threads):
    threads(2)
    stop, begun = threading.Event(), []

    def fail_or_wait(item):
        begun.append(item)
        if item == 0:
            raise RuntimeError("the first one failed")
        assert stop.wait(60)

    with pytest.raises(RuntimeError, match="the first one failed"):
        one_per_core(fail_or_wait, range(100), stop)
    assert stop.is_set() and len(begun) < 100 and torch.get_num_threads() == 2


def test_an_interrupt_is_answered_at_once_with_what_happens_now(threads, capsys):
    threads(1)

    def be_interrupted(item):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one_per_core(be_interrupted, range(2), threading.Event())
    assert capsys.readouterr().err == "\nStopping after this epoch. Ctrl-C again stops at once.\n"


# Ray, which may not be there


def test_without_ray_one_sentence_says_how_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["degradation", "--engine", "ray", "--device", "cpu"])
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and 'pip install ".[cluster]"' in err and "'local'" in err
    assert not list(tmp_path.iterdir())


def pretended_ray(gpus: int = 0, there: bool = False) -> Mock:
    """Ray as `one_per_task` uses it: tasks run when their result is asked for, and end in reverse order."""
    ray = Mock()
    ray.is_initialized.return_value = there
    ray.cluster_resources.return_value = {"CPU": 2.0, **({"GPU": float(gpus)} if gpus else {})}
    ray.remote.return_value = lambda function: SimpleNamespace(
        remote=lambda item, stored: partial(function, item, *stored)
    )
    ray.put.side_effect = lambda value: [value]
    ray.wait.side_effect = lambda tasks: (tasks[-1:], tasks[:-1])
    ray.get.side_effect = lambda task: task()
    return ray


@pytest.mark.parametrize("there", [False, True], ids=["no cluster yet", "a cluster that is there"])
def test_every_item_is_a_task_with_its_share_of_a_gpu_and_what_is_shared_is_stored_once(monkeypatch, threads, there):
    threads(2)
    ray, ended = pretended_ray(there=there), []
    monkeypatch.setattr(parallel, "require_ray", lambda: ray)

    def add(item, shared):
        return item + shared, torch.get_num_threads()

    results = one_per_task(add, [1, 2, 2], 10, 0.25, lambda item, result: ended.append((item, result[0])))
    assert results == [(11, 1), (12, 1), (12, 1)] and ended == [(2, 12), (2, 12), (1, 11)], "as they end"
    assert ray.init.call_count == (not there)
    ray.put.assert_called_once_with(10)
    options = ray.remote.call_args.kwargs
    assert options["num_gpus"] == 0.25 and options["num_cpus"] == 1 and options["max_retries"] > 1


@pytest.mark.parametrize(
    ("gpus", "device", "asked", "share"),
    [(4, "auto", None, 1), (0, "auto", None, 0), (4, "cpu", None, 0), (4, "auto", 0.25, 0.25), (4, "auto", 0, 0)],
)
def test_a_run_has_a_gpu_by_default_where_the_cluster_has_any(
    tmp_path, monkeypatch, threads, gpus, device, asked, share
):
    threads(1)
    ray = pretended_ray(gpus)
    monkeypatch.setattr(parallel, "require_ray", lambda: ray)
    monkeypatch.setattr(experiments, "require_ray", lambda: ray)
    monkeypatch.setattr(experiments, "train", lambda recipe, *rest: made_up(recipe))
    run_grid(degradation_grid([8], seeds=1, epochs=1), tmp_path, device, engine="ray", gpus_per_run=asked)
    assert ray.remote.call_args.kwargs["num_gpus"] == share


# A real cluster of two workers, in a process of its own

DRIVER = """
import sys
import ray
from resnet_lib.__main__ import main

ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
main(sys.argv[1:])
ray.shutdown()
"""


def workers_below(pid: int) -> list:
    """The processes of the cluster that work on a task now."""
    import psutil

    workers = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if any("ray::" in word and "IDLE" not in word for word in [process.name(), *process.cmdline()[:1]]):
                workers.append(process)
        except psutil.Error:  # it has just ended
            continue
    return workers


@pytest.mark.skipif(sys.platform == "win32", reason="Ray's processes can't be found by their names on Windows")
def test_a_grid_on_two_workers_one_of_which_is_killed_gives_the_records_of_a_grid_without_ray(tmp_path):
    pytest.importorskip("ray", reason='needs Ray: pip install ".[cluster]"')
    pytest.importorskip("psutil", reason="needs psutil, to find the workers")
    grid = degradation_grid(depths=[8, 14], seeds=1, width=4, epochs=8, augment=True)
    options = "--depths 8 14 --seeds 1 --width 4 --epochs 8 --augment --device cpu --engine ray"
    house = [str(Path(resnet_lib.__file__).parents[1]), str(Path(__file__).parents[1])]
    environment = {"PYTHONPATH": os.pathsep.join(house), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, "degradation", *options.split(), "--out", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, **environment, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"},
    )
    try:
        deadline = time.monotonic() + PATIENCE
        killed = None
        while killed is None:
            assert driver.poll() is None, driver.stderr.read()
            assert time.monotonic() < deadline, "no run came as far as a checkpoint"
            begun = [recipe for recipe in grid if lock_of(recipe, tmp_path).with_suffix(".checkpoint").exists()]
            for worker in workers_below(driver.pid) if begun else []:
                locks = {Path(file.path) for file in worker.open_files() if file.path.endswith(".lock")}
                victims = [recipe for recipe in begun if lock_of(recipe, tmp_path) in locks]
                if victims:
                    worker.suspend()  # so that it is in the middle of its run when it dies
                    if not (tmp_path / victims[0].file_name).exists():
                        killed = victims[0]
                        worker.kill()
                        break
                    worker.resume()
        printed, errors = driver.communicate(timeout=PATIENCE)
    finally:
        driver.kill()
    assert driver.returncode == 0, errors
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(recipe.file_name for recipe in grid)
    records = [find_record(recipe, tmp_path) for recipe in grid]
    assert [figures(record) for record in records] == [figures(record) for record in run_grid(grid, device="cpu")]
    assert printed.splitlines()[1:-1] == format_table(records).splitlines(), "and not what Ray says of the killed one"
