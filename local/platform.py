"""The embedded platform: one S3 server and one MLflow server for a checkout, started once and found again by every later command."""

import errno
import fcntl
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from components.deploy.local import LOG_SECONDS
from core import processes
from core.errors import UserError
from core.processes import Process
from local import health, mlflow_server, model_servers, ports, s3
from local.state import Platform, home, load, private, save

__all__ = ["Platform", "ServerStatus", "down", "home", "status", "up", "wait_for_mlflow"]

LEAST_FREE_MB = 200
SLOWEST_START = 300.0  # seconds, as long as the process lives: MLflow imports for minutes on a very busy machine


@dataclass(frozen=True)
class ServerStatus:
    """How one server is doing. `starting` is a process that does not answer (yet), `damaged` a file at `address` that cannot be read."""

    name: str
    address: str
    pid: int | None
    state: Literal["up", "starting", "down", "damaged"]
    log: str


def up(wait: bool = True) -> Platform:
    """Start what is not running yet; what runs is left as it is.

    Args:
        wait: Also wait for MLflow, which takes some seconds longer than S3.

    Returns:
        The platform: S3 answers and has its buckets.

    Raises:
        UserError: A port, the disk or the folder is not to be had, or a server died.
    """
    with _locked():
        _refuse_full_disk()
        platform = _with_mlflow(_with_s3(load()))
        _wait_for_s3(platform)
    if wait:
        wait_for_mlflow(platform)
    return platform


def wait_for_mlflow(platform: Platform) -> None:
    """Wait until MLflow answers."""
    _wait(platform.mlflow, "MLflow", lambda: health.answers(platform.mlflow_port, "/health"))


def down() -> list[str]:
    """End all servers, those of models too, and wait until they are gone.

    Returns:
        Names of the servers that were running.

    Raises:
        UserError: A file in `serving/` is damaged, so that its server is unknown. All others are ended before.
    """
    if not home().exists():
        return []
    with _locked():
        platform, (servers, damaged) = load(), model_servers.recorded(home())
        copies = {"mlflow": _copies("mlflow", platform.mlflow), "s3": _copies("s3", platform.s3)}
        with ThreadPoolExecutor() as pool:  # first the model servers: they may have predictions to write to S3
            found = list(pool.map(lambda server: processes.stop(server.process, LOG_SECONDS), servers))
            found += pool.map(_stop, copies.values())
    if damaged:
        raise UserError("\n".join(f"{file} is damaged: end that model server by hand and delete the file" for file in damaged))
    names = [*(server.name for server in servers), *copies]
    return [name for name, was_running in zip(names, found, strict=True) if was_running]


def status() -> list[ServerStatus]:
    """Tell how each server is doing; nothing is started."""
    platform, (servers, damaged) = load(), model_servers.recorded(home())
    return [
        _status("s3", platform.s3, platform.s3_port, "/healthz"),
        _status("mlflow", platform.mlflow, platform.mlflow_port, "/health"),
        *(_status(server.name, server.process, server.port, "/v2/health/ready") for server in servers),
        *(ServerStatus(f"serving/{file.stem}", str(file), None, "damaged", "") for file in damaged),
    ]


@contextmanager
def _locked() -> Iterator[None]:
    """Let one command at a time start or end servers. What the file system refuses becomes one sentence."""
    try:
        private()
        with (home() / "platform.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(_disk_full(str(error.strerror))) from error
        raise UserError(f"{home()} cannot be written ({error.strerror}): correct its permissions or set MLOPS_HOME to another folder") from error


def _refuse_full_disk() -> None:
    free = shutil.disk_usage(home()).free // 1_000_000
    if free < LEAST_FREE_MB:
        raise UserError(_disk_full(f"{free} MB free"))


def _disk_full(how: str) -> str:
    return f"the disk of {home()} is full ({how}, at least {LEAST_FREE_MB} MB needed): make room or set MLOPS_HOME to a folder on another disk"


def _with_s3(platform: Platform) -> Platform:
    if _runs(platform.s3) and ports.fixed("MLOPS_S3_PORT") in (None, platform.s3_port):
        return platform
    _stop(_copies("s3", platform.s3))
    port = ports.choose("MLOPS_S3_PORT", platform.s3_port, s3.ports)
    # The port is written down before the server starts. An MLflow that knows another one is forgotten here, so that it is started anew.
    platform = save(replace(platform, s3_port=port, s3=None, mlflow=platform.mlflow if port == platform.s3_port else None))
    s3.secure(private("s3"))
    command = s3.command(port, _folder("s3"))
    settings = s3.environment(platform.access_key, platform.secret_key)
    return replace(platform, s3=_start("s3", command, settings, lambda process: save(replace(platform, s3=process))))


def _with_mlflow(platform: Platform) -> Platform:
    if _runs(platform.mlflow) and ports.fixed("MLOPS_MLFLOW_PORT") in (None, platform.mlflow_port):
        return platform
    _stop(_copies("mlflow", platform.mlflow))
    port = ports.choose("MLOPS_MLFLOW_PORT", platform.mlflow_port, lambda first: [first], reserved=s3.ports(platform.s3_port))
    platform = save(replace(platform, mlflow_port=port, mlflow=None))
    command = mlflow_server.command(port, _folder("mlflow"))
    settings = mlflow_server.environment(platform.s3_address, platform.access_key, platform.secret_key)
    return replace(platform, mlflow=_start("mlflow", command, settings, lambda process: save(replace(platform, mlflow=process))))


def _runs(process: Process | None) -> bool:
    return process is not None and processes.alive(process)


def _copies(name: str, remembered: Process | None) -> list[Process]:
    """List what runs of a server: as remembered, and what runs although the file that remembered it was deleted."""
    mark = {"s3": s3.mark, "mlflow": mlflow_server.mark}[name](_folder(name))
    return [*([remembered] if remembered else []), *processes.find(mark)]


def _stop(copies: list[Process]) -> bool:
    found = [processes.stop(each) for each in copies]
    return any(found)


def _start(name: str, command: list[str], settings: dict[str, str], remember: Callable[[Process], object]) -> Process:
    private("logs")
    return processes.start(name, command, processes.inherited() | settings, _log(name), cwd=private(name), remember=remember)


def _folder(name: str) -> Path:
    return home() / name


def _log(name: str) -> Path:
    return home() / "logs" / f"{name}.log"


def _wait_for_s3(platform: Platform) -> None:
    _wait(platform.s3, "the S3 server", lambda: s3.ready(platform.s3_port, platform.access_key, platform.secret_key))


def _wait(process: Process | None, what: str, ready: Callable[[], bool]) -> None:
    if process is None:
        raise UserError(f"{what} was not started: `mlops platform up` starts it")
    processes.wait_until(ready, process, SLOWEST_START, what)


def _status(name: str, process: Process | None, port: int, path: str) -> ServerStatus:
    address, log = f"http://127.0.0.1:{port}", process.log if process else str(_log(name))
    if process is None or not processes.alive(process):
        return ServerStatus(name, address, None, "down", log)
    return ServerStatus(name, address, process.pid, "up" if health.answers(port, path) else "starting", log)
