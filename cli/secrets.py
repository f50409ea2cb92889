"""The Secrets of a cluster: random passwords, in one file that git ignores."""

import os
import re
import secrets
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from core.errors import UserError

PLATFORM, PIPELINE, SERVING = "mlops-platform", "mlops", "mlops-serving"
USERS = ("pipeline", "mlflow", "serving", "pages")  # of MinIO, each with the policy of its name in k8s/base/buckets/policies
BYTES = 20  # hexadecimal needs no escape in an address, and every S3 client takes 40 characters
PASSWORD = re.compile(rf"\b[0-9a-f]{{{2 * BYTES}}}\b")


def write(path: Path) -> None:
    """Write every Secret that the manifests refer to, for the owner's eyes only: whole or not at all.

    Raises:
        UserError: There are Secrets already, or the folder cannot be written.
    """
    try:
        _write(path, _text(documents()), replace=False)
    except FileExistsError as error:
        cure = "keep it, or make new passwords in it with `make secrets ROTATE=1`"
        raise UserError(f"{path} exists, and a running cluster may depend on it: {cure}") from error


def rotate(path: Path) -> int:
    """Replace every password in the file that was made here, and add Secrets that it lacks.

    Everything else stays: your own passwords, addresses, Secrets and comments.

    Returns:
        Number of new passwords.

    Raises:
        UserError: There is no file, it holds no password that was made here, or it cannot be written.
    """
    try:
        text = path.read_text()
        known = {_name(document) for document in yaml.safe_load_all(text) if document}
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist, so there is nothing to rotate: run `make secrets` first") from error
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as Secrets: correct it, then rotate again") from error
    replacements: defaultdict[str, str] = defaultdict(_password)
    rotated = PASSWORD.sub(lambda found: replacements[found.group()], text)
    if not replacements:
        raise UserError(f"{path} holds no password that `make secrets` made: change yours in the file, then apply")
    missing = [document for document in documents() if _name(document) not in known]
    _write(path, rotated + ("\n---\n" + _text(missing) if missing else ""), replace=True)
    return len(replacements)


def documents() -> Iterator[dict[str, Any]]:
    """Make the Secrets of all three namespaces, with passwords that agree."""
    s3 = {user: _password() for user in USERS}
    database, pipeline = _password(), _password()
    yield _secret(PLATFORM, "minio-root", "minio", {"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": _password()})
    yield _secret(PLATFORM, "minio-users", "minio", s3)
    yield _secret(PLATFORM, "postgres", "postgres", {"POSTGRES_PASSWORD": database})
    uri = f"postgresql+psycopg://mlflow:{database}@postgres:5432/mlflow"
    yield _secret(PLATFORM, "mlflow-database", "mlflow", {"MLFLOW_BACKEND_STORE_URI": uri})
    yield _secret(PLATFORM, "mlflow-s3", "mlflow", _keys("mlflow", s3))
    yield _secret(PLATFORM, "mlflow-session", "mlflow", {"MLFLOW_FLASK_SERVER_SECRET_KEY": _password()})
    yield _secret(PLATFORM, "mlflow-users", "mlflow", {"admin": _password(), "pipeline": pipeline})
    yield _secret(PIPELINE, "mlops-s3", "pipeline", _keys("pipeline", s3))
    login = {"MLFLOW_TRACKING_USERNAME": "pipeline", "MLFLOW_TRACKING_PASSWORD": pipeline}
    yield _secret(PIPELINE, "mlops-mlflow", "pipeline", login)
    yield _secret(SERVING, "mlops-s3", "serving", _keys("serving", s3))


def _keys(user: str, passwords: dict[str, str]) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": passwords[user]}


def _password() -> str:
    return secrets.token_hex(BYTES)


def _secret(namespace: str, name: str, program: str, values: dict[str, str]) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/name": program,
        "app.kubernetes.io/component": program if namespace != PLATFORM else "platform",
        "app.kubernetes.io/part-of": "mlops",
        "app.kubernetes.io/version": version("kubeflow-mlops-template"),
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": values}


def _name(document: dict[str, Any]) -> tuple[str, str]:
    return document["metadata"].get("namespace", ""), document["metadata"]["name"]


def _text(objects: Iterable[dict[str, Any]]) -> str:
    return yaml.safe_dump_all(objects, sort_keys=False)


def _write(path: Path, text: str, *, replace: bool) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
            if replace:
                Path(name).replace(path)
            else:
                path.hardlink_to(name)
        finally:
            Path(name).unlink(missing_ok=True)
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
