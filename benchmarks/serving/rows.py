"""Rows of the use case that no server has seen, as plain values."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ibis

from core.bundle import Input, Value, plain
from core.configfile import load
from core.featurecode import features
from core.storage import client, split
from core.tables import connect, inputs

if TYPE_CHECKING:
    import pandas as pd

COUNT, SEED = 10_000, 13


@dataclass(frozen=True)
class Rows:
    """Values by column, in the order of training; None is missing."""

    inputs: tuple[Input, ...]
    columns: dict[str, list[Value]]

    def __len__(self) -> int:
        return len(self.columns[self.inputs[0].name])

    def part(self, start: int, stop: int) -> Rows:
        """Return some of them."""
        return Rows(self.inputs, {name: values[start:stop] for name, values in self.columns.items()})

    def records(self) -> list[list[Value]]:
        """Return them row by row."""
        return [list(row) for row in zip(*self.columns.values(), strict=True)]


def draw(usecase: str) -> Rows:
    """Draw rows from the newest fifth of the table that `features()` makes, which is the test set.

    Numbers may be missing in them, texts not: a binary tensor has no word for a missing text.
    """
    read = inputs(load(usecase))
    table = _newest(usecase).dropna(subset=[item.name for item in read if item.datatype == "BYTES"])
    drawn = table.sample(COUNT, random_state=SEED)
    return Rows(read, {item.name: plain(drawn[item.name].astype(float if item.datatype == "FP64" else object).tolist()) for item in read})


def _newest(usecase: str) -> pd.DataFrame:
    config = load(usecase)
    with tempfile.TemporaryDirectory() as folder, connect(config.limits.memory) as connection:
        backend = ibis.duckdb.from_connection(connection)
        tables = {name: backend.read_parquet(_fetch(source.address, Path(folder, name))) for name, source in config.sources.items()}
        table: pd.DataFrame = features(usecase)(**tables).to_pandas()
    # by all columns: DuckDB's threads return rows of the same hour in any order
    return table.sort_values([str(config.split.column), *config.features.names], ignore_index=True).tail(len(table) // 5)


def _fetch(uri: str, folder: Path) -> list[str]:
    """Copy the objects of an address with a star."""
    bucket, pattern = split(uri)
    names = [item.object_name or "" for item in client().list_objects(bucket, prefix=pattern.partition("*")[0])]
    return [str(client().fget_object(bucket, name, str(folder / Path(name).name)) and folder / Path(name).name) for name in names]
