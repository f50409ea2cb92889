"""Topics of Apache Kafka itself: times, transactions, compaction, retention, restarts and rights."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialDeletion, UserScramCredentialUpsertion
from confluent_kafka.cimpl import NewPartitions, NewTopic

from core.errors import UserError
from tests.broker import JAVA, QUIET, Broker, running_kafka, running_two
from tests.unit.components.topics import read, use

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kafka")]

START = datetime(2024, 1, 31, tzinfo=UTC)
SASL = (
    "listener.security.protocol.map=BROKER:SASL_SSL,CONTROLLER:PLAINTEXT",
    "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256",
    "sasl.mechanism.inter.broker.protocol=PLAIN",
    "listener.name.broker.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="admin" password="admin" user_admin="admin" user_reader="s3cret";',
    "listener.name.broker.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "listener.name.broker.scram-sha-256.connections.max.reauth.ms=1000",
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users=User:admin;User:ANONYMOUS",
)
ADMIN = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "admin", "sasl.password": "admin"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_kafka(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@pytest.fixture
def kafka(server: Broker, monkeypatch: pytest.MonkeyPatch) -> Broker:
    use(server, monkeypatch)
    return server


def numbers(*values: int, key: str | None = None) -> list[tuple[str | None, bytes, int]]:
    """Messages a minute apart."""
    return [(key, json.dumps({"x": value}).encode(), int((START + timedelta(minutes=value)).timestamp() * 1000)) for value in values]


def forever(kafka: Broker, partitions: int = 1) -> str:
    return kafka.create(partitions, retention_ms="-1")


def at(minutes: int, hours: int = 0) -> str:
    """A moment, as a clock of another zone shows it."""
    return (START + timedelta(minutes=minutes, hours=hours)).replace(tzinfo=None).isoformat() + f"+{hours:02}:00"


def delete_before(kafka: Broker, topic: str, offset: int) -> None:
    admin = kafka.admin()
    for done in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        done.result(30)


def test_times_name_the_messages_between_them(kafka: Broker, tmp_path: Path) -> None:
    topic = forever(kafka, 2)
    kafka.write(topic, numbers(0, 10, 20, 30), 0)
    kafka.write(topic, numbers(5, 15, 25), 1)

    found = read(tmp_path, topic, start=at(10, hours=2), end=at(25))
    later = read(tmp_path, topic, start=at(26))
    none = read(tmp_path, topic, start=at(99))

    assert found.table["x"].to_pylist() == [10.0, 20.0, 15.0]
    assert later.table["x"].to_pylist() == [30.0]
    assert (none.table.num_rows, none.delivery.origin["offsets"]) == (0, {"0": [4, 4], "1": [3, 3]})


def test_only_committed_messages_are_rows_also_where_a_marker_is_last(kafka: Broker, tmp_path: Path) -> None:
    topic = forever(kafka)
    for commit, values in ((True, (1, 2)), (False, (3, 4)), (True, (5,)), (False, (6,))):
        transaction(kafka, topic, values, commit)

    found = read(tmp_path, topic)

    assert found.places == [(0, 0), (0, 1), (0, 6)]
    assert found.delivery.origin["offsets"] == {"0": [0, 10]}


def test_an_open_transaction_is_of_a_later_run(kafka: Broker, tmp_path: Path) -> None:
    topic = forever(kafka)
    kafka.write(topic, numbers(1, 2))
    commit = transaction(kafka, topic, (3,), None)
    kafka.write(topic, numbers(4))

    first = read(tmp_path, topic, incremental=True)
    commit()
    second = read(tmp_path, topic, incremental=True, watermark=first.delivery.watermark)

    assert first.table["x"].to_pylist() == [1.0, 2.0]
    assert second.table["x"].to_pylist() == [3.0, 4.0]


def test_offsets_that_compaction_removed_are_no_reason_to_wait(kafka: Broker, tmp_path: Path) -> None:
    topic = kafka.create(cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.01", max_compaction_lag_ms="100")
    now = int(time.time() * 1000)
    for value in range(20):
        kafka.write(topic, [("a", json.dumps({"x": value}).encode(), now + value)])
    compacted(kafka, topic, tmp_path)

    found = read(tmp_path, topic, start={0: 2}, end={0: 9})
    whole = read(tmp_path, topic)

    assert (found.table.num_rows, found.delivery.origin["offsets"]) == (0, {"0": [2, 9]})
    assert whole.table["x"].to_pylist()[-1] == 19.0


def test_what_retention_has_deleted_is_told_not_skipped(kafka: Broker, tmp_path: Path) -> None:
    topic = forever(kafka)
    kafka.write(topic, numbers(*range(4)))
    left = read(tmp_path, topic, incremental=True).delivery.watermark
    kafka.write(topic, numbers(*range(4, 10)))
    delete_before(kafka, topic, 7)

    with pytest.raises(UserError) as explicit:
        read(tmp_path, topic, start={0: 3})
    with pytest.raises(UserError) as since:
        read(tmp_path, topic, incremental=True, watermark=left)
    earliest = read(tmp_path, topic)

    where = f"kafka:///{topic}, partition 0: the offsets"
    why = "are no longer there, the topic's retention has deleted them"
    assert str(explicit.value) == f"{where} 3 to 6 {why}: choose a later start, or earliest"
    assert str(since.value) == f"{where} 4 to 6 {why}: run once with incremental: false"
    assert earliest.table["x"].to_pylist() == [7.0, 8.0, 9.0]


def test_a_partition_that_came_later_is_read_from_its_start(kafka: Broker, tmp_path: Path) -> None:
    topic = forever(kafka)
    kafka.write(topic, numbers(1, 2))
    left = read(tmp_path, topic, incremental=True).delivery.watermark
    admin = kafka.admin()
    admin.create_partitions([NewPartitions(topic, 2)])[topic].result(30)
    kafka.write(topic, numbers(3), 0)
    kafka.write(topic, numbers(4, 5), 1)

    found = read(tmp_path, topic, incremental=True, watermark=left)

    assert found.table["x"].to_pylist() == [3.0, 4.0, 5.0]


def test_a_topic_that_was_made_anew_is_not_taken_for_the_old_one(kafka: Broker, tmp_path: Path) -> None:
    topic = forever(kafka)
    kafka.write(topic, numbers(1))
    left = read(tmp_path, topic, incremental=True).delivery.watermark
    admin = kafka.admin()
    admin.delete_topics([topic])[topic].result(30)
    kafka.create(name=topic, retention_ms="-1")
    kafka.write(topic, numbers(2, 3))

    with pytest.raises(UserError, match="the topic was made anew since the last run"):
        read(tmp_path, topic, incremental=True, watermark=left)


def test_a_read_leaves_no_group_behind(kafka: Broker, tmp_path: Path) -> None:
    topic = forever(kafka)
    kafka.write(topic, numbers(1))

    read(tmp_path, topic)

    admin = kafka.admin()
    assert admin.list_consumer_groups(request_timeout=30).result().valid == []


def test_a_broker_that_restarts_in_the_middle_costs_nothing_but_time(kafka: Broker, tmp_path: Path) -> None:
    topic, count = big(kafka)
    reading, result = in_background(tmp_path, topic, timeout=60)
    kafka.stop()
    assert reading.is_alive()
    kafka.start()
    reading.join()

    assert result["read"].places == [(0, offset) for offset in range(count)]


def test_a_broker_that_stays_away_is_told_and_nothing_is_given(kafka: Broker, tmp_path: Path) -> None:
    topic, _ = big(kafka)
    reading, result = in_background(tmp_path, topic, timeout=2)
    kafka.stop()
    reading.join()
    kafka.start()

    assert str(result["error"]).startswith(f"kafka:///{topic}, partition 0: nothing came for 2 s, ")
    assert str(result["error"]).endswith(
        f"the brokers at {kafka.bootstrap} do not answer: start them or correct KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_PROTOCOL"
    )


def test_a_partition_whose_leader_dies_in_the_middle_is_read_from_its_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_two(tmp_path, "broker.session.timeout.ms=2000", "broker.heartbeat.interval.ms=200") as (staying, leading):
        use(staying, monkeypatch, KAFKA_BOOTSTRAP_SERVERS=f"{leading.bootstrap},{staying.bootstrap}")
        admin = staying.admin()
        moving = NewTopic("moving", 1, replica_assignment=[[2, 1]], config={"retention.ms": "-1"})
        admin.create_topics([moving])["moving"].result(30)
        count = fill(staying, "moving")
        expected = read(tmp_path, "moving").delivery
        assert leader(staying, "moving") == 2

        reading, result = in_background(tmp_path, "moving", timeout=60)
        leading.stop()
        reading.join(1)
        assert reading.is_alive()
        reading.join()

        assert leader(staying, "moving") == 1
    assert result["read"].places == [(0, offset) for offset in range(count)]
    assert [file.read_bytes() for file in result["read"].delivery.files] == [file.read_bytes() for file in expected.files]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that wants TLS, names, passwords and rights."""
    folder = tmp_path_factory.mktemp("guarded")
    key, authority = folder / "key.pem", folder / "cert.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, "-keyout", str(key), "-out", str(authority))
    subprocess.run(made, check=True, capture_output=True)
    (folder / "both.pem").write_text(key.read_text() + authority.read_text())
    store = (
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={folder / 'both.pem'}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={authority}",
    )
    with running_kafka(folder, *SASL, *store, **ADMIN, **{"ssl.ca.location": str(authority)}) as started:
        yield started


def login(broker: Broker, monkeypatch: pytest.MonkeyPatch, password: str, mechanism: str = "PLAIN") -> None:
    named = {"KAFKA_SASL_MECHANISM": mechanism, "KAFKA_SASL_USERNAME": "reader", "KAFKA_SASL_PASSWORD": password}
    use(broker, monkeypatch, KAFKA_SECURITY_PROTOCOL="SASL_SSL", KAFKA_SSL_CA_LOCATION=broker.client["ssl.ca.location"], **named)


def test_a_reader_needs_the_password_and_the_right(
    guarded: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    topic = forever(guarded)
    guarded.write(topic, numbers(1))

    login(guarded, monkeypatch, "wr0ng-password")
    with pytest.raises(UserError) as password:
        read(tmp_path, topic, timeout=3)
    login(guarded, monkeypatch, "s3cret")
    with pytest.raises(UserError) as right:
        read(tmp_path, topic, timeout=3)
    admit(guarded, topic)
    found = read(tmp_path, topic)

    cure = "correct KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM"
    assert str(password.value) == f"kafka:///{topic}: the brokers refuse the name or password: {cure}"
    assert str(right.value) == f"kafka:///{topic}: the user of KAFKA_SASL_USERNAME may not use it: have it allowed"
    assert found.table["x"].to_pylist() == [1.0]
    assert capfd.readouterr() == ("", "")


def test_a_reader_whose_password_expires_in_the_middle_is_told(
    guarded: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    topic, _ = big(guarded)
    admit(guarded, topic)
    slow_down(guarded, tmp_path, "reader", 2_000_000)
    admin, scram = guarded.admin(), ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    admin.alter_user_scram_credentials([UserScramCredentialUpsertion("reader", scram, b"t3mporary")])["reader"].result(30)
    login(guarded, monkeypatch, "t3mporary", "SCRAM-SHA-256")

    reading, result = in_background(tmp_path, topic, timeout=15)
    time.sleep(2)  # longer than a login lasts: it was renewed
    assert reading.is_alive(), result
    admin.alter_user_scram_credentials([UserScramCredentialDeletion("reader", ScramMechanism.SCRAM_SHA_256)])["reader"].result(30)
    reading.join()

    cure = "correct KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM"
    assert str(result["error"]) == f"kafka:///{topic}: the brokers refuse the name or password: {cure}"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"KAFKA_SSL_CA_LOCATION": ""}, "no secure connection to the brokers: correct KAFKA_SECURITY_PROTOCOL and KAFKA_SSL_CA_LOCATION"),
        pytest.param({"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "start them or correct KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_PROTOCOL"),
    ],
    ids=["no authority", "no TLS"],
)
def test_a_connection_that_cannot_be_secured_is_told(
    guarded: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], change: dict[str, str], sentence: str
) -> None:
    login(guarded, monkeypatch, "s3cret")
    for name, value in change.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(UserError) as refused:
        read(tmp_path, "topic", timeout=3)

    assert str(refused.value).endswith(sentence)
    assert capfd.readouterr() == ("", "")


def admit(kafka: Broker, topic: str) -> None:
    admin = kafka.admin()
    for allowed in (AclOperation.READ, AclOperation.DESCRIBE):
        binding = AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:reader", "*", allowed, AclPermissionType.ALLOW)
        admin.create_acls([binding])[binding].result(30)


def slow_down(kafka: Broker, folder: Path, user: str, rate: int) -> None:
    """Let a user have that many bytes a second: no client in Python sets quotas."""
    settings = folder / "admin.properties"
    login = f"org.apache.kafka.common.security.plain.PlainLoginModule required username=admin password={ADMIN['sasl.password']};"
    store = {"ssl.truststore.type": "PEM", "ssl.truststore.location": kafka.client["ssl.ca.location"]}
    wanted = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.jaas.config": login} | store
    settings.write_text("\n".join(f"{name}={value}" for name, value in wanted.items()))
    tool = ("kafka.admin.ConfigCommand", "--bootstrap-server", kafka.bootstrap, "--command-config", str(settings))
    change = ("--alter", "--entity-type", "users", "--entity-name", user, "--add-config", f"consumer_byte_rate={rate}")
    subprocess.run((*JAVA, *tool, *change), check=True, capture_output=True)


def transaction(kafka: Broker, topic: str, values: tuple[int, ...], commit: bool | None) -> Callable[[], Any]:
    """Write messages in a transaction; with None it stays open, and what ends it is returned."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": f"{topic}-{commit}"} | QUIET)
    producer.init_transactions(30)
    producer.begin_transaction()
    for key, value, when in numbers(*values):
        producer.produce(topic, value, key, 0, timestamp=when)
    producer.flush(30)
    if commit is not None:
        (producer.commit_transaction if commit else producer.abort_transaction)(30)
    return producer.commit_transaction


def compacted(kafka: Broker, topic: str, folder: Path) -> None:
    """Wait until compaction has removed the first messages; a new one now and then closes the segment before."""
    deadline = time.monotonic() + 40
    place = folder / "waiting"
    place.mkdir()
    while any(offset < 9 for _, offset in read(place, topic).places):
        assert time.monotonic() < deadline, "the topic is not compacted"
        time.sleep(0.3)
        kafka.write(topic, [("a", b'{"x": 19}', int(time.time() * 1000))])


def big(kafka: Broker) -> tuple[str, int]:
    """A topic that takes a while to read."""
    topic = forever(kafka)
    return topic, fill(kafka, topic)


def fill(kafka: Broker, topic: str, count: int = 100_000) -> int:
    value = json.dumps({"x": 1, "more": "m" * 500}).encode()
    kafka.write(topic, [(None, value)] * count, **{"batch.num.messages": 10_000, "linger.ms": 20, "queue.buffering.max.messages": 200_000})
    return count


def leader(kafka: Broker, topic: str) -> int:
    return int(kafka.admin().list_topics(topic, timeout=10).topics[topic].partitions[0].leader)


def in_background(folder: Path, topic: str, timeout: int) -> tuple[threading.Thread, dict[str, Any]]:
    """Begin to read; come back when the first messages are there."""
    result: dict[str, Any] = {}

    def run() -> None:
        try:
            result["read"] = read(folder, topic, timeout=timeout)
        except UserError as error:
            result["error"] = error

    reading = threading.Thread(target=run)
    reading.start()
    while reading.is_alive() and not any(file.stat().st_size > 10_000 for file in folder.glob("read-*/raw/*")):
        time.sleep(0.005)
    return reading, result
