"""The S3 source: what an address means, what is read of it, and what happens when somebody writes or something breaks meanwhile."""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from components.extract.delivery import Delivery, Request
from components.extract.empty import empty
from components.extract.extract import extract
from components.extract.sources.s3 import fetch
from components.extract.sources.s3.places import place
from components.extract.sources.s3.watermark import LATE, mark, unread
from core import storage, tracking, transfer
from core.calls import Pinned
from core.contract import Contract
from core.errors import UserError
from core.sources import S3Source
from core.tracking import record
from tests.unit import small
from tests.unit.wire import wire

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def prefix(platform: object) -> str:
    """A place in the bucket that no other test uses."""
    return f"s3://data/source-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def versioned(platform: object) -> Iterator[str]:
    """A bucket that keeps the versions of its objects."""
    bucket, client = f"versions-{uuid.uuid4().hex[:8]}", storage.client()
    client.make_bucket(bucket)
    client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    yield f"s3://{bucket}"
    for item in client.list_objects(bucket, recursive=True, include_version=True):
        client.remove_object(bucket, str(item.object_name), item.version_id)
    client.remove_bucket(bucket)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Delivery]:
    """Fetch an address into a folder of its own."""

    def fetched(uri: str, watermark: Any = None, **options: Any) -> Delivery:
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        contract = Contract.model_validate({"columns": {"x": {"type": "integer"}}})
        return fetch(S3Source(kind="s3", uri=uri, **options), Request("mine", "rows", contract, folder, "256MB", watermark))

    return fetched


def contents(delivery: Delivery) -> list[str]:
    return [file.read_text() for file in delivery.files]


def test_a_prefix_is_all_below_it_in_the_order_of_the_keys(prefix: str, ask: Callable[..., Delivery]) -> None:
    for key in ("b.csv", "a/2.csv", "a/10.csv", "B.csv", "a.csv"):
        storage.write(f"{prefix}/t/{key}", key.encode())
    storage.write(f"{prefix}/t.csv", b"beside")
    storage.write(f"{prefix}/tt/a.csv", b"beside")

    found = ask(f"{prefix}/t/")

    assert contents(found) == ["B.csv", "a.csv", "a/10.csv", "a/2.csv", "b.csv"]
    assert found.format == "csv"


def test_what_a_writer_keeps_for_itself_is_left_out_and_a_partition_is_not(prefix: str, ask: Callable[..., Delivery]) -> None:
    hidden = ["_SUCCESS", "_temporary/0/a.csv", ".part-0.inprogress", "day=1/.a.csv.crc", "day=1/_metadata", "_raw_=x/_b.csv"]
    for key in [*hidden, "empty/", "day_$folder$", "day=1/"]:
        storage.client().put_object("data", f"{prefix.removeprefix('s3://data/')}/{key}", io.BytesIO(b""), 0)
    for key in ("day=1/a.csv", "_day=2/b.csv"):
        storage.write(f"{prefix}/{key}", key.encode())

    assert contents(ask(f"{prefix}/")) == ["_day=2/b.csv", "day=1/a.csv"]
    assert contents(ask(f"{prefix}/**/*")) == ["_day=2/b.csv", "day=1/a.csv"]
    assert contents(ask(f"{prefix}/_SUCCESS", format="csv")) == [""]


@pytest.mark.parametrize(
    ("glob", "meant"),
    [
        pytest.param("*.csv", ["1.csv", "10.csv", "a1.csv", "a[1].csv"], id="a star stays within the folder"),
        pytest.param("?.csv", ["1.csv"], id="one sign"),
        pytest.param("*/*.csv", ["day=1/1.csv", "day=2/1.csv"], id="one folder"),
        pytest.param("**/1.csv", ["1.csv", "day=1/1.csv", "day=1/deep/1.csv", "day=2/1.csv"], id="any folders, or none"),
        pytest.param("day=[!1]/*", ["day=2/1.csv"], id="not one of some signs"),
        pytest.param("day=[1-2]/1.csv", ["day=1/1.csv", "day=2/1.csv"], id="a range of signs"),
        pytest.param("day=*/", ["day=1/1.csv", "day=1/deep/1.csv", "day=2/1.csv"], id="all below some folders"),
        pytest.param("a[[]1].csv", ["a[1].csv"], id="a sign of a glob itself"),
        pytest.param("a[1].csv", ["a[1].csv"], id="a key as it is written"),
        pytest.param("_[a-z]*.csv", ["_own.csv"], id="an underscore that is written"),
    ],
)
def test_a_glob_means_what_it_means_in_a_shell(prefix: str, ask: Callable[..., Delivery], glob: str, meant: list[str]) -> None:
    for key in ("1.csv", "10.csv", "a[1].csv", "a1.csv", "day=1/1.csv", "day=1/deep/1.csv", "day=2/1.csv", "_own.csv", "1xcsv"):
        storage.write(f"{prefix}/{key}", key.encode())

    assert contents(ask(f"{prefix}/{glob}")) == meant


def test_more_objects_than_a_page_of_the_listing_has(prefix: str, ask: Callable[..., Delivery], tmp_path: Path) -> None:
    for number in range(1100):
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / "many" / f"{number:04}.csv").write_text(str(number))
    storage.upload(tmp_path / "many", prefix)

    assert contents(ask(f"{prefix}/")) == [str(number) for number in range(1100)]


def test_folders_stay_and_odd_names_do_no_harm(prefix: str, ask: Callable[..., Delivery]) -> None:
    keys = ["year=2024/a.csv", "a//b.csv", "tab\there.csv", "x*?[1].csv", "größe & 100%.csv", "file", "file/below.csv", "l" * 246 + ".csv"]
    for key in keys:
        storage.write(f"{prefix}/{key}", key.encode())

    found = ask(f"{prefix}/", format="csv")

    assert contents(found) == sorted(keys)
    assert [file.parent.name for file in found.files if "2024" in str(file)] == ["year=2024"]
    assert not [file for file in found.files if set("*?[]") & set(file.name)]


@example(["a", "000000-a/b"])
@example(["/x", "...", "//", "a=%2E%2E/b", "a=/b", "a=..\\/x"])
@given(
    st.lists(st.text(st.sampled_from("./\\a=é*\x00~%"), min_size=1).filter(lambda key: not {".", ".."} & set(key.split("/"))), min_size=1, max_size=5)
)
def test_no_key_leads_out_of_the_folder_or_onto_another(keys: list[str]) -> None:
    folder = Path("/some/folder")

    places = [folder / place(number, key) for number, key in enumerate(keys)]

    assert all(os.path.normpath(found) == str(found) and found.is_relative_to(folder) and found != folder for found in places)
    assert len(set(places)) == len(keys)
    assert not any(above in set(places) for found in places for above in found.parents)


@pytest.mark.parametrize("key", ["../x.csv", "a/../../x.csv", "a/./x.csv", "a/.."])
def test_a_key_with_dots_for_a_folder_is_a_sentence(key: str) -> None:
    with pytest.raises(UserError, match=r"^an object's key has the part \.\.? between its slashes, for which no client can ask: copy the object"):
        place(0, key)


def test_a_partition_too_long_for_a_folder_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"^an object's key has the part name=aaa.*\.\.\., longer than the name of a folder may be \(240 bytes\)"):
        place(0, f"name={'a' * 300}/x.csv")


def test_what_was_read_is_noted_with_its_version(prefix: str, versioned: str, ask: Callable[..., Delivery]) -> None:
    key = prefix.removeprefix("s3://data/")
    storage.write(f"{prefix}/a.csv", b"1234")
    storage.write(f"{versioned}/a.csv", b"old")
    kept = storage.client().put_object(versioned.removeprefix("s3://"), "a.csv", io.BytesIO(b"new"), 3).version_id

    found, one, other = ask(f"{prefix}/"), ask(f"{prefix}/a.csv"), ask(f"{versioned}/*")

    assert found.pins == one.pins == {f"{key}/a.csv": "81dc9bdb52d04dc20036dbd8313ed055"}
    assert other.pins == {"a.csv": kept}
    assert contents(other) == ["new"]
    assert (found.origin["uri"], found.origin["objects"], found.origin["bytes"]) == (f"{prefix}/", 1, 4)
    assert datetime.fromisoformat(found.origin["newest"]) <= datetime.now(UTC)
    assert datetime.now(UTC) - datetime.fromisoformat(found.origin["listed"]) < timedelta(minutes=1)


@pytest.mark.parametrize(("do", "sentence"), [("overwrite", "overwritten"), ("delete", "deleted")])
@pytest.mark.parametrize("address", ["/", "/b.csv"], ids=["prefix", "key"])
def test_an_object_that_changes_after_the_listing_is_a_sentence(
    prefix: str, ask: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch, do: str, sentence: str, address: str
) -> None:
    for name in ("a.csv", "b.csv"):
        storage.write(f"{prefix}/{name}", b"x\n1\n")
    key = f"{prefix.removeprefix('s3://data/')}/b.csv"

    with wire(_port(), _before(f"GET /data/{key}", _changed(do, "data", key))) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        with pytest.raises(UserError) as refused:
            ask(f"{prefix}{address}")

    assert str(refused.value) == f"{prefix}/b.csv was {sentence} after it was listed: run again, when nobody changes the data"


@pytest.mark.parametrize("do", ["overwrite", "delete"])
def test_in_a_bucket_with_versions_the_one_that_was_listed_is_read(
    versioned: str, ask: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch, do: str
) -> None:
    bucket = versioned.removeprefix("s3://")
    storage.write(f"{versioned}/gone.csv", b"gone")
    storage.client().remove_object(bucket, "gone.csv")
    storage.write(f"{versioned}/a.csv", b"listed")

    with wire(_port(), _before(f"GET /{bucket}/a.csv", _changed(do, bucket, "a.csv"))) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        found = ask(f"{versioned}/*.csv")

    assert contents(found) == ["listed"]


def test_a_large_object_that_changes_between_its_parts_is_no_mixture(
    prefix: str, ask: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "LARGE", 400_000)
    monkeypatch.setattr(transfer, "PART", 100_000)
    storage.write(f"{prefix}/a.csv", b"1" * 900_000)
    key = f"{prefix.removeprefix('s3://data/')}/a.csv"

    with wire(_port(), _before(f"GET /data/{key}", _changed("overwrite", "data", key, b"2" * 900_000), b"bytes=700000-")) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        with pytest.raises(UserError, match=f"^{prefix}/a.csv was overwritten after it was listed"):
            ask(f"{prefix}/a.csv")


@pytest.mark.parametrize("size", [0, 1, 399_999, 400_000, 450_001], ids=str)
def test_a_large_object_is_read_in_parts(prefix: str, ask: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(transfer, "LARGE", 400_000)
    monkeypatch.setattr(transfer, "PART", 100_000)
    data = os.urandom(size)
    storage.write(f"{prefix}/a.csv", data)

    (file,) = ask(f"{prefix}/a.csv").files

    assert file.read_bytes() == data


@pytest.mark.parametrize("large", [50_000, 10**9], ids=["in parts", "in one call"])
def test_a_connection_that_breaks_is_made_again_and_the_rest_is_read(
    prefix: str, ask: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(transfer, "LARGE", large)
    monkeypatch.setattr(transfer, "PART", 300_000)
    data = {f"{number}.csv": os.urandom(1_000_000) for number in range(3)}
    for name, content in data.items():
        storage.write(f"{prefix}/{name}", content)

    connections = []

    def breaks(number: int) -> int:
        connections.append(number)
        return 400_000

    with wire(_port(), budget=breaks) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        found = ask(f"{prefix}/")

    assert [file.read_bytes() for file in found.files] == list(data.values())
    assert len(connections) > 7


def test_a_server_that_stays_away_in_the_middle_is_a_sentence_and_nothing_is_delivered(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PATIENCE", 0.5)
    for number in range(40):
        storage.write(f"{prefix}/{number}.csv", b"x\n" + b"1\n" * 50_000)
    monkeypatch.setattr(transfer, "THREADS", 2)

    with wire(_port(), budget=lambda number: 1_000_000 if number < 3 else 0) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        with pytest.raises(UserError) as refused:
            extract(tracking.Run("extract", small.usecase(sources__rows=f"{prefix}/")), str(tmp_path / "raw"))

    assert str(refused.value).startswith(f"{prefix}/: the S3 server at {endpoint} does not answer: start it")
    assert not (tmp_path / "raw").exists()


def test_credentials_that_end_in_the_middle_are_a_sentence_and_nothing_is_delivered(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        storage.write(f"{prefix}/{number:02}.csv", b"x\n1\n")
    known = os.environ["AWS_ACCESS_KEY_ID"].encode()

    with wire(_port(), lambda sent: sent.replace(known, b"0" * len(known)) if b"/30.csv" in sent else sent) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        with pytest.raises(UserError) as refused:
            extract(tracking.Run("extract", small.usecase(sources__rows=f"{prefix}/")), str(tmp_path / "raw"))

    assert str(refused.value) == f"{prefix}/: the access key is unknown: correct AWS_ACCESS_KEY_ID"
    assert not (tmp_path / "raw").exists()


def test_an_incremental_source_reads_what_is_new_or_changed(prefix: str, ask: Callable[..., Delivery]) -> None:
    for name in ("a.csv", "b.csv"):
        storage.write(f"{prefix}/{name}", name.encode())
    first = ask(f"{prefix}/", incremental=True)
    storage.write(f"{prefix}/b.csv", b"other")
    storage.write(f"{prefix}/c.csv", b"new")

    second = ask(f"{prefix}/", json.loads(json.dumps(first.watermark)), incremental=True)

    assert contents(first) == ["a.csv", "b.csv"]
    assert contents(second) == ["other", "new"]
    assert len(second.pins) == second.origin["objects"] == 2
    assert contents(ask(f"{prefix}/", first.watermark)) == ["a.csv", "other", "new"]


@pytest.mark.parametrize("address", ["/", "/a.csv"], ids=["prefix", "key"])
def test_without_anything_new_there_is_a_table_of_no_rows(prefix: str, ask: Callable[..., Delivery], address: str) -> None:
    storage.write(f"{prefix}/a.csv", b"x\n1\n")
    first = ask(f"{prefix}{address}", incremental=True)

    second = ask(f"{prefix}{address}", first.watermark, incremental=True)
    third = ask(f"{prefix}{address}", second.watermark, incremental=True)

    assert second.watermark == first.watermark
    for found in (second, third):
        assert (found.format, found.pins, found.origin["objects"]) == ("parquet", {}, 0)
        assert pq.read_table(found.files[0]).schema == pa.schema({"x": pa.int64()})


def test_a_table_of_no_rows_has_the_types_of_the_contract(tmp_path: Path) -> None:
    types = ("integer", "number", "string", "boolean", "timestamp", "date")
    contract = Contract.model_validate({"columns": {f"a {kind}": {"type": kind} for kind in types}})

    found = pq.read_schema(empty(Request("mine", "rows", contract, tmp_path, "256MB")))

    assert found.names == list(contract.columns)
    assert found.types == [pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.timestamp("us", "UTC"), pa.date32()]


def test_an_object_that_became_visible_late_is_read_once() -> None:
    early, newest = _object("early", NOON - 2 * LATE), _object("newest", NOON)
    late, too_late = _object("late", NOON - LATE / 2), _object("too late", NOON - 2 * LATE)

    first = mark([early, newest], None)
    second = mark([early, late, newest], first)

    assert unread([early, late, newest, too_late], first) == [late]
    assert unread([early, late, newest], second) == []
    assert mark([], second)["newest"] == second["newest"]


@pytest.mark.parametrize("status", ["FINISHED", "FAILED"])
def test_only_a_pipeline_run_that_succeeded_counts_as_read(
    prefix: str, tmp_path: Path, run_id: str, monkeypatch: pytest.MonkeyPatch, status: tracking.Status
) -> None:
    config = small.config(sources={"rows": {"kind": "s3", "uri": f"{prefix}/", "incremental": True}})
    storage.write(f"{prefix}/1.csv", b"x\n1\n")
    with record("extract", config) as run:
        extract(run, str(tmp_path / "first"))
    tracking.end(tracking.parent(run.usecase), status)
    storage.write(f"{prefix}/2.csv", b"x\n2\n")

    monkeypatch.setenv("KFP_RUN_ID", str(uuid.uuid4()))
    with record("extract", config) as run:
        extract(run, str(tmp_path / "second"))

    expected = {"FINISHED": [2], "FAILED": [1, 2]}[status]
    assert pq.read_table(tmp_path / "first" / "rows.parquet").to_pydict() == {"x": [1]}
    assert pq.read_table(tmp_path / "second" / "rows.parquet").to_pydict() == {"x": expected}


def _port() -> int:
    return int(os.environ["AWS_ENDPOINT_URL_S3"].rpartition(":")[2])


def _before(request: str, do: Callable[[], None], also: bytes = b"") -> Callable[[bytes], bytes]:
    """Do something once, before the server gets a request."""
    todo = [do]

    def seen(sent: bytes) -> bytes:
        if request.encode() in sent and also in sent and todo:
            todo.pop()()
        return sent

    return seen


def _changed(do: str, bucket: str, key: str, content: bytes = b"x\n2\n") -> Callable[[], None]:
    if do == "delete":
        return lambda: storage.client().remove_object(bucket, key)
    return lambda: storage.write(f"s3://{bucket}/{key}", content)


def _object(key: str, modified: datetime) -> Pinned:
    return Pinned(key, 1, f"etag of {key}", modified)
