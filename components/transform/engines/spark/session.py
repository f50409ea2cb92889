"""Starts Spark and ends it: it says nothing on the terminal and leaves nothing on the disk."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis

from components.transform.engines.spark import pods
from core.config import Spark
from core.errors import UserError, first_line

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOOPBACK = "127.0.0.1"
JAVA = "-Duser.timezone=UTC -XX:+UseSerialGC"
MISSING = "spark is configured, but it is not installed: run `make add EXTRAS=spark`, or remove spark from the config"
NO_START = "Spark does not start ({}): install Java 17 or newer and set JAVA_HOME, or remove spark from the config"
NO_RIGHTS = "Spark may not make pods in this namespace: put the component k8s/components/spark into the overlay and apply it"


@contextmanager
def session(spark: Spark) -> Iterator["SparkSession"]:
    """Start Spark, on this machine alone or with executors on the cluster.

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
            if spark.on_cluster:
                pods.wait(started)
            yield started
        finally:
            started.stop()
            _end(gateway)


def load() -> None:
    """Import Spark and ibis' way to it, without a warning of pandas 3, which is not used with Spark here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            ibis.pyspark  # noqa: B018
    except ImportError as error:
        raise UserError(MISSING) from error


def _active() -> "SparkSession | None":
    load()
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession()


def _start(spark: Spark, folder: Path) -> "SparkSession":
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    for key, value in _settings(spark, folder).items():
        builder = builder.config(key, value)
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)  # which writes each error to the terminal as well
    try:
        with _silence(folder / "spark.log"):
            return builder.getOrCreate()
    except (PySparkException, Py4JError, FileNotFoundError) as error:
        if "is forbidden" in str(error):
            raise UserError(NO_RIGHTS) from error
        raise UserError(NO_START.format(_last_line(folder / "spark.log") or first_line(error))) from error


def _settings(spark: Spark, folder: Path) -> dict[str, str]:
    settings = {
        "spark.app.name": "transform",
        "spark.driver.memory": spark.heap,
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
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    return settings | (pods.settings(spark) if spark.on_cluster else _on_this_machine(spark))


def _on_this_machine(spark: Spark) -> dict[str, str]:
    os.environ["SPARK_LOCAL_IP"] = LOOPBACK
    return {
        "spark.master": spark.master,
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.sql.shuffle.partitions": "2",  # adaptive execution joins the small ones
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


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
