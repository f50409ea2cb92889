"""The model servers that deployments started, as they are written down in `.local/serving/`."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from core.errors import UserError
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


def recorded(home: Path) -> list[ModelServer]:
    """List the model servers that were started, running or not."""
    return [_read(file) for file in sorted((home / "serving").glob("*.json"))]


def _read(file: Path) -> ModelServer:
    try:
        record = TypeAdapter(_Record).validate_json(file.read_bytes(), strict=True)
        return ModelServer(f"serving/{record.usecase}", record.port, record.process)
    except (ValueError, OSError) as error:
        raise UserError(f"{file} is damaged: end that model server by hand and delete the file") from error
