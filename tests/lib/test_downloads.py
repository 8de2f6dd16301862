"""A download arrives whole and right or not at all, goes on where it broke off, and fails in one sentence."""

import builtins
import errno
import hashlib
import io
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from resnet_lib import downloads
from resnet_lib.downloads import fetch, has_md5

CONTENT = bytes(range(256)) * 1500
SIZE = len(CONTENT)
WRONG = CONTENT[::-1]
MD5 = hashlib.md5(CONTENT).hexdigest()
HALF = SIZE // 2


class Mirror(BaseHTTPRequestHandler):
    """Behaves as the path of the URL says, and keeps a record of what was asked for and how much was sent."""

    protocol_version = "HTTP/1.1"  # keeps connections open, as servers do today

    def do_GET(self):
        with self.server.lock:
            self.server.asked.append((self.path, self.headers["Range"]))
        getattr(self, self.path.strip("/").replace("-", "_"))()

    def log_message(self, *args):
        pass

    def start(self) -> int:
        """The first byte that was asked for."""
        asked = self.headers["Range"]
        return int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0

    def send(self, content=CONTENT, ranges=True, until=None, length=True, kind="application/gzip") -> None:
        """Send the content, or what was asked for of it, but no more than up to the byte ``until``."""
        start = self.start() if ranges else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if length:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.write(content[start:until])
        # Some servers keep the connection open though the client asked them to close it.
        self.close_connection = until is not None or not length

    def write(self, piece: bytes) -> None:
        with self.server.lock:
            self.server.sent += len(piece)
        self.wfile.write(piece)

    def good(self):
        self.send()

    def good_without_length(self):
        self.send(ranges=False, length=False)

    def good_without_ranges(self):
        self.send(ranges=False)

    def breaks_off(self):
        self.send(until=self.start() + HALF // 2)

    def breaks_off_without_ranges(self):
        self.send(ranges=False, until=HALF)

    def breaks_off_at_once(self):
        self.send(until=self.start())

    def breaks_off_once(self):
        with self.server.lock:
            first = not any(asked for path, asked in self.server.asked if path == self.path)
        self.send(until=HALF if first else None)

    def stalls(self):
        start = self.start()
        self.send(until=start + 1000)
        self.wfile.flush()
        self.server.released.wait(10)

    def never_ends(self):
        self.send_response(200)
        self.end_headers()
        for _ in range(200):
            self.write(CONTENT)
        self.close_connection = True

    def wrong(self):
        self.send(WRONG)

    def wrong_size(self):
        self.send(CONTENT + b"more")

    def web_page(self):
        self.send(b"<html>Please log in</html>", ranges=False, kind="text/html; charset=utf-8")

    def missing(self):
        self.send_error(404)

    def busy(self):
        self.send_error(503)

    def no_such_range(self):
        self.send_error(416)

    def unnamed_range(self):
        self.send_response(206)
        self.send_header("Content-Length", str(HALF))
        self.end_headers()
        self.write(CONTENT[HALF:])

    def later_range(self):
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {SIZE - 10}-{SIZE - 1}/{SIZE}")
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.write(CONTENT[-10:])


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Mirror)
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.asked: list[tuple[str, str | None]] = []
        self.sent = 0

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of these tests

    def urls(self, *behaviours: str) -> list[str]:
        return [f"http://127.0.0.1:{self.server_port}/{behaviour}" for behaviour in behaviours]


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "data" / "file.gz"


def part_of(path: Path) -> Path:
    return path.with_name("file.gz.part")


def begun(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part_of(path).write_bytes(content)


def left(path: Path) -> set[str]:
    """The files in the folder, besides the lock that some releases of filelock leave there."""
    return {file.name for file in path.parent.iterdir()} - {"file.gz.lock"}


# What arrives


@pytest.mark.parametrize("size", [SIZE, None], ids=["size known", "size unknown"])
@pytest.mark.parametrize("behaviour", ["good", "good_without_ranges", "good_without_length", "breaks_off_once"])
def test_a_file_arrives_whole(server, path, behaviour, size):
    assert fetch(server.urls(behaviour), path, MD5, size) == path
    assert path.read_bytes() == CONTENT
    assert left(path) == {"file.gz"}


def test_a_connection_that_stays_open_does_not_hold_up_the_end(server, path, monkeypatch):
    monkeypatch.setattr(downloads, "SILENCE", 5)
    start = time.perf_counter()
    fetch(server.urls("good"), path, MD5)
    assert time.perf_counter() - start < 2.5


def test_a_file_that_lies_there_is_taken_without_a_question_to_anybody(server, path):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert fetch(server.urls("good"), path, MD5, SIZE) == path
    assert server.asked == [] and left(path) == {"file.gz"}


def test_a_file_that_lies_there_needs_no_folder_that_can_be_written_to(server, path, monkeypatch):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    monkeypatch.setattr(downloads, "FileLock", None)
    assert fetch(server.urls("good"), path, MD5, SIZE) == path


def test_another_file_in_its_place_is_set_aside_and_never_used(server, path):
    path.parent.mkdir()
    path.write_bytes(b"my own")
    with pytest.warns(UserWarning, match=r"is not the file that belongs there .* now file\.gz\.set-aside"):
        fetch(server.urls("good"), path, MD5, SIZE)
    assert path.read_bytes() == CONTENT
    assert path.with_name("file.gz.set-aside").read_bytes() == b"my own"


@pytest.mark.parametrize(
    "bad",
    ["missing", "busy", "web_page", "wrong_size", "wrong", "breaks_off_at_once", "no_such_range", "unused port"],
)
def test_the_next_mirror_helps_where_one_fails(server, path, bad):
    bad_url = nobody_there() if bad == "unused port" else server.urls(bad)[0]
    fetch([bad_url, *server.urls("good")], path, MD5, SIZE)
    assert path.read_bytes() == CONTENT


def test_a_mirror_that_falls_silent_is_left(server, path, monkeypatch):
    monkeypatch.setattr(downloads, "SILENCE", 0.1)
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    fetch(server.urls("stalls", "good"), path, MD5, SIZE)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1] == ("/good", "bytes=1000-")


def test_the_progress_bar_starts_at_what_is_there_and_ends_at_the_size(server, path, capsys):
    begun(path, CONTENT[:HALF])
    fetch(server.urls("good"), path, MD5, SIZE)
    shown = capsys.readouterr().err
    assert "file.gz: 100%" in shown and "384k/384k" in shown


# Going on


def test_what_broke_off_is_continued_and_no_byte_comes_twice(server, path):
    fetch(server.urls("breaks_off_once"), path, MD5, SIZE)
    assert path.read_bytes() == CONTENT
    assert server.sent == SIZE
    assert server.asked == [("/breaks_off_once", None), ("/breaks_off_once", f"bytes={HALF}-")]


def test_a_part_of_an_earlier_try_is_continued(server, path):
    begun(path, CONTENT[:1000])
    fetch(server.urls("good"), path, MD5, SIZE)
    assert path.read_bytes() == CONTENT and server.sent == SIZE - 1000


def test_a_part_from_one_mirror_is_continued_by_another(server, path, monkeypatch):
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    fetch(server.urls("breaks_off", "good"), path, MD5, SIZE)
    assert path.read_bytes() == CONTENT and server.sent == SIZE


def test_a_mirror_is_asked_again_for_as_long_as_it_brings_something(server, path):
    fetch(server.urls("breaks_off"), path, MD5, SIZE)
    assert path.read_bytes() == CONTENT and server.sent == SIZE and len(server.asked) == 4


def test_a_mirror_that_brings_nothing_is_not_asked_again(server, path):
    with pytest.raises(ConnectionError):
        fetch(server.urls("breaks_off_at_once"), path, MD5, SIZE)
    assert len(server.asked) == 1


def test_a_server_that_ignores_ranges_loses_nothing_of_the_part(server, path):
    begun(path, CONTENT[: HALF + 5])
    with pytest.raises(ConnectionError):
        fetch(server.urls("breaks_off_without_ranges"), path, MD5, SIZE)
    assert part_of(path).read_bytes() == CONTENT[: HALF + 5]
    fetch(server.urls("good_without_ranges"), path, MD5, SIZE)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("bad", ["unnamed_range", "later_range", "no_such_range", "web_page", "missing"])
def test_an_odd_answer_costs_nothing_of_the_part(server, path, bad):
    begun(path, CONTENT[:HALF])
    with pytest.raises(ConnectionError):
        fetch(server.urls(bad), path, MD5, SIZE)
    assert part_of(path).read_bytes() == CONTENT[:HALF]


def test_a_part_that_is_whole_only_needs_its_name(server, path):
    begun(path, CONTENT)
    fetch(server.urls("good"), path, MD5, SIZE)
    assert path.read_bytes() == CONTENT and server.asked == []


@pytest.mark.parametrize("size", [SIZE, None], ids=["size known", "size unknown"])
@pytest.mark.parametrize("part", [b"x" * 100, WRONG, WRONG + b"more"], ids=["short", "full", "too long"])
@pytest.mark.parametrize("behaviour", ["good", "good_without_ranges"])
def test_a_part_with_wrong_bytes_is_thrown_away(server, path, behaviour, part, size):
    begun(path, part)
    fetch(server.urls(behaviour), path, MD5, size)
    assert path.read_bytes() == CONTENT and left(path) == {"file.gz"}


def test_wrong_bytes_of_one_mirror_do_not_spoil_the_next(server, path):
    fetch(server.urls("wrong", "good"), path, MD5, SIZE)
    assert path.read_bytes() == CONTENT
    assert server.sent == 2 * SIZE


def test_a_server_that_never_ends_is_cut_off(server, path):
    begun(path, b"x")
    with pytest.raises(ConnectionError, match="sends another file"):
        fetch(server.urls("never_ends"), path, MD5, SIZE)
    assert server.sent < 100 * SIZE  # of which most lies in buffers


def test_an_interrupt_keeps_what_has_arrived(server, path, monkeypatch):
    chunks = []

    def listen_twice(answer):
        if len(chunks) == 2:
            raise KeyboardInterrupt
        chunks.append(answer.read1(20_000))
        return chunks[-1]

    with monkeypatch.context() as patch:
        patch.setattr(downloads, "_listen", listen_twice)
        with pytest.raises(KeyboardInterrupt):
            fetch(server.urls("good"), path, MD5, SIZE)
    kept = b"".join(chunks)
    assert left(path) == {"file.gz.part"} and part_of(path).read_bytes() == kept == CONTENT[: len(kept)] != b""
    fetch(server.urls("good"), path, MD5, SIZE)
    assert path.read_bytes() == CONTENT and server.asked[-1] == ("/good", f"bytes={len(kept)}-")


# Failing


def nobody_there() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/file.gz"


FAILURES = {
    "missing": "answers 404 Not Found",
    "busy": "answers 503 Service Unavailable",
    "web_page": "sends a web page instead of the file",
    "wrong_size": f"offers {SIZE + 4} bytes instead of {SIZE}",
    "wrong": r"sends another file \(wrong MD5\)",
    "breaks_off_at_once": f"broke off after 0 of {SIZE} bytes",
    "breaks_off_without_ranges": f"broke off after {HALF} of {SIZE} bytes",
    "stalls": r"was silent for 0\.1 s",
}


@pytest.mark.parametrize("behaviour", FAILURES)
def test_each_failure_is_one_sentence_that_says_why_and_what_to_do(server, path, behaviour, monkeypatch):
    monkeypatch.setattr(downloads, "SILENCE", 0.1 if behaviour == "stalls" else 5)
    monkeypatch.setattr(downloads, "ATTEMPTS", 2)
    sentence = (
        rf"^file\.gz can't be downloaded \(127\.0\.0\.1:\d+ {FAILURES[behaviour]}\): try again later, which goes on "
        rf"from what has arrived, or get the file with MD5 {MD5} elsewhere and put it at {re.escape(str(path))}$"
    )
    with pytest.raises(ConnectionError, match=sentence):
        fetch(server.urls(behaviour), path, MD5, SIZE)
    assert left(path) <= {"file.gz.part"}


def test_without_a_network_each_mirror_is_named(path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    one, other = nobody_there(), nobody_there()
    with pytest.raises(ConnectionError, match=rf"\({one[7:-8]} failed: .*; {other[7:-8]} failed: .*\): try again"):
        fetch([one, other], path, MD5, SIZE)
    assert left(path) == set()


def test_no_file_ever_has_the_name_before_it_is_whole_and_right(server, path, monkeypatch):
    replaced = []
    replace = os.replace

    def watched(source, target):
        assert has_md5(Path(source), MD5)
        replaced.append(Path(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    with pytest.raises(ConnectionError):
        fetch(server.urls("wrong", "breaks_off_without_ranges", "missing"), path, MD5, SIZE)
    assert replaced == [] and not path.exists()
    fetch(server.urls("wrong", "breaks_off_once"), path, MD5, SIZE)
    assert replaced == [path] and path.read_bytes() == CONTENT


class FullDisk(io.FileIO):
    """A file on a disk with room for 1,000 bytes more."""

    def write(self, piece):
        if self.tell() + len(piece) > 1000:
            super().write(bytes(piece)[: 1000 - self.tell()])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(piece)


def test_a_full_disk_is_one_sentence_and_the_next_try_goes_on(server, path, monkeypatch):
    with monkeypatch.context() as patch:
        real_open = builtins.open
        patch.setattr(
            Path,
            "open",
            lambda self, mode="r": FullDisk(self, "ab") if mode == "ab" else real_open(self, mode),
        )
        with pytest.raises(
            OSError,
            match=rf"^{re.escape(str(path))} can't be read or written \(No space left on device\): mend that or choose "
            "another folder, and the next try goes on from what has arrived$",
        ) as failure:
            fetch(server.urls("good"), path, MD5, SIZE)
    assert not isinstance(failure.value, ConnectionError)
    assert left(path) == {"file.gz.part"} and part_of(path).read_bytes() == CONTENT[:1000]
    fetch(server.urls("good"), path, MD5, SIZE)
    assert path.read_bytes() == CONTENT and server.asked[-1] == ("/good", "bytes=1000-")


@pytest.mark.parametrize("in_the_way", ["data", "data/file.gz"])
def test_what_lies_in_the_way_is_named(server, tmp_path, in_the_way):
    path = tmp_path / "data" / "file.gz"
    if in_the_way == "data":
        path.parent.write_text("a file where the folder belongs")
    else:
        path.mkdir(parents=True)
    with pytest.raises(OSError, match=rf"^{re.escape(str(path))} can't be read or written"):
        fetch(server.urls("good"), path, MD5, SIZE)
    assert server.asked == []


# Several at once


def test_of_several_at_once_one_downloads_and_all_get_the_file(server, path):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(server.urls("breaks_off_once"), path, MD5, SIZE), range(4)))
    assert paths == [path] * 4 and path.read_bytes() == CONTENT
    assert server.sent == SIZE and left(path) == {"file.gz"}


def test_who_waits_for_another_process_is_told_so(server, path, capsys):
    path.parent.mkdir()
    held = threading.Event()

    def hold() -> None:
        with FileLock(f"{path}.lock"):
            held.set()
            time.sleep(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    fetch(server.urls("good"), path, MD5, SIZE)
    holder.join()
    assert "Another process is downloading file.gz: waiting for it" in capsys.readouterr().err
    assert path.read_bytes() == CONTENT
