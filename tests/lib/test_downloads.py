"""A download arrives whole and right or not at all, from whichever mirror has it, and fails in one sentence."""

import hashlib
import io
import itertools
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from resnet_lib import files
from resnet_lib.files import fetch

CONTENT = bytes(range(256)) * 40
MD5 = hashlib.md5(CONTENT).hexdigest()


def answer(content: bytes = CONTENT, status: str = "200 OK", headers: str | None = None) -> bytes:
    headers = f"Content-Length: {len(content)}" if headers is None else headers
    return f"HTTP/1.1 {status}\r\nContent-Type: application/gzip\r\n{headers}\r\n\r\n".encode("latin1") + content


def redirect(location: str) -> bytes:
    return answer(b"", "302 Found", f"Content-Length: 0\r\nLocation: {location}")


RIGHT = {
    "good": answer(),
    "without a length": b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT,
    "a worded length": answer(headers="Content-Length: some"),
}
WRONG = {
    "missing": answer(b"no", "404 Not Found"),
    "other bytes": answer(CONTENT[::-1]),
    "more bytes": answer(CONTENT + b"more"),
    "half of it": answer()[: -len(CONTENT) // 2],
    "a length that is too small": answer(headers="Content-Length: 10"),
    "a host beyond ASCII": redirect("http://\xff\xfe/"),
    "a file of this machine": redirect("file:///etc/hostname"),
    "no HTTP": b"nonsense\r\n\r\n",
    "nothing": b"",
}


class Mirror(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode().strip("/").replace("%20", " ")
        while self.rfile.readline().strip():
            pass
        self.server.asked.append(path)
        if path == "silent":
            self.wfile.write(answer()[:-100])
            self.server.released.wait(60)
        else:
            self.wfile.write((RIGHT | WRONG)[path])


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Mirror)
        self.released = threading.Event()
        self.asked: list[str] = []

    def handle_error(self, request, client_address) -> None:
        pass  # clients that hang up are part of these tests

    def urls(self, *paths: str) -> list[str]:
        return [f"http://127.0.0.1:{self.server_address[1]}/{path.replace(' ', '%20')}" for path in paths]


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "data" / "file.gz"


def left(path: Path) -> dict[str, bytes]:
    """What lies in the folder, besides the lock that some releases of filelock leave there."""
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if file.suffix != ".lock"}


@pytest.mark.parametrize("first", RIGHT)
def test_a_file_arrives_whole(server, path, first):
    assert fetch(path, MD5, server.urls(first)) == path
    assert left(path) == {"file.gz": CONTENT}


def refusal(path: Path, urls: list[str]) -> str:
    with pytest.raises(ConnectionError) as failure:
        fetch(path, MD5, urls)
    assert left(path) == {}
    assert "\n" not in str(failure.value)
    return str(failure.value)


@pytest.mark.parametrize("first", WRONG)
def test_a_wrong_answer_is_refused_in_one_sentence_and_the_next_mirror_helps(server, path, first):
    sentence = refusal(path, server.urls(first))
    reasons = {"missing": "404", "other bytes": str(len(CONTENT)), "half of it": str(len(CONTENT) // 2)}
    for part in ("file.gz", f"127.0.0.1:{server.server_address[1]}", reasons.get(first, ""), MD5, str(path)):
        assert part in sentence
    server.asked.clear()
    fetch(path, MD5, server.urls(first, "good"))
    assert left(path) == {"file.gz": CONTENT} and server.asked[0] == first and server.asked[-1] == "good"


def test_every_mirror_that_failed_is_named_and_was_asked_for_the_file_by_name(server, path):
    sentence = refusal(path.with_name("missing"), [*server.urls("{}"), "http://127.0.0.1:1/file.gz"])
    assert "404" in sentence and "127.0.0.1:1:" in sentence


def test_a_silent_mirror_is_left(server, path, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    assert "timed out" in refusal(path, server.urls("silent"))


def trickle(monkeypatch, least: int) -> None:
    """A mirror that sends half of the file at once and then 100 bytes at a time, one each 10 seconds."""
    content, sizes = io.BytesIO(CONTENT), itertools.chain([5000], itertools.repeat(100))
    answer = MagicMock()
    answer.__enter__.return_value = SimpleNamespace(length=None, read1=lambda most: content.read1(next(sizes)))
    monkeypatch.setattr(files, "urlopen", lambda *args, **options: answer)
    monkeypatch.setattr(files, "monotonic", itertools.count(step=10).__next__)
    monkeypatch.setattr(files, "LEAST", least)


@pytest.mark.parametrize("least", [5000, 500_000])
def test_a_mirror_that_trickles_is_left_though_it_began_well(path, monkeypatch, least):
    trickle(monkeypatch, least)
    assert "fewer than" in refusal(path, ["http://mirror/file.gz"])


def test_a_mirror_that_sends_enough_may_take_its_time(path, monkeypatch):
    trickle(monkeypatch, 200)
    fetch(path, MD5, ["http://mirror/file.gz"])
    assert left(path) == {"file.gz": CONTENT}


def test_a_mirror_that_never_ends_is_cut_off(path, monkeypatch):
    trickle(monkeypatch, 0)
    monkeypatch.setattr(files, "MOST", 6000)
    assert "of 6000 bytes" in refusal(path, ["http://mirror/file.gz"])


# What lies there already


def test_a_right_file_is_taken_without_a_question_and_without_writing(server, path, monkeypatch):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    monkeypatch.setattr(files, "FileLock", None)  # which would write
    assert fetch(path, MD5, server.urls("good")) == path
    assert server.asked == [] and left(path) == {"file.gz": CONTENT}


def test_another_file_is_set_aside_with_a_warning(server, path):
    path.parent.mkdir()
    path.write_bytes(b"my own")
    with pytest.warns(UserWarning, match=r"file\.gz.*set-aside"):
        fetch(path, MD5, server.urls("good"))
    assert left(path) == {"file.gz": CONTENT, "file.gz.set-aside": b"my own"}


def test_of_several_at_once_one_downloads_and_all_get_the_file(server, path):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(path, MD5, server.urls("good")), range(4)))
    assert paths == [path] * 4 and server.asked == ["good"] and left(path) == {"file.gz": CONTENT}
