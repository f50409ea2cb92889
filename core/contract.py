"""The contract: what a source promises."""

from typing import Literal

from pydantic import Field

from core.frozen import Frozen


class Column(Frozen):
    """What a column of a source promises."""

    type: Literal["integer", "number", "string", "boolean", "timestamp", "date"] = Field(description="What its values are.")
    nulls: float = Field(default=0.0, ge=0, le=1, description="Greatest share of rows that may be null.")
    min: float | str | None = Field(default=None, description="Least value allowed; a date is quoted text.")
    max: float | str | None = Field(default=None, description="Greatest value allowed; a date is quoted text.")
    values: tuple[str, ...] | None = Field(default=None, description="The only values allowed.")


class Rows(Frozen):
    """How many rows a source has."""

    min: int = Field(default=1, ge=1, description="Least number of rows allowed.")
    max: int | None = Field(default=None, description="Greatest number of rows allowed.")


class Contract(Frozen):
    """What a source promises. Columns that it does not name may be there too."""

    rows: Rows = Rows()
    columns: dict[str, Column] = Field(min_length=1, description="The columns that `features()` sees, and no others, by name.")
    unique: tuple[tuple[str, ...], ...] = Field(default=(), description="Sets of columns that no two rows share.")
    bad: float = Field(default=0.0, ge=0, le=1, description="Greatest share of a topic's messages that may be unreadable.")
