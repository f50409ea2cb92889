"""What the steps' tests share: a table and a fitted model of each task, made once."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg.sql
import pytest

from components.train.fit import fit
from core.bundle import Bundle
from core.config import UseCase
from core.tracking import Run
from tests import postgresql as servers
from tests.broker import Broker, running
from tests.unit import small


@dataclass(frozen=True)
class Trained:
    """A use case, its table and the model that train made of it."""

    usecase: UseCase
    table: str
    model: str

    def named(self, **changes: object) -> UseCase:
        """The use case under a name of its own, as if it were another one."""
        return self.usecase.model_copy(update={"name": small.usecase().name} | changes)


@pytest.fixture(scope="session", params=["binary", "multiclass", "regression"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return _train(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return _train("binary", tmp_path_factory.mktemp("only-binary"))


@pytest.fixture(scope="session")
def risk(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A binary model of texts whose positive class, bad, is the first in scikit-learn's order."""
    answer = np.where(small.columns()["answer"] == 1, "good", "bad")
    return _train("binary", tmp_path_factory.mktemp("risk"), {"answer": answer}, positive="bad", metric="average_precision")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Kafka broker; what it needs of the environment is `broker.environment()`."""
    with running(tmp_path_factory.mktemp("broker")) as started:
        yield started


@pytest.fixture
def bundle(binary: Trained) -> Bundle:
    """The served form of the binary model, under a name that no other test uses."""
    from components.evaluate.golden import choose
    from components.register.register import served_form
    from core.bundle import load_model
    from core.examples import examples

    usecase, model = binary.named(), load_model(Path(binary.model).read_bytes())
    rows, _ = examples(binary.table, usecase, "test")
    return served_form(usecase, model, choose(usecase, rows, model))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[servers.Server]:
    """A running PostgreSQL of this worker; it ends with the session, also if that is killed."""
    with servers.running(Path(tempfile.gettempdir())) as server:
        yield server


@pytest.fixture
def database(postgresql: servers.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection[Any]]:
    """A schema of its own, which the environment names, and a connection of its owner."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    for variable, value in (postgresql.environment() | {"PGOPTIONS": f"-csearch_path={name},public"}).items():
        monkeypatch.setenv(variable, value)
    with psycopg.connect(autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        yield connection
        for (schema,) in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_.*|information_schema|public)$'").fetchall():
            connection.execute(psycopg.sql.SQL("DROP SCHEMA {} CASCADE").format(psycopg.sql.Identifier(schema)))


@pytest.fixture
def run_id(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The environment of a step of one pipeline run."""
    found = str(uuid.uuid4())
    monkeypatch.setenv("KFP_RUN_ID", found)
    monkeypatch.setenv("GIT_SHA", "0123abc")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    yield found


def _train(task: str, folder: Path, columns: dict[str, Any] | None = None, **changes: Any) -> Trained:
    usecase = small.usecase(task, **changes)
    made = Trained(usecase, small.written(folder / "table.parquet", small.columns(task) | (columns or {})), str(folder / "model.skops"))
    fit(Run("train", usecase), made.table, made.model, str(folder / "trials.html"))
    return made


@pytest.fixture
def usecases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of use cases of the test's own."""
    for module in ("components.extract.sources.file", "components.extract.batch"):
        monkeypatch.setattr(f"{module}.FOLDER", tmp_path / "usecases")
    return tmp_path / "usecases"
