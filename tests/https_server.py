"""A web server with a certificate of its own, which answers as it is told: whole, cut off, silent, or with a lie."""

from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Answer:
    """What a request gets."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = '"1"'
    cut: int | None = None  # bytes after which the connection breaks
    stalls: bool = False  # after the cut it is silent instead
    length: int | None = None  # what Content-Length says; the truth if left out, -1 for no such header
    chunked: bool = False
    ranges: bool = True
    most: int | None = None  # bytes of a part
    user: str | None = None  # name:password that is wanted


class Server:
    """Says of each path one answer after the other; the last one stays."""

    def __init__(self, folder: Path) -> None:
        self.certificate = str(folder / "certificate.pem")
        self.answers: dict[str, list[Answer]] = {}
        self.seen: dict[str, list[dict[str, str]]] = {}
        self.released = threading.Event()
        self._http = Listening(self)
        self._http.socket = secured(self._http.socket, folder)
        self.port = self._http.server_port

    def say(self, path: str, *answers: Answer, host: str = "127.0.0.1") -> str:
        """Have a path give these answers; return its address."""
        self.answers[path] = list(answers)
        self.seen[path] = []
        return f"https://{host}:{self.port}{path}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            self._http.shutdown()
            self._http.server_close()
            thread.join()


def write_certificate(folder: Path) -> None:
    """Write `certificate.pem`, a certificate authority, and `server.pem` and `key.pem`, with which localhost is signed by it."""
    now = datetime.datetime.now(datetime.UTC)
    authority, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("tests", "localhost"))

    def signed(name: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=2))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.DNSName("server.example.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    (folder / "certificate.pem").write_bytes(signed(issuer, authority, x509.BasicConstraints(True, None)))
    (folder / "server.pem").write_bytes(signed(subject, own, names, x509.BasicConstraints(False, None)))
    secret = own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)


def secured(socket: Any, folder: Path) -> Any:
    """Return a server's socket behind a certificate of its own, which is written to the folder."""
    write_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "key.pem")
    return context.wrap_socket(socket, server_side=True, do_handshake_on_connect=False)


class Listening(ThreadingHTTPServer):
    """What hears the requests; a connection that breaks is no news."""

    daemon_threads = True

    def __init__(self, told: Server) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.told = told

    def handle_error(self, *_: Any) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Listening
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.told.seen[path].append(dict(self.headers))
        answers = self.server.told.answers[path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.user and self.headers.get("Authorization") != f"Basic {base64.b64encode(answer.user.encode()).decode()}":
            answer = Answer(status=401)
        begin = self._begin(answer)
        body = answer.body[begin:][: answer.most if begin else None]
        self._head(answer, begin, len(body))
        sent = body[: answer.cut]
        self.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent) if answer.chunked and sent else sent)
        if answer.cut is None:
            self.wfile.write(b"0\r\n\r\n" if answer.chunked else b"")
            return
        self.wfile.flush()
        if answer.stalls:
            self.server.told.released.wait(10)
        self.close_connection = True

    def _begin(self, answer: Answer) -> int:
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if not (wanted and answer.ranges and answer.status == 200 and condition in (answer.etag, answer.headers.get("Last-Modified"))):
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def _head(self, answer: Answer, begin: int, length: int) -> None:
        self.send_response(206 if begin else answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.etag:
            self.send_header("ETag", answer.etag)
        if begin and "Content-Range" not in answer.headers:
            self.send_header("Content-Range", f"bytes {begin}-{len(answer.body) - 1}/{len(answer.body)}")
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif answer.length == -1:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length if answer.length is None else answer.length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
