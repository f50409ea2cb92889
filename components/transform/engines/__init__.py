"""Engines: what runs the expression of `features()` and leaves its table as Parquet; all that follows is DuckDB's."""
