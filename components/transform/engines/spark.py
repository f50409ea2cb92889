"""Spark in local mode: the same expression, run in a JVM of its own that ends with it."""

import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
from ibis import Table
from ibis.backends.sql.datatypes import PySparkType

from core.config import Spark
from core.errors import UserError, first_line
from core.frozen import count
from core.portable import unportable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOOPBACK = "127.0.0.1"
JAVA = "-Duser.timezone=UTC -XX:+UseSerialGC"
MISSING = "spark is configured, but it is not installed: run `uv sync --extra spark`, or remove spark from the config"
NO_JAVA = "Spark does not start ({}): install Java 17 or newer and set JAVA_HOME, or remove spark from the config"


def run(expression: Table, raw: dict[str, Path], target: Path, spark: Spark) -> None:
    """Write the expression's table as a folder of Parquet files.

    Args:
        expression: Of tables called as in `raw`.
        raw: The Parquet file of each table.
        target: The folder to write.
        spark: Where it runs, and in how much memory.

    Raises:
        UserError: The expression fails, is another one to Spark than to DuckDB, or Spark does not start.
    """
    for sentence in unportable(expression):
        raise UserError(sentence)
    compiled = query(expression)
    with session(spark) as found, sentences(spark):
        for name, path in raw.items():
            found.read.parquet(str(path)).createOrReplaceTempView(name)
        found.sql(compiled).write.parquet(str(target))


@contextmanager
def session(spark: Spark) -> Iterator["SparkSession"]:
    """Start Spark, which listens on the loopback alone, says nothing on the terminal and leaves nothing on the disk.

    Raises:
        UserError: It is not installed, or does not start.
    """
    if active := _active():
        yield active  # whoever opened it ends it
        return
    with tempfile.TemporaryDirectory() as folder:
        started = _start(spark, Path(folder))
        gateway = started.sparkContext._gateway
        try:
            yield started
        finally:
            started.stop()
            _end(gateway)


def query(expression: Table) -> str:
    """Compile, and hold the engine to the expression's own types."""
    _import()
    typed = ", ".join(f"CAST(`{name}` AS {_type(kind)}) AS `{name}`" for name, kind in expression.schema().items())
    return f"SELECT {typed} FROM ({ibis.pyspark.compile(expression)})"  # noqa: S608


def _import() -> None:
    """Import Spark and ibis' way to it, without a warning of pandas 3, which is not used with Spark here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            ibis.pyspark  # noqa: B018
    except ImportError as error:
        raise UserError(MISSING) from error


def _active() -> "SparkSession | None":
    _import()
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession()


def _start(spark: Spark, folder: Path) -> "SparkSession":
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    for key, value in _settings(spark, folder).items():
        builder = builder.config(key, value)
    os.environ["SPARK_LOCAL_IP"] = LOOPBACK
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)  # which writes each error to the terminal as well
    try:
        with _silence(folder / "spark.log"):
            return builder.getOrCreate()
    except (PySparkException, FileNotFoundError) as error:
        raise UserError(NO_JAVA.format(_last_line(folder / "spark.log") or first_line(error))) from error


def _settings(spark: Spark, folder: Path) -> dict[str, str]:
    return {
        "spark.master": spark.master,
        "spark.app.name": "transform",
        "spark.driver.memory": f"{count(spark.memory) // 2**20}m",
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.driver.extraJavaOptions": f"{JAVA} -Djava.io.tmpdir={folder} -Dderby.system.home={folder}",
        "spark.local.dir": str(folder),
        "spark.log.level": "OFF",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.ansi.enabled": "true",  # an overflow and a text that is no number are errors, as in DuckDB
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.parquet.compression.codec": "snappy",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",  # of one machine; adaptive execution joins the small ones
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }


@contextmanager
def _silence(log: Path) -> Iterator[None]:
    """Let what the JVM says, also later, go to a file: it inherits this process' output."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with log.open("ab") as file:
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
        finally:
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def _end(gateway: Any) -> None:
    """End the JVM, which would otherwise live as long as this process."""
    from pyspark import SparkContext

    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()
    SparkContext._gateway = SparkContext._jvm = None


@contextmanager
def sentences(spark: Spark) -> Iterator[None]:
    """Make what Spark says of an expression one sentence."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        if "OutOfMemoryError" in str(error) or "Java heap space" in str(error):
            raise UserError(f"the tables do not fit into spark.memory {spark.memory}: set a greater one") from error
        raise UserError(re.sub(r"^\[[A-Z_.0-9]+\] ", "", first_line(error))) from error


def _type(kind: ibis.DataType) -> str:
    """Return Spark's type, whose TIMESTAMP is an instant."""
    return "TIMESTAMP_NTZ" if kind.is_timestamp() and kind.timezone is None else PySparkType.to_string(kind)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
