"""The messages of a topic between two points, without a consumer group: the same points give the same rows, always."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, KafkaException

from components.extract.delivery import Delivery, Request
from components.extract.sources.kafka import json, registry
from components.extract.sources.kafka.decode import BAD, Decoder, Tally, write
from components.extract.sources.kafka.latest import latest
from components.extract.sources.kafka.messages import LIMITS, Copy, batches, copy
from components.extract.sources.kafka.offsets import Place, Span, place, spans, watermark
from core.errors import UserError
from core.featurecode import FOLDER
from core.kafka import Faults, refusal, settings
from core.sources import KafkaSource

CONSUMER = {
    "group.id": "extract",  # librdkafka wants one; partitions are assigned and nothing is committed, so that no group comes into being
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "check.crcs": True,
}


def fetch(source: KafkaSource, request: Request) -> Delivery:
    """Read the messages, decode them, and note how far was read.

    Raises:
        UserError: Not all of them can be had.
    """
    definition = _definition(source, request)
    raw, parts = request.folder / "raw", request.folder / "parts"
    raw.mkdir()
    parts.mkdir()
    with _consumer(source) as (consumer, faults):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        found = place(consumer, source)
        ranges = spans(consumer, source, request, found)
        copied = copy(consumer, source, ranges, raw, faults)
    tally = Tally()
    files = _decode(source, request, _decoder(source, request, definition, copied), copied, parts, tally)
    origin = _origin(found, ranges) | {"messages": copied.messages, "tombstones": copied.tombstones, "bad": tally.bad, "time": now}
    pins = {f"partition {span.partition}": f"{span.start}-{span.end}" for span in ranges}
    return Delivery(files, "parquet", origin, pins, watermark(ranges, found), _bad(tally, request.folder))


@contextmanager
def _consumer(source: KafkaSource) -> Iterator[tuple[Consumer, Faults]]:
    """Open a client; what it cannot do becomes a sentence."""
    configuration = settings(source.timeout)
    faults: Faults = configuration["error_cb"]
    try:
        with closing(Consumer(configuration | CONSUMER | LIMITS)) as consumer:
            try:
                _meet(consumer, source.timeout, faults)
                yield consumer, faults
            except KafkaException:
                consumer.poll(0)  # brings the connections' own faults
                raise
    except KafkaException as error:
        raise refusal(source.address, error, faults) from error


def _meet(consumer: Consumer, timeout: int, faults: Faults) -> None:
    """Wait for the first answer of the brokers, but not if they refuse: a call of the client would try again until it has no time left."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            consumer.list_topics(timeout=1)
            return
        except KafkaException:
            consumer.poll(0)  # brings the connections' own faults
            if faults.refused or time.monotonic() > deadline:
                raise


def _decode(source: KafkaSource, request: Request, decoder: Decoder, copied: Copy, folder: Path, tally: Tally) -> list[Path]:
    """Write a Parquet file for each partition that has messages; one of no rows if none has."""
    parts = []
    for file in copied.files:
        part = folder / f"{file.stem}.parquet"
        if source.latest_per_key:
            with latest(file, request.memory) as last:
                write(last, decoder, part, tally, keyed=True)
        else:
            write(batches(file), decoder, part, tally, keyed=False)
        file.unlink()
        parts.append(part)
    if not parts:
        parts.append(folder / "nothing.parquet")
        write(iter(()), decoder, parts[0], tally, keyed=False)
    return parts


def _definition(source: KafkaSource, request: Request) -> Path | None:
    """Return the file with the values' schema, if one is named: before anything is read, since without a schema that is in vain."""
    if source.definition is None:
        if source.format != "json" and not registry.is_there():
            cure = "set SCHEMA_REGISTRY_URL, or name a file beside the config under `definition`"
            raise UserError(f"{source.address}: the schema of its {source.format} values is not known: {cure}")
        return None
    path: Path = FOLDER / request.usecase / source.definition
    if not path.is_file():
        raise UserError(f"{source.address}: there is no file usecases/{request.usecase}/{source.definition}: add it or correct `definition`")
    return path


def _decoder(source: KafkaSource, request: Request, definition: Path | None, copied: Copy) -> Decoder:
    """Choose how values are read. Where no value tells its schema, the contract's columns and types are the table's."""
    of_contract = json.decoder(request.contract)
    if source.format == "json":
        return of_contract
    numbers: set[int] = set().union(*(registry.numbers(batch.column("value")) for file in copied.files for batch in batches(file)))
    if source.format == "avro":
        from components.extract.sources.kafka import avro

        return avro.decoder(source.address, definition, numbers, of_contract.schema)
    from components.extract.sources.kafka import protobuf

    return protobuf.decoder(source.address, definition, source.message, numbers, of_contract.schema)


def _origin(found: Place, ranges: list[Span]) -> dict[str, Any]:
    return {"cluster": found.cluster, "topic": found.topic, "offsets": {str(span.partition): [span.start, span.end] for span in ranges}}


def _bad(tally: Tally, folder: Path) -> Path | None:
    """Write the side table, if there is anything for it."""
    if not tally.bad:
        return None
    path = folder / "bad.parquet"
    pq.write_table(pa.Table.from_pylist(tally.examples, BAD), path)
    return path
