"""What is odd among all texts of a column: blanks around them, signs of a missing value, texts among numbers, texts that look alike."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from components.validate.typed import CODE
from components.validate.violation import table
from core.fields import BLANKS, Dialect, missing_sql, stripped_sql, value_sql
from core.tables import identifier, literal

MARKERS = ("?", "-", ".", "N/A", "n/a", "#N/A", "NULL", "null", "None", "none", "nan", "NaN", "\\N", "NA")
LENGTH = 80  # characters that are kept of a text
PADDED = 16  # bytes of a marker with blanks around it, in a column of many texts
OTHERS = 5  # different texts among numbers, beyond which a column is one of text
MOSTLY = 0.9  # share of numbers from which on the others are exceptions, unless all of these are markers
HALF = 0.5  # share of numbers then


@dataclass(frozen=True)
class Texts:
    """What is odd in one column of text, told by all of its rows."""

    blank: str | None = None  # one with blanks around it
    markers: tuple[str, ...] = ()  # those of MARKERS that occur, without the blanks around them
    bare_markers: tuple[str, ...] = ()  # those of MARKERS that occur without blanks around them
    known: int = 0  # values that are not missing
    others: tuple[str, ...] = ()  # the only texts that are no numbers, if there are few
    other_count: int = 0  # rows that hold them
    alike: tuple[str, str] | None = None


def measure(connection: duckdb.DuckDBPyConnection, path: Path, names: list[str], dialect: Dialect) -> dict[str, Texts]:
    """Look at columns of many different texts in one query, and in one more for each that is numeric but for a few texts.

    Args:
        connection: Where the SQL runs.
        path: The Parquet file.
        names: The columns, a hundred at most.
        dialect: How numbers are written.
    """
    if not names:
        return {}
    wanted = ", ".join(aggregate for name in names for aggregate in _aggregates(name, dialect))
    values = iter(connection.execute(f"SELECT {wanted} FROM {table(path)}").fetchall()[0])  # noqa: S608
    found = {}
    for name in names:
        blank, markers, bare, known, numbers = (next(values) for _ in range(5))
        is_likely = MOSTLY * known <= numbers < known or (markers and HALF * known <= numbers < known)
        others = _others(connection, path, name, dialect) if is_likely else {}
        found[name] = _odd(blank, _named(markers), _named(bare), known, numbers, others)
    return found


def examine(texts: dict[str, int], numbers: int, known: int, dialect: Dialect) -> Texts:
    """Look at a column by all of its different texts.

    Args:
        texts: Those that are no numbers, or codes, and how many rows hold each; the most frequent first.
        numbers: How many rows hold a number.
        known: How many rows hold a text.
        dialect: How it is written.
    """
    blank = next((text for text in texts if text.strip(BLANKS) != text and (len(text) < LENGTH or text[0] in BLANKS)), None)
    stripped = {text.strip(BLANKS) for text in texts}
    missing = dialect.missing_values if dialect.missing or dialect.strip else ()
    others = {text: times for text, times in texts.items() if text.strip(dialect.blanks) not in missing}
    known -= sum(texts.values()) - sum(others.values())
    markers, bare = (tuple(sign for sign in MARKERS if sign in among) for among in (stripped, texts))
    return _odd(blank, markers, bare, known, numbers, others)


def _odd(blank: str | None, markers: tuple[str, ...], bare: tuple[str, ...], known: int, numbers: int, others: dict[str, int]) -> Texts:
    """Keep the texts that are no numbers if they are exceptions."""
    are_markers = {text.strip(BLANKS) for text in others} <= set(MARKERS)
    are_few = 0 < len(others) <= OTHERS and numbers >= (HALF if are_markers else MOSTLY) * known
    if not are_few or any(re.fullmatch(CODE, text) for text in others):
        return Texts(blank, markers, bare)
    return Texts(blank, markers, bare, known, tuple(others), sum(others.values()))


def alike(texts: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two texts that differ only in case, in white space or in how Unicode writes a sign; blanks around them do not count."""
    seen: dict[str, str] = {}
    for text in texts:
        stripped = text.strip(BLANKS)
        other = seen.setdefault(" ".join(unicodedata.normalize("NFKC", text).split()).casefold(), stripped)
        if other != stripped:
            return other, stripped
    return None


def number_sql(text: str, dialect: Dialect) -> str:
    """Return the SQL that is true of a number that is no code."""
    return f"({value_sql('number', text, dialect)} IS NOT NULL AND NOT regexp_full_match({text}, '{CODE}'))"


def _aggregates(name: str, dialect: Dialect) -> tuple[str, ...]:
    text = f"{identifier(name)}::VARCHAR"
    stripped, is_missing = stripped_sql(text), missing_sql("number", text, dialect)
    bits = " ".join(f"WHEN {literal(sign)} THEN {1 << bit}" for bit, sign in enumerate(MARKERS))
    return (
        f"min(CASE WHEN {text} <> {stripped} THEN left({text}, {LENGTH}) END)",
        f"bit_or(CASE WHEN strlen({text}) < {PADDED} THEN CASE {stripped} {bits} ELSE 0 END END)",
        f"bit_or(CASE WHEN strlen({text}) <= {max(map(len, MARKERS))} THEN CASE {text} {bits} ELSE 0 END END)",
        f"count(CASE WHEN NOT {is_missing} THEN 1 END)",
        f"count(CASE WHEN NOT {is_missing} THEN {value_sql('number', text, dialect)} END)",
    )


def _named(bits: int | None) -> tuple[str, ...]:
    return tuple(sign for bit, sign in enumerate(MARKERS) if (bits or 0) >> bit & 1)


def _others(connection: duckdb.DuckDBPyConnection, path: Path, name: str, dialect: Dialect) -> dict[str, int]:
    """Count the most frequent texts that are no numbers, or codes."""
    text = f"{identifier(name)}::VARCHAR"
    is_other = f"NOT {missing_sql('number', text, dialect)} AND NOT {number_sql(text, dialect)}"
    query = f"SELECT left({text}, {LENGTH}), count(*) FROM {table(path)} WHERE {is_other} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {OTHERS + 1}"  # noqa: S608
    return dict(connection.execute(query).fetchall())
