"""PostgreSQL: no access, a cut connection, a full disk or a stop: tried again or named, and nothing half done."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from components.extract.extract import extract
from components.extract.sources import fetch
from components.extract.sources.postgresql import session
from core.errors import UserError
from core.tracking import Run
from tests.postgresql import Authority, running
from tests.unit import small
from tests.unit.components.relations import delivered, read, refusal, request_in, source_of, table_of, wait_until


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tries without the long pauses between them."""
    monkeypatch.setattr("components.extract.sources.postgresql.PAUSES", (0.1, 0.2))


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        pytest.param("PGPASSWORD", "wrong-secret", "the server refuses the user or its password: correct PGUSER and PGPASSWORD", id="password"),
        pytest.param("PGUSER", "nobody", "the server refuses the user or its password: correct PGUSER and PGPASSWORD", id="user"),
        pytest.param("PGDATABASE", "nowhere", 'database "nowhere" does not exist: correct PGDATABASE', id="database"),
        pytest.param("PGPORT", "1", "look whether the server at 127.0.0.1:1 runs and can be reached, or correct PGHOST and PGPORT", id="port"),
        pytest.param("PGHOST", "nowhere.invalid", "runs and can be reached, or correct PGHOST and PGPORT", id="host"),
        pytest.param("PGSSLMODE", "verify-full", "correct PGSSLMODE and PGSSLROOTCERT", id="encryption"),
    ],
)
def test_a_wrong_variable_is_named(
    database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, value)

    found = refusal(tmp_path, table="t")

    assert found.startswith("source rows: postgresql:///t: ")
    assert found.endswith(sentence)


def test_without_variables_the_sentence_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(UserError, match=r"^postgresql:///t: PostgreSQL is not configured: set PGHOST, PGDATABASE, PGUSER and PGPASSWORD$"):
        delivered(tmp_path, table="t")


def test_a_lock_that_is_not_given_back_is_named(
    database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    monkeypatch.setitem(session.SETTINGS, "lock_timeout", "100ms")
    database.execute("CREATE TABLE t (x int)")
    with psycopg.connect() as other:
        other.execute("LOCK TABLE t")

        assert "somebody holds a lock on it" in refusal(tmp_path, table="t")


SLOW = "SELECT i AS x, repeat('x', 1000) AS y, CASE WHEN i % 1000 = 0 THEN pg_sleep(0.02)::text END AS z FROM generate_series(1, 20000) i"


def cut_off(database: psycopg.Connection[Any]) -> int:
    """End whoever reads Arrow batches just now."""
    text = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'mlops flights rows' AND query LIKE 'COPY%'"
    return int(database.execute(text).fetchall()[0][0])


def test_a_connection_cut_once_is_made_good_in_a_new_snapshot(database: psycopg.Connection[Any], tmp_path: Path, impatient: None) -> None:
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(delivered, tmp_path, query=SLOW)
        wait_until(lambda: bool(list(tmp_path.glob("*/*.parquet"))))
        wait_until(lambda: cut_off(database) > 0)

        delivery = reading.result()

    assert table_of(delivery)["x"].to_pylist() == list(range(1, 20_001))


PASSWORD = "the server refuses the user or its password: correct PGUSER and PGPASSWORD"


@pytest.mark.parametrize(
    ("change", "back", "sentence"),
    [
        pytest.param("NOLOGIN", "LOGIN", 'failed: role "{}" is not permitted to log in: correct PGUSER, or let the server admit it', id="locked"),
        pytest.param("PASSWORD 'another-secret'", "PASSWORD {}", PASSWORD, id="new password"),
        pytest.param("VALID UNTIL '2024-01-01'", "VALID UNTIL 'infinity'", PASSWORD, id="password expires"),
    ],
)
def test_a_user_who_is_locked_out_while_rows_are_read_is_told_and_let_in_again_has_the_same_bytes(
    database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None, change: str, back: str, sentence: str
) -> None:
    reader, password = f"reader_{secrets.token_hex(4)}", secrets.token_hex(8)
    database.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(reader), Literal(password)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = {"kind": "postgresql", "query": SLOW, "partition": "x", "partitions": 4}
    run = Run("extract", small.usecase(name="flights", sources__rows=rows))

    with monkeypatch.context() as patch, ThreadPoolExecutor() as pool:
        patch.setenv("PGUSER", reader)
        patch.setenv("PGPASSWORD", password)
        expected = extract(run, str(tmp_path / "undisturbed"))
        reading = pool.submit(extract, run, str(tmp_path / "raw"))
        wait_until(lambda: any(file.stat().st_size > 1000 for file in tmp_path.glob("*/sources/rows/*.parquet")))
        database.execute(SQL("ALTER ROLE {} " + change).format(Identifier(reader)))
        wait_until(lambda: cut_off(database) > 0)
        with pytest.raises(UserError) as refused:
            reading.result()
        left = {path.name for path in tmp_path.rglob("*")}
        database.execute(SQL("ALTER ROLE {} " + back.format(f"'{password}'")).format(Identifier(reader)))
        found = extract(run, str(tmp_path / "raw"))

    assert str(refused.value).startswith("source rows: postgresql:///query-")
    assert str(refused.value).endswith(sentence.format(reader))
    assert "\n" not in str(refused.value)
    assert left == {"undisturbed", "rows.parquet"}
    assert found["sha256"] == expected["sha256"]
    assert (tmp_path / "raw" / "rows.parquet").read_bytes() == (tmp_path / "undisturbed" / "rows.parquet").read_bytes()


@pytest.mark.slow
def test_a_connection_that_is_always_cut_is_an_error_and_no_half_table(database: psycopg.Connection[Any], tmp_path: Path, impatient: None) -> None:
    ended = threading.Event()

    def cut() -> int:
        times = 0
        while not ended.wait(0.02):
            times += cut_off(database)
        return times

    with ThreadPoolExecutor() as pool:
        cutting = pool.submit(cut)
        try:
            found = refusal(tmp_path, query=SLOW, partition="x", partitions=2)
        finally:
            ended.set()

    assert "look whether the server at 127.0.0.1:" in found
    assert cutting.result() >= 3


@pytest.mark.slow
def test_a_server_that_is_restarted_in_the_middle_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    with running(Path(tempfile.gettempdir())) as server, ThreadPoolExecutor() as pool:
        for variable, value in server.environment().items():
            monkeypatch.setenv(variable, value)
        reading = pool.submit(delivered, tmp_path, query=SLOW)
        wait_until(lambda: bool(list(tmp_path.glob("*/*.parquet"))))
        server.restart()

        assert table_of(reading.result()).num_rows == 20_000


@pytest.mark.slow
def test_a_server_without_a_free_connection_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    with running(Path(tempfile.gettempdir()), max_connections="5", superuser_reserved_connections="0") as server:
        for variable, value in server.environment().items():
            monkeypatch.setenv(variable, value)
        others = [psycopg.connect() for _ in range(3)]

        found = refusal(tmp_path, query="SELECT * FROM generate_series(1, 100) x", partition="x")

        for other in others:
            other.close()
    assert "the server has no connection left (" in found


@pytest.mark.slow
def test_a_server_is_trusted_by_its_authority_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    for name in ("right", "wrong"):
        (tmp_path / name).mkdir()
    right, wrong = Authority(tmp_path / "right"), Authority(tmp_path / "wrong")
    with running(Path(tempfile.gettempdir()), right) as server:
        for variable, value in (server.environment() | {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(right.certificate)}).items():
            monkeypatch.setenv(variable, value)
        query = "SELECT x, (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls FROM generate_series(1, 4) x"
        table = read(tmp_path, query=query, partition="x", partitions=2)

        monkeypatch.setenv("PGSSLROOTCERT", str(wrong.certificate))
        stranger = refusal(tmp_path, query=query)
        monkeypatch.setenv("PGSSLROOTCERT", str(right.certificate))
        monkeypatch.setenv("PGHOST", "localhost")
        other = refusal(tmp_path, query=query)
        monkeypatch.setenv("PGSSLMODE", "disable")
        plain = refusal(tmp_path, query=query)

    assert (table["x"].to_pylist(), set(table["tls"].to_pylist())) == ([1, 2, 3, 4], {"TLSv1.3"})
    assert stranger.endswith(" failed: SSL error: certificate verify failed: correct PGSSLMODE and PGSSLROOTCERT")
    assert other.endswith(' does not match host name "localhost": correct PGSSLMODE and PGSSLROOTCERT')
    assert plain.endswith(", no encryption: correct PGUSER or PGSSLMODE, or let the server admit it")


def test_a_full_disk_is_named(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute("CREATE TABLE t AS SELECT i AS x, md5(i::text) AS y FROM generate_series(1, 100000) i")
    request = request_in(tmp_path)
    (request.folder / "00000.parquet").symlink_to("/dev/full")

    with pytest.raises(UserError, match=r"^source rows: no space left on the disk for postgresql:///t: make room, then run again$"):
        fetch(source_of(table="t"), request)


NAP = "CREATE FUNCTION nap() RETURNS int {} LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN 1; END'"
NAPPING = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


def test_the_first_part_that_fails_ends_the_others_at_once(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute(NAP.format("STABLE"))
    query = "SELECT x, CASE WHEN x = 1 THEN 1 / (x - 1) WHEN x = 3 THEN nap() END AS y FROM generate_series(1, 4) x"

    found = refusal(tmp_path, query=query, partition="x", partitions=4)

    assert found.endswith(": division by zero: correct sources.rows")
    assert not database.execute(NAPPING).fetchall()


@pytest.mark.slow
@pytest.mark.parametrize("reached", ["VOLATILE", "STABLE"], ids=["while it counts", "while it reads"])
def test_a_step_that_is_stopped_ends_its_queries(database: psycopg.Connection[Any], tmp_path: Path, reached: str) -> None:
    database.execute(NAP.format(reached))
    program = (
        "from core.signals import heed_sigterm; heed_sigterm()\n"
        "from pathlib import Path; from tests.unit.components.relations import delivered\n"
        f"delivered(Path({str(tmp_path)!r}), query='SELECT x, nap() FROM generate_series(1, 3) x')"
    )
    step = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: bool(database.execute(NAPPING).fetchall()))

    step.send_signal(signal.SIGTERM)

    assert "KeyboardInterrupt" in step.communicate(timeout=30)[1]
    wait_until(lambda: not database.execute(NAPPING).fetchall())


def test_a_long_read_keeps_its_snapshot_alive(database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PULSE", 0.1)
    monkeypatch.setitem(session.SETTINGS, "idle_in_transaction_session_timeout", "400ms")

    table = read(tmp_path, query="SELECT x, pg_sleep(0.2)::text AS y FROM generate_series(1, 6) x")

    assert table.num_rows == 6
