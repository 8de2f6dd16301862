"""Serve a folder on localhost as a static host does: compressed, with the type of each file."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps a connection open for the next request

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body = gzip.compress(path.read_bytes())
        headers = {"Content-Type": self.guess_type(str(path)), "Content-Encoding": "gzip", "Content-Length": len(body)}
        self.send_response(200)
        for name, value in {**headers, "Cache-Control": "max-age=600"}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the audit prints one table."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of ``folder``, for as long as the context is open."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
