"""A run over PostgreSQL, S3 and Kafka, killed at every point that matters: no orphan each time, and the run that goes through gives the same."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from psycopg.conninfo import make_conninfo

from components.load import manifest
from core import storage
from core.mlflow_api import call
from local import platform as embedded
from local import samples
from local.environment import environment as local_environment
from tests import broker as brokers
from tests import postgresql
from tests.broker import Broker
from tests.e2e.command import Ended, Running, below, forget, mlops, wait_for

pytestmark = pytest.mark.slow
SETTINGS = (
    "train.candidates={tree: {estimator: sklearn.tree.DecisionTreeClassifier, parameters: {max_depth: 4}}}",
    "train.max_trials=1",
    "evaluate.floor=0.5",
    "evaluate.slices=[]",
    "key=[scheduled, carrier, origin, dest, minute]",
    "split={by: random}",
    "evaluate.bootstrap=100",
)
OURS = "application_name LIKE 'mlops%'"
HELD = 'hashtextextended(\'"public"."mlops_loads"\', 0)'  # what a load waits for when another one writes into the schema
# Reads as the table does, but for the one COPY that is held in the middle while there is a row in `held`.
SLOWLY = """
CREATE TABLE held (number int);
CREATE FUNCTION passes(number bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF number = 1000 AND current_query() LIKE 'COPY%' AND EXISTS (SELECT FROM held) THEN PERFORM pg_sleep(300); END IF;
    RETURN true;
END $$;
CREATE VIEW slow AS SELECT * FROM flights WHERE passes(number);
CREATE VIEW calm AS SELECT * FROM flights;
"""


@dataclass
class World:
    """The servers, and one set of targets."""

    database: psycopg.Connection[Any]
    broker: Broker
    environment: dict[str, str]
    planes: str
    source: str = "calm"
    name: str = "calm"

    @property
    def dataset(self) -> str:
        return f"s3://data/{self.name}/"

    def settings(self) -> list[str]:
        """What a run reads and where its results go."""
        flights = f"{{kind: postgresql, table: {self.source}, incremental: time_hour}}"
        targets = (
            f"{{what: table, to: {{kind: s3, uri: '{self.dataset}', partition_by: [origin]}}}}",
            f"{{what: predictions, to: {{kind: postgresql, table: {self.name}_scores, mode: merge, key: [scheduled, carrier, origin]}}}}",
            f"{{what: predictions, to: {{kind: kafka, topic: {self.name}-scores, key: [carrier]}}}}",
        )
        given = (*SETTINGS, f"sources.flights={flights}", f"sources.planes=kafka:///{self.planes}", f"load=[{', '.join(targets)}]")
        return [part for each in given for part in ("--set", each)]

    def result(self) -> dict[str, Any]:
        """What the targets hold, but for the run's and the version's names."""
        files = manifest.read(self.dataset).files
        return {
            "files": sorted((file.key.split("/", 2)[2], file.rows, file.sha256) for file in files),
            "rows": sorted(_plain(row) for row in self.rows()),
            "messages": sorted(_plain(json.loads(message)) for message in self.messages()),
        }

    def files(self) -> list[str]:
        """Every file of the dataset, listed or not."""
        bucket, prefix = storage.split(self.dataset)
        return [str(item.object_name) for item in storage.client().list_objects(bucket, f"{prefix}data/", recursive=True)]

    def listed(self) -> list[str]:
        return [file.key for file in manifest.read(self.dataset).files]

    @contextmanager
    def slowed(self, point: str) -> Iterator[None]:
        """Let a source or a target keep a run where it is to be killed."""
        if point.startswith("reading"):
            self.database.execute("INSERT INTO held VALUES (1)")
        if point == "before the rows":
            self.database.execute(f"SELECT pg_advisory_lock({HELD})")
        yield
        self.database.execute("TRUNCATE held")
        self.database.execute("SELECT pg_advisory_unlock_all()")

    def assert_no_orphan(self) -> None:
        """Neither a session of ours in the database, with its transaction and its staged rows, nor half a table."""
        wait_for(lambda: not self.count(f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}"), 20)
        assert not self.count("SELECT count(*) FROM pg_class WHERE relname = 'mlops_staging'")
        rows = self.rows()
        noted = self.count(f"SELECT coalesce(sum(rows), 0) FROM mlops_loads WHERE target = '{self.name}_scores'")
        assert (len(rows), len({row["run_id"] for row in rows})) == ((noted, 1) if rows else (0, 0))
        known = [run["run"] for run in manifest.read(self.dataset).runs]
        assert {key.split("/")[1] for key in self.listed()} == set(known[-1:])
        assert len(list(Path(os.environ["MLOPS_HOME"]).rglob("*.part"))) <= 1  # what the killed reading has left, in its run's own folder

    def rows(self) -> list[dict[str, Any]]:
        if not self.exists(f"{self.name}_scores"):
            return []
        found = self.database.execute(f"SELECT to_jsonb(scores) FROM {self.name}_scores scores").fetchall()
        return [row for (row,) in found]

    def messages(self) -> list[bytes]:
        """What a reader of committed messages sees."""
        given = {"bootstrap.servers": self.broker.bootstrap, "group.id": "reader", "enable.partition.eof": True}
        consumer = Consumer(given | brokers.QUIET)
        consumer.assign([TopicPartition(f"{self.name}-scores", 0, 0)])
        found: list[bytes] = []
        while (message := consumer.poll(10)) is not None and not message.error():
            found.append(message.value() or b"")
        end = message.error() if message else None
        assert end and end.code() == KafkaError._PARTITION_EOF
        consumer.close()
        return found

    def exists(self, table: str) -> bool:
        return bool(self.database.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone() == (True,))

    def count(self, query: str) -> int:
        (number,) = self.database.execute(query).fetchone() or (0,)
        return int(number)


def _plain(row: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in row.items() if key not in ("run_id", "model_version")}, sort_keys=True)


@pytest.fixture
def world(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A platform, a database and brokers of their own; flights of some days in a table, planes in a topic, the weather on S3."""
    for variable, value in local_environment(embedded.up()).items():
        monkeypatch.setenv(variable, value)
    samples.deliver("flights")
    with ExitStack() as stack:
        server = stack.enter_context(postgresql.running(Path(tempfile.gettempdir())))
        broker = stack.enter_context(brokers.running_kafka(tmp_path))
        environment = server.environment() | broker.environment()
        place = make_conninfo("", host="127.0.0.1", port=server.port, user="postgres", password=server.password, dbname="postgres")
        database = stack.enter_context(psycopg.connect(place, autocommit=True))
        _fill(database, tmp_path)
        yield World(database, broker, environment, _planes(broker, tmp_path))
        Running.end_all()


def _fill(database: psycopg.Connection[Any], folder: Path) -> None:
    """Put the first flight of each carrier, airport and hour into a table: of these, a merge has a key."""
    path = folder / "flights.parquet"
    path.write_bytes(storage.read("s3://data/flights/flights-2013-01.parquet"))
    columns = "time_hour, sched_dep_time, sched_arr_time, dep_delay, arr_delay, air_time, carrier, flight, tailnum, origin, dest, distance"
    chosen = f"SELECT DISTINCT ON (time_hour, carrier, origin) {columns} FROM '{path}' WHERE day <= 14 ORDER BY time_hour, carrier, origin, flight"
    rows = duckdb.execute(f"SELECT row_number() OVER (), time_hour::TIMESTAMP::TEXT || 'Z', * EXCLUDE (time_hour) FROM ({chosen})").fetchall()
    whole, texts = "integer", "text"
    kinds = ["timestamptz", *[whole] * 5, texts, whole, texts, texts, texts, whole]
    declared = ", ".join(f"{name} {kind}" for name, kind in zip(columns.split(", "), kinds, strict=True))
    database.execute(f"CREATE TABLE flights (number bigint PRIMARY KEY, {declared})")
    with database.cursor().copy("COPY flights FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    database.execute(SLOWLY)


def _planes(broker: Broker, folder: Path) -> str:
    path = folder / "planes.parquet"
    path.write_bytes(storage.read("s3://data/flights/planes.parquet"))
    found = duckdb.execute(f"SELECT tailnum, year, seats, manufacturer FROM '{path}' ORDER BY tailnum").fetchall()
    topic = broker.create()
    names = ("tailnum", "year", "seats", "manufacturer")
    broker.write(topic, [(row[0], json.dumps(dict(zip(names, row, strict=True)))) for row in found], **{"batch.num.messages": 1000})
    return topic


@dataclass(frozen=True)
class Point:
    """Where a run is killed."""

    step: str
    reached: Callable[[World, psutil.Process], Any] = lambda _, __: True
    victim: str = "step"  # or run: the command, whose step then ends by itself
    status: str = "FAILED"  # of the pipeline run in MLflow


def reading(world: World, _: psutil.Process) -> None:
    """Wait until the server has given some rows, and the next one lets it wait."""
    wait_for(lambda: world.count(f"SELECT count(*) FROM pg_stat_activity WHERE {OURS} AND wait_event = 'PgSleep'"))


def behind_the_files(world: World, process: psutil.Process) -> None:
    """Wait until all files are on S3."""
    files, listed = len(world.files()), world.listed()
    step_by_step(process, lambda: len(world.files()) == files + 3)
    assert world.listed() == listed


def before_the_rows(world: World, _: psutil.Process) -> None:
    """Wait until the rows are staged, and another load lets this one wait."""
    wait_for(lambda: world.count(f"SELECT count(*) FROM pg_stat_activity WHERE {OURS} AND wait_event = 'advisory'"))


def behind_the_rows(world: World, process: psutil.Process) -> None:
    """Wait until PostgreSQL has committed."""
    step_by_step(process, lambda: world.exists(f"{world.name}_scores"))
    assert world.messages() == []


def step_by_step(process: psutil.Process, reached: Callable[[], bool]) -> None:
    """Let a process run so little at a time that it cannot pass the point."""
    while not reached():
        process.resume()
        time.sleep(0.02)
        process.suspend()


POINTS = {
    "begin of extract": Point("extract"),
    "reading": Point("extract", reading),
    "reading, the run itself": Point("extract", reading, "run", "KILLED"),
    "validate": Point("validate"),
    "transform": Point("transform"),
    "train, the run itself": Point("train", victim="run", status="KILLED"),
    "register": Point("register"),
    "deploy": Point("deploy"),
    "begin of load": Point("load"),
    "behind the files": Point("load", behind_the_files),
    "before the rows": Point("load", before_the_rows),
    "behind the rows": Point("load", behind_the_rows),
}


def test_a_run_that_was_killed_anywhere_leaves_no_orphan_and_the_one_that_goes_through_gives_the_same(world: World) -> None:
    for name in ("calm", "slow"):
        world.broker.create(name=f"{name}-scores")
    undisturbed = mlops("run", "flights", *world.settings(), **world.environment)
    assert undisturbed.code == 0, undisturbed.out + undisturbed.err
    expected = world.result()
    assert min(map(len, expected.values())) > 0
    forget("flights")
    world.source = world.name = "slow"

    for name, point in POINTS.items():
        began = time.monotonic()
        with world.slowed(name):
            kill_at(world, point)
            world.assert_no_orphan()
        print(f"{name}: {time.monotonic() - began:.1f} s")
    shown = mlops("run", "flights", *world.settings(), **world.environment)

    assert shown.code == 0, shown.out + shown.err
    assert shown.steps["extract"] == undisturbed.steps["extract"]  # what no run has read that succeeded
    assert world.result() == expected
    assert len(model_servers()) == 1


def kill_at(world: World, point: Point) -> None:
    running = Running("run", "flights", *world.settings(), **world.environment)
    process = running.at(point.step)
    point.reached(world, process)
    family = running.family()
    if point.victim == "run":
        os.kill(running.pid, signal.SIGKILL)
    else:
        process.kill()
    shown = running.end()
    left = [each for each in psutil.wait_procs(family, timeout=20)[1] if each not in model_servers()]
    assert left == []
    if point.victim == "step":
        assert_failed(shown, point.step)
    status, steps = newest_run()
    assert (status, "RUNNING" in steps) == (point.status, False)


def assert_failed(shown: Ended, step: str) -> None:
    assert (shown.code, shown.err) == (1, "")
    assert "Traceback" not in shown.out
    assert re.search(rf"^failed after \d+ s: {step}: {step} was killed \(signal 9\)", shown.out, re.MULTILINE), shown.out


def model_servers() -> list[psutil.Process]:
    """Every server of this platform's models: they alone know its S3 address."""
    address = os.environ["AWS_ENDPOINT_URL_S3"]
    servers = [each for each in psutil.process_iter(["cmdline"]) if (each.info["cmdline"] or [])[1:3] == ["-m", "serving"]]
    return [each for each in servers if each.environ().get("AWS_ENDPOINT_URL_S3") == address]


def newest_run() -> tuple[str, list[str]]:
    """Status of the last pipeline run in MLflow, and those of its steps' runs."""
    experiment = call("GET", "experiments/get-by-name", {"experiment_name": "flights"})["experiment"]["experiment_id"]
    body = {"experiment_ids": [experiment], "filter": "tags.`kfp.pipeline_run_id` != ''", "order_by": ["attributes.start_time DESC"]}
    found = call("POST", "runs/search", body)["runs"][0]["info"]
    return found["status"], [run["info"]["status"] for run in below(found["run_id"])]
