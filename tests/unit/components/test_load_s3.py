"""load to S3: the manifest is the dataset, and it changes by one put."""

from __future__ import annotations

import hashlib
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.load import manifest
from components.load.request import Request
from components.load.targets import s3
from core import storage
from core.errors import UserError
from core.targets import S3Target
from tests.unit.components.killed import killed

ROWS: dict[str, list[Any]] = {"x": [1.0, 2.0, None, 4.0], "month": [1, 2, 1, 2], "place": ["a/b c", None, "", "01"]}


@pytest.fixture
def uri(platform: object) -> str:
    """A dataset that no other test uses."""
    return f"s3://data/load-{uuid.uuid4().hex[:8]}/features/"


@pytest.fixture
def first(tmp_path: Path) -> Request:
    return request_of(tmp_path, **ROWS)


@pytest.fixture
def second(tmp_path: Path) -> Request:
    return request_of(tmp_path, x=[9.0], month=[1], place=["b"])


def request_of(folder: Path, **columns: Any) -> Request:
    path = folder / f"{uuid.uuid4().hex}.parquet"
    pq.write_table(pa.table(columns), path)
    return Request("small", str(uuid.uuid4()), path, "256MB")


def target_of(uri: str, **settings: Any) -> S3Target:
    return S3Target(kind="s3", uri=uri, **settings)


def objects(uri: str) -> dict[str, datetime | None]:
    bucket, prefix = storage.split(uri)
    return {str(item.object_name).removeprefix(prefix): item.last_modified for item in storage.client().list_objects(bucket, prefix, recursive=True)}


def rows(uri: str, folder: Path) -> list[tuple[Any, ...]]:
    """Read as the manifest says, and hold each file against it."""
    place = folder / uuid.uuid4().hex
    place.mkdir()
    for number, file in enumerate(json.loads(storage.read(uri + "manifest.json"))["files"]):
        data = storage.read(uri + file["key"])
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        Path(place, f"{number}.parquet").write_bytes(data)
        assert pq.read_metadata(place / f"{number}.parquet").num_rows == file["rows"]
    return duckdb.execute(f"FROM read_parquet('{place}/*.parquet') ORDER BY ALL").fetchall()


def sent(*requests: Request) -> list[tuple[Any, ...]]:
    return duckdb.execute(f"FROM read_parquet({[str(request.rows) for request in requests]}) ORDER BY ALL").fetchall()


@pytest.mark.parametrize("columns", [(), ("month",), ("month", "place")], ids=["no partition", "one column", "two columns"])
def test_the_files_that_the_manifest_lists_are_the_rows(uri: str, first: Request, tmp_path: Path, columns: tuple[str, ...]) -> None:
    is_new = s3.send(target_of(uri, partition_by=columns), first)

    assert is_new
    assert rows(uri, tmp_path) == sent(first)
    listed = [file.key for file in manifest.read(uri).files]
    assert objects(uri).keys() == {"manifest.json", *listed}
    assert all(key.startswith(f"data/{first.run}/" + ("month=" if columns else "")) for key in listed)


def test_replacing_lists_only_the_new_rows_and_keeps_the_old_files_for_those_who_read_them(
    uri: str, first: Request, second: Request, tmp_path: Path
) -> None:
    s3.send(target_of(uri), first)
    before = manifest.read(uri)

    s3.send(target_of(uri), second)

    assert rows(uri, tmp_path) == sent(second)
    assert {file.key for file in before.files} <= objects(uri).keys()
    assert [note["run"] for note in manifest.read(uri).runs] == [first.run, second.run]


def test_appending_lists_the_rows_of_all_runs(uri: str, first: Request, second: Request, tmp_path: Path) -> None:
    for request in (first, second):
        s3.send(target_of(uri, mode="append"), request)

    assert rows(uri, tmp_path) == sent(first, second)
    assert {file.run for file in manifest.read(uri).files} == {first.run, second.run}


def test_appending_other_columns_is_refused(uri: str, first: Request, tmp_path: Path) -> None:
    s3.send(target_of(uri), first)
    other = request_of(tmp_path, x=["text"], month=[1])
    before = storage.read(uri + "manifest.json")

    with pytest.raises(UserError) as refused:
        s3.send(target_of(uri, mode="append"), other)

    assert str(refused.value) == (
        f"{uri} has other columns (place string there, missing here, x double there, string here): load to another prefix, or replace"
    )
    assert storage.read(uri + "manifest.json") == before


@pytest.mark.parametrize("mode", ["replace", "append"])
def test_the_same_run_again_changes_nothing_also_after_another_one(uri: str, first: Request, second: Request, mode: str) -> None:
    for request in (first, second):
        s3.send(target_of(uri, mode=mode), request)
    before, there = storage.read(uri + "manifest.json"), objects(uri)

    again = [s3.send(target_of(uri, mode=mode), request) for request in (first, second)]

    assert again == [False, False]
    assert storage.read(uri + "manifest.json") == before
    assert objects(uri) == there


def test_of_runs_at_once_none_is_lost(uri: str, tmp_path: Path) -> None:
    requests = [request_of(tmp_path, x=[float(number)]) for number in range(6)]
    twice = [*requests, *requests]

    with ThreadPoolExecutor(len(twice)) as pool:
        found = list(pool.map(lambda request: s3.send(target_of(uri, mode="append"), request), twice))

    assert sum(found) == len(requests)
    assert rows(uri, tmp_path) == sent(*requests)


@pytest.mark.parametrize(
    ("place", "moment"),
    [
        pytest.param("core.storage:upload", "before", id="before the files", marks=pytest.mark.slow),
        pytest.param("core.storage:upload", "after", id="before the manifest"),
        pytest.param("components.load.manifest:_put", "after", id="after the manifest"),
    ],
)
def test_a_run_that_was_killed_is_repeated(uri: str, first: Request, second: Request, tmp_path: Path, place: str, moment: str) -> None:
    s3.send(target_of(uri), second)

    killed({"kind": "s3", "uri": uri, "partition_by": ["month"], "mode": "append"}, first, place, moment)
    seen = rows(uri, tmp_path)
    s3.send(target_of(uri, partition_by=("month",), mode="append"), first)

    assert seen == (sent(first, second) if "manifest" in place else sent(second))
    assert rows(uri, tmp_path) == sent(first, second)
    assert objects(uri).keys() == {"manifest.json", *(file.key for file in manifest.read(uri).files)}


def test_what_a_killed_run_left_is_removed_after_a_day(
    uri: str, first: Request, second: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.send(target_of(uri), first)
    killed({"kind": "s3", "uri": uri}, request_of(tmp_path, x=[5.0]), "core.storage:upload", "after")
    s3.send(target_of(uri), second)
    assert len(objects(uri)) == 4  # the manifest, its file, the one that was replaced, the one that nobody ever listed

    monkeypatch.setattr(manifest, "KEPT", timedelta(0))
    s3.send(target_of(uri, mode="append"), first_again := Request("small", "later", first.rows, "256MB"))

    assert objects(uri).keys() == {"manifest.json", *(file.key for file in manifest.read(uri).files)}
    assert rows(uri, tmp_path) == sent(first_again, second)


def test_what_was_replaced_within_a_day_is_kept_however_old_it_is() -> None:
    now = datetime.now(UTC)
    old = [manifest.File("data/1/a.parquet", 1, 1, "", "1")]

    after = manifest.Manifest(old).after([], {}, "small", "2", is_replaced=True)

    assert after.needs("data/1/a.parquet", now + timedelta(hours=23))
    assert not after.needs("data/1/a.parquet", now + timedelta(hours=25))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        pytest.param(
            {"partition_by": ["year"]}, "there is no column year to partition by: let features() make it or correct partition_by", id="missing"
        ),
        pytest.param(
            {"partition_by": ["n"]},
            "partition_by has 10,001 values, which would be as many files: choose columns of at most 10,000",
            id="too many",
        ),
    ],
)
def test_columns_that_cannot_be_partitioned_by_are_refused(uri: str, tmp_path: Path, settings: dict[str, Any], sentence: str) -> None:
    request = request_of(tmp_path, n=list(range(10_001)))

    with pytest.raises(UserError) as refused:
        s3.send(target_of(uri, **settings), request)

    assert str(refused.value) == f"{uri}: {sentence}"
    assert not objects(uri)


def test_a_manifest_of_another_program_is_left_alone(uri: str, first: Request) -> None:
    storage.write(uri + "manifest.json", b'{"name": "web app"}')

    with pytest.raises(UserError, match=f"^{uri}manifest.json is of another program: load to a prefix of its own$"):
        s3.send(target_of(uri), first)

    assert objects(uri).keys() == {"manifest.json"}


def test_a_bucket_that_is_not_there_and_wrong_credentials_are_named(uri: str, first: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="bucket nowhere does not exist"):
        s3.send(target_of("s3://nowhere/a/"), first)

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-credentials")
    with pytest.raises(UserError, match="AWS_SECRET_ACCESS_KEY") as refused:
        s3.send(target_of(uri), first)

    assert "wrong-credentials" not in str(refused.value)


def test_pages_are_objects_under_the_runs_id(uri: str, tmp_path: Path) -> None:
    Path(tmp_path, "page").write_text("<p>größer</p>")

    for _ in range(2):
        s3.put_pages(uri, "run-1", {"evaluation": str(tmp_path / "page")})

    assert objects(uri).keys() == {"run-1/evaluation.html"}
    assert storage.read(f"{uri}run-1/evaluation.html").decode() == "<p>größer</p>"
