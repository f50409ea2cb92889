"""One file a kind of source; each gives local files, in an order that does not change.

To add a kind: a module with `fetch(uri, folder)`, and a line in KINDS here and in `core.config.SCHEMES`.
"""

from pathlib import Path

from components.extract.sources import files, s3

KINDS = {"s3": s3.fetch}


def fetch(uri: str, usecase: str, folder: Path) -> list[Path]:
    """Bring a source's files onto this machine.

    Args:
        uri: As the config names it.
        usecase: Whose config it is: a path is relative to it.
        folder: Where copies may be put.

    Returns:
        Files, sorted by their names at the source.
    """
    scheme, separator, _ = uri.partition("://")
    return KINDS[scheme](uri, folder) if separator else files.fetch(uri, usecase)
