"""Files beside the use case's config, which travel in the image."""

from pathlib import Path

from components.extract.delivery import Delivery, Request
from components.extract.formats import named
from core.errors import UserError
from core.featurecode import FOLDER
from core.sources import FileSource, matching


def fetch(source: FileSource, request: Request) -> Delivery:
    """Name the files that a path or a glob means."""
    folder = FOLDER / request.usecase
    place = f"usecases/{request.usecase}/{source.path}"
    found = matching(folder, source.path)
    files = [file for file in found if file.is_file()]
    if not files:
        raise UserError(
            f"{place} is a folder: write {source.path.rstrip('/')}/*" if found else f"there is no file {place}: add it or correct it under sources"
        )
    for file in files:
        _check_inside(folder, file)
    return Delivery(files, named(source, request, [file.name for file in files]), {"files": len(files)})


def _check_inside(folder: Path, file: Path) -> None:
    """Refuse a link to what does not travel in the image."""
    if not file.resolve().is_relative_to(folder.resolve()):
        where = file.relative_to(folder.parent).as_posix()
        raise UserError(f"usecases/{where} is a link out of the use case's folder: put the file itself there")
