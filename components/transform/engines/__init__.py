"""Engines: what runs the expression of `features()` and leaves its table as Parquet; all that follows is DuckDB's."""

from core.errors import UserError


class Wrong(UserError):
    """The expression is at fault, not what runs it."""
