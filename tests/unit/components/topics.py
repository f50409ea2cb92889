"""What the tests of topics share: a read of one, and a schema registry that speaks HTTP."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.extract.delivery import Delivery, Request
from components.extract.sources import fetch
from core.contract import Contract
from core.sources import KafkaSource
from tests.broker import Broker

PLACE = ["_partition", "_offset", "_timestamp", "_key"]
CONTRACT = {"x": "number"}


def use(broker: Broker, monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    """Have this process's environment name the broker, and nothing else of Kafka."""
    for name in [name for name in os.environ if name.startswith(("KAFKA_", "SCHEMA_REGISTRY_"))]:
        monkeypatch.delenv(name)
    for name, value in (broker.environment() | more).items():
        monkeypatch.setenv(name, value)


def beside_the_config(broker: Broker, monkeypatch: pytest.MonkeyPatch, place: Path) -> Path:
    """Make the use case's folder, where definitions lie, and have no registry."""
    use(broker, monkeypatch)
    monkeypatch.setattr("components.extract.sources.kafka.FOLDER", place)
    (place / "usecase").mkdir()
    return place / "usecase"


@dataclass
class Read:
    """What a source gave."""

    delivery: Delivery
    table: pa.Table
    bad: list[dict[str, Any]]

    @property
    def values(self) -> list[dict[str, Any]]:
        """The rows without their places."""
        found: list[dict[str, Any]] = self.table.drop_columns(PLACE).to_pylist()
        return found

    @property
    def places(self) -> list[tuple[int, int]]:
        return list(zip(self.table["_partition"].to_pylist(), self.table["_offset"].to_pylist(), strict=True))


def read(folder: Path, topic: str, /, columns: Any = CONTRACT, watermark: Any = None, **source: Any) -> Read:
    """Fetch a topic as extract does, into a folder of its own."""
    place = folder / f"read-{len(list(folder.glob('read-*')))}"
    place.mkdir()
    contract = Contract.model_validate({"columns": {name: {"type": kind} for name, kind in columns.items()}})
    made = KafkaSource.model_validate({"kind": "kafka", "topic": topic, "timeout": 5} | source)
    delivery = fetch(made, Request("usecase", "rows", contract, place, "256MB", watermark))
    table = pa.concat_tables([pq.read_table(file) for file in delivery.files])
    return Read(delivery, table, pq.read_table(delivery.bad).to_pylist() if delivery.bad else [])


@dataclass
class Registry:
    """A schema registry: what it answers to `/schemas/ids/ID`."""

    url: str = ""
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    login: str = ""  # name:password, if it wants one
    asked: list[str] = field(default_factory=list)

    def add(self, number: int, schema: dict[str, Any] | bytes) -> None:
        text = base64.b64encode(schema).decode() if isinstance(schema, bytes) else json.dumps(schema)
        self.schemas[number] = {"schema": text} | ({"schemaType": "PROTOBUF"} if isinstance(schema, bytes) else {})

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        self.asked.append(path)
        if self.login and authorization != f"Basic {base64.b64encode(self.login.encode()).decode()}":
            return 401, {"error_code": 401, "message": "Unauthorized"}
        number = path.partition("?")[0].removeprefix("/schemas/ids/")
        if not number.isdecimal():
            return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
        found = self.schemas.get(int(number))
        return (200, found) if found else (404, {"error_code": 40403, "message": f"Schema {number} not found"})


@contextmanager
def registry() -> Iterator[Registry]:
    """Run one; SCHEMA_REGISTRY_URL is the test's to set."""
    made = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = made.answer(self.path, self.headers.get("Authorization", ""))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
