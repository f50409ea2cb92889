"""What the platform remembers from command to command, in `.local/platform.json`."""

import json
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from core.errors import UserError
from core.processes import Process

PRIVATE = 0o700


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


def private(name: str = "") -> Path:
    """Make `home()`, or a folder in it, for the owner's eyes only, whatever the umask says.

    A folder of MLOPS_HOME that was there before keeps its mode, since it may hold other things.
    """
    folder = private() / name if name else home()
    is_ours = bool(name) or not os.environ.get("MLOPS_HOME") or not folder.exists()
    folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    if is_ours and stat.S_IMODE(folder.stat().st_mode) != PRIVATE:
        with suppress(PermissionError):  # of a file system without modes
            folder.chmod(PRIVATE)
    return folder


def load() -> Platform:
    """Return the platform as remembered; one with new credentials and no ports if it was never started."""
    file = home() / "platform.json"
    try:
        return TypeAdapter(Platform).validate_json(file.read_bytes(), strict=True)
    except FileNotFoundError:
        return Platform()
    except (ValueError, OSError) as error:
        raise UserError(f"{file} is damaged: delete it and start the platform again, the data is kept") from error


def save(platform: Platform) -> Platform:
    """Remember, for the owner's eyes only. A killed command leaves the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=home(), prefix="platform-")
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(platform), file, indent=2)
    Path(name).replace(home() / "platform.json")
    return platform
