"""load to PostgreSQL: one transaction, with a note of the run in it."""

from __future__ import annotations

import datetime
import decimal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.load.request import Request
from components.load.targets import postgresql as subject
from components.load.targets.postgresql import tables
from core.errors import UserError
from core.targets import PostgresqlTarget
from tests.postgresql import Server
from tests.unit.components.killed import killed

Rows = list[tuple[Any, ...]]


@pytest.fixture
def server(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, which the environment names."""
    for name, value in postgresql.environment().items():
        monkeypatch.setenv(name, value)
    return postgresql


@pytest.fixture
def schema(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A schema that no other test uses."""
    name = f'Load "{uuid.uuid4().hex[:8]}'.replace('"', "")
    execute(f'CREATE SCHEMA "{name}"')
    yield name
    for variable, value in server.environment().items():  # a test may have become another user
        monkeypatch.setenv(variable, value)
    execute(f'DROP SCHEMA "{name}" CASCADE')


@pytest.fixture
def first(tmp_path: Path) -> Request:
    return request_of(tmp_path, day=[1, 2, 3], place=["a", "b", "ö, \"'"], score=[0.1, None, 0.3])


@pytest.fixture
def second(tmp_path: Path) -> Request:
    return request_of(tmp_path, day=[3, 4], place=["ö, \"'", "d"], score=[0.9, 0.4])


def request_of(folder: Path, table: pa.Table | None = None, **columns: Any) -> Request:
    path = folder / f"{uuid.uuid4().hex}.parquet"
    pq.write_table(table or pa.table(columns), path)
    return Request("small", str(uuid.uuid4()), path, "256MB")


def target_of(schema: str, mode: str = "replace", **settings: Any) -> PostgresqlTarget:
    return PostgresqlTarget.model_validate({"kind": "postgresql", "table": f"{schema}.Scores", "mode": mode} | settings)


def execute(query: str) -> Rows:
    with psycopg.connect(autocommit=True) as connection:
        found = connection.execute(query.encode())
        return found.fetchall() if found.description else []


def rows(schema: str) -> Rows:
    return execute(f'SELECT * FROM "{schema}"."Scores" ORDER BY day')


def notes(schema: str) -> Rows:
    return execute(f'SELECT target, run_id, rows FROM "{schema}".mlops_loads ORDER BY loaded_at')


def relations(schema: str) -> set[str]:
    """Every table that is left, those of dead sessions included."""
    return {
        name
        for (name,) in execute(
            f"SELECT relname FROM pg_class WHERE relkind = 'r' AND (relnamespace::regnamespace::text = '\"{schema}\"' OR relname ~ 'staging')"
        )
    }


FIRST: Rows = [(1, "a", 0.1), (2, "b", None), (3, "ö, \"'", 0.3)]
SECOND: Rows = [(3, "ö, \"'", 0.9), (4, "d", 0.4)]
MODES = [
    pytest.param({"mode": "replace"}, SECOND, id="replace"),
    pytest.param({"mode": "append"}, sorted(FIRST + SECOND, key=str), id="append"),
    pytest.param({"mode": "merge", "key": ["day", "place"]}, FIRST[:2] + SECOND, id="merge"),
]


@pytest.mark.parametrize(("settings", "expected"), MODES)
def test_the_rows_of_two_runs_are_as_the_mode_says(schema: str, first: Request, second: Request, settings: dict[str, Any], expected: Rows) -> None:
    target = target_of(schema, **settings)

    assert subject.send(target, first)
    assert rows(schema) == FIRST
    assert subject.send(target, second)

    assert sorted(rows(schema), key=str) == expected
    assert notes(schema) == [("Scores", first.run, 3), ("Scores", second.run, 2)]


@pytest.mark.parametrize(("settings", "expected"), MODES)
def test_the_same_run_again_changes_nothing_also_after_another_one(
    schema: str, first: Request, second: Request, settings: dict[str, Any], expected: Rows
) -> None:
    target = target_of(schema, **settings)
    for request in (first, second):
        subject.send(target, request)
    before = execute(f'SELECT xmin, * FROM "{schema}"."Scores" ORDER BY 2, 3, 4'), notes(schema)

    again = [subject.send(target, request) for request in (first, second)]

    assert again == [False, False]
    assert (execute(f'SELECT xmin, * FROM "{schema}"."Scores" ORDER BY 2, 3, 4'), notes(schema)) == before


def test_of_runs_at_once_none_is_lost_and_none_is_taken_twice(schema: str, tmp_path: Path) -> None:
    requests = [request_of(tmp_path, day=[number], place=["a"], score=[0.5]) for number in range(5)]

    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda request: subject.send(target_of(schema, "append"), request), [*requests, *requests]))

    assert sum(found) == len(requests)
    assert [row[0] for row in rows(schema)] == list(range(5))
    assert len(notes(schema)) == len(requests)


@pytest.mark.parametrize(
    ("place", "moment"),
    [
        pytest.param("components.load.targets.postgresql:_stage", "before", id="before staging", marks=pytest.mark.slow),
        pytest.param("pyarrow.parquet.core:ParquetFile.iter_batches", "within", id="within the copy"),
        pytest.param("adbc_driver_manager.dbapi:Connection.commit", "before", id="before the commit", marks=pytest.mark.slow),
        pytest.param("adbc_driver_manager.dbapi:Connection.commit", "after", id="after the commit"),
    ],
)
def test_a_run_that_was_killed_is_repeated(schema: str, first: Request, second: Request, place: str, moment: str) -> None:
    subject.send(target_of(schema, "append"), first)

    killed({"kind": "postgresql", "table": f"{schema}.Scores", "mode": "append"}, second, place, moment)
    seen = rows(schema)
    subject.send(target_of(schema, "append"), second)

    assert sorted(seen, key=str) == (sorted(FIRST + SECOND, key=str) if moment == "after" else FIRST)
    assert sorted(rows(schema), key=str) == sorted(FIRST + SECOND, key=str)
    assert notes(schema) == [("Scores", first.run, 3), ("Scores", second.run, 2)]
    assert relations(schema) == {"Scores", "mlops_loads"}


def test_who_reads_while_rows_are_replaced_never_sees_an_empty_table(schema: str, first: Request, second: Request) -> None:
    target, seen, done = target_of(schema), set[int](), threading.Event()
    subject.send(target, first)

    def read() -> None:
        with psycopg.connect() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            while not done.is_set():
                with connection.transaction():
                    connection.execute("SELECT 1")  # the snapshot is from before, what is counted from after a replacement
                    done.wait(0.01)
                    seen.update(count for (count,) in connection.execute(f'SELECT count(*) FROM "{schema}"."Scores"'.encode()))

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        for number in range(10):
            subject.send(target, Request("small", str(number), (first, second)[number % 2].rows, "256MB"))
        done.set()
        reader.result()

    assert seen <= {2, 3}


def test_every_type_of_a_table_has_a_column_to_fit(schema: str, tmp_path: Path) -> None:
    noon = datetime.datetime(2024, 1, 7, 12, 0, 0, 1)
    table = pa.table(
        {
            "day": pa.array([2**62, None], pa.int64()),
            "small": pa.array([-1, None], pa.int8()),
            "unsigned": pa.array([2**32 - 1, None], pa.uint32()),
            "real": pa.array([0.5, None], pa.float32()),
            "nan": pa.array([float("nan"), float("-inf")]),
            "flag": [True, None],
            "zoned": pa.array([noon, None], pa.timestamp("us", "UTC")),
            "naive": pa.array([noon, None], pa.timestamp("us")),
            "date": pa.array([noon.date(), None]),
            "exact": pa.array([decimal.Decimal("1.20"), None], pa.decimal128(5, 2)),
            "text": pa.array(["\\N", None]).dictionary_encode(),
            "bytes": [b"\x00\xff", None],
            "list": [["a", None], None],
        }
    )

    subject.send(target_of(schema), request_of(tmp_path, table))

    first, second = rows(schema)
    assert first[:4] == (2**62, -1, 2**32 - 1, 0.5) and str(first[4]) == "nan"
    assert first[5:] == (True, noon.replace(tzinfo=datetime.UTC), noon, noon.date(), decimal.Decimal("1.20"), "\\N", b"\x00\xff", ["a", None])
    assert second == (None, None, None, None, float("-inf"), *[None] * 8)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        pytest.param("day bigint, place text", "score missing there, double precision here", id="one less"),
        pytest.param("day bigint, place text, score float8, at date", "at date there, missing here", id="one more"),
        pytest.param("day integer, place text, score float8", "day integer there, bigint here", id="narrower"),
    ],
)
def test_a_table_with_other_columns_is_refused(schema: str, first: Request, columns: str, sentence: str) -> None:
    execute(f'CREATE TABLE "{schema}"."Scores" ({columns})')

    with pytest.raises(UserError) as refused:
        subject.send(target_of(schema, "append"), first)

    assert str(refused.value) == (f"postgresql:///{schema}.Scores has other columns ({sentence}): change the table, or load to another one")
    assert relations(schema) == {"Scores"}


def test_a_table_of_ones_own_with_wider_columns_and_another_order_is_taken(schema: str, first: Request) -> None:
    execute(f'CREATE TABLE "{schema}"."Scores" (day numeric, score float8, place varchar(9), UNIQUE (place, day))')

    subject.send(target_of(schema, "merge", key=["day", "place"]), first)

    assert [(day, place, score) for day, score, place in rows(schema)] == FIRST


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        pytest.param({"key": ["day"]}, "2 keys are those of several rows, such as day 1: choose a key that no two rows share", id="duplicates"),
        pytest.param({"key": ["day", "place"]}, "1 rows have a null in the key (day, place): choose columns without nulls", id="nulls"),
        pytest.param({"key": ["week"]}, "there is no column week of its key: let features() make it or correct the key", id="missing"),
    ],
)
def test_rows_that_a_key_does_not_tell_apart_are_refused(schema: str, tmp_path: Path, settings: dict[str, Any], sentence: str) -> None:
    request = request_of(tmp_path, day=[1, 1, 2, 2, 3], place=["a", "b", "a", "b", None])

    with pytest.raises(UserError) as refused:
        subject.send(target_of(schema, "merge", **settings), request)

    assert str(refused.value) == f"postgresql:///{schema}.Scores: {sentence}"
    assert relations(schema) == set()


def test_what_the_server_refuses_is_told_and_changes_nothing(schema: str, first: Request, tmp_path: Path) -> None:
    execute(f'CREATE TABLE "{schema}"."Scores" (day bigint PRIMARY KEY, place varchar(3), score float8)')
    subject.send(target_of(schema, "append"), request_of(tmp_path, day=[2], place=["a"], score=[0.5]))

    cases = {
        'duplicate key value violates unique constraint "Scores_pkey". Key (day)=(2) already exists.: a row with this key is there already: '
        "let mode: merge take its place, or replace all; the table is as it was": (target_of(schema, "append"), first),
        "value too long for type character varying(3): correct it, then run again; the table is as it was": (
            target_of(schema),
            request_of(tmp_path, day=[1], place=["abcd"], score=[0.5]),
        ),
        "there is no unique or exclusion constraint matching the ON CONFLICT specification: mode: merge needs a unique index on exactly "
        "the columns of the key: create it; the table is as it was": (
            target_of(schema, "merge", key=["place"]),
            request_of(tmp_path, day=[1], place=["a"], score=[0.5]),
        ),
        "a text holds a zero byte": (target_of(schema), request_of(tmp_path, day=[1], place=["a\0"], score=[0.5])),
        "a column is a mapping": (target_of(schema), request_of(tmp_path, day=[{"a": 1}])),
    }
    for sentence, (target, request) in cases.items():
        with pytest.raises(UserError) as refused:
            subject.send(target, request)
        assert sentence in str(refused.value)

    assert rows(schema) == [(2, "a", 0.5)]
    assert len(notes(schema)) == 1


def test_a_user_without_rights_is_told_and_no_password_is_shown(schema: str, first: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    user = f"user_{uuid.uuid4().hex[:8]}"
    execute(f"CREATE ROLE {user} LOGIN PASSWORD 'secret-word'")
    monkeypatch.setenv("PGUSER", user)
    monkeypatch.setenv("PGPASSWORD", "secret-word")
    with pytest.raises(UserError, match=f"permission denied for schema {schema}: have it granted to the user of PGUSER; the table is as it was$"):
        subject.send(target_of(schema), first)

    monkeypatch.setenv("PGPASSWORD", "wrong-word")
    with pytest.raises(
        UserError, match=r"^postgresql:///.*: no connection \(.*password authentication failed.*\): start the server, or correct PGHOST"
    ) as refused:
        subject.send(target_of(schema), first)

    assert "word" not in str(refused.value).replace("password", "").replace("PGPASSWORD", "")


def test_a_server_that_goes_away_is_told_and_the_run_is_repeated(schema: str, first: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    original = tables.make

    def cut(*given: Any) -> None:
        execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mlops'")
        original(*given)

    with monkeypatch.context() as patch:
        patch.setattr(subject, "make", cut)
        with pytest.raises(UserError, match=r"the connection was lost .*: run again; what the server took before that is not taken twice$"):
            subject.send(target_of(schema), first)
    assert relations(schema) == set()

    assert subject.send(target_of(schema), first)
    assert rows(schema) == FIRST


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        pytest.param("nowhere.scores", "postgresql:///nowhere.scores: there is no schema nowhere: create it or correct the name", id="schema"),
        pytest.param(
            "scores", f"postgresql:///scores: the column's name {'x' * 64} is longer than the 63 bytes of PostgreSQL: shorten it", id="name"
        ),
    ],
)
def test_names_that_cannot_be_are_told(server: Server, tmp_path: Path, table: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        subject.send(PostgresqlTarget(kind="postgresql", table=table), request_of(tmp_path, **{"x" * 64: [1]}))

    assert str(refused.value) == sentence


def test_a_table_without_a_schema_is_that_of_the_search_path(server: Server, first: Request) -> None:
    name = f"scores_{uuid.uuid4().hex[:8]}"

    subject.send(PostgresqlTarget(kind="postgresql", table=name), first)

    assert execute(f"SELECT count(*) FROM public.{name}") == [(3,)]
    execute(f"DROP TABLE public.{name}, public.mlops_loads")  # other tests count the database's tables
