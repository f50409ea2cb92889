"""Which runs' rows topics have: the compacted topic `mlops-loads`, one message a topic and run."""

import time
from datetime import UTC, datetime

import orjson
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from components.load.request import Request
from core.errors import UserError
from core.kafka import TOPIC as NO_TOPIC
from core.kafka import settings
from core.targets import KafkaTarget

TOPIC = "mlops-loads"


def key(target: KafkaTarget, run: str) -> bytes:
    """Return the key of a run's note."""
    return f"{target.topic}/{run}".encode()


def value(target: KafkaTarget, request: Request) -> bytes:
    """Return a run's note."""
    note = {"topic": target.topic, "run_id": request.run, "usecase": request.usecase, "rows": request.count, "loaded_at": datetime.now(UTC)}
    return orjson.dumps(note, option=orjson.OPT_UTC_Z)


def prepare(target: KafkaTarget) -> None:
    """Look for the topic, and make the one of notes if it is missing.

    Raises:
        UserError: The topic is missing, or that of notes and it may not be made.
    """
    admin = AdminClient(settings(target.timeout))
    known = admin.list_topics(timeout=target.timeout).topics
    if target.topic not in known:
        raise UserError(f"{target.address}: {NO_TOPIC}")
    if TOPIC in known:
        return
    asked = admin.create_topics([NewTopic(TOPIC, 1, config={"cleanup.policy": "compact"})], request_timeout=target.timeout)
    try:
        asked[TOPIC].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another load made it in between
            cure = "have it made, with one partition and cleanup.policy=compact"
            raise UserError(f"{target.address}: the topic {TOPIC}, where loads are noted, cannot be made ({error.args[0].str()}): {cure}") from error


def is_loaded(target: KafkaTarget, run: str) -> bool:
    """Read the notes, to the end that is there now.

    Raises:
        UserError: A transaction of another load is open, so it cannot be told.
    """
    place, end = TopicPartition(TOPIC, 0, 0), _end(target)
    consumer = Consumer(settings(target.timeout) | {"group.id": TOPIC, "enable.auto.commit": False, "enable.partition.eof": True})
    try:
        consumer.assign([place])
        return _found(consumer, target, key(target, run), end)
    finally:
        consumer.close()


def _end(target: KafkaTarget) -> int:
    """Return where the notes end, those of open transactions included: behind one of them, a committed one may be hidden."""
    admin, place = AdminClient(settings(target.timeout)), TopicPartition(TOPIC, 0)
    asked = admin.list_offsets({place: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=target.timeout)  # type: ignore[no-untyped-call]
    return int(asked[place].result().offset)


def _found(consumer: Consumer, target: KafkaTarget, wanted: bytes, end: int) -> bool:
    deadline = time.monotonic() + target.timeout
    while time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is None:
            continue
        error = message.error()
        if error is None and message.key() == wanted:
            return True
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        if (message.offset() or 0) >= (end if error else end - 1):
            return False
    raise UserError(f"{target.address}: another load was not ended within {target.timeout} s, by it or by the brokers: run again in 15 minutes")
