"""A topic to one Parquet file: this repository's source beside confluent-kafka, json or fastavro, and pandas; each a process of its own.

The broker is Apache Kafka if java and mvn are installed, else Tansu. It is always Tansu with --quick.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
from rich.console import Console
from rich.table import Table

from benchmarks.options import is_quick
from tests.broker import Broker, running, running_kafka

MESSAGES, QUICK, PARTITIONS = 200_000, 2_000, 2
GOAL = 100_000  # messages a CPU second
DEFINITION = "row.avsc"
SCHEMA = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "count", "type": "int"},
        {"name": "x", "type": "double"},
        {"name": "y", "type": ["null", "double"]},
        {"name": "name", "type": "string"},
        {"name": "kind", "type": "string"},
        {"name": "note", "type": ["null", "string"]},
        {"name": "ok", "type": "boolean"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    ],
}
CONTRACT = {
    **dict.fromkeys(("id", "count"), "integer"),
    **dict.fromkeys(("x", "y"), "number"),
    **dict.fromkeys(("name", "kind", "note"), "string"),
    "ok": "boolean",
    "at": "timestamp",
    "day": "date",
}


def main() -> None:
    """Measure and print."""
    quick = is_quick("benchmarks.data.kafka", __doc__)
    messages = QUICK if quick else MESSAGES
    table = Table(
        "", *("wall s", "CPU s", "peak MB", "messages/s", "messages/CPU s"), title=f"{messages:,} messages of {len(CONTRACT)} fields to Parquet"
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, _broker(Path(scratch), quick) as broker:
        Path(scratch, DEFINITION).write_text(json.dumps(SCHEMA))
        for kind in ("json", "avro"):
            topic = _written(broker, kind, messages)
            here, there = (_measured(broker, who, kind, topic, messages, Path(scratch)) for who in CONTENDERS)
            table.add_row(f"{kind}, here", *_cells(here, messages), style="bold")
            table.add_row(f"{kind}, pandas", *_cells(there, messages))
            table.add_row("ratio", *(f"{here[name] / there[name]:.2f}" for name in ("wall", "cpu", "peak")), end_section=True)
        version = "Apache Kafka" if "kafka.Kafka" in broker.command else "Tansu"
    load = os.getloadavg()[0]
    Console().print(table, f"goal: {GOAL:,} messages a CPU second; {version}; load of the machine {load:.1f} on {os.cpu_count()} cores")


def _broker(folder: Path, quick: bool) -> AbstractContextManager[Broker]:
    return running_kafka(folder) if not quick and shutil.which("java") and shutil.which("mvn") else running(folder)


def _written(broker: Broker, kind: str, messages: int) -> str:
    """Make a topic and fill its partitions; Tansu is not asked where it ends before the last message is a batch of its own."""
    topic = broker.create(PARTITIONS, retention_ms="-1")
    for partition in range(PARTITIONS):
        rows = [_row(number) for number in range(partition, messages, PARTITIONS)]
        records = [(str(row["id"] % 1000), ENCODE[kind](row)) for row in rows]
        batches: dict[str, Any] = {"batch.num.messages": 10_000, "linger.ms": 20, "queue.buffering.max.messages": messages}
        broker.write(topic, records[:-1], partition, **batches)
        broker.write(topic, records[-1:], partition)
    return topic


def _row(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "count": number % 77,
        "x": number / 7,
        "y": number / 9 if number % 5 else None,
        "name": f"name {number % 1000}",
        "kind": "abc"[number % 3],
        "note": "some longer text that says little" if number % 4 else None,
        "ok": number % 2 == 0,
        "at": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
        "day": date(2024, 1, 1) + timedelta(days=number % 300),
    }


def _as_avro(row: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, PARSED, row)
    return stream.getvalue()


PARSED = fastavro.parse_schema(SCHEMA)
ENCODE: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "json": lambda row: json.dumps(row | {"at": row["at"].isoformat(), "day": row["day"].isoformat()}).encode(),
    "avro": _as_avro,
}


def _measured(broker: Broker, who: str, kind: str, topic: str, messages: int, folder: Path) -> dict[str, float]:
    target = folder / f"{who}-{kind}.parquet"
    command = [sys.executable, "-m", "benchmarks.data.kafka", who, kind, topic, str(messages), str(folder), str(target)]
    done = subprocess.run(command, env=os.environ | broker.environment(), check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    if (rows := found.pop("rows")) != messages:
        raise SystemExit(f"{who} read {rows:,} of {messages:,} messages")
    return found


def _cells(found: dict[str, float], messages: int) -> Iterator[str]:
    yield from (f"{found['wall']:.2f}", f"{found['cpu']:.2f}", f"{found['peak']:.0f}")
    yield from (f"{messages / found['wall']:,.0f}", f"{messages / found['cpu']:,.0f}")


def contend(who: str, kind: str, topic: str, messages: str, folder: str, target: str) -> None:
    """Read a topic as one contender, and print what it cost; the imports are not counted."""
    import pyarrow.parquet as pq

    read = CONTENDERS[who](kind, topic, int(messages), Path(folder), Path(target))
    started, before = time.perf_counter(), time.process_time()
    read()
    cost = {"wall": time.perf_counter() - started, "cpu": time.process_time() - before}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps(cost | {"peak": peak, "rows": pq.read_metadata(target).num_rows}))


def _here(kind: str, topic: str, _: int, folder: Path, target: Path) -> Callable[[], object]:
    from components.extract import formats
    from components.extract.delivery import Request
    from components.extract.sources.kafka import avro, fetch  # noqa: F401
    from core.contract import Contract
    from core.sources import KafkaSource

    contract = Contract.model_validate({"columns": {name: {"type": kind, "nulls": 1} for name, kind in CONTRACT.items()}})
    place = folder / f"{kind}-here"
    place.mkdir()
    request = Request(str(folder), "rows", contract, place, "512MB")
    source = KafkaSource.model_validate({"kind": "kafka", "topic": topic, "format": kind} | ({"definition": DEFINITION} if kind == "avro" else {}))
    return lambda: formats.write(source, request, fetch(source, request), target)


def _pandas(kind: str, topic: str, messages: int, _: Path, target: Path) -> Callable[[], object]:
    import pandas as pd
    from confluent_kafka import Consumer, TopicPartition

    def decoded(value: bytes) -> Any:
        return json.loads(value) if kind == "json" else fastavro.schemaless_reader(io.BytesIO(value), PARSED, None)

    def read() -> None:
        settings = {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"], "group.id": "bench", "enable.auto.commit": False}
        consumer = Consumer(settings)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        rows: list[dict[str, Any]] = []
        while len(rows) < messages:
            for message in consumer.consume(min(10_000, messages - len(rows)), timeout=1):
                place = {"_partition": message.partition(), "_offset": message.offset(), "_timestamp": message.timestamp()[1], "_key": message.key()}
                rows.append(decoded(message.value() or b"") | place)
        consumer.close()
        table = pd.DataFrame(rows)
        table["at"], table["day"] = pd.to_datetime(table["at"], utc=True), pd.to_datetime(table["day"])
        table.sort_values(["_partition", "_offset"]).to_parquet(target, compression="zstd")

    return read


CONTENDERS: dict[str, Callable[[str, str, int, Path, Path], Callable[[], object]]] = {"here": _here, "pandas": _pandas}

if __name__ == "__main__":
    if sys.argv[1:] and not sys.argv[1].startswith("-"):
        contend(*sys.argv[1:])
    else:
        main()
