"""A topic: all rows in one transaction, and in the same one a note of the run in the compacted topic `mlops-loads`.

The transaction's id is the run's: a repetition first ends what a killed attempt has begun, then looks for the note.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow.parquet as pq
from confluent_kafka import KafkaError, KafkaException, Producer

from components.load.request import Request
from components.load.targets.kafka import notes
from components.load.targets.kafka.messages import Encoder
from core.errors import UserError
from core.kafka import Faults, refusal, settings
from core.targets import KafkaTarget

BATCH = 8192  # rows
LONGEST = 900_000  # milliseconds of a transaction: the most that brokers allow unless they are told otherwise
NO_COORDINATOR = (
    "the brokers answer, but have begun no transaction within {timeout} s: give them at least as many nodes as their "
    "transaction.state.log.replication.factor says or lower it, then run again"
)
CURES = {
    KafkaError._FENCED: "another attempt of the same run has taken over: let that one end",
    KafkaError.INVALID_TRANSACTION_TIMEOUT: "the brokers allow no transaction of 15 minutes: raise their transaction.max.timeout.ms",
    KafkaError.MSG_SIZE_TOO_LARGE: "a row is greater than the topic's messages may be: raise its max.message.bytes, or leave columns out",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the user may not use transactions: allow it WRITE and DESCRIBE on transactional ids `mlops.*`",
    KafkaError._UNSUPPORTED_FEATURE: "the brokers have no transactions, so rows could come twice: load to Kafka 0.11 or newer",
}


def send(target: KafkaTarget, request: Request) -> bool:
    """Write the rows and the note of the run in one transaction."""
    encoder = Encoder(target, request.usecase, pq.read_schema(request.rows).names)
    with _producing(target, request) as producer:
        _introduce(producer, target)
        notes.prepare(target)
        if notes.is_loaded(target, request.run):
            return False
        producer.begin_transaction()
        try:
            _produce(producer, target, request, encoder)
            producer.produce(notes.TOPIC, notes.value(target, request), notes.key(target, request.run))
            _commit(producer)
        except BaseException:
            _abort(producer, target)
            raise
    return True


@contextmanager
def _producing(target: KafkaTarget, request: Request) -> Iterator[Producer]:
    """Make the producer, and turn what the brokers say into one sentence: readers of what is committed see nothing of what failed."""
    given = settings(target.timeout)
    faults: Faults = given["error_cb"]
    own: dict[str, Any] = {
        "transactional.id": f"mlops.{target.topic}.{request.run}",
        "transaction.timeout.ms": LONGEST,
        "partitioner": "murmur2_random",  # a key's partition is the one that Java's clients choose
        "compression.type": "lz4",
        "linger.ms": 20,
        "queue.buffering.max.kbytes": 32_768,
    }
    try:
        producer = Producer(given | own)
        try:
            yield producer
        except KafkaException:
            producer.poll(0)
            raise
    except KafkaException as error:
        cure = CURES.get(error.args[0].code())
        raise UserError(f"{target.address}: {cure}") if cure else refusal(target.address, error, faults) from error


def _introduce(producer: Producer, target: KafkaTarget) -> None:
    """Have the brokers know the transaction's id: one that answers, but has no place for transactions, lets it wait without a reason."""
    try:
        producer.init_transactions(target.timeout)
    except KafkaException as error:
        if error.args[0].code() != KafkaError._TIMED_OUT:
            raise
        producer.list_topics(timeout=min(target.timeout, 10))  # if they do not answer at all, that is what is wrong
        raise UserError(f"{target.address}: {NO_COORDINATOR.format(timeout=target.timeout)}") from error


def _produce(producer: Producer, target: KafkaTarget, request: Request, encoder: Encoder) -> None:
    headers: Any = [("run_id", request.run), ("usecase", request.usecase)]
    failed: list[KafkaError] = []

    def note(error: KafkaError | None, _: Any) -> None:
        if error:
            failed.append(error)

    with pq.ParquetFile(request.rows) as file:
        for batch in file.iter_batches(BATCH):
            for row in batch.to_pylist():
                _queue(producer, target.topic, encoder.value(row), encoder.key(row), headers, note)
            if failed:
                raise KafkaException(failed[0])
    producer.flush(target.timeout)
    if failed:
        raise KafkaException(failed[0])


def _queue(producer: Producer, topic: str, value: bytes, key: bytes | None, headers: Any, note: Any) -> None:
    while True:
        try:
            producer.produce(topic, value, key, headers=headers, on_delivery=note)
            producer.poll(0)
            return
        except BufferError:  # the brokers are slower than we are
            producer.poll(0.1)


def _commit(producer: Producer) -> None:
    """End the transaction; a call that only waited too long is made again, until the brokers end it themselves."""
    deadline = time.monotonic() + LONGEST / 1000
    while True:
        try:
            producer.commit_transaction(30)
            return
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise


def _abort(producer: Producer, target: KafkaTarget) -> None:
    """Let readers pass at once; without the brokers, they do so when these end the transaction themselves."""
    try:
        producer.purge()
        producer.abort_transaction(target.timeout)
    except KafkaException:
        return
