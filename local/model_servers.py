"""The model servers that deployments started, as they are written down in `.local/serving/`."""

import json
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from core.processes import Process


@dataclass(frozen=True)
class ModelServer:
    """The server of one use case."""

    name: str
    port: int
    process: Process


def recorded(home: Path) -> list[ModelServer]:
    """List the model servers that were started, running or not."""
    return [_read(file) for file in sorted((home / "serving").glob("*.json"))]


def _read(file: Path) -> ModelServer:
    try:
        document = json.loads(file.read_text())
        return ModelServer(f"serving/{document['usecase']}", document["port"], Process(**document["process"]))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file} is damaged: end that model server by hand and delete the file") from error
