"""The options of CSV: how a source's files write numbers, dates and missing values."""

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Self

from pydantic import Field, model_validator

from core.fields import DIALECT, UTF_8, Dialect
from core.frozen import Frozen, Int

Sign = Annotated[str, Field(min_length=1, max_length=1)]
DAYS = (date(1999, 12, 31), date(2024, 2, 3))  # by which a format is tried


class Csv(Frozen):
    """How CSV files write their values; what is left out is as in most files."""

    delimiter: Sign | None = Field(default=None, description="The sign between fields; if left out, one of , ; | and tab, as the header has it.")
    decimal: Sign = Field(default=".", description="The sign before the decimals of a number.")
    thousands: Sign | None = Field(default=None, description="The sign between groups of three digits, if numbers have one.")
    encoding: str = Field(default=UTF_8, description="The files' encoding, by a name that Python knows: latin-1, cp1252, utf-16.")
    missing: tuple[str, ...] = Field(
        default=DIALECT.missing,
        description="What means a missing value where it stands without quotes, in place of NA. An empty field is always missing.",
    )
    strip: bool = Field(default=False, description="Remove blanks around names and values.")
    date_format: str | None = Field(
        default=None, min_length=1, description="How days are written, in strftime's letters: `%d.%m.%Y` is 31.12.2024. ISO 8601 if left out."
    )
    skip: Int = Field(default=0, ge=0, le=1000, description="Lines before the header.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, sign in (("delimiter", self.delimiter), ("decimal", self.decimal), ("thousands", self.thousands)):
            if sign and (sign.isalnum() or sign in '"\r\n+-'):
                raise ValueError(f"{name}: {sign!r} cannot separate anything: write a sign such as , or ;")
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}: correct one of them")
        try:
            b"x".decode(self.encoding, "ignore")
        except LookupError as error:
            raise ValueError(f"encoding: there is no encoding {self.encoding}: write one such as latin-1, cp1252 or utf-16") from error
        if self.date_format and not _is_date_format(self.date_format):
            raise ValueError(f"date_format: {self.date_format!r} does not tell day, month and year: write one such as %d.%m.%Y")
        return self

    @property
    def dialect(self) -> Dialect:
        """What requests share with the files: all but the dates and the lines before the header."""
        return Dialect(self.delimiter or "", self.decimal, self.thousands or "", self.encoding, self.missing, self.strip)


DEFAULT = Csv()


def shared_dialect(options: Iterable[Csv]) -> Dialect:
    """Return how requests write their values: as the sources that have options, if these agree."""
    own = {each.dialect for each in options if each != DEFAULT}
    return own.pop() if len(own) == 1 else DEFAULT.dialect


def _is_date_format(text: str) -> bool:
    import duckdb  # which reads by it

    days = ", ".join(f"(DATE '{day}')" for day in DAYS)
    query = f"SELECT bool_and(strptime(strftime(day, $format), $format)::DATE = day) FROM (VALUES {days}) AS days(day)"  # noqa: S608
    try:
        with duckdb.connect() as connection:  # the process's own may be another one's
            return bool(connection.execute(query, {"format": text}).fetchall()[0][0])
    except duckdb.Error:
        return False
