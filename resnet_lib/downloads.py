"""Files from the network: from mirrors in turn, continued where they broke off, verified, and whole or not there."""

import hashlib
import http.client
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from resnet_lib.files import set_aside

SILENCE = 30.0  # seconds without a byte after which a mirror counts as dead
ATTEMPTS = 5  # how often one mirror is asked to go on, as long as each attempt brings something
CHUNK = 1 << 18  # bytes read at once


class MirrorError(Exception):
    """Why one mirror did not bring the file; the next one is asked."""


def fetch(urls: Sequence[str], path: Path, md5: str, size: int | None = None) -> Path:
    """The file at ``path`` with that MD5, downloaded unless it lies there already.

    What arrives is collected in ``path`` + ".part", which outlives an interrupt and is continued by the next mirror
    or the next call. Only a whole file with the right MD5 gets the name ``path``. Another file of that name is set
    aside, with a warning. Of several processes that want the file one downloads and the others wait.

    Args:
        urls: mirrors of the same bytes, the best one first.
        path: where the file belongs; missing folders are made.
        md5: the file's MD5, in hex.
        size: the file's size in bytes, if known: a mirror that offers another size is not listened to.

    Raises:
        ConnectionError: no mirror brought the file; the sentence says why not, and how to do without them.
        OSError: the file can't be read or written, because the disk is full, say.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "here.txt")
    ...     _ = path.write_bytes(b"here already")
    ...     fetch(["https://example.org/here.txt"], path, md5="e69d79e379651668ae8ecc294c4f7709").name
    'here.txt'
    """
    try:
        if has_md5(path, md5):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with _taking_turns(path):
            if not _is_in_place(path, md5):  # now it may be: another process had its turn first
                _download(urls, path, md5, size)
        return path
    except ConnectionError:
        raise
    except OSError as error:
        raise OSError(
            f"{path} can't be read or written ({error.strerror or error}): mend that or choose another folder, "
            "and the next try goes on from what has arrived"
        ) from error


def has_md5(path: Path, md5: str) -> bool:
    """Whether there is a file at ``path`` whose bytes have that MD5."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == md5
    except FileNotFoundError:
        return False


@contextmanager
def _taking_turns(path: Path) -> Iterator[None]:
    """Let one process at a time work on ``path``."""
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tqdm.write(f"Another process is downloading {path.name}: waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _is_in_place(path: Path, md5: str) -> bool:
    if not path.exists():
        return False
    if has_md5(path, md5):
        return True
    aside = set_aside(path)
    warnings.warn(
        f"{path} is not the file that belongs there (MD5 {md5}); it is now {aside.name}, and the file is downloaded",
        stacklevel=4,
    )
    return False


def _download(urls: Sequence[str], path: Path, md5: str, size: int | None) -> None:
    part = path.with_name(f"{path.name}.part")
    if has_md5(part, md5):  # an earlier try ended between the last byte and the name
        os.replace(part, path)
        return
    failures = []
    with tqdm(total=size, desc=path.name, unit="B", unit_scale=True) as bar:
        for url in urls:
            try:
                _complete(part, url, md5, size, bar)
                os.replace(part, path)
                return
            except MirrorError as failure:
                failures.append(f"{urlsplit(url).netloc} {failure}")
    raise ConnectionError(
        f"{path.name} can't be downloaded ({'; '.join(failures)}): try again later, which goes on from what has "
        f"arrived, or get the file with MD5 {md5} elsewhere and put it at {path}"
    )


def _complete(part: Path, url: str, md5: str, size: int | None, bar: tqdm) -> None:
    """Make ``part`` the whole file, from what it has and what the mirror adds."""
    for _ in range(2):
        was_there = part.exists()
        _keep_asking(part, url, size, bar)
        if has_md5(part, md5):
            return
        part.unlink()  # no later attempt may build on wrong bytes
        if not was_there:  # else what was there may be at fault: ask the same mirror for all of it
            break
    raise MirrorError("sends another file (wrong MD5)")


def _keep_asking(part: Path, url: str, size: int | None, bar: tqdm) -> None:
    """Ask the mirror for the rest until all of it has come, and again after it broke off."""
    for attempt in range(1, ATTEMPTS + 1):
        before = _length(part)
        try:
            return _append_rest(part, url, size, bar)
        except MirrorError:
            if attempt == ATTEMPTS or _length(part) == before:
                raise


def _append_rest(part: Path, url: str, size: int | None, bar: tqdm) -> None:
    have = _length(part)
    bar.update(have - bar.n)
    answer = _ask(url, have, size)
    if answer is None:
        return
    with answer:
        at, total = _read_extent(answer, size)
        if at > have:
            raise MirrorError(f"sends bytes from {at} on where those from {have} on were asked for")
        with part.open("ab") as file:
            # By the count, not to the end: a server that never ends is not to fill the disk.
            while total is None or at < total:
                chunk = _listen(answer)
                if not chunk:
                    break
                new = chunk[max(0, have - at) :]  # a server that knows no ranges starts again from the first byte
                at += len(chunk)
                file.write(new)
                bar.update(len(new))
    if total is not None and at < total:
        raise MirrorError(f"broke off after {at} of {total} bytes")


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _ask(url: str, have: int, size: int | None) -> http.client.HTTPResponse | None:
    """Ask for the bytes from ``have`` on; None if the server says that there are none."""
    headers = {"User-Agent": "resnet_lib"}  # some servers turn Python's own name away
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        return urlopen(Request(url, headers=headers), timeout=SILENCE)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have and (size is None or have >= size):
            return None
        raise MirrorError(f"answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise MirrorError(_explain(error)) from None


def _read_extent(answer: http.client.HTTPResponse, size: int | None) -> tuple[int, int | None]:
    """Where the bytes of the answer start in the file, and how long the whole file is, None if nobody knows."""
    if answer.headers.get_content_type() == "text/html":  # a log-in page of the network, or an error in disguise
        raise MirrorError("sends a web page instead of the file")
    start, total = 0, answer.headers["Content-Length"]
    if answer.status == 206:
        extent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers["Content-Range"] or "")
        if not extent:
            raise MirrorError("sends a part of the file without saying which")
        start, total = int(extent[1]), extent[2] if extent[2] != "*" else None
    total = int(total) if total is not None else size
    if size is not None and total != size:
        raise MirrorError(f"offers {total} bytes instead of {size}")
    return start, total


def _listen(answer: http.client.HTTPResponse) -> bytes:
    """What has come in, which is nothing at the end."""
    try:
        return answer.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise MirrorError(_explain(error)) from None


def _explain(error: Exception) -> str:
    """A network error in a few words, without the wrapping of urllib."""
    error = getattr(error, "reason", error)
    if isinstance(error, TimeoutError):
        return f"was silent for {SILENCE:g} s"
    return f"failed: {getattr(error, 'strerror', None) or error or type(error).__name__}"
