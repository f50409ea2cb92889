"""A row's key: the columns that identify it, and their hash, which is the same on every machine and in every run."""

from collections.abc import Iterable

from core.config import UseCase
from core.tables import identifier

VERSION = 1  # of the hash: raise it if `key_text` or `key_hash` changes, since the sets of earlier models cannot be compared then


def key_columns(usecase: UseCase, columns: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of a use case's key.

    Args:
        usecase: The use case.
        columns: All columns of the table, which `key: all` stands for.
    """
    if usecase.key == "all":
        return tuple(sorted(set(columns) - {"split"}))
    return usecase.key or ()


def unit_columns(usecase: UseCase, columns: Iterable[str]) -> tuple[str, ...]:
    """Return the columns by whose values rows stay together in a split: a group's, or the key's. Empty for a split by time.

    Args:
        usecase: The use case.
        columns: All columns of the table.
    """
    if usecase.split.by == "random":
        return key_columns(usecase, columns)
    return (str(usecase.split.column),) if usecase.split.by == "group" else ()


def key_text(columns: Iterable[str]) -> str:
    """Return SQL that writes the values of columns as one text.

    Each value has its length in front, so that ('ab', 'c') differs from ('a', 'bc'), and a null from an empty text.
    """
    values = [f"{identifier(column)}::VARCHAR" for column in columns]
    return f"concat({', '.join(f'''coalesce(length({value}) || ':' || {value}, 'null')''' for value in values)})"


def key_hash(columns: Iterable[str], seed: int | None = None) -> str:
    """Return SQL of a 64-bit hash of the values of columns, an unsigned number.

    Args:
        columns: Their names.
        seed: Part of the hash, if there is one.
    """
    text = key_text(columns)
    return f"md5_number_lower({text if seed is None else f'{seed} || {chr(39)}|{chr(39)} || {text}'})"
