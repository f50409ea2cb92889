"""MLflow behind its login, as the component mlflow-login starts it: a real server, a real PostgreSQL, and the calls of a run."""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from core import mlflow_connection, registry, tracking
from core.errors import UserError
from core.mlflow_api import call, get_artifact, put_artifact
from core.processes import free_port
from tests import postgresql
from tests.manifests.build import KUBERNETES, Document, named
from tests.unit import small

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("platform")]  # the platform's S3 holds the champion's record

MIGRATE, USERS = KUBERNETES / "base/mlflow/migrate.py", KUBERNETES / "components/mlflow-login/users.py"


@dataclass
class Login:
    """A server, and the folder of the mounted Secret."""

    address: str
    users: Path
    environment: dict[str, str]

    def password(self, user: str) -> str:
        """Return the password of the Secret."""
        return (self.users / user).read_text().strip()

    def set_passwords(self, **passwords: str) -> subprocess.CompletedProcess[str]:
        """Start as a pod does whose Secret has these passwords."""
        for name, password in passwords.items():
            (self.users / name).write_text(password + "\n")
        command = [sys.executable, str(USERS), str(self.users)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def status(self, path: str, user: str = "", password: str = "") -> int:
        """Ask as a browser does."""
        return requests.get(f"{self.address}{path}", auth=(user, password) if user else None, timeout=30).status_code


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory, built: Callable[[str], list[Document]]) -> Iterator[Login]:
    folder = tmp_path_factory.mktemp("login")
    (folder / "users").mkdir()
    pod = next(each for each in built("overlays/mlflow-login") if named(each) == "Deployment mlops-platform/mlflow")["spec"]["template"]["spec"]
    port = free_port()
    command = [*pod["containers"][0]["command"], f"--port={port}", f"--artifacts-destination={folder}/artifacts"]  # the last one of an option counts
    with postgresql.running(Path(tempfile.gettempdir())) as database:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg://postgres:{database.password}@127.0.0.1:{database.port}/postgres",
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key that stays",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        made = Login(f"http://127.0.0.1:{port}", folder / "users", environment)
        subprocess.run([sys.executable, MIGRATE], env=environment, check=True, capture_output=True)
        assert made.set_passwords(admin="password-of-admin", pipeline="password-of-pipeline").returncode == 0
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
            try:
                _wait(f"{made.address}/health", server)
                yield made
            finally:
                server.terminate()
                server.wait()


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            if requests.get(address, timeout=5).ok:
                return
        except requests.RequestException:
            assert server.poll() is None
        time.sleep(0.1)


@pytest.fixture
def step(login: Login, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of a step: the Secret mlops-mlflow."""
    variables = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    for name, value in zip(variables, (login.address, "pipeline", login.password("pipeline")), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KFP_RUN_ID", uuid.uuid4().hex)
    mlflow_connection.session.cache_clear()
    yield
    mlflow_connection.session.cache_clear()


@pytest.mark.usefixtures("step")
def test_a_step_may_do_all_that_a_run_does() -> None:
    import mlflow
    from sklearn.linear_model import LinearRegression

    usecase = small.usecase()
    parent = tracking.parent(usecase)
    tracking.publish(parent, {"a": 1}, {"b": 2.0}, {"c": "d"})
    info = tracking.get(parent)["info"]
    put_artifact(info["artifact_uri"], "report.html", b"<html>")
    assert get_artifact(info["artifact_uri"], "report.html") == b"<html>"
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    logged = mlflow.models.Model.log(
        artifact_path=None,
        name="model",
        flavor=mlflow.sklearn,
        run_id=parent,
        sk_model=LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]),
        serialization_format="skops",
        registered_model_name=usecase.name,
        pip_requirements=[],
    )
    version = registry.Version(usecase.name, str(logged.registered_model_version), "s3://models/a.zip", "sha256:a", "")
    registry.tag(version, version.tags | {"kfp.pipeline_run_id": tracking.run_id()})
    registry.describe(version, "# card")
    registry.set_alias(usecase.name, "challenger", version.version)
    registry.promote(version, "it is the first")
    tracking.end(parent, "FINISHED")
    assert registry.champion(usecase.name) == registry.find(usecase.name, tracking.run_id(), "sha256:a")


@pytest.mark.usefixtures("step")
def test_a_step_may_write_what_was_there_before_the_login(login: Login) -> None:
    usecase, admin = small.usecase(), ("admin", login.password("admin"))
    for path in ("experiments", "registered-models"):
        made = requests.post(f"{login.address}/api/2.0/mlflow/{path}/create", json={"name": usecase.name}, auth=admin, timeout=30)
        assert made.ok, made.text

    tracking.end(tracking.parent(usecase), "FINISHED")
    call("POST", "registered-models/set-tag", {"name": usecase.name, "key": "a", "value": "b"})


def test_only_the_health_is_open(login: Login) -> None:
    paths = ("/health", "/", "/api/2.0/mlflow/experiments/get?experiment_id=0", "/api/2.0/mlflow-artifacts/artifacts", "/metrics")

    assert [login.status(path) for path in paths] == [200, 401, 401, 401, 401]


@pytest.mark.usefixtures("step")
def test_passwords_follow_the_secret(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"

    changed = login.set_passwords(admin="new-password-of-admin", pipeline="new-password-of-pipeline")

    assert (changed.returncode, changed.stdout) == (0, "user admin: administrator\nuser pipeline: may read and write\n")
    assert login.status(path, "pipeline", "new-password-of-pipeline") == login.status(path, "admin", "new-password-of-admin") == 200
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-password-that-never-was")
    mlflow_connection.session.cache_clear()
    with pytest.raises(UserError, match=r"asks for a login \(HTTP 401\): correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"):
        call("GET", "experiments/get", {"experiment_id": "0"})


def test_a_user_without_a_password_is_named(login: Login, tmp_path: Path) -> None:
    refused = Login(login.address, tmp_path, login.environment).set_passwords(admin="password-of-admin")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"error: {tmp_path}/pipeline is missing: the Secret mlflow-users needs one key a user, with the password\n"
