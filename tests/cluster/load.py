"""Asks a model server without pause and checks every answer; runs in a pod of its own, with nothing but the standard library.

`python load.py CONFIG`: until SIGTERM, then it prints what came of it as JSON.
"""

import http.client
import json
import math
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

TIMEOUT = 10
SHOWN = 10
STOP = threading.Event()
LOCK = threading.Lock()


class Wrong(Exception):
    """An answer that is not the one of training."""


class Counts:
    """What came of the requests so far."""

    def __init__(self) -> None:
        self.requests = self.reused = 0
        self.failures: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.slowest = 0.0
        self.examples: list[dict[str, Any]] = []
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def add(self, version: str, failure: str, seconds: float, reused: bool, circumstances: dict[str, Any]) -> None:
        """Count one request; of the first failures it keeps the circumstances, too."""
        with LOCK:
            self.requests += 1
            self.reused += reused
            self.slowest = max(self.slowest, seconds)
            if failure:
                self.failures[failure] += 1
                details = {"failure": failure, "at": time.time(), "seconds": seconds, "reused": reused}
                self.examples += [circumstances | details][: SHOWN - len(self.examples)]
            else:
                self.versions[version] += 1
                self.first.setdefault(version, time.time())
                self.last[version] = time.time()


class Client:
    """One thread's connection: kept, or a new one for each request."""

    def __init__(self, config: dict[str, Any], keeps: bool) -> None:
        self.config, self.keeps = config, keeps
        self.connection = self._new()
        self.circumstances: dict[str, Any] = {}

    def ask(self) -> tuple[str, str, bool]:
        """Send the golden rows and check the answer: the version, and what was wrong."""
        reused = self.connection.sock is not None
        self.circumstances |= {"asked over it": self.circumstances.get("asked over it", 0) + 1 if reused else 1}
        try:
            status, body = self._post()
            version = self._check(status, body)
            self.circumstances["answered before"] = version
            return version, "", reused
        except Exception as error:
            self.connection.close()
            self.connection = self._new()
            return "", f"{type(error).__name__}: {error}"[:300], reused

    def _new(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.config["host"], self.config["port"], timeout=TIMEOUT)

    def _post(self) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} | ({} if self.keeps else {"Connection": "close"})
        self.circumstances["stage"] = "sending"
        self.connection.request("POST", self.config["path"], self.config["body"], headers)
        self.circumstances |= {"stage": "waiting", "port": self.connection.sock.getsockname()[1]}
        response = self.connection.getresponse()
        self.circumstances["stage"] = "reading"
        body = response.read()
        if not self.keeps:
            self.connection.close()
        return response.status, body

    def _check(self, status: int, body: bytes) -> str:
        if status != 200:
            raise Wrong(f"HTTP {status}: {body[:200]!r}")
        answer = json.loads(body)
        version = str(answer["model_version"])
        if version not in self.config["answers"]:
            raise Wrong(f"version {version} answered, allowed are {', '.join(self.config['answers'])}")
        outputs = {item["name"]: item["data"] for item in answer["outputs"]}
        for name, expected in self.config["answers"][version].items():
            if len(expected) != len(outputs[name]) or not all(map(_same, expected, outputs[name])):
                raise Wrong(f"wrong {name} of version {version}")
        return version


def _same(expected: Any, answer: Any) -> bool:
    if isinstance(expected, float):
        return isinstance(answer, int | float) and math.isclose(expected, answer, rel_tol=1e-9, abs_tol=1e-9)
    return bool(expected == answer)


def ask_on(config: dict[str, Any], number: int, counts: Counts) -> None:
    """Ask at a constant rate until the end; even numbers keep their connection."""
    client, pause = Client(config, number % 2 == 0), config["threads"] / config["rate"]
    due = time.monotonic() + pause * number / config["threads"]
    while not STOP.wait(max(0.0, due - time.monotonic())):
        due = max(due + pause, time.monotonic() - 1)  # after a stall it does not catch up for ever
        began = time.monotonic()
        version, failure, reused = client.ask()
        counts.add(version, failure, time.monotonic() - began, reused, dict(client.circumstances))


def main() -> None:
    """Run the threads of the configuration."""
    config, counts = json.loads(Path(sys.argv[1]).read_text()), Counts()
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    threads = [threading.Thread(target=ask_on, args=(config, number, counts)) for number in range(config["threads"])]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    while counts.requests < config["threads"] and not STOP.wait(0.05):
        pass
    print("under way", flush=True)
    while not STOP.wait(1):
        pass
    for thread in threads:
        thread.join()
    print(json.dumps(vars(counts) | {"seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main()
