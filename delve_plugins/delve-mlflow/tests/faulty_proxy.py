"""A proxy in front of a real server, that has one request fail, or all from one on."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self
from urllib.parse import urlsplit

Fault = Literal["error", "lost", "answer lost"]

Answer = tuple[int, bytes]


class FaultyProxy:
    """Hands requests on to a server at ``url``, while it is used as a context manager.

    Attributes:
        requests: The method and path of each so far.
        fail_at: The number of the request to fail, from 0.
        fail_on: Whether those behind it fail too, as if the process had died there.
        fault: How: with an answer of 500; lost on the way; or carried out, and the answer lost.
        delay: Seconds that each request waits before it is handed on.
        drips: Whether the answer to a request, by its path, comes byte by byte, one a second.
        refuse: Answers a request itself, by path and body; None lets it pass.
    """

    def __init__(self, url: str) -> None:
        self.upstream = urlsplit(url)
        self.refuse: Callable[[str, bytes], Answer | None] = lambda path, body: None
        self.pass_all()

    def pass_all(self) -> None:
        """No fault from here on; the count begins anew."""
        self.requests: list[str] = []
        self.fail_at: int | None = None
        self.fail_on = False
        self.fault: Fault = "error"
        self.delay = 0.0
        self.drips: Callable[[str], bool] = lambda path: False

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        proxy, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with lock:
                    number = len(proxy.requests)
                    proxy.requests.append(f"{self.command} {self.path}")
                time.sleep(proxy.delay)
                answer = proxy._answer(number, self, body)
                if answer is None:
                    self.close_connection = True
                    with contextlib.suppress(OSError):
                        self.connection.shutdown(2)
                    return
                status, content = answer
                drips = proxy.drips(self.path)
                content += b" " * 30 if drips else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if not drips:
                    with contextlib.suppress(OSError):  # nobody waits for it any more
                        self.wfile.write(content)
                    return
                for byte in content:
                    with contextlib.suppress(OSError):
                        self.wfile.write(bytes([byte]))
                    time.sleep(1.0 if proxy.drips(self.path) else 0.0)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _handle  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Nothing: the console is the test's."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, number: int, request: BaseHTTPRequestHandler, body: bytes) -> Answer | None:
        fails = self.fail_at is not None and (
            number >= self.fail_at if self.fail_on else number == self.fail_at
        )
        if fails and self.fault == "error":
            return 500, b'{"error_code": "INTERNAL_ERROR", "message": "out of order"}'
        if fails and self.fault == "lost":
            return None
        answer = self.refuse(request.path, body) or self._forward(request, body)
        return None if fails else answer

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        assert self.upstream.hostname
        connection = http.client.HTTPConnection(
            self.upstream.hostname, self.upstream.port, timeout=30
        )
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "connection", "accept-encoding")
        }
        with contextlib.closing(connection):
            connection.request(request.command, request.path, body or None, headers)
            response = connection.getresponse()
            return response.status, response.read()
