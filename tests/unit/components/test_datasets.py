"""What load has written to S3 is read by extract again: the files of the manifest, and nothing that lies beside them."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.extract.extract import extract
from components.load.request import Request
from components.load.targets import s3
from core import storage
from core.errors import UserError
from core.targets import S3Target
from core.tracking import Run
from tests.unit import small

CONTRACT = {"rows": {"columns": {"x": {"type": "number"}, "month": {"type": "integer"}, "place": {"type": "string", "nulls": 1}}}}


@pytest.fixture
def uri(platform: object) -> str:
    """A dataset that no other test uses."""
    return f"s3://data/dataset-{uuid.uuid4().hex[:8]}/"


def load(uri: str, folder: Path, mode: Literal["replace", "append"], x: list[float]) -> None:
    rows = folder / f"{uuid.uuid4().hex}.parquet"
    pq.write_table(pa.table({"x": x, "month": [1, 2], "place": ["a/b c", None]}), rows)
    target = S3Target(kind="s3", uri=uri, partition_by=("month", "place"), mode=mode)
    s3.send(target, Request("small", str(uuid.uuid4()), rows, "256MB"))


def extracted(uri: str, folder: Path) -> list[tuple[object, ...]]:
    extract(Run("extract", small.usecase(sources__rows=f"{uri}manifest.json", contract=CONTRACT)), str(folder / "raw"))
    table = pq.read_table(folder / "raw" / "rows.parquet")
    return sorted(zip(*(table.column(name).to_pylist() for name in ("x", "month", "place")), strict=True))


def test_a_dataset_is_read_as_its_manifest_says(uri: str, tmp_path: Path) -> None:
    load(uri, tmp_path, "replace", [9.0, 9.5])
    load(uri, tmp_path, "replace", [1.0, 2.0])
    load(uri, tmp_path, "append", [3.0, 4.0])
    storage.write(f"{uri}data/killed/orphan.parquet", b"half")

    rows = extracted(uri, tmp_path)

    assert rows == [(1.0, 1, "a/b c"), (2.0, 2, None), (3.0, 1, "a/b c"), (4.0, 2, None)]


def test_a_file_that_is_gone_is_named(uri: str, tmp_path: Path) -> None:
    load(uri, tmp_path, "replace", [1.0, 2.0])
    bucket, prefix = storage.split(uri)
    (lost, _) = [str(item.object_name) for item in storage.client().list_objects(bucket, f"{prefix}data/", recursive=True)]
    storage.client().remove_object(bucket, lost)

    with pytest.raises(UserError) as refused:
        extracted(uri, tmp_path)

    assert str(refused.value) == f"{uri}manifest.json: 1 of its 2 files are gone, such as s3://{bucket}/{lost}: load the dataset anew"


@pytest.mark.parametrize("content", [b"{}", b'{"files": [1]}', b"no json", b"[]"])
def test_another_object_of_that_name_is_refused(uri: str, tmp_path: Path, content: bytes) -> None:
    storage.write(f"{uri}manifest.json", content)

    with pytest.raises(UserError, match=r"manifest\.json is no manifest of a dataset: write the address of one that a load has written"):
        extracted(uri, tmp_path)
