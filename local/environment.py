"""The environment of a local run: the platform of this checkout, and none of the user's own servers."""

import os
from urllib.request import getproxies

from core.mlflow_connection import SERVER
from local.state import Platform, home

# A run on this machine never means what the shell names by these: another S3, MLflow or AWS account.
FOREIGN = ("AWS_", "MLFLOW_", "_MLFLOW_", "MLOPS_STORAGE")
LOOPBACK = "127.0.0.1"


def enter(platform: Platform) -> None:
    """Point this process, and every process that it starts, to the platform and to no other S3 or MLflow server."""
    for name in foreign():
        del os.environ[name]
    os.environ |= environment(platform)


def foreign() -> list[str]:
    """List the variables of the user's own servers that are set."""
    return sorted(name for name in os.environ if name.startswith(FOREIGN))


def environment(platform: Platform) -> dict[str, str]:
    """Return the variables by which every process finds the platform."""
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    direct = exempt if exempt == "*" else ",".join(dict.fromkeys([*filter(None, exempt.split(",")), LOOPBACK, "localhost"]))
    variables = {
        "MLOPS_HOME": str(home()),
        "AWS_ENDPOINT_URL_S3": platform.s3_address,
        "AWS_ACCESS_KEY_ID": platform.access_key,
        "AWS_SECRET_ACCESS_KEY": platform.secret_key,
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "MLFLOW_TRACKING_URI": platform.mlflow_address,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR") or str(home() / "matplotlib"),  # nothing is written into the home folder
        "NO_PROXY": direct,
        "no_proxy": direct,
    }
    server = platform.mlflow  # a step waits for its start as long as its process lives
    return variables | ({SERVER: f"{platform.mlflow_address} {server.pid} {server.created}"} if server else {})


def curl() -> str:
    """Return the command that reaches a server of this machine when it is pasted into the user's shell."""
    return f"curl -s --noproxy {LOOPBACK}" if getproxies().keys() - {"no"} else "curl -s"
