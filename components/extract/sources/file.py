"""Files beside the use case's config, which travel in the image."""

from components.extract.delivery import Delivery, Request
from components.extract.formats import named
from core.codecheck import FOLDER
from core.errors import UserError
from core.sources import FileSource


def fetch(source: FileSource, request: Request) -> Delivery:
    """Name the files that a path or a glob means."""
    found = sorted(file for file in (FOLDER / request.usecase).glob(source.path) if file.is_file())
    if not found:
        raise UserError(f"there is no file usecases/{request.usecase}/{source.path}: add it or correct it under sources")
    return Delivery(found, named(source, request, [file.name for file in found]), {"files": len(found)})
