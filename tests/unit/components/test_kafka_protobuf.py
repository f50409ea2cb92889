"""Protobuf values: by the registry's definitions or by a file of protoc."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2, wrappers_pb2

from core.errors import UserError
from tests.broker import Broker
from tests.unit.components.topics import Registry, beside_the_config, read, registry, use

F = descriptor_pb2.FieldDescriptorProto
TIME, TEXT = ".google.protobuf.Timestamp", ".google.protobuf.StringValue"


@pytest.fixture
def server(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with registry() as made:
        use(broker, monkeypatch, SCHEMA_REGISTRY_URL=made.url)
        yield made


@pytest.fixture
def folder(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The use case's folder."""
    return beside_the_config(broker, monkeypatch, tmp_path)


def field(name: str, number: int, kind: int, type_name: str = "", repeated: bool = False) -> Any:
    return F(name=name, number=number, type=kind, type_name=type_name or None, label=F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL)


def message(name: str, *fields: Any, nested: tuple[Any, ...] = ()) -> Any:
    return descriptor_pb2.DescriptorProto(name=name, field=fields, nested_type=nested)


def file(*messages: Any, enums: tuple[Any, ...] = (), **options: Any) -> Any:
    imports = ["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"]
    return descriptor_pb2.FileDescriptorProto(
        name="row.proto", package="shop", syntax="proto3", message_type=messages, enum_type=enums, dependency=imports
    )


def encoded(definition: Any, name: str, **values: Any) -> bytes:
    pool = descriptor_pool.DescriptorPool()
    for each in (timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(each.DESCRIPTOR.serialized_pb)
    pool.Add(definition)
    data: bytes = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))(**values).SerializeToString()
    return data


def framed(number: int, data: bytes, path: bytes = b"\0") -> bytes:
    return b"\0" + number.to_bytes(4) + path + data


def described(*files: Any) -> bytes:
    data: bytes = descriptor_pb2.FileDescriptorSet(file=files).SerializeToString()
    return data


ROW = message("Row", field("x", 1, F.TYPE_DOUBLE))


def test_every_type_of_protobuf_becomes_a_column(broker: Broker, server: Registry, tmp_path: Path) -> None:
    entry = message("CountsEntry", field("key", 1, F.TYPE_STRING), field("value", 2, F.TYPE_INT64))
    entry.options.map_entry = True
    row = message(
        "Row",
        field("x", 1, F.TYPE_DOUBLE),
        field("id", 2, F.TYPE_UINT64),
        field("text", 3, F.TYPE_STRING),
        field("kind", 4, F.TYPE_ENUM, ".shop.Kind"),
        field("at", 5, F.TYPE_MESSAGE, TIME),
        field("later", 6, F.TYPE_MESSAGE, TIME),
        field("note", 7, F.TYPE_MESSAGE, TEXT),
        field("inner", 8, F.TYPE_MESSAGE, ".shop.Row.Inner"),
        field("many", 9, F.TYPE_INT32, repeated=True),
        field("counts", 10, F.TYPE_MESSAGE, ".shop.Row.CountsEntry", repeated=True),
        nested=(message("Inner", field("y", 1, F.TYPE_SINT32)), entry),
    )
    enum = descriptor_pb2.EnumDescriptorProto(name="Kind", value=[{"name": "UNKNOWN", "number": 0}, {"name": "SMALL", "number": 1}])
    definition = file(row, enums=(enum,))
    server.add(1, definition.SerializeToString())
    moment = timestamp_pb2.Timestamp(seconds=1_706_662_923, nanos=4_000)
    full = encoded(
        definition, "shop.Row", x=1.5, id=2**63, text="ä", kind=1, at={"seconds": moment.seconds, "nanos": moment.nanos}, note={"value": "n"},
        inner={"y": -1}, many=[1, 2], counts={"b": 1, "a": 2},
    )  # fmt: skip
    topic = broker.create()
    broker.write(topic, [("a", framed(1, full)), ("b", framed(1, b""))])

    found = read(tmp_path, topic, format="protobuf")

    at = datetime(2024, 1, 31, 1, 2, 3, 4, UTC)
    assert found.values == [
        {"x": 1.5, "id": 2**63, "text": "ä", "kind": "SMALL", "at": at, "later": None, "note": "n",
            "inner": {"y": -1}, "many": [1, 2], "counts": [("a", 2), ("b", 1)]},
        {"x": 0.0, "id": 0, "text": "", "kind": "UNKNOWN", "at": None, "later": None, "note": None, "inner": None, "many": [], "counts": []},
    ]  # fmt: skip
    assert found.table.schema.field("at").type == pa.timestamp("us", "UTC")


def test_messages_of_an_older_definition_are_read_by_the_newest_one_seen(broker: Broker, server: Registry, tmp_path: Path) -> None:
    old, new = file(ROW), file(message("Row", field("x", 1, F.TYPE_DOUBLE), field("more", 2, F.TYPE_STRING)))
    server.add(3, old.SerializeToString())
    server.add(4, new.SerializeToString())
    topic = broker.create()
    broker.write(topic, [(None, framed(3, encoded(old, "shop.Row", x=1))), (None, framed(4, encoded(new, "shop.Row", x=2, more="m")))])

    found = read(tmp_path, topic, format="protobuf")

    assert found.values == [{"x": 1.0, "more": ""}, {"x": 2.0, "more": "m"}]
    assert sorted(server.asked) == ["/schemas/ids/3?format=serialized", "/schemas/ids/4?format=serialized"]


def test_of_several_messages_the_config_names_one_and_the_others_are_bad_records(broker: Broker, server: Registry, tmp_path: Path) -> None:
    definition = file(message("Other", field("y", 1, F.TYPE_INT32)), message("Outer", nested=(ROW,)))
    server.add(1, definition.SerializeToString())
    data = encoded(definition, "shop.Outer.Row", x=1.5)
    topic = broker.create()
    broker.write(
        topic,
        [
            ("a", framed(1, data, b"\4\2\0")),
            ("b", framed(1, data)),
            ("c", framed(1, data, b"\2\x0a")),
            ("d", framed(1, b"\xff", b"\4\2\0")),
            ("e", framed(2, data)),
        ],
    )

    found = read(tmp_path, topic, format="protobuf", message="shop.Outer.Row")

    assert found.values == [{"x": 1.5}]
    assert [row["reason"].partition(": ")[0] for row in found.bad] == [
        "it is a shop.Other, no shop.Outer.Row",
        "its schema has no message at 5",
        "it is no shop.Outer.Row",
        "the registry has no schema 2",
    ]


def test_without_a_registry_values_are_bare_messages_of_the_files_definition(broker: Broker, folder: Path, tmp_path: Path) -> None:
    definition = file(ROW)
    (folder / "row.desc").write_bytes(described(definition))
    topic = broker.create()
    broker.write(topic, [(None, encoded(definition, "shop.Row", x=1.5)), (None, b"\x09\0")])

    found = read(tmp_path, topic, format="protobuf", definition="row.desc")

    assert found.values == [{"x": 1.5}]
    assert [row["place"] for row in found.bad] == ["partition 0, offset 1"]


def test_a_file_with_its_imports_inside_is_read_as_one_without(broker: Broker, folder: Path, tmp_path: Path) -> None:
    imported = [descriptor_pb2.FileDescriptorProto.FromString(each.DESCRIPTOR.serialized_pb) for each in (timestamp_pb2, wrappers_pb2)]
    definition = file(message("Row", field("at", 1, F.TYPE_MESSAGE, TIME)))
    (folder / "row.desc").write_bytes(described(*imported, definition))
    topic = broker.create()
    broker.write(topic, [(None, encoded(definition, "shop.Row", at={"seconds": 0}))])

    found = read(tmp_path, topic, format="protobuf", definition="row.desc")

    assert found.values == [{"at": datetime(1970, 1, 1, tzinfo=UTC)}]


SELF = file(message("Row", field("next", 1, F.TYPE_MESSAGE, ".shop.Row")))
ABROAD = descriptor_pb2.FileDescriptorProto(name="row.proto", package="shop", syntax="proto3", message_type=[ROW], dependency=["other.proto"])


@pytest.mark.parametrize(
    ("data", "options", "sentence"),
    [
        pytest.param(b"\xff\xff", {}, "row.desc is no set of descriptors: write it by `protoc --include_imports", id="no descriptors"),
        pytest.param(
            described(file(ROW)), {"message": "shop.Raw"}, "the definition has no message shop.Raw, but shop.Row: correct `message`", id="no such"
        ),
        pytest.param(
            described(file(ROW, message("B"))), {}, "the definition has the messages shop.Row, shop.B: name one under `message`", id="several"
        ),
        pytest.param(described(SELF), {}, "message shop.Row contains itself: name a definition without it under `definition`", id="recursive"),
        pytest.param(described(ABROAD), {}, "the definition is not whole (", id="import missing"),
    ],
)
def test_a_file_that_describes_no_table_is_refused(
    broker: Broker, folder: Path, tmp_path: Path, data: bytes, options: dict[str, str], sentence: str
) -> None:
    (folder / "row.desc").write_bytes(data)

    with pytest.raises(UserError) as refused:
        read(tmp_path, broker.create(), format="protobuf", definition="row.desc", **options)

    assert str(refused.value).partition(": ")[2].startswith(sentence)
