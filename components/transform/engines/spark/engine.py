"""Runs the expression on Spark, in a JVM of its own that ends with it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ibis
from ibis import Table
from ibis.backends.sql.datatypes import PySparkType

from components.transform.engines import Wrong
from components.transform.engines.spark import pods
from components.transform.engines.spark.session import load, session
from core.config import Spark
from core.errors import UserError, first_line
from core.portable import unportable

PATTERN = re.compile(r"[]*?[{}\\]")  # what Hadoop takes for a pattern of file names
TOO_SMALL = ("OutOfMemoryError", "Java heap space", "OOMKilled", "exit code 137")


def run(expression: Table, raw: dict[str, Path], target: Path, spark: Spark, uri: str = "") -> None:
    """Write the expression's table as a folder of Parquet files.

    Args:
        expression: Of tables called as in `raw`.
        raw: The Parquet file of each table.
        target: The folder to write.
        spark: Where it runs, and in how much memory.
        uri: Where on S3 the folder of the raw files lies, too; anything else if it does not.

    Raises:
        Wrong: The expression fails, or is another one to Spark than to DuckDB.
        UserError: Spark does not start, or has too little memory.
    """
    for sentence in unportable(expression):
        raise Wrong(sentence)
    compiled = query(expression)
    with session(spark) as found, _within_reach(raw, target, spark, uri) as (tables, made), sentences(spark):
        for name, table in tables.items():
            found.read.parquet(PATTERN.sub(r"\\\g<0>", table)).createOrReplaceTempView(name)
        found.sql(compiled).write.parquet(made)


@contextmanager
def _within_reach(raw: dict[str, Path], target: Path, spark: Spark, uri: str) -> Iterator[tuple[dict[str, str], str]]:
    """Give the addresses of the tables, and of the one to be made, at which every part of Spark can reach them."""
    if spark.on_cluster:
        with pods.on_s3(raw, target, uri) as addresses:
            yield addresses
    else:
        yield {name: str(path) for name, path in raw.items()}, str(target)


def query(expression: Table) -> str:
    """Compile, and hold the engine to the expression's own types."""
    load()
    typed = ", ".join(f"CAST(`{name}` AS {_type(kind)}) AS `{name}`" for name, kind in expression.schema().items())
    return f"SELECT {typed} FROM ({ibis.pyspark.compile(expression)})"  # noqa: S608


@contextmanager
def sentences(spark: Spark) -> Iterator[None]:
    """Make what Spark says of an expression one sentence."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        if any(sign in str(error) for sign in TOO_SMALL):
            raise UserError(f"the tables do not fit into spark.memory {spark.memory}: set a greater one") from error
        raise Wrong(re.sub(r"^\[[A-Z_.0-9]+\] ", "", first_line(error))) from error


def _type(kind: ibis.DataType) -> str:
    """Return Spark's type, whose TIMESTAMP is an instant."""
    return "TIMESTAMP_NTZ" if kind.is_timestamp() and kind.timezone is None else PySparkType.to_string(kind)
