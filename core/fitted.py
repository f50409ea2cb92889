"""The rows that a model was fitted on, as a compact set beside its served form: a champion is only compared on other rows.

The set is a Parquet file. For a split by time it says up to which instant the rows went. Otherwise it has a sorted column of hashes, of the keys
or of the groups, cut to as many bits as it takes for one error in a million. Delta encoding stores them in about 3 bytes each.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.config import UseCase
from core.errors import NotComparable
from core.keys import VERSION, key_hash, unit_columns
from core.tables import columns, connect, identifier, literal, path_literal, splits

SPARE = 20  # bits beyond those of the count: of a million keys that are not in the set, one is taken for one that is
BATCH = 1 << 20  # keys that are held at a time


def write_fitted(usecase: UseCase, table: str, named: str, path: Path) -> None:
    """Write the set of the rows that a model was fitted on or chosen by.

    Args:
        usecase: The use case.
        table: The table that transform made.
        named: Their splits, such as train+validation.
        path: Where the set is written.
    """
    with connect(usecase.limits.memory) as connection:
        types = columns(connection, table)
        among = f"FROM read_parquet({path_literal(table)}) WHERE split IN ({', '.join(map(literal, splits(named)))})"
        by_time, units = usecase.split.by == "time", unit_columns(usecase, types) or (str(usecase.split.column),)
        is_whole_row = usecase.key == "all" and usecase.split.by == "random"  # a group has its own column
        about: dict[str, Any] = {"hash": VERSION, "columns": {name: types[name] for name in units}, "all": is_whole_row}
        schema = pa.schema([pa.field("key", pa.int64(), nullable=False)])
        if by_time:
            about["last"] = connection.execute(f"SELECT max({identifier(units[0])})::VARCHAR {among}").fetchall()[0][0]
        else:
            count = connection.execute(f"SELECT count(*) {among}").fetchall()[0][0]
            about["bits"] = min(int(count).bit_length() + SPARE, 63)
        with pq.ParquetWriter(
            path,
            schema.with_metadata({"fitted": json.dumps(about)}),
            use_dictionary=False,
            column_encoding={"key": "DELTA_BINARY_PACKED"},
        ) as writer:
            if not by_time:
                keys = f"SELECT DISTINCT {_cut(key_hash(units), about['bits'])} AS key {among} ORDER BY key"
                for batch in connection.sql(keys).to_arrow_reader(BATCH):
                    writer.write_batch(batch.cast(schema))


def unseen(usecase: UseCase, table: str, path: Path) -> NDArray[np.bool_]:
    """Tell of each test row, in the table's order, whether a model was not fitted on it.

    Args:
        usecase: The use case.
        table: The table that transform made.
        path: The model's set.

    Raises:
        NotComparable: The table does not allow to tell, and why.
        UserError: Memory or disk do not suffice.
    """
    about = json.loads(pq.read_schema(path).metadata[b"fitted"])
    with connect(usecase.limits.memory) as connection:
        types, units = columns(connection, table), about["columns"]
        if about["hash"] != VERSION:
            raise NotComparable("its rows were hashed by an older version of this template")
        for name, kind in units.items():
            if types.get(name) != kind:
                now = f"a {types[name]}, which was a {kind}" if name in types else "not there any more"
                raise NotComparable(f"its rows are known by {', '.join(units)}, and the column {name} of features() is {now}")
        if "last" in about:
            ((name, kind),) = units.items()
            seen = f"{identifier(name)} <= CAST({literal(about['last'])} AS {kind})"
        else:
            keys = f"SELECT key FROM read_parquet({path_literal(path)})"  # noqa: S608
            seen = f"{_cut(key_hash(units), about['bits'])} IN ({keys})"
        rows = f"FROM read_parquet({path_literal(table)}, file_row_number = true)"
        if about["all"] and not connection.execute(f"SELECT count(*) {rows} WHERE {seen}").fetchall()[0][0]:
            raise NotComparable(
                "with key: all, none of today's rows is one of its rows, so all rows are new or a column's values have changed. "
                "Name a key, by which later models can be compared"
            )
        found = connection.execute(f"SELECT NOT ({seen}) AS unseen {rows} WHERE split = 'test' ORDER BY file_row_number").fetchnumpy()
    return np.asarray(found["unseen"], dtype=bool)


def units_of(usecase: UseCase, table: str) -> NDArray[np.uint64] | None:
    """Return a number for each test row that is the same for rows that stay together in a split; None if each row is alone.

    Args:
        usecase: The use case.
        table: The table that transform made.
    """
    with connect(usecase.limits.memory) as connection:
        named = unit_columns(usecase, columns(connection, table))
        if not named or (usecase.key == "all" and usecase.split.by == "random"):
            return None
        rows = f"FROM read_parquet({path_literal(table)}, file_row_number = true) WHERE split = 'test' ORDER BY file_row_number"
        found = np.asarray(connection.execute(f"SELECT {key_hash(named)} AS unit {rows}").fetchnumpy()["unit"], dtype=np.uint64)
    return found if len(np.unique(found)) < len(found) else None


def _cut(hashed: str, bits: int) -> str:
    """Return SQL of the first bits of a hash, as a number that is not negative."""
    return f"({hashed} >> {64 - bits})::BIGINT"
