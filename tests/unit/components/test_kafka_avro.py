"""Avro values: by the registry's schemas or by a file's."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest

from core.errors import UserError
from core.processes import free_port
from tests.broker import Broker
from tests.unit.components.topics import Registry, beside_the_config, read, registry, use

X = {"name": "x", "type": "double"}


@pytest.fixture
def server(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with registry() as made:
        use(broker, monkeypatch, SCHEMA_REGISTRY_URL=made.url)
        yield made


@pytest.fixture
def folder(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The use case's folder."""
    return beside_the_config(broker, monkeypatch, tmp_path)


def record(*fields: dict[str, Any], name: str = "Row") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def avro(schema: dict[str, Any], row: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), row)
    return stream.getvalue()


def framed(number: int, data: bytes) -> bytes:
    return b"\0" + number.to_bytes(4) + data


def test_every_type_of_avro_becomes_a_column(broker: Broker, server: Registry, tmp_path: Path) -> None:
    types: dict[str, tuple[Any, Any, pa.DataType, Any]] = {
        "int": ("int", -7, pa.int32(), -7),
        "long": ("long", 2**60, pa.int64(), 2**60),
        "float": ("float", 0.5, pa.float32(), 0.5),
        "bytes": ("bytes", b"\xff", pa.binary(), b"\xff"),
        "nothing": (["null", "string"], None, pa.string(), None),
        "something": (["null", "string"], "größe", pa.string(), "größe"),
        "numbers": (["null", "int", "double"], 0.25, pa.float64(), 0.25),
        "enum": ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, "b", pa.string(), "b"),
        "again": ("E", "a", pa.string(), "a"),
        "fixed": ({"type": "fixed", "name": "F", "size": 2}, b"ab", pa.binary(), b"ab"),
        "decimal": (
            {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2},
            Decimal("-1234.50"),
            pa.decimal128(10, 2),
            Decimal("-1234.50"),
        ),
        "day": ({"type": "int", "logicalType": "date"}, date(1960, 2, 29), pa.date32(), date(1960, 2, 29)),
        "time": ({"type": "int", "logicalType": "time-millis"}, time(1, 2, 3, 4000), pa.time32("ms"), time(1, 2, 3, 4000)),
        "millis": (
            {"type": "long", "logicalType": "timestamp-millis"},
            datetime(2024, 1, 31, 1, 2, 3, 4000, UTC),
            pa.timestamp("ms", "UTC"),
            datetime(2024, 1, 31, 1, 2, 3, 4000, UTC),
        ),
        "micros": (
            ["null", {"type": "long", "logicalType": "timestamp-micros"}],
            datetime(1969, 1, 1, 0, 0, 0, 1, UTC),
            pa.timestamp("us", "UTC"),
            datetime(1969, 1, 1, 0, 0, 0, 1, UTC),
        ),
        "uuid": (
            {"type": "string", "logicalType": "uuid"},
            "12345678-1234-5678-1234-567812345678",
            pa.string(),
            "12345678-1234-5678-1234-567812345678",
        ),
        "list": ({"type": "array", "items": ["null", "int"]}, [1, None], pa.list_(pa.int32()), [1, None]),
        "map": ({"type": "map", "values": "long"}, {"a": 1}, pa.map_(pa.string(), pa.int64()), [("a", 1)]),
        "record": (record(X, name="Inner"), {"x": 1.5}, pa.struct([("x", pa.float64())]), {"x": 1.5}),
    }
    schema = record(*({"name": name, "type": kind} for name, (kind, *_) in types.items()))
    server.add(1, schema)
    topic = broker.create()
    broker.write(topic, [(None, framed(1, avro(schema, {name: value for name, (_, value, _, _) in types.items()})))])

    found = read(tmp_path, topic, format="avro")

    assert found.values == [{name: value for name, (*_, value) in types.items()}]
    assert {name: found.table.schema.field(name).type for name in types} == {name: kind for name, (_, _, kind, _) in types.items()}


def test_rows_of_an_older_schema_are_read_by_the_newest_one_seen(broker: Broker, server: Registry, tmp_path: Path) -> None:
    old = record({"name": "x", "type": "int"}, {"name": "gone", "type": "string"}, {"name": "old_name", "type": "string"})
    new = record(X, {"name": "more", "type": "string", "default": "none yet"}, {"name": "name", "type": "string", "aliases": ["old_name"]})
    server.add(3, old)
    server.add(7, new)
    topic = broker.create(2)
    broker.write(topic, [(None, framed(3, avro(old, {"x": 1, "gone": "g", "old_name": "n"})))], 0)
    broker.write(
        topic,
        [(None, framed(7, avro(new, {"x": 2.5, "more": "m", "name": "k"}))), (None, framed(3, avro(old, {"x": 3, "gone": "", "old_name": "o"})))],
        1,
    )

    found = read(tmp_path, topic, format="avro")

    assert found.values == [
        {"x": 1.0, "more": "none yet", "name": "n"},
        {"x": 2.5, "more": "m", "name": "k"},
        {"x": 3.0, "more": "none yet", "name": "o"},
    ]
    assert sorted(server.asked) == ["/schemas/ids/3", "/schemas/ids/7"]


def test_a_file_names_the_schema_that_rows_are_read_by(
    broker: Broker, server: Registry, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", server.url)
    written = record(X, {"name": "either", "type": ["int", "string"]})
    server.add(1, written)
    (folder / "row.avsc").write_text(json.dumps(record(X)))
    topic = broker.create()
    broker.write(topic, [(None, framed(1, avro(written, {"x": 1.5, "either": "a"})))])

    found = read(tmp_path, topic, format="avro", definition="row.avsc")

    assert found.values == [{"x": 1.5}]


def test_without_a_registry_values_are_bare_avro_of_the_files_schema(broker: Broker, folder: Path, tmp_path: Path) -> None:
    (folder / "row.avsc").write_text(json.dumps(record(X)))
    topic = broker.create()
    good = avro(record(X), {"x": 1.5})
    broker.write(topic, [(None, good), (None, good[:-1]), (None, good + b"\0"), (None, None), (None, b"")])

    found = read(tmp_path, topic, format="avro", definition="row.avsc")

    assert found.values == [{"x": 1.5}]
    assert [(row["place"], row["reason"].partition(": ")[0]) for row in found.bad] == [
        (f"partition 0, offset {offset}", "it is no Avro of its schema") for offset in (1, 2, 4)
    ]


def test_values_without_a_known_schema_are_bad_records(broker: Broker, server: Registry, tmp_path: Path) -> None:
    server.add(1, record(X))
    good = avro(record(X), {"x": 1.5})
    topic = broker.create()
    broker.write(
        topic, [("a", framed(1, good)), ("b", b"\1" + framed(1, good)[1:]), ("c", b"\0\0"), ("d", framed(9, good)), ("e", framed(1, good[:3]))]
    )

    found = read(tmp_path, topic, format="avro")

    assert found.values == [{"x": 1.5}]
    assert [row["reason"] for row in found.bad[:3]] == [*["it does not begin with a zero and the id of a schema"] * 2, "the registry has no schema 9"]
    assert found.bad[3]["reason"].startswith("it is no Avro of its schema: ")
    assert found.delivery.origin["bad"] == 4


def test_where_no_schema_is_known_the_contract_names_the_columns(broker: Broker, server: Registry, tmp_path: Path) -> None:
    topic = broker.create()
    broker.write(topic, [("d", framed(9, b"abc"))])

    found = read(tmp_path, topic, format="avro", columns={"x": "integer"})

    assert (found.table.num_rows, found.table.schema.field("x").type) == (0, pa.int64())
    assert [row["reason"] for row in found.bad] == ["the registry has no schema 9"]


def test_a_registry_that_wants_a_name_and_password_gets_them(
    broker: Broker, server: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.login = "reader:s3cret"
    server.add(1, record(X))
    topic = broker.create()
    broker.write(topic, [(None, framed(1, avro(record(X), {"x": 1.5})))])
    monkeypatch.setenv("SCHEMA_REGISTRY_USER", "reader")
    monkeypatch.setenv("SCHEMA_REGISTRY_PASSWORD", "s3cret")

    found = read(tmp_path, topic, format="avro")

    assert found.values == [{"x": 1.5}]


@pytest.mark.parametrize("fault", ["refuses", "away", "other", "kind", "references"])
def test_a_registry_that_cannot_be_asked_is_named(
    broker: Broker, server: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    server.add(1, record(X))
    topic = broker.create()
    broker.write(topic, [(None, framed(1, avro(record(X), {"x": 1.5})))])
    monkeypatch.setenv("SCHEMA_REGISTRY_USER", "reader")
    monkeypatch.setenv("SCHEMA_REGISTRY_PASSWORD", "wr0ng")
    if fault == "refuses":
        server.login = "reader:s3cret"
    if fault in ("away", "other"):
        monkeypatch.setenv("SCHEMA_REGISTRY_URL", f"http://127.0.0.1:{free_port()}" if fault == "away" else f"{server.url}/elsewhere")
    changes: dict[str, dict[str, Any]] = {"kind": {"schemaType": "PROTOBUF"}, "references": {"references": [{"name": "a"}]}}
    server.schemas[1] |= changes.get(fault, {})

    with pytest.raises(UserError) as refused:
        read(tmp_path, topic, format="avro")

    assert (
        str(refused.value).removeprefix(f"kafka:///{topic}: ")
        == {
            "refuses": "the schema registry refuses: correct SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD",
            "away": "the schema registry does not answer: start it or correct SCHEMA_REGISTRY_URL",
            "other": "the schema registry fails with status 404: look into its log, or correct SCHEMA_REGISTRY_URL",
            "kind": "schema 1 of the registry is PROTOBUF: correct `format`",
            "references": "schema 1 of the registry refers to others: put all into one file, and name it under `definition`",
        }[fault]
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(None, "there is no file usecases/usecase/row.avsc: add it or correct `definition`", id="missing"),
        pytest.param(
            "{", "row.avsc is no Avro schema (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)): correct it", id="no JSON"
        ),
        pytest.param('{"type": "recrod"}', "row.avsc is no Avro schema ({'type': 'recrod'}): correct it", id="no type"),
        pytest.param('"string"', "the schema is no record: name a schema without it under `definition`", id="no record"),
        pytest.param(
            json.dumps(record({"name": "x", "type": ["int", "string"]})),
            "a union of int32 and string is no type of a column: name a schema without it under `definition`",
            id="union",
        ),
        pytest.param(
            json.dumps(record({"name": "next", "type": ["null", "Row"]})),
            "record Row contains itself: name a schema without it under `definition`",
            id="recursive",
        ),
    ],
)
def test_a_file_that_is_no_schema_of_a_table_is_refused(broker: Broker, folder: Path, tmp_path: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (folder / "row.avsc").write_text(text)

    with pytest.raises(UserError) as refused:
        read(tmp_path, broker.create(), format="avro", definition="row.avsc")

    assert str(refused.value).partition(": ")[2] == sentence


def test_values_whose_schema_nobody_knows_are_refused_before_anything_is_read(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, "no-such-topic", format="avro")

    cure = "set SCHEMA_REGISTRY_URL, or name a file beside the config under `definition`"
    assert str(refused.value) == f"kafka:///no-such-topic: the schema of its avro values is not known: {cure}"
