"""A service that takes answers, over real HTTP: it can fail, be slow, refuse, go away and come back."""

import json
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_):
        """Say nothing of clients that are gone: they are killed on purpose."""


class Downstream:
    """What came, and what it is to answer: `statuses` are used up one after the other, then 200; "hang" never answers, "drip" byte by byte."""

    def __init__(self):
        self.posts: list[tuple[str, list[dict]]] = []
        self.headers: list[dict] = []
        self.statuses: list[int | str] = []
        self.bad: set[str] = set()
        self.retry_after = ""
        self.came = threading.Condition()
        self.released = threading.Event()
        self._server = None
        self.port = 0

    def start(self, context: ssl.SSLContext | None = None):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self._server = Server(("127.0.0.1", self.port), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def stop(self):
        """Go away; the port is kept for when it comes back."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler):
        rows = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        with self.came:
            status = self.statuses.pop(0) if self.statuses else 200
            if status == 200 and any(row["prediction_id"] in self.bad for row in rows):
                status = 422
            self.headers.append({**handler.headers, "path": handler.path})
            if status == "hang":
                handler.close_connection = True
            elif status == 200 or status == "lost":
                self.posts.append((handler.headers["idempotency-key"], rows))
            self.came.notify_all()
        if status in ("hang", "lost"):  # "lost": it was taken, and the answer does not arrive
            if status == "hang":
                self.released.wait(20)
            handler.close_connection = True
            return
        if status == "drip":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
            while not self.released.wait(0.05):
                handler.wfile.write(b".")
            return
        body = b"no thanks" if status != 200 else b"ok"
        handler.send_response(status)
        handler.send_header("content-length", str(len(body)))
        if self.retry_after:
            handler.send_header("retry-after", self.retry_after)
        if status == 301:
            handler.send_header("location", f"http://127.0.0.1:{self.port}/other")
        handler.end_headers()
        handler.wfile.write(body)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def ids(self):
        """Return the ids that came, in their order, each as often as it came."""
        with self.came:
            return [row["prediction_id"] for _, rows in self.posts for row in rows]

    def wait_for(self, count, seconds=60.0):
        """Wait until so many different answers came."""
        with self.came:
            return self.came.wait_for(
                lambda: len({row["prediction_id"] for _, rows in self.posts for row in rows}) >= count,
                seconds,
            )


def certified(folder):
    """Return what a server on localhost speaks TLS with, and the file of its certificate, for which nobody vouches."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert
