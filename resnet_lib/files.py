"""Files that are whole or not there: written at once, downloaded and verified, and set aside instead of deleted."""

import glob
import hashlib
import itertools
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

PATIENCE = 30.0  # seconds in which a mirror must send LEAST bytes; else the next one is asked
LEAST = 500_000
MOST = 1_000_000_000  # bytes, where a mirror that never ends is cut off


def write_whole(path: Path, content: bytes) -> None:
    """Write a file at once or not at all: a reader never sees half of it, whenever the writer is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Remove what writers of ``path`` left behind that were killed while they wrote."""
    for unfinished in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        unfinished.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Give a file that can't be used a name that says so, and return it; nothing is deleted."""
    first = path.with_name(f"{path.name}.set-aside")
    numbered = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    aside = next(free for free in itertools.chain([first], numbered) if not free.exists())
    os.replace(path, aside)
    return aside


def refuse(path: Path, why: str, then: str) -> None:
    """Set a file aside, with a warning that says why and what happens then."""
    with suppress(FileNotFoundError):  # another process has just set it aside
        warnings.warn(f"{why}; it is now {set_aside(path).name}, and {then}", stacklevel=3)


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold the lock ``path``, which the system takes back when the process ends, however it ends.

    Timeout: another process held it for ``timeout`` seconds (-1: wait for ever). OSError: it can't be locked.
    """
    try:
        held = FileLock(path, timeout).acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, Timeout):
            raise
        raise OSError(f"{path} can't be locked ({error}): name a folder on another file system") from None
    with held:
        yield


def check_folder(path: Path) -> None:
    """Refuse a folder that a file is in the way of; nothing is made."""
    if not next(there for there in (path, *path.absolute().parents) if there.exists()).is_dir():
        raise ValueError(f"out must be a folder, got {path}, where a file is in the way: name another")


def make_folder(path: str | Path) -> Path:
    """Make the folder and return it; ``~`` is the home folder, and a file in the way is refused."""
    folder = Path(os.path.expanduser(path))  # leaves ~nobody as it is
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fetch(path: Path, md5: str, mirrors: Sequence[str]) -> Path:
    """The file with that MD5 at ``path``, downloaded unless it lies there already.

    The mirrors, addresses with ``{}`` for the file's name, are asked in turn. Another file at ``path`` is set aside,
    with a warning. Of several processes one downloads and the others wait. ConnectionError: no mirror brought the file;
    the sentence says why not, and how to do without them.
    """
    if _has_md5(path, md5):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f"{path.name}.lock")):
        if not _has_md5(path, md5):  # now it may be: another process had its turn first
            if path.exists():
                refuse(path, f"{path} is not what belongs there, with MD5 {md5}", "it is downloaded anew")
            write_whole(path, _download(path, md5, mirrors))
    return path


def _has_md5(path: Path, md5: str) -> bool:
    return path.is_file() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5


def _download(path: Path, md5: str, mirrors: Sequence[str]) -> bytes:
    failures: list[str] = []
    for url in (mirror.format(path.name) for mirror in mirrors):
        try:
            content = _receive(url)
            if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5:
                return content
            failure = f"sends another file, of {len(content)} bytes"
        except Exception as error:  # a malformed answer makes urllib raise almost anything
            failure = " ".join(str(error).split())
        failures.append(f"{urlsplit(url).netloc}: {failure}")
    raise ConnectionError(
        f"{path.name} can't be downloaded ({'; '.join(failures)}): try again later, or get the file with MD5 {md5} "
        f"elsewhere and put it at {path}"
    )


def _receive(url: str) -> bytes:
    """What a mirror sends, watched by the count and the clock, since it may never end."""
    request = Request(url, headers={"User-Agent": "resnet_lib"})  # some servers turn Python's own name away
    with (
        urlopen(request, timeout=PATIENCE) as answer,
        tqdm(total=answer.length, desc=urlsplit(url).netloc, unit="B", unit_scale=True) as bar,
    ):
        content, since, before = bytearray(), monotonic(), 0
        while len(content) < MOST and (piece := answer.read1(1 << 18)):
            content += piece
            bar.update(len(piece))
            if monotonic() - since > PATIENCE:
                if len(content) - before < LEAST:
                    raise TimeoutError(f"sends fewer than {LEAST} bytes in {PATIENCE:g} s")
                since, before = monotonic(), len(content)
    return bytes(content)
