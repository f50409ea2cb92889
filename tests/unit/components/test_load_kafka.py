"""load to Kafka: messages that say what the rows say, once a run, all or none."""

from __future__ import annotations

import io
import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from components.load.request import Request
from components.load.targets.kafka import notes, send
from core.errors import UserError
from core.targets import KafkaTarget
from tests.broker import QUIET, Broker, running_kafka
from tests.unit.components.killed import killed

ROWS: dict[str, list[Any]] = {"day": [1, 2, 1, 2, 1], "place": ["a", "b", "a", "b", "a"], "score": [0.5, None, 0.7, 0.8, 0.9]}


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_kafka(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@pytest.fixture
def topic(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic of Tansu, which the environment names."""
    return made(broker, monkeypatch)


@pytest.fixture
def real_topic(kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic of Apache Kafka, which the environment names."""
    return made(kafka, monkeypatch)


def made(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in broker.environment().items():
        monkeypatch.setenv(name, value)
    return broker.create(3)


def request_of(folder: Path, table: pa.Table | None = None, **columns: Any) -> Request:
    path = folder / f"{uuid.uuid4().hex}.parquet"
    pq.write_table(table or pa.table(columns or ROWS), path)
    return Request("small", str(uuid.uuid4()), path, "256MB")


def target_of(topic: str, **settings: Any) -> KafkaTarget:
    return KafkaTarget.model_validate({"kind": "kafka", "topic": topic, "timeout": 20} | settings)


def committed(broker: Broker, topic: str, isolation: str = "read_committed") -> list[Message]:
    """What a reader of committed messages sees, partition by partition."""
    given = {"bootstrap.servers": broker.bootstrap, "group.id": "reader", "isolation.level": isolation, "enable.partition.eof": True}
    consumer = Consumer(given | QUIET)
    partitions = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found: list[Message] = []
    ends = 0
    while ends < partitions:
        message = consumer.poll(10)
        assert message is not None
        error = message.error()
        if error:
            assert error.code() == KafkaError._PARTITION_EOF
            ends += 1
        else:
            found.append(message)
    consumer.close()
    return sorted(found, key=lambda message: (message.partition(), message.offset()))


def values(messages: list[Message]) -> list[Any]:
    return [json.loads(message.value() or b"") for message in messages]


def test_a_row_is_a_json_message_with_its_key_and_where_it_came_from(broker: Broker, topic: str, tmp_path: Path) -> None:
    noon = datetime(2024, 1, 7, 12, 0, 0, 1)
    table = pa.table(
        {
            "day": [2**62],
            "zoned": pa.array([noon], pa.timestamp("us", "America/New_York")),
            "naive": pa.array([noon], pa.timestamp("ns")),
            "date": [noon.date()],
            "exact": [Decimal("1.20")],
            "nan": [float("nan")],
            "text": ['größer "als"'],
            "list": [[1, None]],
        }
    )
    request = request_of(tmp_path, table)

    assert send(target_of(topic, key=["text"]), request)

    (message,) = committed(broker, topic)
    assert json.loads(message.value() or b"") == {
        "day": 2**62,
        "zoned": "2024-01-07T07:00:00.000001-05:00",
        "naive": "2024-01-07T12:00:00.000001Z",
        "date": "2024-01-07",
        "exact": "1.20",
        "nan": None,
        "text": 'größer "als"',
        "list": [1, None],
    }
    assert message.key() == 'größer "als"'.encode()
    assert dict(message.headers() or []) == {"run_id": request.run.encode(), "usecase": b"small"}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param(["day"], {b"1", b"2"}, id="a number"),
        pytest.param(["place", "day"], {b'{"place":"a","day":1}', b'{"place":"b","day":2}'}, id="several"),
        pytest.param(None, {None}, id="none"),
    ],
)
def test_the_rows_of_a_key_keep_their_order(broker: Broker, topic: str, tmp_path: Path, key: list[str] | None, expected: set[Any]) -> None:
    request = request_of(tmp_path, day=[1, 2] * 500, place=["a", "b"] * 500, number=list(range(1000)))

    send(target_of(topic, key=key), request)

    messages = committed(broker, topic)
    assert {message.key() for message in messages} == expected
    if key:
        for one in expected:
            numbers = [json.loads(message.value() or b"")["number"] for message in messages if message.key() == one]
            assert numbers == sorted(numbers)
            assert len({message.partition() for message in messages if message.key() == one}) == 1
    assert sorted(value["number"] for value in values(messages)) == list(range(1000))


def test_avro_is_written_by_the_schema_beside_the_config(broker: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.load.targets.kafka.messages.FOLDER", tmp_path)
    when = datetime(2024, 1, 7, 12, tzinfo=UTC)
    fields = [{"name": "when", "type": {"type": "long", "logicalType": "timestamp-micros"}}, {"name": "score", "type": ["null", "double"]}]
    schema = {"type": "record", "name": "row", "fields": fields}
    Path(tmp_path, "small").mkdir()
    Path(tmp_path, "small", "row.avsc").write_text(json.dumps(schema))
    target = target_of(topic, format="avro", definition="row.avsc")

    send(target, request_of(tmp_path, when=[when, when], score=[0.5, None]))

    found = [fastavro.schemaless_reader(io.BytesIO(message.value() or b""), schema, None) for message in committed(broker, topic)]
    assert sorted(found, key=str) == [{"when": when, "score": 0.5}, {"when": when, "score": None}]
    with pytest.raises(UserError, match=r"^kafka:///.*: a row cannot be written as avro: .*: correct its columns$"):
        send(target, request_of(tmp_path, when=[when], score=[0.5], more=[1]))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        pytest.param({"key": ["week"]}, "there is no column week of its key: let features() make it or correct the key", id="key"),
        pytest.param(
            {"format": "avro", "definition": "no.avsc"},
            "there is no file usecases/small/no.avsc: add it or correct the definition",
            id="definition",
        ),
        pytest.param({"topic": "nowhere"}, "there is no such topic: create it or correct its name", id="topic"),
    ],
)
def test_what_is_not_there_is_told(topic: str, tmp_path: Path, settings: dict[str, Any], sentence: str) -> None:
    target = target_of(topic, **settings) if "topic" not in settings else target_of(**settings)

    with pytest.raises(UserError) as refused:
        send(target, request_of(tmp_path))

    assert str(refused.value) == f"{target.address}: {sentence}"


def test_a_row_that_has_no_form_in_json_is_told_and_no_row_is_sent(broker: Broker, topic: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^kafka:///.*: a row cannot be written as json: .*: correct its columns$"):
        send(target_of(topic), request_of(tmp_path, x=[b"a"]))

    assert committed(broker, topic) == []


def test_brokers_that_are_not_there_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")

    with pytest.raises(UserError, match=r"the brokers at 127.0.0.1:1 do not answer: start them or correct KAFKA_BOOTSTRAP_SERVERS"):
        send(target_of("topic", timeout=1), request_of(tmp_path))


def test_the_same_run_again_sends_nothing_also_after_another_one(broker: Broker, topic: str, tmp_path: Path) -> None:
    requests = [request_of(tmp_path), request_of(tmp_path)]

    found = [send(target_of(topic), request) for request in (*requests, *requests)]

    assert found == [True, True, False, False]
    assert len(committed(broker, topic)) == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "moment", "call"),
    [
        pytest.param("components.load.targets.kafka:_produce", "before", 1, id="before the rows"),
        pytest.param("components.load.targets.kafka:_queue", "after", 3, id="within the rows"),
        pytest.param("components.load.targets.kafka.notes:value", "before", 1, id="before the note"),
        pytest.param("components.load.targets.kafka:_commit", "before", 1, id="before the commit"),
        pytest.param("components.load.targets.kafka:_commit", "after", 1, id="after the commit"),
    ],
)
def test_a_run_that_was_killed_is_repeated(kafka: Broker, real_topic: str, tmp_path: Path, place: str, moment: str, call: int) -> None:
    request = request_of(tmp_path)

    killed({"kind": "kafka", "topic": real_topic, "key": ["place"]}, request, place, moment, call)
    seen = committed(kafka, real_topic)
    is_new = send(target_of(real_topic, key=["place"]), request)

    assert len(seen) == (5 if moment == "after" and "commit" in place else 0)
    assert is_new == (not seen)
    assert sorted(map(str, values(committed(kafka, real_topic)))) == sorted(str(row) for row in pa.table(ROWS).to_pylist())


@pytest.mark.slow
def test_of_attempts_at_once_one_sends_the_rows(kafka: Broker, real_topic: str, tmp_path: Path) -> None:
    requests = [request_of(tmp_path) for _ in range(3)]

    def attempt(request: Request) -> bool:
        try:
            return send(target_of(real_topic), request)
        except UserError as error:
            assert "another attempt of the same run has taken over" in str(error)
            return False

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(attempt, [*requests, *requests]))
    for request in requests:
        attempt(request)

    assert len(committed(kafka, real_topic)) == 15


@pytest.mark.slow
def test_while_another_load_is_not_ended_a_repetition_waits_for_it(kafka: Broker, real_topic: str, tmp_path: Path) -> None:
    request = request_of(tmp_path)
    send(target_of(real_topic), request_of(tmp_path))  # makes the topic of notes
    other = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "other", "linger.ms": 0} | QUIET)
    other.init_transactions(20)
    other.begin_transaction()
    other.produce(notes.TOPIC, b"{}", b"other/run")
    other.flush(20)

    with pytest.raises(UserError, match=r"another load was not ended within 3 s, by it or by the brokers: run again in 15 minutes$"):
        send(target_of(real_topic, timeout=3), request)
    threading.Timer(0.5, other.abort_transaction, (20,)).start()

    assert send(target_of(real_topic), request)
    assert not send(target_of(real_topic), request)


@pytest.mark.slow
def test_a_row_that_is_too_great_is_told_and_no_row_is_seen(kafka: Broker, real_topic: str, tmp_path: Path) -> None:
    small = kafka.create(1, max_message_bytes="1000")

    with pytest.raises(UserError, match=r"a row is greater than the topic's messages may be: raise its max.message.bytes, or leave columns out$"):
        send(target_of(small), request_of(tmp_path, x=["a", "".join(uuid.uuid4().hex for _ in range(100))]))

    assert committed(kafka, small) == []


@pytest.mark.slow
def test_brokers_that_can_begin_no_transaction_are_told_from_those_that_do_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_kafka(tmp_path, "transaction.state.log.replication.factor=3") as lonely:
        topic = made(lonely, monkeypatch)

        with pytest.raises(UserError) as refused:
            send(target_of(topic, timeout=3), request_of(tmp_path))

        assert committed(lonely, topic) == []
        assert notes.TOPIC not in lonely.admin().list_topics(timeout=10).topics
    assert str(refused.value) == (
        f"kafka:///{topic}: the brokers answer, but have begun no transaction within 3 s: give them at least as many nodes as their "
        "transaction.state.log.replication.factor says or lower it, then run again"
    )
