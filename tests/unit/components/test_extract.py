"""Extract: from S3 and from files, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.extract.extract import extract
from core import storage
from core.errors import UserError
from core.featurecode import FOLDER
from core.tracking import Run
from tests.unit import small


@pytest.fixture
def prefix(platform: object) -> str:
    """A place in the bucket that no other test uses."""
    return f"s3://data/extract-{uuid.uuid4().hex[:8]}"


def run_of(uri: str, memory: str = "256MB") -> Run:
    return Run("extract", small.usecase(sources__rows=uri, limits__memory=memory))


def deliver(uri: str, folder: Path, **columns: list[Any]) -> None:
    storage.upload(Path(small.written(folder / f"{uuid.uuid4()}.parquet", columns)), uri)


def test_artifact_metadata_do_not_grow_with_the_columns(prefix: str, tmp_path: Path) -> None:
    deliver(f"{prefix}/rows.parquet", tmp_path, **{f"measurement_{index}": [1.0] for index in range(500)})

    found = extract(run_of(f"{prefix}/rows.parquet"), str(tmp_path / "raw"))

    assert len(json.dumps(found)) < 1000  # they travel in a command's arguments, of which Linux allows 131,072 bytes


def test_all_objects_that_a_glob_names_become_one_table_in_their_order(prefix: str, tmp_path: Path) -> None:
    for month in (2, 10, 1):
        deliver(f"{prefix}/month-{month:02}.parquet", tmp_path, x=[float(month)], month=[month])
    deliver(f"{prefix}/other.parquet", tmp_path, x=[99.0], month=[99])
    deliver(f"{prefix}/month-01.parquet.bak/month-77.csv", tmp_path, x=[77.0], month=[77])
    run = run_of(f"{prefix}/month-*.parquet")

    found = extract(run, str(tmp_path / "raw"))

    assert pq.read_table(tmp_path / "raw" / "rows.parquet").to_pydict() == {"x": [1.0, 2.0, 10.0], "month": [1, 2, 10]}
    (table,) = found.pop("tables").values()
    assert (table["rows"], table["origin"]["objects"]) == (3, 3)
    assert found == {"sha256": run.tags["data.sha256"], "rows_rows": 3}
    assert (run.metrics, run.summary) == ({"rows.rows": 3.0}, "3 rows")


def test_one_key_is_one_object(prefix: str, tmp_path: Path) -> None:
    deliver(f"{prefix}/a.parquet", tmp_path, x=[1.0])
    deliver(f"{prefix}/a.parquet.parquet", tmp_path, x=[2.0])

    extract(run_of(f"{prefix}/a.parquet"), str(tmp_path / "raw"))

    assert pq.read_table(tmp_path / "raw" / "rows.parquet").to_pydict() == {"x": [1.0]}


def test_a_column_that_came_later_is_null_before(prefix: str, tmp_path: Path) -> None:
    deliver(f"{prefix}/1.parquet", tmp_path, x=[1.0])
    deliver(f"{prefix}/2.parquet", tmp_path, y=["new"], x=[2.0])

    extract(run_of(f"{prefix}/*.parquet"), str(tmp_path / "raw"))

    assert pq.read_table(tmp_path / "raw" / "rows.parquet").to_pydict() == {"x": [1.0, 2.0], "y": [None, "new"]}


def test_an_object_whose_name_has_signs_of_a_glob_is_read(prefix: str, tmp_path: Path) -> None:
    deliver(f"{prefix}/a[1].parquet", tmp_path, x=[1.0])

    extract(run_of(f"{prefix}/*.parquet"), str(tmp_path / "raw"))

    assert pq.read_table(tmp_path / "raw" / "rows.parquet").to_pydict() == {"x": [1.0]}


def test_csv_is_read_with_the_signs_for_missing_values(prefix: str, tmp_path: Path) -> None:
    storage.write(f"{prefix}/rows.csv", "x,kind\n1.5,a\n,NA\n2,größe\n".encode())

    extract(run_of(f"{prefix}/rows.csv"), str(tmp_path / "raw"))

    assert pq.read_table(tmp_path / "raw" / "rows.parquet").to_pydict() == {"x": [1.5, None, 2.0], "kind": ["a", None, "größe"]}


def test_a_file_beside_the_config_is_a_source_too(tmp_path: Path) -> None:
    run = Run("extract", small.variant("wine"))

    found = extract(run, str(tmp_path / "raw"))

    assert found["rows_wine"] == 178
    assert pq.read_metadata(tmp_path / "raw" / "wine.parquet").num_rows == 178
    assert (FOLDER / "wine" / "wine.csv").exists()


def test_the_same_data_give_the_same_hash_and_the_same_bytes(prefix: str, tmp_path: Path) -> None:
    for name in random.sample(["a", "b", "c", "d"], 4):
        deliver(f"{prefix}/first/{name}.parquet", tmp_path, x=[1.0], name=[name])
    for name in random.sample(["a", "b", "c", "d"], 4):
        deliver(f"{prefix}/second/{name}.parquet", tmp_path, x=[1.0], name=[name])

    hashes = {extract(run_of(f"{prefix}/{place}/*.parquet"), str(tmp_path / place))["sha256"] for place in ("first", "second")}

    assert len(hashes) == 1
    assert len({hashlib.sha256((tmp_path / place / "rows.parquet").read_bytes()).digest() for place in ("first", "second")}) == 1


def test_one_changed_value_gives_another_hash(prefix: str, tmp_path: Path) -> None:
    deliver(f"{prefix}/1.parquet", tmp_path, x=[1.0, 2.0])
    deliver(f"{prefix}/2.parquet", tmp_path, x=[1.0, 2.5])

    hashes = {extract(run_of(f"{prefix}/{number}.parquet"), str(tmp_path / str(number)))["sha256"] for number in (1, 2)}

    assert len(hashes) == 2


def test_the_same_bytes_cut_into_other_files_give_another_hash(prefix: str, tmp_path: Path) -> None:
    one, two, three = (f'{{"x": {number}}}\n' for number in range(3))
    for place, parts in (("first", [one, two + three]), ("second", [one + two, three])):
        for number, part in enumerate(parts):
            storage.write(f"{prefix}/{place}/{number}.jsonl", part.encode())

    hashes = {extract(run_of(f"{prefix}/{place}/*.jsonl"), str(tmp_path / place))["sha256"] for place in ("first", "second")}

    assert len(hashes) == 2


def test_a_source_is_noted_for_lineage(prefix: str, tmp_path: Path) -> None:
    deliver(f"{prefix}/a.parquet", tmp_path, x=[1.0])
    run = run_of(f"{prefix}/a.parquet")

    extract(run, str(tmp_path / "raw"))

    (noted,) = run.datasets
    assert noted["dataset"]["name"] == "rows"
    source = json.loads(noted["dataset"]["source"])
    assert (source["uri"], source["objects"]) == (f"{prefix}/a.parquet", 1)
    assert json.loads(run.artifacts["origin.json"])["rows"]["uri"] == f"{prefix}/a.parquet"


@pytest.mark.parametrize("damage", ["cut", "first bytes", "metadata", "text", "empty", "last bytes"])
def test_a_damaged_parquet_file_is_named_and_nothing_is_written(prefix: str, tmp_path: Path, damage: str) -> None:
    data = _damaged(damage, _parquet(tmp_path))
    storage.write(f"{prefix}/2.parquet", data)
    deliver(f"{prefix}/1.parquet", tmp_path, x=[1.0])

    with pytest.raises(UserError) as refused:
        extract(run_of(f"{prefix}/*.parquet"), str(tmp_path / "raw"))

    sentence = str(refused.value)
    assert sentence.startswith(f"source rows: {prefix}/*.parquet cannot be read, it is damaged or no parquet (")
    assert sentence.endswith("): deliver it again")
    assert str(tmp_path.parent.parent) not in sentence and "/tmp" not in sentence
    assert not (tmp_path / "raw").exists()


def test_any_damage_gives_a_sentence_or_a_table(tmp_path: Path, platform: object) -> None:
    chance, good = random.Random(0), _parquet(tmp_path)
    uri = f"s3://data/extract-{uuid.uuid4().hex[:8]}.parquet"

    for _ in range(25):
        data = bytearray(good)
        for _ in range(20):
            data[chance.randrange(len(data) - 400, len(data))] ^= chance.randrange(1, 256)
        storage.write(uri, bytes(data))
        try:
            extract(run_of(uri), str(tmp_path / "raw"))
        except UserError as error:
            assert str(error).startswith(f"source rows: {uri} cannot be read")


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        pytest.param("/*.parquet", "no object matches: correct the address or deliver the data", id="glob that names nothing"),
        pytest.param("/a.parquet", "there is no such object: correct the address", id="key that is not there"),
    ],
)
def test_a_source_that_is_not_there_is_named(prefix: str, tmp_path: Path, place: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        extract(run_of(prefix + place), str(tmp_path / "raw"))

    assert str(refused.value) == f"{prefix}{place}: {sentence}"
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("place", ["/a.parquet", "/*.parquet"])
def test_a_bucket_that_is_not_there_is_named(platform: object, tmp_path: Path, place: str) -> None:
    with pytest.raises(
        UserError, match=f"^s3://nowhere{place}: bucket nowhere does not exist: create it or correct the address$".replace("*", r"\*")
    ):
        extract(run_of(f"s3://nowhere{place}"), str(tmp_path / "raw"))


@pytest.mark.parametrize("place", ["/a.parquet", "/*.parquet"])
@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_named(prefix: str, tmp_path: Path, place: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "wrong-credentials")

    with pytest.raises(UserError) as refused:
        extract(run_of(prefix + place), str(tmp_path / "raw"))

    assert str(refused.value).startswith(f"{prefix}{place}: ")
    assert variable in str(refused.value)
    assert "wrong-credentials" not in str(refused.value)


@pytest.mark.parametrize("names", [["a.parquet", "b.csv"], ["a.xlsx"], ["a"]], ids=["mixed", "unknown", "none"])
def test_files_of_other_kinds_are_refused(prefix: str, tmp_path: Path, names: list[str]) -> None:
    for name in names:
        storage.write(f"{prefix}/{name}", b"x\n1\n")

    with pytest.raises(UserError) as refused:
        extract(run_of(f"{prefix}/*"), str(tmp_path / "raw"))

    known = ".parquet, .csv, .jsonl, .avro"
    cure = "correct sources.rows or name the format"
    assert str(refused.value) == f"source rows: {prefix}/* names files of other kinds than one of {known}: {cure}"
    assert not (tmp_path / "raw").exists()


def test_files_that_do_not_fit_together_are_refused(prefix: str, tmp_path: Path) -> None:
    deliver(f"{prefix}/1.parquet", tmp_path, x=[1])
    deliver(f"{prefix}/2.parquet", tmp_path, x=[{"a": 1}])

    with pytest.raises(
        UserError, match=r"^source rows: .* column x is BIGINT in .*1.parquet and STRUCT\(a BIGINT\) in .*2.parquet: deliver files of one"
    ):
        extract(run_of(f"{prefix}/*.parquet"), str(tmp_path / "raw"))


def test_when_the_second_source_fails_nothing_of_the_first_is_written(prefix: str, tmp_path: Path) -> None:
    deliver(f"{prefix}/a.parquet", tmp_path, x=[1.0])
    contract = {"columns": {"x": {"type": "number"}}}
    sources = {"a": f"{prefix}/a.parquet", "b": f"{prefix}/b.parquet"}
    run = Run("extract", small.usecase(sources=sources, contract={"a": contract, "b": contract}))

    with pytest.raises(UserError):
        extract(run, str(tmp_path / "raw"))

    assert not (tmp_path / "raw").exists()
    assert "data.sha256" not in run.tags


def test_a_table_greater_than_the_memory_limit_passes_through(prefix: str, tmp_path: Path) -> None:
    big = pa.table({"x": pa.array(range(1_000_000), pa.float64()), "text": [f"some longer text {number}" for number in range(1_000_000)]})
    pq.write_table(big, tmp_path / "big.parquet", compression="zstd")
    storage.upload(tmp_path / "big.parquet", f"{prefix}/big.parquet")

    found = extract(run_of(f"{prefix}/big.parquet", memory="64MB"), str(tmp_path / "raw"))

    assert found["rows_rows"] == 1_000_000


def _parquet(folder: Path) -> bytes:
    pq.write_table(pa.table({"x": [float(number) for number in range(5000)], "kind": ["abc"] * 5000}), folder / "good.parquet", compression="zstd")
    return (folder / "good.parquet").read_bytes()


def _damaged(damage: str, good: bytes) -> bytes:
    middle = len(good) // 2
    return {
        "cut": good[:middle],
        "first bytes": b"\xff" * 4000 + good[4000:],
        "metadata": good[:-300] + b"\x9c" * 200 + good[-100:],
        "text": b"x,kind\n1,a\n",
        "empty": b"",
        "last bytes": good[:-12] + b"\xff\xff\xff\x7f" + good[-8:],
    }[damage]
