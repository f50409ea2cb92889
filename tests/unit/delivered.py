"""Files beside a use case's config, as they are delivered, and what extract makes of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from components.extract.extract import extract
from core.tracking import Run
from tests.unit import small

Files = dict[str, bytes]


def run_of(usecases: Path, files: Files, path: str | None = None, memory: str = "256MB", **columns: str) -> Run:
    """Extract's run for files beside the config, of which `path` names those to be read."""
    contract = {"rows": {"columns": {name: {"type": kind} for name, kind in (columns or {"x": "number"}).items()}}}
    usecase = small.usecase(sources__rows=path or next(iter(files)), contract=contract, limits__memory=memory)
    for name, data in files.items():
        place = usecases / usecase.name / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return Run("extract", usecase)


def read(run: Run, folder: Path) -> pa.Table:
    extract(run, str(folder / "raw"))
    return pq.read_table(folder / "raw" / "rows.parquet")


def parquet(**columns: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def avro(**row: Any) -> bytes:
    kinds = {float: "double", str: "string"}
    stream = io.BytesIO()
    fields = [{"name": name, "type": kinds[type(value)]} for name, value in row.items()]
    fastavro.writer(stream, {"type": "record", "name": "row", "fields": fields}, [row])
    return stream.getvalue()


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def csv(lines: str, name: str = "rows.csv") -> Files:
    return {name: lines.encode()}


def jsonl(lines: str | bytes) -> Files:
    return {"rows.jsonl": lines.encode() if isinstance(lines, str) else lines}
