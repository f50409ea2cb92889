"""A forward proxy on this machine, for what reaches its server through one."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy(BaseHTTPRequestHandler):
    """A forward proxy that takes every host name for this machine."""

    def do_CONNECT(self) -> None:
        self.server.logins.append(self.headers.get("proxy-authorization", ""))  # type: ignore[attr-defined]
        port = int(self.path.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: upstream, upstream: self.connection}
            while True:
                for readable in select.select(list(ends), [], [], 5)[0]:
                    try:
                        data = readable.recv(65536)
                    except ConnectionResetError:  # of a client that does not trust the certificate
                        return
                    if not data:
                        return
                    ends[readable].sendall(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def forward_proxy() -> Iterator[ThreadingHTTPServer]:
    """Run one; its `logins` are the headers Proxy-Authorization that it was sent."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True
        server.logins = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
