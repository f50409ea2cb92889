"""Avro container files as Parquet."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pyarrow.parquet as pq
import pytest

from components.extract.avro import to_parquet

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "x", "type": ["null", "double"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
    ],
}
AT = datetime(2024, 1, 31, 1, 2, 3, 4000, UTC)


def written(path: Path, count: int, codec: str = "deflate") -> Path:
    rows = [{"x": None if number % 3 else float(number), "at": AT, "id": UUID(int=number)} for number in range(count)]
    with path.open("wb") as stream:
        fastavro.writer(stream, fastavro.parse_schema(SCHEMA), rows, codec)
    return path


def test_each_file_becomes_parquet(tmp_path: Path) -> None:
    files = [written(tmp_path / "b.avro", 3), written(tmp_path / "a.avro", 0, "null")]

    made = [tmp_path / f"{file.name}.parquet" for file in files]
    for file, target in zip(files, made, strict=True):
        to_parquet(file, target)

    ids = [str(UUID(int=number)) for number in range(3)]
    assert [pq.read_table(file).to_pydict() for file in made] == [{"x": [0.0, None, None], "at": [AT] * 3, "id": ids}, {"x": [], "at": [], "id": []}]
    assert pq.read_schema(made[0]) == pq.read_schema(made[1])


def test_many_rows_are_written_a_batch_at_a_time(tmp_path: Path) -> None:
    file = written(tmp_path / "a.avro", 25_000)

    to_parquet(file, tmp_path / "made.parquet")

    found = pq.read_metadata(tmp_path / "made.parquet")
    assert (found.num_rows, found.num_row_groups) == (25_000, 3)


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "sync"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    file = written(tmp_path / "a.avro", 5_000)
    good = file.read_bytes()
    file.write_bytes({"text": b"x\n1\n", "empty": b"", "cut": good[:-5000], "sync": good[:-16] + b"0" * 16}[damage])

    with pytest.raises(ValueError, match=r"^a\.avro: ."):
        to_parquet(file, tmp_path / "made.parquet")


def test_any_damage_gives_a_value_error_or_a_table(tmp_path: Path) -> None:
    chance, good = random.Random(0), written(tmp_path / "a.avro", 200, "null").read_bytes()

    for _ in range(300):
        data = bytearray(good)
        for _ in range(3):
            data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        (tmp_path / "b.avro").write_bytes(data)
        try:
            to_parquet(tmp_path / "b.avro", tmp_path / "made.parquet")
        except ValueError as error:
            assert str(error).startswith("b.avro: ")


def test_a_schema_that_is_no_tables_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.avro").open("wb") as stream:
        fastavro.writer(stream, {"type": "array", "items": "int"}, [[1]])

    with pytest.raises(ValueError, match=r"^a\.avro: the schema is no record$"):
        to_parquet(tmp_path / "a.avro", tmp_path / "made.parquet")
