"""Who is compared: the project's server, its peers, and a bare Starlette. None writes a line a request into its log."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.model import ROOT, Model
from benchmarks.serving.protocols import BENTOML, INVOCATIONS, V2, V2_BINARY, V2_KSERVE, V2_MLSERVER, Protocol
from benchmarks.serving.servers import Launch

PEERS = Path(__file__).with_name("peers")
ENVIRONMENTS = ROOT / ".local" / "bench" / "peers"
OURS, HELLO = "ours", "hello"


@dataclass(frozen=True)
class Place:
    """Where a server is started: its environment's programs, a folder to itself, a port and more of them."""

    programs: Path
    folder: Path
    port: int
    more: tuple[int, int]


@dataclass(frozen=True)
class Contender:
    """A server.

    Attributes:
        key: Its short name, and its folder's in `peers/`.
        name: As it is shown, without the version.
        protocols: What it is asked in.
        launch: How it is started.
        batches: Whether it puts requests together.
        tolerance: How far its probabilities may be from scikit-learn's.
    """

    key: str
    name: str
    protocols: tuple[Protocol, ...]
    launch: Callable[[Model, Place], Launch]
    batches: bool = False
    tolerance: float = 1e-6

    @property
    def requirements(self) -> Path | None:
        """Return the file of its environment; the project's servers have the project's."""
        path = PEERS / self.key / "requirements.txt"
        return path if path.exists() else None

    @property
    def programs(self) -> Path:
        """Return the folder of its environment's programs."""
        return ENVIRONMENTS / self.key / "bin" if self.requirements else Path(sys.executable).parent

    @property
    def title(self) -> str:
        """Return its name and, of a peer, its version."""
        version = re.search(rf"^{self.key}==(\S+)", self.requirements.read_text(), re.MULTILINE) if self.requirements else None
        return f"{self.name} {version[1]}" if version else self.name


def _ours(model: Model, place: Place) -> Launch:
    version = model.version
    named = {"uri": version.uri, "digest": version.digest, "name": version.name, "version": version.version, "port": str(place.port)}
    options = [word for option, value in named.items() for word in (f"--{option}", value)]
    return Launch([sys.executable, "-m", "serving", *options], model.storage, ROOT)


def _hello(_: Model, place: Place) -> Launch:
    options = [f"--port={place.port}", "--no-access-log", "--log-level=warning"]
    return Launch([sys.executable, "-m", "uvicorn", "benchmarks.serving.hello:app", *options], folder=ROOT)


def _mlflow(model: Model, place: Place) -> Launch:
    options = ["--env-manager=local", "--workers=1", f"--model-uri={model.mlflow}", f"--port={place.port}"]
    environment = {"PATH": f"{place.programs}:/usr/bin:/bin", "MLFLOW_DISABLE_TELEMETRY": "true", "UVICORN_ACCESS_LOG": "false"}
    return Launch([place.programs / "mlflow", "models", "serve", *options], environment, place.folder)


def _mlserver(model: Model, place: Place) -> Launch:
    """Start it without worker processes: on one core they only carry the requests to and fro.

    Of the batch sizes 16, 32 and 64 and the times from 1 to 20 ms, those in its file gave the most requests a second at 16 connections.
    """
    shutil.copy(PEERS / "mlserver" / "model-settings.json", place.folder)
    shutil.copy(model.joblib, place.folder / "model.joblib")
    ports = {"HTTP_PORT": place.port, "GRPC_PORT": place.more[0], "METRICS_PORT": place.more[1], "PARALLEL_WORKERS": 0}
    environment = {f"MLSERVER_{name}": str(value) for name, value in ports.items()} | {"MLSERVER_HOST": "127.0.0.1", "MLSERVER_DEBUG": "false"}
    return Launch([place.programs / "mlserver", "start", "."], environment, place.folder)


def _kserve(model: Model, place: Place) -> Launch:
    options = [f"--http_port={place.port}", "--enable_grpc=false", "--workers=1", "--model_name=flights", "--configure_logging=false"]
    environment = {"MODEL": str(model.joblib), "PYTHONWARNINGS": "ignore"}  # FastAPI's, one a request
    return Launch([place.programs / "python", PEERS / "kserve" / "service.py", *options, "--enable_latency_logging=false"], environment, place.folder)


def _bentoml(model: Model, place: Place) -> Launch:
    options = ["--host=127.0.0.1", f"--port={place.port}", f"--working-dir={PEERS / 'bentoml'}"]
    environment = {"MODEL": str(model.joblib), "BENTOML_HOME": str(place.folder / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    return Launch([place.programs / "bentoml", "serve", "service:Flights", *options], environment, place.folder)


CONTENDERS = (
    Contender(OURS, "this server", (INVOCATIONS, V2, V2_BINARY), _ours, tolerance=1e-9),
    Contender("mlserver", "MLServer", (V2_MLSERVER,), _mlserver, batches=True),
    Contender("bentoml", "BentoML", (BENTOML,), _bentoml, batches=True),
    Contender("kserve", "KServe", (V2_KSERVE,), _kserve),
    Contender("mlflow", "mlflow", (INVOCATIONS,), _mlflow),
    Contender(HELLO, "Starlette hello", (), _hello),
)
