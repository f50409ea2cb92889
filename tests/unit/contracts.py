"""The wine use case with other contracts, as overrides: a broken rule is then shown with the override."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.validate.contract import validate
from core.errors import UserError
from core.tables import connect, path_literal, write_parquet
from core.tracking import Run
from tests.unit import small


class Accepting(Run):
    """A run before which another one succeeded."""

    left: dict[str, bytes]

    def accepted(self, path: str) -> bytes | None:
        return self.left.get(path)


def run_of(rows: Any = None, after: Any = None, promises: Any = None, **columns: Any) -> Run:
    """A run of validate on the table `wine`.

    Args:
        rows: What the contract says of the rows.
        after: The run that was the last to succeed.
        promises: What else it says of the table.
        columns: What it says of columns.
    """
    given = {"columns": columns} | (promises or {}) | ({"rows": rows} if rows else {})
    run = Accepting("validate", small.variant("wine", contract__wine=given))
    run.left = after.artifacts if after else {}
    return run


def extracted(path: Path, data: dict[str, Any]) -> None:
    """Write a table as extract does."""
    with connect("256MB") as connection:
        query = f"SELECT * FROM read_parquet({path_literal(small.written(path.with_suffix('.arrow'), data))}, can_have_nan = true)"
        write_parquet(connection, query, path, len(data))


def checked(run: Run, data: dict[str, Any], folder: Path) -> list[str]:
    """Validate a table and return what is wrong with it."""
    extracted(folder / "wine.parquet", data)
    try:
        validate(run, str(folder), str(folder / "page.html"))
    except UserError as error:
        return str(error).splitlines()
    return []


def refused(run: Run, data: dict[str, Any], folder: Path) -> list[str]:
    """Validate a table that is to be refused."""
    extracted(folder / "wine.parquet", data)
    with pytest.raises(UserError) as found:
        validate(run, str(folder), str(folder / "page.html"))
    return str(found.value).splitlines()


CONTRACT = "(--set contract.wine=...)"  # where these contracts are said
