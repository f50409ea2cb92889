"""The real model server in a process of its own, and a way to S3 that can be held."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.unit.serving import web

# The fixture `engine`: what asks for one engine runs in one worker, which starts the servers of no other.
ONNX, SCIKIT_LEARN = (pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("onnx", "scikit-learn"))


@dataclass
class Running:
    """A model server that was started."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str

    def text(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> Running:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            if web.get(f"{self.url}/v2/health/ready").status_code == 200:
                return self
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.text()}")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)


class Launcher:
    """Starts model servers and ends those that a test left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, uri: str, bundle_digest: str, name: str = "wine", environment: Mapping[str, str] | None = None) -> Running:
        arguments = ["--uri", uri, "--digest", bundle_digest, "--name", name, "--version", "3", "--port", "0"]
        return self.launch(arguments, environment or {})

    def launch(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Running:
        log = self.folder / f"server-{len(self.processes)}.log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "serving", *arguments]
            process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environment})
        self.processes.append(process)
        return Running(process, log, f"http://{listening(process, log)}")

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


class HeldStorage:
    """The way to the S3 server, closed until `release`: bytes wait, none is lost."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._released = threading.Event()
        self.url = "http://{}:{}".format(*self._listener.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def release(self) -> None:
        self._released.set()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        self._released.wait()
        target = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"])
        server = socket.create_connection((target.hostname or "", target.port or 80))
        threading.Thread(target=pour, args=(server, client), daemon=True).start()
        pour(client, server)


def pour(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(data)


def listening(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for the line that says where the server listens."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = re.search(r"listening on (\S+),", log.read_text())
        if found:
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    raise AssertionError(f"never listened: {log.read_text()}")
