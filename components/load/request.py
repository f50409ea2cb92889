"""What load asks a target to take."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq


@dataclass(frozen=True)
class Request:
    """Rows for one target."""

    usecase: str
    run: str  # the pipeline run's id: a target takes a run's rows once
    rows: Path  # Parquet
    memory: str  # limit, such as 512MB

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(pq.read_metadata(self.rows).num_rows)
