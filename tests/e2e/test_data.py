"""Whole runs over other data than files: from a table of PostgreSQL, with results in S3 and PostgreSQL, and from these again."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from core.featurecode import FOLDER
from local.platform import Platform
from tests import postgresql
from tests.e2e.command import forget, mlops

pytestmark = pytest.mark.slow
LOAD = "load=[{{what: table, to: '{0}'}}, {{what: predictions, to: {{kind: postgresql, table: answers, mode: merge, key: [id]}}}}]"


@pytest.fixture
def server(platform: Platform) -> Iterator[dict[str, str]]:
    """The environment of a PostgreSQL that holds patients."""
    with postgresql.running(Path(tempfile.gettempdir())) as running:
        patients = duckdb.execute(f"SELECT row_number() OVER () AS id, * FROM read_csv('{FOLDER}/diabetes/diabetes.csv')")
        with psycopg.connect(**_parameters(running.environment())) as connection, connection.cursor() as cursor:
            columns = ", ".join(f"{name} {'text' if name == 'sex' else 'double precision'}" for name, *_ in (patients.description or [])[1:])
            cursor.execute(f"CREATE TABLE patients (id bigint PRIMARY KEY, {columns})")
            with cursor.copy("COPY patients FROM STDIN") as copy:
                for row in patients.fetchall():
                    copy.write_row(row)
        yield running.environment()


def test_a_run_reads_a_table_and_leaves_datasets_and_rows_that_the_next_run_can_read(server: dict[str, str]) -> None:
    forget("diabetes")
    place = f"s3://data/e2e-{uuid.uuid4().hex[:8]}/features/"
    # a column that the contract names comes through features() to where the results go
    settings = ["--set", "contract.patients.columns.id={type: integer}", "--set", LOAD.format(place), "--set", "train.max_trials=2"]

    first = mlops("run", "diabetes", "--set", "sources.patients=postgresql:///patients", *settings, **server)
    again = mlops("run", "diabetes", "--set", "sources.patients=postgresql:///patients", *settings, **server)
    from_dataset = mlops("run", "diabetes", "--set", f"sources.patients={place}manifest.json", *settings[:2], "--set", "train.max_trials=2")

    assert [ended.code for ended in (first, again, from_dataset)] == [0, 0, 0], first.out + again.out + from_dataset.out
    assert first.steps["extract"] == from_dataset.steps["extract"] == "442 patients"
    assert first.steps["load"].startswith(f"442 rows -> {place}; ")
    assert again.steps["load"].startswith(f"442 rows -> {place}; ")
    assert _answers(server) == {"rows": _count(first.steps["load"]), "runs": 1, "models": 1}
    assert from_dataset.steps["evaluate"].startswith("the champion stays: ")


def _parameters(environment: dict[str, str]) -> dict[str, Any]:
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}
    return {names[key]: value for key, value in environment.items() if key in names}


def _answers(environment: dict[str, str]) -> dict[str, int]:
    """Count what the predictions' table holds: the rows of the last run have taken the place of the first's."""
    with psycopg.connect(**_parameters(environment)) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT run_id), count(DISTINCT model_version) FROM answers").fetchone()
    assert found
    return dict(zip(("rows", "runs", "models"), found, strict=True))


def _count(summary: str) -> int:
    return int(summary.split("; ")[1].split(" ")[0].replace(",", ""))
