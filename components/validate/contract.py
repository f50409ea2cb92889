"""Check tables against the contract, every violation listed, and leave what they hold for the next run to compare with."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from components.validate import drift, rules, whole
from components.validate.drift import Change, change
from components.validate.page import write
from components.validate.profile import Profile, Sight, chosen, profile
from components.validate.violation import Violation, table
from core import tracking
from core.config import UseCase
from core.configtext import where
from core.contract import Contract
from core.csvoptions import Csv
from core.errors import UserError
from core.sources import csv_of
from core.tables import columns, connect
from core.tracking import Run

PROFILE, VIOLATIONS = "profile.json", "violations.json"  # in MLflow
FORM = 1  # of the profile: one of another form is not compared with
TOLD = 100  # violations on the terminal


@dataclass(frozen=True)
class Checked:
    """A table, what it holds, and what it does not keep."""

    name: str
    contract: Contract
    rows: int
    rows_before: int | None
    columns: dict[str, str]  # DuckDB's types
    sights: dict[str, Sight]  # of the columns that were looked at
    changes: dict[str, Change | None]
    violations: list[Violation]
    about: dict[str, Any] = field(default_factory=dict)  # what extract says of it: sha256, origin


def validate(run: Run, folder: str, page: str, raw: dict[str, Any] | None = None) -> None:
    """Check every table of the contract, then write the data report.

    Args:
        run: The step's notes.
        folder: Where `<source>.parquet` lies for each source.
        page: Where the report is written, even if the contract is broken.
        raw: What extract says of the tables.

    Raises:
        UserError: The contract is broken; one line a violation.
    """
    before, now = _before(run), _now(run)
    about = (raw or {}).get("tables", {})
    with connect(run.usecase.limits.memory) as connection:
        checked = [
            check(connection, Path(folder), name, contract, before.get(name), now, about.get(name, {}), csv_of(run.usecase.sources[name]))
            for name, contract in run.usecase.contract.items()
        ]
    sentences = list(_sentences(run.usecase, checked))
    run.page = "data.html"
    run.artifacts[run.page] = write(run.usecase, checked, page)
    run.artifacts[VIOLATIONS] = json.dumps(list(_noted(checked)), indent=2).encode()
    run.artifacts[PROFILE] = json.dumps({"form": FORM, "tables": {one.name: _kept(one) for one in checked}}).encode()
    run.metrics["violations"] = float(sum(len(one.violations) for one in checked))
    if sentences:
        raise UserError("\n".join(sentences))
    count = sum(len(one.contract.columns) for one in checked)
    run.summary = f"{count} columns of {len(checked)} table{'s' if len(checked) > 1 else ''} keep the contract"


def check(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    name: str,
    contract: Contract,
    before: dict[str, Any] | None,
    now: float,
    about: dict[str, Any],
    csv: Csv | None = None,
) -> Checked:
    """Check one table.

    Args:
        connection: Where the SQL runs.
        folder: Where the tables lie.
        name: Of the table.
        contract: What it promises.
        before: Its profile in the last run that succeeded.
        now: When the pipeline run began.
        about: What extract says of it.
        csv: The options of its source, if that is CSV.
    """
    path = folder / f"{name}.parquet"
    found = columns(connection, path)
    rows = connection.execute(f"SELECT count(*) FROM {table(path)}").fetchall()[0][0]  # noqa: S608
    old = {column: Profile(**one) for column, one in before["columns"].items()} if before else {}
    sights = profile(connection, path, chosen(found, contract.columns), rows, old, csv)
    changes = {column: change(sight, old.get(column)) for column, sight in sights.items()}
    rows_before = before["rows"] if before else None
    violations = [
        *whole.rows(rows, contract, rows_before),
        *whole.unreadable(connection, folder / f"{name}.bad.parquet", contract, rows),
        *whole.freshness(connection, path, contract, found, now),
        *rules.check(connection, path, contract, found),
        *whole.references(connection, folder, name, contract),
        *(violation for column, sight in sights.items() for violation in drift.check(column, changes[column], sight, contract)),
    ]
    return Checked(name, contract, rows, rows_before, found, sights, changes, violations, about)


def _before(run: Run) -> dict[str, Any]:
    """Return the tables' profiles of the last run that succeeded."""
    found: dict[str, Any] = json.loads(run.accepted(PROFILE) or b"{}")
    return found["tables"] if found.get("form") == FORM else {}


def _now(run: Run) -> float:
    """Return when the pipeline run began: freshness is the same however often the step is tried."""
    if not run.live or not any(contract.freshness for contract in run.usecase.contract.values()):
        return time.time()
    return float(tracking.get(tracking.parent(run.usecase))["info"]["start_time"]) / 1000


def _sentences(usecase: UseCase, checked: list[Checked]) -> Iterator[str]:
    """Say what is wrong, each with the line of the config that says so."""
    found = [(one.name, violation) for one in checked for violation in one.violations]
    for name, violation in found[:TOLD]:
        yield f"bad data: {name}{violation.text} ({where(usecase, ('contract', name, *violation.place))})"
    if len(found) > TOLD:
        yield f"bad data: {len(found) - TOLD:,} more violations are on the page of validate: correct these first"


def _noted(checked: list[Checked]) -> Iterator[dict[str, Any]]:
    for one in checked:
        for violation in one.violations:
            share = violation.count / violation.rows if violation.count and violation.rows else None
            yield (
                {"source": one.name, "column": violation.column, "text": f"{one.name}{violation.text}", "share": share}
                | asdict(violation)
                | {"rule": ".".join(map(str, violation.place))}
            )


def _kept(one: Checked) -> dict[str, Any]:
    return {"rows": one.rows, "columns": {name: vars(sight.now) for name, sight in one.sights.items()}}
