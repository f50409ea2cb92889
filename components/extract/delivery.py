"""What extract asks a source for, and what the source gives."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.contract import Contract


@dataclass(frozen=True)
class Request:
    """What is to be fetched, besides the source itself."""

    usecase: str  # whose: a path in the config is relative to its folder
    name: str  # of the source
    contract: Contract  # the names and types of the columns that are needed
    folder: Path  # empty, for this source alone
    memory: str  # limit, such as 512MB
    watermark: Any = None  # what the delivery of the last run that succeeded left, if the source is incremental and there is one


@dataclass(frozen=True)
class Delivery:
    """A source's data as files on this machine, complete: a source that cannot give all of it raises."""

    files: list[Path]  # in an order that does not change; at least one, of no rows if there is nothing new
    format: str  # of all files: a key of `formats.READERS`
    origin: dict[str, Any]  # where they came from, as JSON: url, version or offsets, time; some hundred bytes
    pins: dict[str, Any] = field(default_factory=dict)  # each thing that was read and its version, as JSON of any length
    watermark: Any = None  # as JSON: what the next run may take as read, should this one succeed
    bad: Path | None = None  # Parquet: records that could not be read, each with its `place`, `reason` and `record`
