"""Engines: DuckDB and Spark give the same table, and what would not is refused before anything runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import ibis
import pyarrow.parquet as pq
import pytest
from ibis import Table

from components.transform.engines import duckdb as duckdb_engine
from components.transform.engines.spark import engine as spark_engine
from components.transform.engines.spark.session import session as spark_session
from components.transform.table import transform
from core.config import Spark
from core.errors import UserError
from core.portable import DIFFERENCES, depends_on_order, unportable, volatile
from core.tables import connect, literal
from core.tracking import Run
from tests.unit import small
from tests.unit.components import raw_flights, zoo


class Both(NamedTuple):
    """Both engines, with the odd table."""

    duckdb: duckdb.DuckDBPyConnection
    spark: Any

    def values(self, expression: Table) -> tuple[list[str], list[str]]:
        """Rows of both, or that the engine refuses the expression."""
        return self._said(lambda: self.duckdb.sql(duckdb_engine.query(expression)).to_arrow_table()), self._said(
            lambda: self.spark.sql(spark_engine.query(expression)).toArrow()
        )

    def _said(self, ask: Any) -> list[str]:
        try:
            return sorted(repr([0.0 if value == 0 and isinstance(value, float) else value for value in row.values()]) for row in ask().to_pylist())
        except Exception:
            return ["refused"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.written(tmp_path_factory.mktemp("zoo") / "odd.parquet")


@pytest.fixture(scope="module")
def table(odd: Path) -> Table:
    return ibis.table({name: kind(nullable=True) for name, kind in ibis.Schema.from_pyarrow(pq.read_schema(odd)).items()}, "odd")


@pytest.fixture(scope="module")
def both(odd: Path) -> Iterator[Both]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")  # many small queries: the better compiler does not pay
        with connect("512MB") as connection, spark_session(Spark()) as session:
            connection.execute(f"CREATE VIEW odd AS FROM read_parquet({literal(odd)})")
            session.read.parquet(str(odd)).createOrReplaceTempView("odd")
            yield Both(connection, session)


@pytest.mark.extras
def test_what_is_not_refused_is_equal_on_both_engines(both: Both, table: Table) -> None:
    portable = {name for name, expression in zoo.expressions(table).items() if not list(unportable(expression))}

    for name, expression in zoo.together(table, portable).items():
        on_duckdb, on_spark = both.values(expression)
        assert on_duckdb == on_spark, name
        assert on_duckdb != ["refused"], name
    assert len(portable) > 100


@pytest.mark.extras
def test_what_is_refused_differs_or_does_not_run(both: Both, table: Table) -> None:
    refused = {name: expression for name, expression in zoo.expressions(table).items() if list(unportable(expression))}

    equal = [name for name, expression in refused.items() if len(set(map(str, both.values(expression)))) == 1]

    assert not equal


@pytest.mark.extras
def test_the_whole_of_flights_is_the_same_file(both: Both, tmp_path: Path) -> None:  # in the session of `both`
    raw = raw_flights.written(tmp_path, rows=4000)

    kinds: dict[str, dict[str, Any]] = {"duckdb": {}, "spark": {"spark": {}}}
    for name, changes in kinds.items():
        transform(Run("transform", small.variant("flights", **changes)), str(raw), str(tmp_path / f"{name}.parquet"))

    assert pq.read_metadata(tmp_path / "duckdb.parquet").num_rows > 3000
    assert (tmp_path / "duckdb.parquet").read_bytes() == (tmp_path / "spark.parquet").read_bytes()


@pytest.mark.extras
def test_a_value_that_spark_cannot_compute_is_a_sentence(both: Both, table: Table) -> None:
    wrong = spark_engine.query(table.select("key", value=table.s.cast("int64")))

    with pytest.raises(UserError) as refused, spark_engine.sentences(Spark()):
        both.spark.sql(wrong).toArrow()

    assert "cannot be cast to" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.extras
def test_spark_says_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    code = "from core.config import Spark; from components.transform.engines.spark.session import session\n"
    code += "with session(Spark()) as spark: spark.sql('select 1').collect()"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=_environment(tmp_path))

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("hsperfdata")] == []


def test_each_difference_is_in_the_zoo(table: Table) -> None:
    expressions = [expression.op() for expression in zoo.expressions(table).values()]

    missing = [item.what for item in DIFFERENCES if not any(map(item.applies, (node for made in expressions for node in made.find(item.kinds))))]

    assert not missing


def test_a_refusal_names_the_operation_and_what_to_use(table: Table, tmp_path: Path) -> None:
    expression = table.select(length=table.s.upper())

    with pytest.raises(UserError) as refused:
        spark_engine.run(expression, {}, tmp_path / "made", Spark())

    assert str(refused.value) == "a change of case, of letters such as ß differs between Spark and DuckDB: use re_replace(), or cases() of the values"


@pytest.mark.parametrize(
    ("make", "names"),
    [
        pytest.param(lambda t: t.mutate(now=ibis.now()), ["TimestampNow"], id="now"),
        pytest.param(lambda t: t.mutate(chance=ibis.random()), ["RandomScalar"], id="random"),
        pytest.param(lambda t: t.sample(0.5), ["Sample"], id="sample without a seed"),
        pytest.param(lambda t: t.mutate(year=t.d.year()), [], id="nothing"),
    ],
)
def test_what_changes_from_run_to_run_is_found(table: Table, make: Any, names: list[str]) -> None:
    assert volatile(make(table)) == names


def test_sums_of_floats_depend_on_the_order_and_sums_of_integers_do_not(table: Table) -> None:
    assert depends_on_order(table.agg(value=table.x.sum()))
    assert not depends_on_order(table.agg(value=table.i.sum()))


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        pytest.param("sys.modules['pyspark'] = None", "spark is configured, but it is not installed: run `make add EXTRAS=spark`", id="extra"),
        pytest.param("os.environ |= {'JAVA_HOME': '/nowhere', 'PATH': '/nowhere'}", "Spark does not start (", id="Java", marks=pytest.mark.extras),
    ],
)
def test_without_spark_or_java_it_is_a_sentence(tmp_path: Path, code: str, sentence: str) -> None:
    rest = "from core.config import Spark; from core.errors import UserError; from components.transform.engines.spark.session import session\n"
    rest += "try:\n    with session(Spark()): pass\nexcept UserError as error: print(error)"

    ended = subprocess.run(
        [sys.executable, "-c", f"import os, sys\n{code}\n{rest}"], capture_output=True, text=True, timeout=120, env=_environment(tmp_path)
    )

    assert ended.stdout.startswith(sentence)
    assert ended.stderr == ""
    assert len(ended.stdout.splitlines()) == 1


def _environment(temporary: Path) -> dict[str, str]:
    import os

    return os.environ | {"TMPDIR": str(temporary)}
