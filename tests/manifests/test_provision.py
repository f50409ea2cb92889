"""The Job that makes buckets and users, against a real MinIO."""

import io
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
from minio import Minio
from minio.error import S3Error

from core.processes import free_port
from core.storage import BUCKETS
from tests.manifests.build import KUBERNETES, RIG

FOLDER = KUBERNETES / "base/buckets"
ROOT = {"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": "administrator"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MinIO of this module."""
    with minio(tmp_path_factory.mktemp("minio"), ROOT, address := f"127.0.0.1:{free_port()}"):
        yield address


@contextmanager
def minio(folder: Path, administrator: dict[str, str], address: str) -> Iterator[None]:
    """Run a MinIO whose data lie in the folder."""
    command = [binary(), "server", f"{folder}/data", "--address", address, "--quiet"]
    settings = administrator | {"MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "HOME": str(folder)}  # it makes a folder in HOME
    process = subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def binary() -> str:
    """Find MinIO's program, or skip the test."""
    found = shutil.which("minio") or shutil.which("minio", path=str(RIG))
    if not found:
        pytest.skip("minio is not on the PATH: its users and policies cannot be tried")
    return found


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """The mounted Secret: one file a user."""
    for user in ("pipeline", "mlflow", "serving", "pages"):
        (tmp_path / user).write_text(f"password-of-{user}")
    return tmp_path


def provision(server: str, users: Path) -> subprocess.CompletedProcess[str]:
    job = start(server, users)
    out, error = job.communicate(timeout=60)
    return subprocess.CompletedProcess(job.args, job.returncode, out, error)


def start(server: str, users: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(FOLDER / "provision.py"), str(FOLDER / "policies"), str(users)]
    variables = os.environ | ROOT | {"AWS_ENDPOINT_URL_S3": f"http://{server}"} | environment
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def client(server: str, user: str, password: str | None = None) -> Minio:
    http = urllib3.PoolManager(retries=False)
    password = password or f"password-of-{user}"
    return Minio(endpoint=server, access_key=user, secret_key=password, region="us-east-1", secure=False, http_client=http)


def test_it_may_run_again_with_the_same_end(server: str, users: Path) -> None:
    # when
    first, second = provision(server, users), provision(server, users)
    # then
    assert (first.returncode, first.stderr) == (0, "")
    assert (second.returncode, second.stdout) == (0, first.stdout)
    root = client(server, "root", ROOT["MINIO_ROOT_PASSWORD"])
    assert {bucket.name for bucket in root.list_buckets()} == set(BUCKETS)
    assert {bucket for bucket in BUCKETS if root.get_bucket_versioning(bucket).status == "Enabled"} == {"data", "models"}
    rules = root.get_bucket_lifecycle("pipelines")
    assert rules
    assert [rule.rule_id for rule in rules.rules] == ["artifacts-180-days", "cache-30-days", "spark-1-days"]
    predictions = root.get_bucket_lifecycle("predictions")
    assert predictions
    assert [(rule.rule_id, rule.expiration and rule.expiration.days) for rule in predictions.rules] == [("predictions-180-days", 180)]


ALLOWED = {
    "pipeline": {
        *((verb, bucket) for bucket in ("data", "pipelines", "models") for verb in ("list", "get", "put")),
        *((verb, "predictions") for verb in ("list", "get")),
    },
    "mlflow": {(verb, "mlflow") for verb in ("list", "get", "put", "delete")},
    "serving": {("get", "models"), ("put", "predictions")},
    "pages": {("list", "pipelines"), ("get", "pipelines")},
}


@pytest.mark.parametrize("user", ALLOWED)
def test_a_user_may_do_what_it_needs_and_nothing_else(server: str, users: Path, user: str) -> None:
    # given
    provision(server, users)
    root = client(server, "root", ROOT["MINIO_ROOT_PASSWORD"])
    for bucket in BUCKETS:
        root.put_object(bucket, "there", io.BytesIO(b"x"), 1)
    # when
    done = {(verb, bucket) for bucket in BUCKETS for verb in VERBS if _may(client(server, user), verb, bucket)}
    # then
    assert done == ALLOWED[user]


VERBS = ("list", "get", "put", "delete")


def _may(connection: Minio, verb: str, bucket: str) -> bool:
    try:
        if verb == "list":
            list(connection.list_objects(bucket))
        elif verb == "get":
            connection.get_object(bucket, "there").close()
        elif verb == "put":
            connection.put_object(bucket, "mine", io.BytesIO(b"x"), 1)
        else:
            connection.remove_object(bucket, "mine")
    except S3Error as error:
        assert error.code == "AccessDenied"
        return False
    return True


def test_a_changed_password_is_set_and_the_old_one_ends(server: str, users: Path) -> None:
    # given
    provision(server, users)
    # when
    (users / "mlflow").write_text("another-password\n")
    provision(server, users)
    # then
    list(client(server, "mlflow", "another-password").list_objects("mlflow"))
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        list(client(server, "mlflow").list_objects("mlflow"))


@pytest.mark.slow
def test_a_new_administrator_keeps_users_and_data(tmp_path: Path, users: Path) -> None:
    # given: a Job that knows the new password already, and a MinIO that does not
    with minio(tmp_path, ROOT, address := f"127.0.0.1:{free_port()}"):
        assert provision(address, users).returncode == 0
        client(address, "mlflow").put_object("mlflow", "run", io.BytesIO(b"x"), 1)
        job = start(address, users, MINIO_ROOT_PASSWORD="new-administrator")
        with pytest.raises(subprocess.TimeoutExpired):
            job.wait(1)
    # when: MinIO restarts with the new one
    with minio(tmp_path, ROOT | {"MINIO_ROOT_PASSWORD": "new-administrator"}, address):
        _, error = job.communicate(timeout=20)
        # then
        assert (job.returncode, error) == (0, "")
        assert client(address, "mlflow").get_object("mlflow", "run").read() == b"x"
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            client(address, "root", ROOT["MINIO_ROOT_PASSWORD"]).list_buckets()


def test_an_administrator_that_stays_unknown_is_named(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = runpy.run_path(str(FOLDER / "provision.py"))
    monkeypatch.setitem(script["wait"].__globals__, "PATIENCE", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{server}")

    with pytest.raises(SystemExit, match="it does not know the administrator of the Secret minio-root: restart MinIO"):
        script["wait"](client(server, "root", "wrong-password"))


def test_a_user_without_a_password_is_named(server: str, users: Path) -> None:
    # given
    (users / "serving").unlink()
    # when
    result = provision(server, users)
    # then
    assert result.returncode == 1
    assert result.stderr == f"error: {users}/serving is missing: the Secret minio-users needs one key a policy, with the user's password\n"
