"""What the text of one field means, in training and in serving: missing, a number, true or false, or text.

Extract asks DuckDB, by the SQL of this module. The model server asks Python, by its functions. A test holds the two together.
DuckDB's own casts take more than a user means: 1.5 becomes the integer 2, 1_000 is a number, a time zone is dropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

BLANKS = " \t\r\n\v\f\u00a0"  # what `strip` removes
SPACES = " \t\r\n\v\f"  # around a value that is no text, whatever `strip` is
UTF_8 = "utf-8"
EXPONENT = "(?:[eE][+-]?[0-9]+)?"
VALUE = "@"  # in the expressions below
DAY, CLOCK, ZONE = (
    "[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}",
    "[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?",
    " ?(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)",
)
WORDS = {"true": True, "t": True, "yes": True, "y": True, "false": False, "f": False, "no": False, "n": False}  # in any case
TYPES = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "zoned": "TIMESTAMPTZ",
    "string": "VARCHAR",
}
TRUE, FALSE = (", ".join(f"'{word}'" for word, value in WORDS.items() if value is wanted) for wanted in (True, False))
SPACE = " || ".join(f"chr({ord(sign)})" for sign in SPACES)
SQL = {  # each null for what is no such value. The usual case is first, since a regular expression costs more
    "integer": """CASE WHEN TRY_CAST(@ AS BIGINT)::VARCHAR = @ THEN TRY_CAST(@ AS BIGINT)
        WHEN regexp_full_match(trim(@), '[+-]?[0-9]+([.]0*)?') THEN TRY_CAST(@ AS BIGINT) END""",
    "number": r"""CASE WHEN isfinite(TRY_CAST(@ AS DOUBLE)) AND NOT contains(@, '_') AND NOT contains(@, '+-') THEN TRY_CAST(@ AS DOUBLE)
        WHEN regexp_full_match(@, '\s*[nN][aA][nN]\s*') THEN 'nan'::DOUBLE END""",
    "boolean": f"""CASE WHEN lower(trim(@, {SPACE})) IN ({TRUE}, '1') THEN true
        WHEN lower(trim(@, {SPACE})) IN ({FALSE}, '0') THEN false END""",
    "date": f"""CASE WHEN length(@) = 10 AND TRY_CAST(@ AS DATE)::VARCHAR = @ THEN TRY_CAST(@ AS DATE)
        WHEN regexp_full_match(trim(@), '{DAY}([T ]0?0:00(:00([.]0*)?)?)?') THEN TRY_CAST(@ AS DATE) END""",
    "timestamp": f"CASE WHEN regexp_full_match(trim(@), '{DAY}([T ]{CLOCK})?') THEN TRY_CAST(@ AS TIMESTAMP) END",
    "zoned": f"CASE WHEN regexp_full_match(trim(@), '{DAY}[T ]{CLOCK}{ZONE}') THEN TRY_CAST(@ AS TIMESTAMPTZ) END",
    "string": "@",
}


@dataclass(frozen=True)
class Dialect:
    """How a source writes values as text. It travels with a model, so that requests are read in the same way."""

    delimiter: str = ""  # of CSV; empty: the one that the header has
    decimal: str = "."
    thousands: str = ""
    encoding: str = UTF_8
    missing: tuple[str, ...] = ()  # texts that mean a missing value, unless they are quoted text
    strip: bool = False

    @classmethod
    def of(cls, document: dict[str, Any]) -> Dialect:
        """Return the dialect that a manifest holds; a model of before there were any has the usual one."""
        return cls(**{**document, "missing": tuple(document["missing"])}) if document else DIALECT

    @property
    def is_plain(self) -> bool:
        """Whether numbers are written as in Python."""
        return (self.decimal, self.thousands) == (".", "")

    @property
    def blanks(self) -> str:
        """What does not count around a value that is no text."""
        return BLANKS if self.strip else SPACES

    @property
    def missing_values(self) -> frozenset[str]:
        """What means a missing value in a column that is not of text, without the blanks around it."""
        return frozenset(("", *(text.strip(self.blanks) for text in self.missing)))


DIALECT = Dialect(missing=("NA",))  # of CSV, if its source says nothing
PLAIN = Dialect()  # of JSON and of paths: they have nulls of their own, so that no text means one


def value_sql(kind: str, text: str, dialect: Dialect = PLAIN, date_format: str = "") -> str:
    """Return the SQL of a text as a value: null if it is missing, or no such value.

    Args:
        kind: A key of TYPES.
        text: The SQL of the text.
        dialect: How it is written.
        date_format: How its day is written, as strftime says it. Empty: as 2024-12-31.
    """
    stripped = stripped_sql(text) if dialect.strip else text
    if kind == "string":
        return f"CASE WHEN NOT {missing_sql(kind, text, dialect)} THEN {stripped} END" if dialect.strip else text
    if kind in ("integer", "number") and not dialect.is_plain:
        return _number_sql(kind, stripped, dialect)
    if kind in ("date", "timestamp", "zoned") and date_format:
        stripped = _iso(stripped, date_format)
    return SQL[kind].replace(VALUE, stripped)


def missing_sql(kind: str, text: str, dialect: Dialect) -> str:
    """Return the SQL that is true of a text that means a missing value.

    In a column of text, what is quoted is text. There, the CSV reader has made nulls of what is not quoted.
    In any other column, blanks do not count.
    """
    if not dialect.missing and not dialect.strip:
        return f"({text} IS NULL)"
    if kind != "string":
        stripped = stripped_sql(text) if dialect.strip else f"trim({text}, {SPACE})"
        return f"({text} IS NULL OR {stripped} IN ({', '.join(map(_literal, sorted(dialect.missing_values)))}))"
    listed = ", ".join(map(_literal, ("", *dialect.missing)))
    means = f"{text} <> {stripped_sql(text)} AND {stripped_sql(text)} IN ({listed})" if dialect.strip else "false"
    return f"({text} IS NULL OR {means})"


def number(dialect: Dialect) -> Callable[[str], float | None]:
    """Return what reads one text as a number: None if it is none. A word of WORDS is 1 or 0, as a boolean is in JSON."""
    grammar = re.compile(_grammar(dialect) + EXPONENT)
    blanks = dialect.blanks
    words = {"nan": math.nan, **{word: float(value) for word, value in WORDS.items()}}

    def read(text: str) -> float | None:
        stripped = text.strip(blanks)
        if grammar.fullmatch(stripped):
            plain = stripped.replace(dialect.thousands, "") if dialect.thousands else stripped
            value = float(plain.replace(dialect.decimal, "."))
            return value if math.isfinite(value) else None
        return words.get(stripped.lower())

    return read


class Refused(ValueError):
    """A field that is no number: `row` counts from zero."""

    def __init__(self, row: int, text: str) -> None:
        super().__init__(f"row {row}: {text!r} is no number")
        self.row, self.text = row, text


class Reader:
    """Reads whole columns of text, as one dialect has them."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.missing = frozenset(("", *dialect.missing))
        self._number, self._is_plain, self._blanks = number(dialect), dialect.is_plain, dialect.blanks
        self._missing_values = dialect.missing_values
        self._has_missing_number = any(self._number(text) is not None for text in self._missing_values)

    def numbers(self, column: Sequence[str]) -> list[float | None]:
        """Read numbers, None where one is missing.

        Raises:
            Refused: A text is neither a number nor missing.
        """
        missing = self._missing_values
        known = column if missing.isdisjoint(column) else [text for text in column if text not in missing]
        if not known:
            return [None] * len(column)
        joined = known[0] if len(known) == 1 else "".join(known)
        # Python takes more for a number than we do: what has an underscore, a separator of ASCII or another script's digits
        is_plain = self._is_plain and not (self._has_missing_number and " " in joined)
        if is_plain and joined.isascii() and joined.isprintable() and "_" not in joined:
            try:
                values: list[Any] = list(map(float, known))
            except ValueError:
                values = [math.nan]
            if all(map(math.isfinite, values)):
                following = iter(values)
                return values if known is column else [None if text in missing else next(following) for text in column]
        return [self._one(row, text) for row, text in enumerate(column)]

    def texts(self, column: Sequence[str]) -> Sequence[str | None]:
        """Read texts, None where one is missing."""
        if self.dialect.strip:
            return [self._stripped(text) for text in column]
        if self.missing.isdisjoint(column):
            return column
        return [(str(text) if type(text) is Quoted else None) if text in self.missing else text for text in column]

    def _one(self, row: int, text: str) -> float | None:
        if text.strip(self._blanks) in self._missing_values:
            return None
        value = self._number(text)
        if value is None:
            raise Refused(row, text)
        return value

    def _stripped(self, text: str) -> str | None:
        stripped = text.strip(BLANKS)
        is_text = type(text) is Quoted and stripped == text
        return None if stripped in self.missing and not is_text else stripped


class Quoted(str):
    """A text that stood in quotes, and would mean a missing value without them."""

    __slots__ = ()


def _grammar(dialect: Dialect) -> str:
    """Return the regular expression of a number without an exponent, of RE2 and of Python."""
    decimal, thousands = re.escape(dialect.decimal), re.escape(dialect.thousands)
    grouped = f"[0-9]{{1,3}}(?:{thousands}[0-9]{{3}})+|" if thousands else ""
    return f"[+-]?(?:(?:{grouped}[0-9]+)(?:{decimal}[0-9]*)?|{decimal}[0-9]+)"


def _number_sql(kind: str, text: str, dialect: Dialect) -> str:
    plain = f"replace({text}, {_literal(dialect.thousands)}, '')" if dialect.thousands else text
    plain = f"replace({plain}, {_literal(dialect.decimal)}, '.')"
    grammar = f"\\s*{_grammar(dialect)}{EXPONENT if kind == 'number' else ''}\\s*"
    return f"CASE WHEN regexp_full_match({text}, {_literal(grammar)}) OR lower(trim({text})) = 'nan' THEN {SQL[kind].replace(VALUE, plain)} END"


def stripped_sql(text: str) -> str:
    """Return the SQL of a text without the blanks around it."""
    return f"trim({text}, {' || '.join(f'chr({ord(sign)})' for sign in BLANKS)})"


def _iso(text: str, date_format: str) -> str:
    """Return the SQL that writes the day of a text as 2024-12-31, and leaves the clock behind it as it is."""
    day = f"regexp_replace(trim({text}), '[T ]{CLOCK}({ZONE})?$', '')"
    read = f"try_strptime({day}, {_literal(date_format)})"
    return f"(CASE WHEN year({read}) >= 1000 THEN strftime({read}, '%Y-%m-%d') || substr(trim({text}), length({day}) + 1) END)"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
