"""The Secrets of a cluster for trying it out: made at random, into one file that git ignores."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from core.errors import UserError

PLATFORM, PIPELINE, SERVING = "mlops-platform", "mlops", "mlops-serving"
USERS = ("pipeline", "mlflow", "serving", "pages")  # of MinIO, each with the policy of its name in k8s/base/buckets/policies


def write(path: Path) -> None:
    """Write every Secret that the manifests refer to, for the owner's eyes only: whole or not at all.

    Raises:
        UserError: There are Secrets already, or the folder cannot be written.
    """
    text = yaml.safe_dump_all(documents(), sort_keys=False)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
            Path(path).hardlink_to(name)
        finally:
            Path(name).unlink()
    except FileExistsError as error:
        raise UserError(
            f"{path} exists, and a running cluster may depend on it: keep it, or delete it for a cluster without data and run `make secrets` again"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def documents() -> Iterator[dict[str, object]]:
    """Make the Secrets of all three namespaces, with passwords that agree."""
    s3 = {user: _password() for user in USERS}
    database = _password()
    yield _secret(PLATFORM, "minio-root", {"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": _password()})
    yield _secret(PLATFORM, "minio-users", s3)
    yield _secret(PLATFORM, "postgres", {"POSTGRES_PASSWORD": database})
    yield _secret(PLATFORM, "mlflow-database", {"MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg://mlflow:{database}@postgres:5432/mlflow"})
    yield _secret(PLATFORM, "mlflow-s3", _keys("mlflow", s3))
    yield _secret(PIPELINE, "mlops-s3", _keys("pipeline", s3))
    yield _secret(SERVING, "mlops-s3", _keys("serving", s3))


def _keys(user: str, passwords: dict[str, str]) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": passwords[user]}


def _password() -> str:
    return secrets.token_hex(20)  # in an address it needs no escape; 40 characters are what every S3 client takes


def _secret(namespace: str, name: str, values: dict[str, str]) -> dict[str, object]:
    metadata = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "mlops"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": values}
