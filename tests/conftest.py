"""What several test files share."""

from collections.abc import Iterator

import pytest
import torch
from audit.tools import CannotMeasureError, find_browser


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For tests on small tensors: on a busy machine threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """A Chromium, driven by Playwright; without one the test is skipped and says why."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    try:
        executable = find_browser()
    except CannotMeasureError as problem:
        pytest.skip(str(problem))
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()
