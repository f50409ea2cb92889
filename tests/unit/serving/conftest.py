"""Three models of three kinds, each behind a running server of both engines, on a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge

from tests.unit.serving.models import Trained, columns_of, publish, trained
from tests.unit.serving.servers import ONNX, SCIKIT_LEARN, Launcher, Running


@pytest.fixture(scope="session")
def wine() -> Trained:
    """Multiclass with text labels, by boosted trees, with a text column and missing values."""
    data = load_wine(as_frame=True)
    columns = columns_of(data.data[["alcohol", "proline", "hue"]], [None, "north", "south", "east"])
    labels = np.array(["barolo", "grignolino", "barbera"])[data.target]
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    return trained("wine", "multiclass", columns, labels, model, "BYTES")


@pytest.fixture(scope="session")
def late() -> Trained:
    """Binary with labels 0 and 1, by logistic regression."""
    data = load_wine(as_frame=True)
    columns = columns_of(data.data[["alcohol", "hue"]], [None, "UA", "AA"])
    return trained("late", "binary", columns, (data.target == 0).astype(int).to_numpy(), LogisticRegression(), "INT64")


@pytest.fixture(scope="session")
def diabetes() -> Trained:
    """Regression."""
    data = load_diabetes(as_frame=True)
    columns = columns_of(data.data[["bmi", "bp"]], ["f", "m", None])
    return trained("diabetes", "regression", columns, data.target.to_numpy(), Ridge(), "FP64")


@pytest.fixture(scope="session")
def launcher(platform: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path_factory.mktemp("servers"))
    yield launcher
    launcher.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask both engines, one after the other: they answer alike. One is enough for what no engine sees."""
    if "engine" in metafunc.fixturenames:
        engines = [ONNX] if metafunc.definition.get_closest_marker("one_engine") else [ONNX, SCIKIT_LEARN]
        metafunc.parametrize("engine", engines, scope="session", indirect=True)


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """The engine of the servers."""
    return str(request.param)


@pytest.fixture(scope="session")
def running(launcher: Launcher, wine: Trained, late: Trained, diabetes: Trained, engine: str) -> dict[str, Running]:
    """The three models, by one engine. All at once: they start side by side."""
    bundles = [next(bundle for bundle in model.bundles() if bundle.manifest.engine == engine) for model in (wine, late, diabetes)]
    started = {bundle.manifest.name: launcher.start(*publish(bundle), name=bundle.manifest.name) for bundle in bundles}
    return {name: server.wait_until_ready() for name, server in started.items()}


@pytest.fixture(scope="session")
def wine_server(running: dict[str, Running]) -> Running:
    return running["wine"]


@pytest.fixture(scope="session")
def late_server(running: dict[str, Running]) -> Running:
    return running["late"]


@pytest.fixture(scope="session")
def diabetes_server(running: dict[str, Running]) -> Running:
    return running["diabetes"]
