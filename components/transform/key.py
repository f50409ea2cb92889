"""The key of the table's rows: what cannot identify a row is refused before the split."""

import duckdb

from core.config import UseCase
from core.errors import UserError
from core.keys import key_columns, key_hash
from core.tables import identifier, known, view_columns

SHOWN = 4  # columns of an example


def refuse_bad_key(usecase: UseCase, connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse rows of the view `outline` without a key, and equal rows if `key: all` says that there are none.

    A column of the key may have nulls, as long as another column of the key has a value. NaN counts as null.

    Raises:
        UserError: There are such rows.
    """
    types = view_columns(connection, "made")
    columns = key_columns(usecase, types)
    if not columns:
        return
    rows = _count(connection, "SELECT count(*) FROM outline")
    if usecase.key != "all":
        without = " AND ".join(f"{known(name, types[name])} IS NULL" for name in columns)
        nulls = _count(connection, f"SELECT count(*) FROM outline WHERE {without}")  # noqa: S608
        if nulls:
            raise UserError(
                f"{nulls:,} of {rows:,} rows have no key, {' and '.join(columns)} {'are' if len(columns) > 1 else 'is'} null: "
                f"filter them out in features() of {usecase.name}, or name more columns as key"
            )
        return
    if _count(connection, f"SELECT count(DISTINCT {key_hash(columns)}) FROM outline") == rows:  # noqa: S608  (8 bytes a row, whatever its width)
        return
    listed = ", ".join(map(identifier, columns))
    values = [f"{identifier(name)}::VARCHAR" for name in columns[:SHOWN]] + ["'...'"] * (len(columns) > SHOWN)
    example = f"concat_ws(', ', {', '.join(values)})"
    groups = f"SELECT count(*) AS rows, {example} AS example FROM outline GROUP BY {listed} HAVING count(*) > 1"  # noqa: S608
    repeated, shown = connection.execute(f"SELECT coalesce(sum(rows - 1), 0), min(example) FROM ({groups})").fetchall()[0]  # noqa: S608
    if repeated:
        raise UserError(
            f"{repeated:,} of {rows:,} rows repeat another one (such as {shown}), so key: all does not identify a row: "
            f"name the columns that do as key, or remove the repeated rows in features() of {usecase.name} with .distinct()"
        )


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
