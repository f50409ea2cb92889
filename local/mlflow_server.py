"""The MLflow server of the laptop: runs and models in SQLite, artifacts through it to the S3 server."""

import os
import sys
from pathlib import Path


def command(port: int, folder: Path) -> list[str]:
    """Write the server's command line."""
    hosts = ",".join(filter(None, ("localhost:*,127.0.0.1:*", os.environ.get("MLFLOW_SERVER_ALLOWED_HOSTS"))))
    return [
        *(sys.executable, mark(folder), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--allowed-hosts", hosts, "--artifacts-destination", "s3://mlflow"),
        *("--backend-store-uri", "sqlite:///mlflow.db"),  # in the working directory: a path may hold signs that mean something in a URI
    ]


def mark(folder: Path) -> str:
    """Return the argument by which the server of this folder can be told from others. Python ignores an -X that it does not know."""
    return f"-Xfolder={folder}"


def environment(s3_address: str, access_key: str, secret_key: str) -> dict[str, str]:
    """Return the variables that the server reads: its own, and boto3's, which must not look into the user's AWS configuration."""
    origins = {name: os.environ[name] for name in ("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",) if name in os.environ}
    return origins | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_S3_ENDPOINT_URL": s3_address,
        "AWS_ENDPOINT_URL_S3": s3_address,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
