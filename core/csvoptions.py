"""The options of CSV: how a source's files write numbers, dates and missing values."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Annotated, Self

from pydantic import Field, model_validator

from core.csvtext import DELIMITERS
from core.fields import DIALECT, UTF_8, Dialect
from core.frozen import Frozen, Int

Sign = Annotated[str, Field(min_length=1, max_length=1)]
NUMBERS = frozenset({"decimal", "thousands"})  # the options that say how numbers are written
LETTER, CLOCK = re.compile("%-?."), "HIMSpfgnzZcX"  # what strftime writes, and which of it is not of a day
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
        if self.date_format and (clock := [sign for sign in LETTER.findall(self.date_format) if sign[-1] in CLOCK]):
            raise ValueError(f"date_format: {clock[0]} is of a clock: write the day alone, a clock behind it is read by itself")
        signs = f'"\r\n{self.delimiter or DELIMITERS}'
        if wrong := next((text for text in self.missing if set(text) & set(signs)), None):
            what = "the delimiter" if self.delimiter else f"a delimiter (one of {DELIMITERS!r}; set csv.delimiter)"
            raise ValueError(f"missing: {wrong!r} holds {what}, a quote or a line break, so it is no field without quotes: remove it")
        if self.date_format and not _is_date_format(self.date_format):
            raise ValueError(f"date_format: {self.date_format!r} does not tell day, month and year: write one such as %d.%m.%Y")
        return self

    @property
    def dialect(self) -> Dialect:
        """What requests share with the files: all but the dates and the lines before the header."""
        return Dialect(self.delimiter or "", self.decimal, self.thousands or "", self.encoding, self.missing, self.strip)


DEFAULT = Csv()


def shared_dialect(options: Iterable[Csv]) -> Dialect:
    """Return how requests write their values: field by field, as the sources that have options do.

    What means a missing value in one source does so in requests. Where two sources name a delimiter or an encoding each,
    the header tells the delimiter, and requests are UTF-8.
    """
    own = [each for each in options if each.model_fields_set]
    if not own:
        return DEFAULT.dialect
    by_numbers = [each for each in own if each.model_fields_set & NUMBERS]
    return Dialect(
        delimiter=_only({each.delimiter for each in own}, ""),
        decimal=_only({each.decimal for each in by_numbers}, DEFAULT.decimal),
        thousands=_only({each.thousands for each in by_numbers}, ""),
        encoding=_only({each.encoding for each in own} - {UTF_8}, UTF_8),
        missing=tuple(dict.fromkeys(sign for each in own for sign in each.missing)),
        strip=any(each.strip for each in own),
    )


def contradictions(sources: Mapping[str, Csv]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield where a source writes numbers as another does not, and why that cannot be: a request mixes the columns of both."""
    first: dict[str, tuple[str, str]] = {}
    for name, options in sources.items():
        if not options.model_fields_set & NUMBERS:
            continue
        for field, sign in (("decimal", options.decimal), ("thousands", options.thousands)):
            other, before = first.setdefault(field, (name, sign)) if sign else (name, sign)
            if sign != before:
                path = ("sources", name, "csv", *({field} & options.model_fields_set))
                cure = "leave it out, make these numbers string in the contract and convert them in features()"
                yield path, f"{field} is {sign!r} here and {before!r} in sources.{other}, a request in CSV has one way to write numbers: {cure}"
                break


def _only(signs: set[str | None] | set[str], usual: str) -> str:
    named = {sign for sign in signs if sign}
    return named.pop() if len(named) == 1 else usual


def _is_date_format(text: str) -> bool:
    import duckdb  # which reads by it

    days = ", ".join(f"(DATE '{day}')" for day in DAYS)
    query = f"SELECT bool_and(strptime(strftime(day, $format), $format)::DATE = day) FROM (VALUES {days}) AS days(day)"  # noqa: S608
    try:
        with duckdb.connect() as connection:  # the process's own may be another one's
            return bool(connection.execute(query, {"format": text}).fetchall()[0][0])
    except duckdb.Error:
        return False
