"""One thing that a table does not keep, and the rows that show it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from core.tables import identifier, path_literal

EXAMPLES = 5
COLUMNS = 6  # of an example
LENGTH = 60  # characters of a value


@dataclass(frozen=True)
class Violation:
    """A rule of a source's contract that its table breaks."""

    place: tuple[str | int, ...]  # of the rule, below the source's contract
    text: str  # what is wrong, to follow the source's name: `.column: ...` or `: ...`
    count: int | None = None  # of the rows that break it
    rows: int | None = None  # of how many
    examples: list[dict[str, str | None]] = field(default_factory=list)
    column: str = ""  # that it is about; empty if it is about the table


def table(path: Path) -> str:
    """Return the SQL that reads a Parquet file. DuckDB would take another writer's statistics for a proof that there is no NaN."""
    return f"read_parquet({path_literal(path)}, can_have_nan = true)"


def examples(connection: duckdb.DuckDBPyConnection, query: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the first rows of a query as text, shortened.

    Args:
        connection: Where the query runs.
        query: From `FROM` on.
        names: The columns to show.
    """
    shown = list(dict.fromkeys(names))[:COLUMNS]
    texts = ", ".join(f"left({identifier(name)}::VARCHAR, {LENGTH})" for name in shown)
    found = connection.execute(f"SELECT {texts} {query} LIMIT {EXAMPLES}").fetchall()
    return [dict(zip(shown, row, strict=True)) for row in found]


def such_as(shown: list[dict[str, str | None]], *names: str) -> str:
    """Name the first example at the end of a sentence."""
    known = [" ".join(str(shown[0][name]).split()) for name in names if shown[0].get(name) is not None] if shown else []
    return f" (such as {', '.join(known)})" if known else ""
