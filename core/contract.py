"""The contract: what a source promises."""

from typing import Literal

from pydantic import Field

from core.frozen import Float, Frozen, Identifier, Int


class Drift(Frozen):
    """How far a column may be from the data of the last run that succeeded; what is not named is not limited."""

    psi: Float | None = Field(default=None, gt=0, description="Greatest population stability index: 0.1 is a small shift, 0.25 a large one.")
    ks: Float | None = Field(
        default=None, gt=0, lt=1, description="Greatest difference of the cumulative shares (Kolmogorov-Smirnov), of numbers and times."
    )
    variation: Float | None = Field(
        default=None, gt=0, lt=1, description="Greatest share of rows that went to other values (total variation), of text and booleans."
    )
    nulls: Float | None = Field(default=None, gt=0, lt=1, description="Greatest change of the share of nulls.")


class Column(Frozen):
    """What a column of a source promises."""

    type: Literal["integer", "number", "string", "boolean", "timestamp", "date"] = Field(description="What its values are.")
    nulls: Float = Field(default=0.0, ge=0, le=1, description="Greatest share of rows that may be null.")
    min: Float | str | None = Field(default=None, description="Least value allowed; a date is quoted text.")
    max: Float | str | None = Field(default=None, description="Greatest value allowed; a date is quoted text.")
    values: tuple[Float | str, ...] | None = Field(default=None, min_length=1, description="The only values allowed.")
    pattern: str | None = Field(default=None, min_length=1, description="A regular expression (RE2) that the whole of a text must match.")
    outside: Float = Field(
        default=0.0, ge=0, lt=1, description="Greatest share of rows that may break each of min, max, values and pattern, or be infinite."
    )
    drift: Drift | None = Field(default=None, description="Limits of drift, in place of those of the whole table.")


class Rows(Frozen):
    """How many rows a source has."""

    min: Int = Field(default=1, ge=1, description="Least number of rows allowed.")
    max: Int | None = Field(default=None, description="Greatest number of rows allowed.")
    change: Float | None = Field(
        default=None, gt=0, description="Greatest change against the last run that succeeded, as a share: 0.5 allows half as many more or less."
    )


class Reference(Frozen):
    """Columns whose values are those of another source's rows, as a foreign key's are."""

    columns: tuple[str, ...] = Field(min_length=1, description="The columns here; a row in which one of them is null refers to nothing.")
    source: Identifier = Field(description="The other source.")
    to: tuple[str, ...] = Field(default=(), description="Its columns, in the same order; those of the same names if left out.")
    missing: Float = Field(default=0.0, ge=0, lt=1, description="Greatest share of rows that may refer to a row that is not there.")

    @property
    def targets(self) -> tuple[str, ...]:
        """The other source's columns."""
        return self.to or self.columns


class Freshness(Frozen):
    """How old the newest row may be when the pipeline run begins."""

    column: str = Field(description="The column of times that tells a row's age; times without a zone are UTC.")
    hours: Float = Field(gt=0, description="Greatest age of the newest row.")


class Contract(Frozen):
    """What a source promises. Columns that it does not name may be there too."""

    rows: Rows = Rows()
    columns: dict[str, Column] = Field(min_length=1, description="The columns that `features()` sees, and no others, by name.")
    unique: tuple[tuple[str, ...], ...] = Field(default=(), description="Sets of columns that no two rows share.")
    references: tuple[Reference, ...] = Field(default=(), description="Columns whose values must be those of another source.")
    freshness: Freshness | None = Field(default=None, description="How old the newest row may be.")
    drift: Drift = Field(default=Drift(), description="Limits of drift of every column that has none of its own.")
    bad: Float = Field(default=0.0, ge=0, le=1, description="Greatest share of a source's records that may be unreadable.")
