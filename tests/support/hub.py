"""A server of this machine, in the place of the Hugging Face hub and of all others that weights are fetched from."""

import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMIT = "0123456789abcdef" * 2 + "01234567"


class Hub(http.server.ThreadingHTTPServer):
    """Serves `files` by their paths; those of the hub are ``/OWNER/NAME/resolve/main/FILE``.

    Attributes:
        mode: "whole", "slow" (whole, with a pause), "absent", "silent", "cut" (after half of it), "other" (other bytes
            than the hash says), or "page" (a web page, whatever is asked for).
        fetched: paths of the GET requests.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], mode: str = "whole") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.mode, self.fetched, self.closing = files, mode, [], threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        if not self.path.startswith("/api/"):  # where the hub's library asks for other things than files
            self.server.fetched.append(self.path)
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        mode, content = self.server.mode, self.server.files.get(self.path)
        if mode == "silent":
            self.server.closing.wait(60)
            return
        if mode == "page":
            self._send(200, b"<html>Please log in</html>", with_body, {"Content-Type": "text/html"})
        elif content is None or mode == "absent":
            self._send(404, b"", with_body, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
            self._send(200, content[::-1] if mode == "other" else content, with_body, headers)

    def _send(self, status: int, content: bytes, with_body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            half = len(content) // 2
            self.wfile.write(content[:half])
            self.wfile.flush()
            if self.server.mode == "cut":
                self.close_connection = True
                return
            if self.server.mode == "slow":
                time.sleep(0.6)
            self.wfile.write(content[half:])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Answer requests in a thread."""
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        hub.shutdown()
        thread.join()
        hub.server_close()


def fill_cache(cache: Path, repository: str, file: str, content: bytes) -> Path:
    """Lay a file out as the hub's cache has it, and return the path by which it is found."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    snapshot = folder / "snapshots" / COMMIT
    for path in (blob.parent, snapshot, folder / "refs"):
        path.mkdir(parents=True)
    blob.write_bytes(content)
    (folder / "refs" / "main").write_text(COMMIT)
    (snapshot / file).symlink_to(blob)
    return snapshot / file
