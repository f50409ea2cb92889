"""CSV as text: its header, its delimiter and its fields, in training and in serving as DuckDB takes them."""

from __future__ import annotations

import csv
import io
import re
from typing import NamedTuple

from core.fields import BLANKS, Dialect, Quoted

DELIMITERS = ",;\t|"
MARK = "\ufeff"  # of the byte order
SEPARATOR = re.compile(r"sep=(.)(?:\r\n?|\n)", re.IGNORECASE)  # the first line of a file that Excel wrote or shall read
LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n|\Z)")


class Header(NamedTuple):
    """The names of a table."""

    names: tuple[str, ...]
    delimiter: str
    skipped: int  # lines before it
    start: int  # characters before it


def header(text: str, dialect: Dialect, skip: int = 0) -> Header:
    """Read the header of a text.

    Unless the dialect or a first line `sep=;` names the delimiter, it is the one that gives the most names.

    Args:
        text: The table, or how it begins.
        dialect: How it is written.
        skip: Lines before the header.

    Raises:
        csv.Error: It cannot be read.
    """
    start, lines = 0, skip
    for _ in range(skip):
        start = _line_end(text, start)
    given = dialect.delimiter or DELIMITERS
    separator = SEPARATOR.match(text, start) if text[start : start + 4].lower() == "sep=" else None
    if separator and separator[1] in (dialect.delimiter, *DELIMITERS):
        given, start, lines = separator[1], separator.end(), skip + 1
    line = text[start : _line_end(text, start)]
    if '"' in line:
        cut = {sign: _first(text, start, sign) for sign in given}
        delimiter = max(given, key=lambda sign: len(cut[sign]))
        found = cut[delimiter]
    else:
        delimiter = max(given, key=line.count)
        found = line.rstrip("\r\n").split(delimiter)
    names = [name.strip(BLANKS) for name in found] if dialect.strip else found
    return Header(tuple(names), delimiter, lines, start)


def rows(text: str, delimiter: str, dialect: Dialect) -> list[list[str]]:
    """Read all rows, the header too. A text that would mean a missing value without its quotes is a `Quoted`.

    Raises:
        csv.Error: It is not CSV.
    """
    if '"' in text and any(sign in text for sign in ('""', ' "', '" ', *(f'"{sign}"' for sign in dialect.missing))):
        return _rows_by_fields(text, delimiter, frozenset(("", *dialect.missing)))
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    if "\r" in text[start:end] if end >= 0 else "\r" in text[start:]:
        return LINE.match(text, start).end()  # type: ignore[union-attr]  # it matches anything
    return end + 1 or len(text)


def _first(text: str, start: int, delimiter: str) -> list[str]:
    lines = (found[0] for found in LINE.finditer(text, start))
    return next(csv.reader(lines, delimiter=delimiter))


def _rows_by_fields(text: str, delimiter: str, missing: frozenset[str]) -> list[list[str]]:
    """Read the fields one by one: csv.reader does not say what was quoted. A blank before quotes and those behind them do not count."""
    sign = re.escape(delimiter)
    before, behind = ("", "") if delimiter == " " else (" ?", " *")
    field = re.compile(rf'{before}"([^"]*+(?:""[^"]*+)*+)"{behind}({sign}|\r\n|\r|\n|\Z)|((?!{before}")[^{sign}\r\n]*)({sign}|\r\n|\r|\n|\Z)')
    made: list[list[str]] = []
    row: list[str] = []
    place, length = 0, len(text)
    while place < length or row:
        found = field.match(text, place)
        if not found:
            raise csv.Error(f"a quote in line {text.count(chr(10), 0, place) + 1} does not end where a field does")
        quoted, end, plain, plain_end = found.groups()
        if quoted is not None:
            value = quoted.replace('""', '"')
            row.append(Quoted(value) if value in missing else value)
        elif plain or row or plain_end == delimiter:
            row.append(plain)
        if (plain_end if quoted is None else end) != delimiter:
            made.append(row)
            row = []
        elif found.end() == length:  # the text ends behind a delimiter
            row.append("")
            made.append(row)
            row = []
        place = found.end()
    return made
