"""One real platform for all tests of a session, its workers included."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import processes
from local import environment, mlflow_server, s3
from local import platform as embedded

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it, and so would all that it starts
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the pipelines' tasks have it; read when OpenMP is loaded

# Settings of the user's own programs, which no test means.
FOREIGN = (*environment.FOREIGN, "GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "IMAGE", "KAFKA_", "KFP_", "PG", "SCHEMA_REGISTRY_", "SERVING_")
OWN = ("MLOPS_HOME", "MLOPS_NAMESPACE", "MLOPS_S3_PORT", "MLOPS_MLFLOW_PORT")
for variable in [each for each in os.environ if each.startswith((*FOREIGN, *OWN))]:
    del os.environ[variable]
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # it would write an id into the home folder
os.environ.setdefault("MPLCONFIGDIR", str(Path(__file__).parents[1] / ".local" / "matplotlib"))  # once for all sessions, and not in the home folder

HOME = "MLOPS_TEST_HOME"  # set by the process that the user started, inherited by pytest-xdist's workers
FAILED = pytest.StashKey[bool]()
GUARD = pytest.StashKey[subprocess.Popen[bytes]]()

# Reads until its input ends, which is when the session does: by itself, by Ctrl-C, or killed.
GUARDIAN = "import sys; sys.stdin.read(); from local.platform import down; down()"


def pytest_configure(config: pytest.Config) -> None:
    if _is_worker(config):
        return
    os.environ[HOME] = tempfile.mkdtemp(prefix="mlops-test-")
    settings = os.environ | {"MLOPS_HOME": os.environ[HOME]}
    command = [sys.executable, "-c", GUARDIAN]
    config.stash[GUARD] = subprocess.Popen(command, stdin=subprocess.PIPE, env=settings, cwd=config.rootpath, start_new_session=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a timeout clears up as Ctrl-C does


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Name the group of a test in its id, as xdist expects it: up to 3.8 it sets a field that pytest 9.2 does not read any more."""
    for item in items if config.getoption("loadgroup", False) else []:
        group = item.get_closest_marker("xdist_group")
        if group and not item.nodeid.endswith(f"@{group.args[0]}"):
            item._id = type(item._id).parse(f"{item.nodeid}@{group.args[0]}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[FAILED] = exitstatus != 0


def pytest_unconfigure(config: pytest.Config) -> None:
    """Have the platform ended and wait for it. The workers are gone by now, also after Ctrl-C."""
    if _is_worker(config):
        return
    config.stash[GUARD].communicate()
    home = Path(os.environ.pop(HOME))
    failed = config.stash.get(FAILED, True)
    if failed and (home / "logs").exists():
        print(f"the servers' logs: {home / 'logs'}", file=sys.stderr)
    else:
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def platform() -> Iterator[embedded.Platform]:
    """The running platform, which this process's environment names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_HOME", os.environ[HOME])
        running = embedded.up()
        for variable, value in environment.environment(running).items():
            patch.setenv(variable, value)
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout's folder of its own, for tests that break servers; whatever they leave is ended."""
    folder = tmp_path / "my home"
    monkeypatch.setenv("MLOPS_HOME", str(folder))
    yield folder
    kill_servers(folder)
    embedded.down()


def kill_servers(home: Path) -> None:
    """Kill the platform's servers of this folder: asked to end while it starts, MLflow goes on importing for up to 10 seconds."""
    for mark in (s3.mark(home / "s3"), mlflow_server.mark(home / "mlflow")):
        for server in processes.find(mark):
            processes.stop(server, seconds=0)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
