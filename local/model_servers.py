"""The model servers that deployments started, as they are written down in `.local/serving/`."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from core.processes import Process


@dataclass(frozen=True)
class ModelServer:
    """The server of one use case."""

    name: str
    port: int
    process: Process


@dataclass(frozen=True)
class _Record:
    usecase: str
    port: int
    process: Process


def recorded(home: Path) -> tuple[list[ModelServer], list[Path]]:
    """List the model servers that were started, running or not, and the files that cannot be read."""
    servers, damaged = [], []
    for file in sorted((home / "serving").glob("*.json")):
        try:
            record = TypeAdapter(_Record).validate_json(file.read_bytes(), strict=True)
        except (ValueError, OSError):
            damaged.append(file)
        else:
            servers.append(ModelServer(f"serving/{record.usecase}", record.port, record.process))
    return servers, damaged
