"""Side by side: results in order, one thread each, errors and interrupts heard, the caller's state left alone."""

import threading

import pytest
import torch

from resnet_lib.parallel import one_per_core, seeded


def test_results_come_in_the_order_of_the_items():
    second_done = threading.Event()

    def slow_first(item):
        if item == 0 and torch.get_num_threads() > 1:
            second_done.wait(10)
        second_done.set()
        return item**2

    assert one_per_core(slow_first, range(4)) == [0, 1, 4, 9]
    assert one_per_core(slow_first, []) == []


def test_each_item_runs_in_one_thread_and_the_callers_number_comes_back():
    before = torch.get_num_threads()
    assert one_per_core(lambda item: torch.get_num_threads(), range(3)) == [1, 1, 1]
    assert torch.get_num_threads() == before


def test_an_error_is_raised_tells_the_others_to_stop_and_cancels_the_rest():
    stop, begun = threading.Event(), []

    def fail_or_wait(item):
        begun.append(item)
        if item == 0:
            raise RuntimeError("the first one failed")
        stop.wait(10)

    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="the first one failed"):
        one_per_core(fail_or_wait, range(100), stop)
    assert stop.is_set() and len(begun) < 100
    assert torch.get_num_threads() == before


def test_seeded_repeats_and_leaves_the_callers_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded(0):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(0):
        assert torch.equal(torch.rand(3), first)


def test_threads_that_draw_side_by_side_get_what_their_seed_gives_alone():
    def draw(seed):
        with seeded(seed):
            return [torch.rand(1).item() for _ in range(50)]

    assert one_per_core(draw, range(8)) == [draw(seed) for seed in range(8)]
