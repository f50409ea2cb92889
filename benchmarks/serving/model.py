"""The model that all serve: trained, judged and registered by the project's own pipeline, and written in the form that each server reads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.rows import Rows, draw
from core import processes, registry
from core.bundle import frame, load_model, unpack
from core.storage import read
from local import model_servers, platform
from local.environment import enter
from local.state import load

USECASE = "flights"
ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from cli.main import main; main()", "run", USECASE]


@dataclass(frozen=True)
class Model:
    """A registered version, its forms for the peers, and scikit-learn's answers.

    Attributes:
        version: Where its bundle lies in object storage, and its digest.
        storage: The environment by which a server finds object storage.
        joblib: The fitted pipeline for those that read pickles.
        mlflow: The logged MLflow model.
        rows: What is asked.
        labels: `predict` of scikit-learn.
        probabilities: `predict_proba` of scikit-learn.
        estimator: What the search chose.
        engine: By which the bundle is served.
    """

    version: registry.Version
    storage: dict[str, str]
    joblib: Path
    mlflow: Path
    rows: Rows
    labels: NDArray[Any]
    probabilities: NDArray[np.float64]
    estimator: str
    engine: str


@contextmanager
def prepared(scratch: Path) -> Iterator[Model]:
    """Run the pipeline on a platform of its own, of which object storage alone stays up for the servers."""
    before = dict(os.environ)
    os.environ["MLOPS_HOME"] = str(scratch / "home")
    try:
        if subprocess.run(COMMAND, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode:
            raise SystemExit("the pipeline failed: `make run` shows why")
        enter(load())
        model = _model(scratch)
        _leave_storage_alone()
        os.environ |= before
        yield model
    finally:
        os.environ["MLOPS_HOME"] = str(scratch / "home")
        platform.down()


def _model(scratch: Path) -> Model:
    version = registry.champion(USECASE)
    if version is None:
        raise SystemExit("the pipeline left no champion: `make run` shows why")
    bundle, rows = unpack(read(version.uri), version.digest), draw(USECASE)
    pipeline, table = load_model(bundle.model), frame(rows.columns, rows.inputs)
    joblib.dump(pipeline, scratch / "model.joblib")
    return Model(
        version,
        {name: value for name, value in os.environ.items() if name.startswith("AWS_")},
        scratch / "model.joblib",
        _mlflow_model(version, scratch),
        rows,
        pipeline.predict(table),
        pipeline.predict_proba(table),
        type(pipeline[-1]).__name__,
        bundle.manifest.engine,
    )


def _mlflow_model(version: registry.Version, scratch: Path) -> Path:
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    from mlflow import artifacts

    return Path(artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=str(scratch / "mlflow")))


def _leave_storage_alone() -> None:
    """End the servers of MLflow and of the deployment: they would have a share of the cores."""
    state = load()
    for process in [state.mlflow, *(server.process for server in model_servers.recorded(platform.home())[0])]:
        if process:
            processes.stop(process)
