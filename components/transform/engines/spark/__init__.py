"""Spark: the same expression for more data than one DuckDB takes, on this machine or with executors as pods of a cluster."""
