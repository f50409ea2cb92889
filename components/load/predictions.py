"""A model's answers to the test rows, as a table: batch by batch, so that any number of rows fits into memory."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.bundle import frame, load_model, unpack
from core.classes import order
from core.config import UseCase
from core.errors import UserError
from core.registry import Version
from core.storage import read

BATCH = 65_536  # rows


def write(usecase: UseCase, table: str, version: Version, run: str, path: Path) -> None:
    """Write the test rows, each with the model's answer.

    The columns are those of the table without `split`, then `prediction`; of a binary classifier the positive class's `probability`, of
    another one `probability_<class>` for each class; then `model_version` and `run_id`.

    Args:
        usecase: The use case.
        table: The table that transform made.
        version: The registered model.
        run: The pipeline run's id.
        path: Where it is written, as Parquet.

    Raises:
        UserError: There are no test rows, the table lacks what the model reads, or has a column of one of these names.
    """
    tables = _answered(usecase, table, version, {"model_version": version.version, "run_id": run})
    first = next(tables, None)
    if first is None:
        raise UserError("there are no test rows: deliver more data or change the shares under split")
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for part in chain((first,), tables):
            writer.write_table(part)


def _answered(usecase: UseCase, table: str, version: Version, marks: dict[str, str]) -> Iterator[pa.Table]:
    bundle = unpack(read(version.uri), version.digest)
    model, reads = load_model(bundle.model), bundle.manifest.inputs
    with pq.ParquetFile(table) as file:
        missing = [item.name for item in reads if item.name not in file.schema_arrow.names]
        if missing:
            raise UserError(
                f"the table has no column {', '.join(missing)}, which {usecase.name} version {version.version} reads: let features() make it"
            )
        for batch in file.iter_batches(BATCH):
            rows = pa.Table.from_batches([batch]).filter(pc.field("split") == "test").drop_columns("split")
            if rows.num_rows:
                answers = _answers(usecase, model, frame({item.name: rows.column(item.name).to_numpy() for item in reads}, reads))
                yield _joined(usecase, rows, answers | {name: [mark] * rows.num_rows for name, mark in marks.items()})


def _answers(usecase: UseCase, model: Any, rows: pd.DataFrame) -> dict[str, Any]:
    """Return the new columns, the same numbers as `core.predict` takes for the metrics."""
    if not hasattr(model, "predict_proba"):
        return {"prediction": np.asarray(model.predict(rows), dtype=np.float64)}
    probabilities: NDArray[np.float64] = np.asarray(model.predict_proba(rows), dtype=np.float64)
    names = ["probability"] if usecase.task == "binary" else [f"probability_{name}" for name in model.classes_]
    columns = probabilities[:, order(usecase, model.classes_.tolist())].T
    return {"prediction": model.classes_[probabilities.argmax(axis=1)]} | dict(zip(names, columns[-len(names) :], strict=True))


def _joined(usecase: UseCase, rows: pa.Table, added: dict[str, Any]) -> pa.Table:
    taken = [name for name in added if name in rows.column_names]
    if taken:
        raise UserError(f"features() of {usecase.name} makes a column {', '.join(taken)}, a name that the predictions need: call it otherwise")
    for name, values in added.items():
        rows = rows.append_column(name, pa.array(values))
    return rows
