"""The messages of some offsets, as they are, in files: first everything is fetched, then it is decoded."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, Message, TopicPartition

from components.extract.sources.kafka.offsets import Span
from core.errors import UserError
from core.kafka import Faults, refusal
from core.sources import KafkaSource

SCHEMA = pa.schema(
    [("_partition", pa.int32()), ("_offset", pa.int64()), ("_timestamp", pa.timestamp("ms", "UTC")), ("_key", pa.binary()), ("value", pa.binary())]
)
ROWS, BYTES = 10_000, 16_000_000  # of a batch: whichever is reached first, so that the batches are the same at each run
CHUNK = 1000  # messages of one call
LIMITS = {"queued.max.messages.kbytes": 16_384, "fetch.wait.max.ms": 100}  # memory; and how long an end without messages takes to be told
PASSING = {  # librdkafka tries again, or it does not matter
    KafkaError.GROUP_AUTHORIZATION_FAILED,  # librdkafka looks for the group's coordinator, though no group is used
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.BROKER_NOT_AVAILABLE,
}


@dataclass
class Copy:
    """Messages on this machine."""

    files: list[Path] = field(default_factory=list)  # Arrow, with the columns of `SCHEMA`; one a partition, in their order
    messages: int = 0
    tombstones: int = 0  # of them: a key without a value


def copy(consumer: Consumer, source: KafkaSource, spans: list[Span], folder: Path, faults: Faults) -> Copy:
    """Write the messages of all spans, one partition after the other.

    Raises:
        UserError: Some of the messages cannot be read.
    """
    made = Copy()
    for span in spans:
        if span.start == span.end:
            continue
        file = folder / f"{span.partition:05}.arrow"
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, SCHEMA, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            for batch in _batches(_chunks(consumer, source, span, faults)):
                writer.write_batch(batch)
                made.messages += batch.num_rows
                made.tombstones += batch.column("value").null_count
        made.files.append(file)
    return made


def batches(file: Path) -> Iterator[pa.RecordBatch]:
    """Yield the messages of a file as they were written."""
    with pa.OSFile(str(file)) as stream, pa.ipc.open_file(stream) as reader:
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def _chunks(consumer: Consumer, source: KafkaSource, span: Span, faults: Faults) -> Iterator[list[Message]]:
    """Yield the messages of a span in their order, until its end is reached.

    The end may be a gap (a compacted message, the marker of a transaction): then a message beyond it or the partition's end tells that it is reached.
    """
    consumer.assign([TopicPartition(source.topic, span.partition, span.start)])
    heard = time.monotonic()
    reached = span.start
    while reached < span.end:
        found = consumer.consume(min(CHUNK, span.end - reached), timeout=0.1)  # it waits for all that it is asked for
        messages = [message for message in found if message.error() is None]
        ends = [message for message in found if message.error() is not None and not _is_fault(message, source, faults)]
        if messages or ends:
            heard, reached = time.monotonic(), max(map(_next, messages[-1:] + ends[-1:]))
            yield messages if reached <= span.end else [message for message in messages if _next(message) <= span.end]
        elif time.monotonic() - heard > source.timeout:
            silence = f", partition {span.partition}: nothing came for {source.timeout} s, {span.end - reached:,} messages are missing"
            what = source.address + ("" if faults.refused else silence)  # a password that has expired is told alike, whether before or in the middle
            raise refusal(what, faults.last or KafkaError(KafkaError._TIMED_OUT), faults)
    consumer.unassign()


def _next(message: Message) -> int:
    """Return the offset that comes after a message; the end of the partition says it by itself."""
    offset: int = message.offset()  # type: ignore[assignment]
    return offset if message.error() else offset + 1


def _is_fault(message: Message, source: KafkaSource, faults: Faults) -> bool:
    """Tell whether it is no message but a fault that may pass; the end of the partition is neither.

    Raises:
        UserError: It will not pass.
    """
    error = message.error()
    if error is None or error.code() == KafkaError._PARTITION_EOF:
        return False
    if error.code() in PASSING:
        return True
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        raise UserError(
            f"{source.address}, partition {message.partition()}: messages were deleted by the topic's retention while they were read: run again"
        )
    raise refusal(source.address, KafkaException(error), faults)


def _batches(chunks: Iterator[list[Message]]) -> Iterator[pa.RecordBatch]:
    """Cut the messages by their count and bytes, not by how they arrived."""
    waiting: list[Message] = []
    size = 0
    for chunk in chunks:
        whole = sum(map(len, chunk))
        if len(waiting) + len(chunk) < ROWS and size + whole < BYTES:
            waiting += chunk
            size += whole
            continue
        for message in chunk:
            waiting.append(message)
            size += len(message)
            if len(waiting) == ROWS or size >= BYTES:
                yield _batch(waiting)
                waiting, size = [], 0
    if waiting:
        yield _batch(waiting)


def _batch(messages: list[Message]) -> pa.RecordBatch:
    times = [message.timestamp() for message in messages]
    columns = [
        [message.partition() for message in messages],
        [message.offset() for message in messages],
        [when if kind != TIMESTAMP_NOT_AVAILABLE else None for kind, when in times],
        [message.key() for message in messages],
        [message.value() for message in messages],
    ]
    return pa.record_batch([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
