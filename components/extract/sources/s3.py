"""Objects of an S3 server: one key, or a glob of keys."""

from fnmatch import fnmatchcase
from pathlib import Path

from core.errors import UserError
from core.storage import client, errors, split

WILD = "*?["


def fetch(uri: str, folder: Path) -> list[Path]:
    """Download the objects that the address means; listed once, so that late arrivals do not split a run."""
    bucket, pattern = split(uri)
    connection = client()
    with errors(uri):
        keys = _keys(bucket, pattern) if any(sign in pattern for sign in WILD) else [pattern]
        if not keys:
            raise UserError(f"{uri}: no object matches: correct the address or deliver the data")
        copies = [folder / f"{number:05}-{Path(key).name}" for number, key in enumerate(keys)]
        if not connection.bucket_exists(bucket):  # to a download, a missing bucket looks like a missing object
            raise UserError(f"{uri}: bucket {bucket} does not exist: create it or correct the address")
        for key, copy in zip(keys, copies, strict=True):
            connection.fget_object(bucket, key, str(copy))
    return copies


def _keys(bucket: str, pattern: str) -> list[str]:
    prefix = pattern[: min(pattern.index(sign) for sign in WILD if sign in pattern)]
    listed = client().list_objects(bucket, prefix=prefix, recursive=True)
    return sorted(item.object_name for item in listed if item.object_name and fnmatchcase(item.object_name, pattern))
