"""The page on layouts: what its config lines make of the objects that it shows, in a real S3 server."""

from __future__ import annotations

import gzip
import io
import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from components.extract.extract import extract
from core import storage
from core.errors import UserError
from core.tables import identifier
from core.tracking import Run
from tests.contract.documents import DOCS
from tests.unit import small

PAGE = DOCS / "layouts.md"
HIDDEN = re.compile(r"/[_.](?!_HIVE)")
AVRO = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "amount", "type": "double"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}


class Section(NamedTuple):
    """What the page says on one writer."""

    keys: list[str]
    config: str
    table: str


def section(title: str) -> Section:
    text = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    keys, config, table = (re.search(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) for language in ("text", "yaml", "csv"))
    assert keys and config and table
    return Section(keys[1].split(), config[1], table[1])


@pytest.fixture
def place(platform: object) -> str:
    """A place in the bucket that no other test uses, in place of the page's bucket."""
    return f"s3://data/layouts-{uuid.uuid4().hex[:8]}/"


def test_the_page_has_all_layouts() -> None:
    assert re.findall(r"^## (.*)$", PAGE.read_text(), re.MULTILINE) == ["Kafka Connect", "Flink", "NiFi", "Spark and Hive", "Topics", "Tables"]


@pytest.mark.parametrize(
    ("title", "ending"),
    [
        pytest.param("Kafka Connect", ".json", id="Kafka Connect, JSON"),
        pytest.param("Kafka Connect", ".json.gz", id="Kafka Connect, compressed JSON"),
        pytest.param("Kafka Connect", ".avro", id="Kafka Connect, Avro"),
        pytest.param("Kafka Connect", ".snappy.parquet", id="Kafka Connect, Parquet"),
        pytest.param("Flink", "", id="Flink"),
        pytest.param("NiFi", ".json", id="NiFi"),
        pytest.param("Spark and Hive", ".snappy.parquet", id="Spark and Hive"),
    ],
)
def test_what_a_writer_left_is_read_as_the_page_says(place: str, tmp_path: Path, title: str, ending: str) -> None:
    keys, config, table = section(title)
    number = 0
    for key in (key.replace("s3://data/", place).replace(".json", ending) for key in keys):
        number += not HIDDEN.search(key)
        storage.write(key, b"unfinished" if HIDDEN.search(key) else WRITERS[ending](_order(number)))

    extract(Run("extract", small.usecase(**_parts(config, place))), str(tmp_path / "raw"))

    assert _shown(tmp_path / "raw" / "orders.parquet", table.partition("\n")[0]) == table


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        pytest.param("orders/_delta_log/00000000000000000000.json", "Delta", id="Delta"),
        pytest.param("orders/metadata/00001-5b0ad7a0.metadata.json", "Iceberg", id="Iceberg"),
        pytest.param("orders/.hoodie/hoodie.properties", "Hudi", id="Hudi"),
    ],
)
@pytest.mark.parametrize("address", ["orders/", "orders/*/*.parquet", "**/*.parquet"])
def test_a_table_with_a_log_is_refused(place: str, tmp_path: Path, log: str, kind: str, address: str) -> None:
    storage.write(f"{place}orders/data/part-0.parquet", _parquet(_order(1)))
    storage.write(place + log, b"{}")
    contract = {"rows": {"columns": {"id": {"type": "integer"}}}}

    with pytest.raises(UserError) as refused:
        extract(Run("extract", small.usecase(sources={"rows": place + address}, contract=contract)), str(tmp_path / "raw"))

    assert str(refused.value).startswith(f"{place}{address}: this is a table of {kind}, whose log says which files count: have ")


def test_the_log_of_another_table_is_none_of_ours(place: str, tmp_path: Path) -> None:
    storage.write(f"{place}plain/part-0.parquet", _parquet(_order(1)))
    for other in ("plain_delta", "pla"):
        storage.write(f"{place}{other}/_delta_log/0.json", b"{}")
    contract = {"rows": {"columns": {"id": {"type": "integer"}}}}

    found = extract(Run("extract", small.usecase(sources={"rows": f"{place}p*n/*.parquet"}, contract=contract)), str(tmp_path / "raw"))

    assert found["rows_rows"] == 1


def _order(number: int) -> dict[str, Any]:
    return {"id": number, "amount": number + 0.5, "at": datetime(2024, 1, 15, 9, number, tzinfo=UTC)}


def _parts(config: str, place: str) -> dict[str, Any]:
    """The page's lines, for another place in the bucket."""
    found: dict[str, Any] = yaml.safe_load(config.replace("s3://data/", place))
    return found


def _shown(path: Path, header: str) -> str:
    """Write a table as the page does: its columns, in whatever order they are, under the page's header."""
    assert set(pq.read_schema(path).names) == set(header.split(","))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        columns = ", ".join(f"coalesce({identifier(name)}::VARCHAR, '')" for name in header.split(","))
        rows = connection.execute(f"SELECT {columns} FROM read_parquet(?) ORDER BY id", [str(path)]).fetchall()
    return "\n".join([header, *(",".join(row) for row in rows), ""])


def _json(order: dict[str, Any]) -> bytes:
    return json.dumps(order | {"at": order["at"].isoformat()}).encode() + b"\n"


def _avro(order: dict[str, Any]) -> bytes:
    written = io.BytesIO()
    fastavro.writer(written, AVRO, [order], codec="deflate")
    return written.getvalue()


def _parquet(order: dict[str, Any]) -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table({name: [value] for name, value in order.items()}), written, compression="snappy")
    return written.getvalue()


WRITERS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    ".json": _json,
    ".json.gz": lambda order: gzip.compress(_json(order)),
    ".avro": _avro,
    ".snappy.parquet": _parquet,
    "": _parquet,
}
