"""Topics: all messages between two points, each a row or a bad record, and the same at each read."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from components.extract.extract import extract
from core.errors import UserError
from core.processes import free_port
from core.tables import connect, identifier
from core.tracking import Run
from tests.broker import Broker
from tests.contract.documents import DOCS
from tests.unit import small
from tests.unit.components.topics import read, use


@pytest.fixture(autouse=True)
def environment(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    use(broker, monkeypatch)


def numbers(*values: float, key: str | None = None) -> list[tuple[str | None, bytes]]:
    return [(key, json.dumps({"x": value}).encode()) for value in values]


def test_each_message_is_a_row_in_the_order_of_partition_and_offset(broker: Broker, tmp_path: Path) -> None:
    topic = broker.create(3)
    broker.write(topic, [("a", b'{"x": 1.5, "more": 1}', 1_700_000_000_000), (b"\xff\x01", b'{"x": 2}', 1_700_000_000_001)], 2)
    broker.write(topic, [(None, b'{"x": null}', 1_700_000_000_002)], 0)

    found = read(tmp_path, topic)

    rows = [[str(value) if name == "_timestamp" else value for name, value in row.items()] for row in found.table.to_pylist()]
    assert found.table.column_names == ["x", "_partition", "_offset", "_timestamp", "_key"]
    assert rows == [
        [None, 0, 0, "2023-11-14 22:13:20.002000+00:00", None],
        [1.5, 2, 0, "2023-11-14 22:13:20+00:00", "a"],
        [2.0, 2, 1, "2023-11-14 22:13:20.001000+00:00", "0xff01"],
    ]
    assert (found.delivery.format, found.delivery.bad) == ("parquet", None)


def test_a_delivery_says_what_was_read(broker: Broker, tmp_path: Path) -> None:
    topic = broker.create(2)
    broker.write(topic, [*numbers(1, 2, key="a"), ("a", None), ("b", b"?")], 1)

    found = read(tmp_path, topic).delivery

    origin = {name: found.origin[name] for name in ("offsets", "messages", "tombstones", "bad")}
    assert origin == {"offsets": {"0": [0, 0], "1": [0, 4]}, "messages": 4, "tombstones": 1, "bad": 1}
    assert found.watermark == {"cluster": found.origin["cluster"], "topic": found.origin["topic"], "offsets": {"0": 0, "1": 4}}
    assert found.pins == {"partition 0": "0-0", "partition 1": "0-4"}
    assert json.loads(json.dumps([found.origin, found.watermark, found.pins])) == [found.origin, found.watermark, found.pins]


def test_extract_makes_one_table_of_a_topic(broker: Broker, tmp_path: Path) -> None:
    topic = broker.create(2)
    broker.write(topic, [*numbers(1, 2), (None, b"?")], 0)
    broker.write(topic, numbers(3), 1)
    run = Run("extract", small.usecase(sources__rows=f"kafka:///{topic}"))

    extract(run, str(tmp_path / "raw"))

    assert pq.read_table(tmp_path / "raw" / "rows.parquet")["x"].to_pylist() == [1.0, 2.0, 3.0]
    assert pq.read_table(tmp_path / "raw" / "rows.bad.parquet")["place"].to_pylist() == ["partition 0, offset 2"]


def test_the_page_says_what_becomes_of_a_topic(broker: Broker, tmp_path: Path) -> None:
    page = (DOCS / "layouts.md").read_text().partition("\n## Topics\n")[2]
    shown, config, table = (re.findall(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0] for kind in ("text", "yaml", "csv"))
    topic = broker.create(2)
    for line in shown.splitlines():
        partition, key, value = (*line.split(" ", 2), None)[:3]
        broker.write(topic, [(key, value.encode() if value else None)], int(partition))

    extract(Run("extract", small.usecase(**yaml.safe_load(config.replace("topic: orders", f"topic: {topic}")))), str(tmp_path / "raw"))

    columns = ", ".join(f"{identifier(name)}::VARCHAR" for name in table.partition("\n")[0].split(","))
    with connect("256MB") as connection:
        rows = connection.execute(f"SELECT {columns} FROM read_parquet('{tmp_path}/raw/orders.parquet')").fetchall()
    assert [",".join(row) for row in rows] == table.splitlines()[1:]
    assert pq.read_table(tmp_path / "raw" / "orders.bad.parquet")["place"].to_pylist() == ["partition 1, offset 0"]


def test_two_reads_of_the_same_points_give_the_same_bytes(broker: Broker, tmp_path: Path) -> None:
    topic = broker.create(2)
    for partition in (0, 1):
        broker.write(topic, numbers(*range(2500)), partition)
    points = {"start": {0: 5, 1: 0}, "end": {0: 2400, 1: 2500}}
    first = read(tmp_path, topic, **points)
    broker.write(topic, numbers(77, 78), 0)

    second = read(tmp_path, topic, **points)

    bytes_of = [[hashlib.sha256(file.read_bytes()).hexdigest() for file in each.delivery.files] for each in (first, second)]
    assert bytes_of[0] == bytes_of[1]
    assert second.table["x"].to_pylist() == [*range(5, 2400), *range(2500)]


def test_messages_that_come_while_it_reads_are_not_of_this_run(broker: Broker, tmp_path: Path) -> None:
    topic = broker.create()
    broker.write(topic, numbers(*range(500)))
    stop = threading.Event()

    def append() -> None:
        while not stop.is_set():
            broker.write(topic, numbers(*range(20)))

    writer = threading.Thread(target=append)
    writer.start()
    found = read(tmp_path, topic)
    stop.set()
    writer.join()

    _, end = found.delivery.origin["offsets"]["0"]
    assert found.places == [(0, offset) for offset in range(end)]


def test_what_cannot_be_read_is_put_aside_with_its_place_and_reason(broker: Broker, tmp_path: Path) -> None:
    topic = broker.create()
    broker.write(
        topic, [*numbers(1), ("a", b"{" + b" " * 2000), ("b", b"[1]"), ("c", b'{"x": "2"}'), ("d", b""), ("e", b'{"x": 1e999}'), *numbers(2)]
    )

    found = read(tmp_path, topic)

    assert found.places == [(0, 0), (0, 6)]
    assert [(row["place"], row["reason"].partition(":")[0], len(row["record"])) for row in found.bad] == [
        ("partition 0, offset 1", "it is no JSON", 1000),
        ("partition 0, offset 2", "it is JSON, but no object", 3),
        ("partition 0, offset 3", 'x is "2", which is no number', 10),
        ("partition 0, offset 4", "it is no JSON", 0),
        ("partition 0, offset 5", "it is no JSON", 12),
    ]


def test_of_very_many_bad_records_only_a_thousand_are_kept_but_all_counted(broker: Broker, tmp_path: Path) -> None:
    topic = broker.create()
    broker.write(topic, [(None, b"?")] * 1200)

    found = read(tmp_path, topic)

    assert (found.delivery.origin["bad"], len(found.bad), found.table.num_rows) == (1200, 1000, 0)


@pytest.mark.parametrize(
    ("kind", "good", "wrong"),
    [
        pytest.param(
            "integer",
            {"7": 7, "-3.0": -3, "null": None, "9223372036854775807": 2**63 - 1},
            ["1.5", "true", '"7"', "9223372036854775808", "1e19", "{}"],
        ),
        pytest.param("number", {"7": 7.0, "-1.5e3": -1500.0, "null": None}, ["true", '"7"', "[1]"]),
        pytest.param("string", {'"größe"': "größe", '""': "", "null": None}, ["7", "false", '{"a": 1}', '"\\ud800"']),
        pytest.param("boolean", {"true": True, "false": False, "null": None}, ["1", '"true"']),
        pytest.param(
            "timestamp",
            {
                '"2024-01-31T12:00:00+02:00"': "2024-01-31 10:00:00+00:00",
                '"2024-01-31T10:00:00.25Z"': "2024-01-31 10:00:00.250000+00:00",
                "null": None,
            },
            ['"yesterday"', "1706695200000", '"2024-02-31T00:00:00Z"'],
        ),
        pytest.param("date", {'"2024-01-31"': "2024-01-31", "null": None}, ['"31.1.2024"', '"2024-02-31"', "19000"]),
    ],
)
def test_json_is_taken_by_the_contracts_types(broker: Broker, tmp_path: Path, kind: str, good: dict[str, Any], wrong: list[str]) -> None:
    topic = broker.create()
    broker.write(topic, [(None, f'{{"x": {text}}}'.encode()) for text in [*good, *wrong]])

    found = read(tmp_path, topic, columns={"x": kind, "absent": "string"})

    values = [str(row["x"]) if kind in ("timestamp", "date") and row["x"] else row["x"] for row in found.values]
    assert values == list(good.values())
    assert [type(value) for value in values] == [type(value) for value in good.values()]
    assert [row["record"].decode() for row in found.bad] == [f'{{"x": {text}}}' for text in wrong]
    assert all(kind in row["reason"] or "no JSON" in row["reason"] for row in found.bad)


def test_of_each_key_the_last_message_stays_and_a_tombstone_removes_it(broker: Broker, tmp_path: Path) -> None:
    topic = broker.create(2)
    broker.write(topic, [*numbers(1, key="a"), *numbers(2, key="b"), *numbers(3, key="a"), *numbers(4, key="c"), ("b", None), *numbers(5)], 0)
    broker.write(topic, [*numbers(6, key="a"), ("d", None), *numbers(7, key="d")], 1)

    found = read(tmp_path, topic, latest_per_key=True)

    assert [(row["_key"], row["x"]) for row in found.table.to_pylist()] == [("a", 3.0), ("c", 4.0), ("a", 6.0), ("d", 7.0)]
    assert [(row["place"], row["reason"]) for row in found.bad] == [("partition 0, offset 5", "it has no key, which latest_per_key asks for")]
    assert (found.delivery.origin["messages"], found.delivery.origin["tombstones"]) == (9, 2)


def test_the_next_run_reads_what_came_since(broker: Broker, tmp_path: Path) -> None:
    topic = broker.create(2)
    broker.write(topic, numbers(1, 2), 0)
    first = read(tmp_path, topic, incremental=True)
    broker.write(topic, numbers(3), 0)
    broker.write(topic, numbers(4), 1)

    second = read(tmp_path, topic, incremental=True, watermark=json.loads(json.dumps(first.delivery.watermark)))

    assert second.table["x"].to_pylist() == [3.0, 4.0]
    assert second.delivery.watermark["offsets"] == {"0": 3, "1": 1}


@pytest.mark.parametrize("written", [True, False], ids=["nothing new", "nothing at all"])
def test_nothing_new_is_a_table_of_no_rows(broker: Broker, tmp_path: Path, written: bool) -> None:
    topic = broker.create(2)
    broker.write(topic, numbers(1, 2) if written else [], 0)
    first = read(tmp_path, topic, columns={"x": "number", "day": "date"}, incremental=True)

    second = read(tmp_path, topic, columns={"x": "number", "day": "date"}, incremental=True, watermark=first.delivery.watermark)

    assert (second.table.num_rows, len(second.delivery.files)) == (0, 1)
    assert second.table.schema == first.table.schema


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(
            {"cluster": "x"}, "it is another cluster's since the last run, whose offsets say nothing here: run once with incremental: false"
        ),
        pytest.param({"topic": "x"}, "the topic was made anew since the last run, whose offsets say nothing here: run once with incremental: false"),
    ],
)
def test_the_offsets_of_another_topic_say_nothing(broker: Broker, tmp_path: Path, change: dict[str, str], sentence: str) -> None:
    topic = broker.create()
    broker.write(topic, numbers(1))
    left = read(tmp_path, topic, incremental=True).delivery.watermark

    with pytest.raises(UserError) as refused:
        read(tmp_path, topic, incremental=True, watermark=left | change)

    assert str(refused.value) == f"kafka:///{topic}: {sentence}"


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        pytest.param({"end": {0: 3, 1: 0}}, ", partition 0 ends at offset 2, before offset 3: correct start and end, or wait for the messages"),
        pytest.param({"start": {0: 3, 1: 0}}, ", partition 0 ends at offset 2, before offset 3: correct start and end, or wait for the messages"),
        pytest.param({"start": {0: 0}}, ": start must name an offset for each of the partitions 0, 1, and for no other: correct it"),
        pytest.param({"end": {0: 0, 1: 0, 2: 0}}, ": end must name an offset for each of the partitions 0, 1, and for no other: correct it"),
        pytest.param({"start": {0: 2, 1: 0}, "end": {0: 1, 1: 0}}, ", partition 0: start 2 is after end 1: correct them"),
    ],
    ids=["end too late", "start too late", "partition missing", "partition too many", "wrong way round"],
)
def test_points_that_are_not_there_are_refused(broker: Broker, tmp_path: Path, points: dict[str, Any], sentence: str) -> None:
    topic = broker.create(2)
    broker.write(topic, numbers(1, 2))

    with pytest.raises(UserError) as refused:
        read(tmp_path, topic, **points)

    assert str(refused.value) == f"kafka:///{topic}{sentence}"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"start": "2024-01-31T00:00:00"}, "is neither earliest nor a time with its zone: write one such as 2024-01-31T00:00:00Z"),
        pytest.param({"start": "latest"}, "latest is neither earliest nor a time with its zone"),
        pytest.param({"end": "earliest"}, "earliest is neither latest nor a time with its zone"),
        pytest.param({"start": {0: -1}}, "write each partition and its offset"),
        pytest.param({"definition": "a.avsc"}, "definition is for avro and protobuf"),
        pytest.param({"message": "a.B", "format": "avro"}, "message is for protobuf alone"),
    ],
)
def test_a_config_that_says_nothing_is_refused_before_anything_is_read(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        small.usecase(sources__rows={"kind": "kafka", "topic": "t"} | change)

    assert sentence in str(refused.value)


def test_points_survive_a_pipelines_parameter() -> None:
    through_kubeflow = json.loads(json.dumps({"kind": "kafka", "topic": "t", "start": {0: 17.0, 1: 3.0}}))

    found = small.usecase(sources__rows=through_kubeflow).sources["rows"]

    assert found.start == {0: 17, 1: 3}  # type: ignore[union-attr]


def test_a_topic_that_is_not_there_is_named_and_not_made(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, "no-such-topic")

    assert str(refused.value) == "kafka:///no-such-topic: there is no such topic: create it or correct its name"
    assert "no-such-topic" not in broker.admin().list_topics(timeout=5).topics


def test_brokers_that_do_not_answer_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", address)

    with pytest.raises(UserError) as refused:
        read(tmp_path, "topic", timeout=1)

    assert (
        str(refused.value)
        == f"kafka:///topic: the brokers at {address} do not answer: start them or correct KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_PROTOCOL"
    )
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        pytest.param({"KAFKA_BOOTSTRAP_SERVERS": ""}, "Kafka is not configured: set KAFKA_BOOTSTRAP_SERVERS to the brokers, such as kafka:9092"),
        pytest.param({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": "/nowhere.pem"}, "correct the variables KAFKA_*"),
        pytest.param({"KAFKA_SECURITY_PROTOCOL": "secret"}, "correct the variables KAFKA_*"),
    ],
)
def test_a_client_that_is_not_configured_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(UserError) as refused:
        read(tmp_path, "topic", timeout=2)

    assert str(refused.value).endswith(sentence)
    assert capfd.readouterr() == ("", "")
