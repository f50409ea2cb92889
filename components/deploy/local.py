"""The laptop's form of a deployment: one server process a use case, remembered in `serving/<usecase>.json` below MLOPS_HOME."""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import requests
from pydantic import TypeAdapter

from core import processes
from core.config import Serving as Settings
from core.errors import UserError
from core.processes import Process
from core.registry import Version
from core.resources import count

STARTING = ".starting.json"  # a server that is not proven yet; what kills the deployer leaves it behind
SECONDS = 180  # until a server is ready, as long as its process lives
END_SECONDS, LOG_SECONDS = 10, 40  # that a server may take to end, and one that first has to write down what it predicted


@dataclass(frozen=True)
class Served:
    """What serves a use case."""

    usecase: str
    version: str
    uri: str
    digest: str
    port: int
    process: Process
    log_predictions: float = 0.0  # not in what was written down before there was such a log
    variables: dict[str, str] = field(default_factory=dict)  # by which it was started

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def servers(self) -> tuple[str, ...]:
        """None beside the address itself."""
        return ()

    @property
    def since(self) -> str:
        """When it was written down, empty before."""
        record = _folder() / f"{self.usecase}.json"
        written = record.exists() and _read(record.name) == self
        return datetime.fromtimestamp(record.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if written else ""

    def remember(self) -> None:
        """Make this the server of the use case, in one step."""
        self.note(f"{self.usecase}.json")
        (_folder() / f"{self.usecase}{STARTING}").unlink(missing_ok=True)

    def note(self, name: str) -> None:
        """Write this down, whole or not at all."""
        draft = _folder() / f"{name}.draft"
        draft.write_text(json.dumps(asdict(self), indent=2))
        draft.replace(_folder() / name)


class LocalDeployer:
    """Starts a server process a version, each on a port of its own; what serves is written down when it has been proven."""

    def __init__(self, name: str, serving: Settings | None = None) -> None:
        self.name, self.settings = name, serving or Settings()

    @contextmanager
    def change(self) -> Iterator[None]:
        """Let one process at a time change what serves the use case; the lock goes with the process that holds it."""
        with (_folder() / f"{self.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._stop_started()  # by a change that was killed
            yield

    def serving(self) -> Served | None:
        """Return what serves now, if its process lives."""
        served = _read(f"{self.name}.json")
        return served if served and processes.alive(served.process) else None

    def start(self, version: Version) -> Served:
        """Start a server of a version and wait until it is ready; one that serves already, with the same settings, is left as it is.

        Raises:
            UserError: It ended, or was not ready in time.
        """
        now, asked = self.serving(), (version.version, version.digest, _variables(self.settings))
        return now if now and (now.version, now.digest, now.variables) == asked else start(version, self.settings)

    def switch(self, served: Served) -> None:
        """Do nothing: who asks names the port, and hears of it when it has been proven."""

    def take_back(self, before: Served | None) -> None:  # noqa: ARG002  (what served before serves on)
        """End the server that was started; one that was written down was proven and promoted, and is never ended here."""
        self._stop_started()

    def settle(self, served: Served) -> None:
        """Write it down, and end the server before."""
        before = self.serving()
        if before != served:
            served.remember()
            if before:
                stop(before)

    def count(self, served: Served) -> str:
        """Name the process."""
        return f"pid {served.process.pid}"

    def _stop_started(self) -> None:
        left = _read(f"{self.name}{STARTING}")
        if left:
            stop(left)


def start(version: Version, settings: Settings) -> Served:
    """Start a server of a version on a port of its own and wait until it is ready.

    Args:
        version: What it serves.
        settings: The section `serving` of the use case.

    Raises:
        UserError: It ended, or was not ready in time.
    """
    port = processes.free_port()
    command = [
        sys.executable,
        "-m",
        "serving",
        "--uri",
        version.uri,
        "--digest",
        version.digest,
        "--name",
        version.name,
        "--version",
        version.version,
    ]
    root = str(Path(__file__).resolve().parents[2])
    environment = processes.inherited() | {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    environment |= {"PYTHONPATH": root, **_variables(settings)}
    log = _folder().parent / "logs" / f"serving-{version.name}-{version.version}.log"
    log.parent.mkdir(exist_ok=True)

    def server(process: Process) -> Served:
        return Served(version.name, version.version, version.uri, version.digest, port, process, settings.log_predictions, _variables(settings))

    process = processes.start(
        f"serving-{version.name}",
        [*command, "--port", str(port)],
        environment,
        log,
        cwd=Path(root),
        remember=lambda process: server(process).note(f"{version.name}{STARTING}"),
    )
    served = server(process)
    try:
        processes.wait_until(lambda: _is_ready(served), process, SECONDS, f"the server of {version.name}, version {version.version}")
    except BaseException:
        stop(served)
        raise
    return served


def stop(served: Served) -> None:
    """End a server after it has answered what it had begun."""
    processes.stop(served.process, LOG_SECONDS if served.log_predictions else END_SECONDS)
    starting = _read(f"{served.usecase}{STARTING}")
    if starting and starting.process == served.process:
        (_folder() / f"{served.usecase}{STARTING}").unlink()


def _variables(settings: Settings) -> dict[str, str]:
    return settings.variables | {"MEMORY_LIMIT": str(count(settings.memory))}


def _is_ready(served: Served) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(f"{served.address}/v2/health/ready", timeout=2).ok
        except requests.RequestException:
            return False


def _read(name: str) -> Served | None:
    path = _folder() / name
    if not path.exists():
        return None
    try:
        return TypeAdapter(Served).validate_json(path.read_bytes(), strict=True)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is damaged: end that model server by hand and delete the file") from error


def _folder() -> Path:
    folder = Path(os.environ["MLOPS_HOME"], "serving")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
