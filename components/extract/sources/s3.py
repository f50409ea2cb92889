"""Objects of an S3 server: one key, all below a prefix, or a glob of keys."""

from fnmatch import fnmatchcase
from pathlib import Path

from components.extract.delivery import Delivery, Request
from components.extract.formats import named
from core.errors import UserError
from core.sources import S3Source
from core.storage import client, errors, split

WILD = "*?["


def fetch(source: S3Source, request: Request) -> Delivery:
    """Download the objects that the address means; listed once, so that late arrivals do not split a run."""
    bucket, pattern = split(source.uri)
    connection = client()
    with errors(source.uri):
        keys = _keys(bucket, pattern) if any(sign in pattern for sign in WILD) else [pattern]
        if not keys:
            raise UserError(f"{source.uri}: no object matches: correct the address or deliver the data")
        copies = [request.folder / f"{number:05}-{Path(key).name}" for number, key in enumerate(keys)]
        if not connection.bucket_exists(bucket):  # to a download, a missing bucket looks like a missing object
            raise UserError(f"{source.uri}: bucket {bucket} does not exist: create it or correct the address")
        kind = named(source, request, keys)
        for key, copy in zip(keys, copies, strict=True):
            connection.fget_object(bucket, key, str(copy))
    return Delivery(copies, kind, {"objects": len(copies)})


def _keys(bucket: str, pattern: str) -> list[str]:
    prefix = pattern[: min(pattern.index(sign) for sign in WILD if sign in pattern)]
    listed = client().list_objects(bucket, prefix=prefix, recursive=True)
    return sorted(item.object_name for item in listed if item.object_name and fnmatchcase(item.object_name, pattern))
