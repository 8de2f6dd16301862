"""What several test files share."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock

ROOT = Path(__file__).parents[1]  # the tests of the library need no package for notebooks, as on a GPU's bare machine
RUN_TIMES = ROOT / "book" / "results" / "run_times.json"
SITE = ROOT / "_build" / "html"
# What the pages are made of: they show outputs of notebooks, and what the packages compute while the book is built.
SOURCES = ("_*.yml", "book/**/*", "notebooks/*.ipynb", "resnet_lib/**/*.py", "resnet_course/**/*.py")
NO_SOURCES = {"__pycache__", "_generated"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The notebooks first, the longest before the others, so that no worker is left with a long one at the end."""
    seconds = {name: times["seconds"] for name, times in json.loads(RUN_TIMES.read_text(encoding="utf-8")).items()}
    # A notebook's cells stay in their order even where a plugin shuffles the tests.
    items.sort(key=lambda item: (-seconds.get(item.path.stem, 0), getattr(item, "cell_num", 0)))
    config.option.cov_source = None  # coverage runs already; nbval would start it in the notebooks' kernels too


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For tests on small tensors: on a busy machine threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Set the number of threads for a test; afterwards there are as many as before."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def operators_that_stay() -> Iterator[None]:
    """TorchScript knows operators by id(), even replaced ones, and takes what has their id later for them."""
    kept, refresh = [], torch._ops._refresh_packet

    def refresh_and_keep(packet: torch._ops.OpOverloadPacket) -> None:
        kept.append(packet._op)
        refresh(packet)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch._ops, "_refresh_packet", refresh_and_keep)
        yield


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built book: as it is if it is newer than its sources, else built once for all workers."""
    SITE.parent.mkdir(exist_ok=True)
    with FileLock(SITE.parent / "building.lock"):
        if not is_built():
            program = Path(sys.executable).with_name("jupyter-book")
            command = [program, "build", ROOT, "--all", "-W", "-n", "--keep-going", "-q"]
            made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
            if made.returncode:
                pytest.fail(f"the book does not build:\n{made.stderr}", pytrace=False)
    return SITE


def is_built() -> bool:
    """Whether the entrance, which is written last, is newer than every file that the book is made of."""
    entrance = SITE / "index.html"
    sources = (path for pattern in SOURCES for path in ROOT.glob(pattern) if not NO_SOURCES & {*path.parts})
    newest = max(path.stat().st_mtime for path in sources if path.is_file())
    return entrance.is_file() and entrance.stat().st_mtime > newest


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """One Chromium for all tests, driven by Playwright; without one they are skipped, and say why."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    from audit.browse import open_browser
    from pdf import find_browser

    try:
        program = find_browser()
    except SystemExit as problem:
        pytest.skip(str(problem))
    with open_browser(program) as browser:
        yield browser


@pytest.fixture
def open_page(browser, site) -> Iterator:
    """Open a page from its folder, without a network; an error, or a request to anywhere else, fails the test."""
    from audit.browse import Visit, watched

    contexts, visit = [], Visit("")

    def open_it(address: str, width: int = 1440, **options):
        contexts.append(browser.new_context(offline=True, viewport={"width": width, "height": 800}, **options))
        page = watched(contexts[-1], visit)
        page.goto(f"{site.as_uri()}/{address}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert visit.elsewhere + visit.errors == []
