"""Files beside the use case's config, which travel in the image."""

from pathlib import Path

from core.codecheck import FOLDER
from core.errors import UserError


def fetch(path: str, usecase: str) -> list[Path]:
    """Name the files that a path or a glob means."""
    found = sorted(file for file in (FOLDER / usecase).glob(path) if file.is_file())
    if not found:
        raise UserError(f"there is no file usecases/{usecase}/{path}: add it or correct it under sources")
    return found
