"""What the platform remembers from command to command, in `.local/platform.json`."""

import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from core.errors import UserError
from core.processes import Process


@dataclass(frozen=True)
class Platform:
    """Ports, credentials and processes of the servers of one checkout."""

    access_key: str = field(default_factory=lambda: secrets.token_hex(10))
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(30))
    s3_port: int = 0
    mlflow_port: int = 0
    s3: Process | None = None
    mlflow: Process | None = None

    @property
    def s3_address(self) -> str:
        """Address of the S3 server."""
        return f"http://127.0.0.1:{self.s3_port}"

    @property
    def mlflow_address(self) -> str:
        """Address of the MLflow server and its pages."""
        return f"http://127.0.0.1:{self.mlflow_port}"


def home() -> Path:
    """Return the folder of everything that the platform keeps: MLOPS_HOME, or `.local` in the checkout."""
    return Path(os.environ.get("MLOPS_HOME") or Path(__file__).parent.parent / ".local").absolute()


def load() -> Platform:
    """Return the platform as remembered; one with new credentials and no ports if it was never started."""
    file = home() / "platform.json"
    try:
        document = json.loads(file.read_text())
        servers = {name: Process(**document[name]) if document[name] else None for name in ("s3", "mlflow")}
        return Platform(**document | servers)
    except FileNotFoundError:
        return Platform()
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file} is damaged: delete it and start the platform again, the data is kept") from error


def save(platform: Platform) -> Platform:
    """Remember, for the owner's eyes only. A killed command leaves the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=home(), prefix="platform-")
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(platform), file, indent=2)
    Path(name).replace(home() / "platform.json")
    return platform
