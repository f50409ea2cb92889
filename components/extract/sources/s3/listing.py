"""Which objects an address means, and in which version."""

import json
import re
from collections.abc import Iterator

from minio.datatypes import Object
from minio.error import S3Error

from core import storage
from core.calls import Pinned, pinned
from core.errors import UserError
from core.storage import client

WILD = re.compile(r"[*?[]")
SIGN = re.compile(r"\*|\?|\[!?\]?[^]/]*\]|.", re.DOTALL)
VISIBLE = r"(?!\.|_(?![^/=]*=))"  # not what a writer has not finished or keeps for itself; a partition's column may begin with _
MARKERS = ("/", "_$folder$")  # of folders, as consoles and Hadoop make them: no bytes
TABLE = re.compile(r"((?:.*?/)??)(?:(_delta_log/)|(\.hoodie/)|(metadata/[^/]*\.metadata\.json$))", re.DOTALL)
TABLES = ("Delta", "Hudi", "Iceberg")  # their files only count if the table's log says so: it also names those that were replaced
MANIFEST = "/manifest.json"
FORBIDDEN = ("AccessDenied", "NotImplemented", "MethodNotAllowed")


def listed(uri: str, bucket: str, pattern: str) -> list[Pinned]:
    """List what an address means just now, in the order of the keys.

    `*`, `?` and `[...]` stay within a folder, `**` goes through folders. A name that begins with `_` or `.` is only meant
    if that sign is written: Spark and Hive leave them out, too. An object of exactly that key is meant, whatever signs the key has.

    A dataset's manifest.json means the files that it lists.

    Raises:
        UserError: The one object that is named, or its bucket, is not there; or a table has a log.
        S3Error: The server refuses.
    """
    if pattern.endswith(MANIFEST):
        return _dataset(uri, bucket, pattern.removesuffix(MANIFEST))
    whole = pattern + "**" if pattern.endswith("/") else pattern
    start = WILD.search(whole)
    if not start:
        return [_one(uri, bucket, pattern)]
    every = list(_objects(bucket, whole[: start.start()]))
    is_key = any(item.object_name == pattern for item in every)
    matches = re.compile(re.escape(pattern) if is_key else _expression(whole)).fullmatch
    found = sorted((pinned(item) for item in every if matches(str(item.object_name)) and not _is_marker(item)), key=lambda item: item.key)
    _refuse_logs(uri, [str(item.object_name) for item in every], found)
    return found


def _dataset(uri: str, bucket: str, place: str) -> list[Pinned]:
    """List the files of a dataset that load has written: those of its manifest, whatever else lies beside them."""
    try:
        keys = [f"{place}/{file['key']}" for file in json.loads(storage.read(uri))["files"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{uri} is no manifest of a dataset: write the address of one that a load has written, or of the files themselves") from error
    there = {str(item.object_name): item for item in _objects(bucket, f"{place}/")}
    lost = [key for key in keys if key not in there]
    if lost:
        raise UserError(f"{uri}: {len(lost):,} of its {len(keys):,} files are gone, such as s3://{bucket}/{lost[0]}: load the dataset anew")
    return sorted((pinned(there[key]) for key in keys), key=lambda item: item.key)


def _one(uri: str, bucket: str, key: str) -> Pinned:
    try:
        return pinned(client().stat_object(bucket, key))
    except S3Error as error:
        if error.code == "NoSuchKey" and not client().bucket_exists(bucket):  # the answer has no body to tell the one from the other
            raise UserError(f"{uri}: bucket {bucket} does not exist: create it or correct the address") from error
        raise


def _expression(pattern: str) -> str:
    *folders, name = pattern.split("/")
    return "".join(_folder(text) for text in folders) + (f"(?:{VISIBLE}[^/]*/)*{VISIBLE}[^/]*" if name == "**" else _segment(name))


def _folder(text: str) -> str:
    return f"(?:{VISIBLE}[^/]*/)*" if text == "**" else f"{_segment(text)}/"


def _segment(text: str) -> str:
    shown = VISIBLE if WILD.match(text) else ""
    return shown + "".join(_sign(sign) for sign in SIGN.findall(text))


def _sign(sign: str) -> str:
    if sign in ("*", "?"):
        return "[^/]*" if sign == "*" else "[^/]"
    if len(sign) == 1:
        return re.escape(sign)
    signs = re.sub(r"([\\\[\]^&~|])", r"\\\1", sign[1:-1].removeprefix("!"))
    return f"(?!/)[{'^' if sign[1] == '!' else ''}{signs}]"


def _objects(bucket: str, prefix: str) -> Iterator[Object]:
    """List the objects, with their versions if the bucket keeps them and we may see them."""
    try:
        if client().get_bucket_versioning(bucket).status == "Enabled":
            every = list(client().list_objects(bucket, prefix=prefix, recursive=True, include_version=True))
            return (item for item in every if str(item.is_latest).lower() == "true" and not item.is_delete_marker)
    except S3Error as error:
        if error.code not in FORBIDDEN:
            raise
    return iter(client().list_objects(bucket, prefix=prefix, recursive=True))


def _is_marker(item: Object) -> bool:
    return not item.size and str(item.object_name).endswith(MARKERS)


def _refuse_logs(uri: str, keys: list[str], found: list[Pinned]) -> None:
    for match in filter(None, map(TABLE.match, keys)):
        if any(item.key.startswith(match[1]) for item in found):
            kind = TABLES[(match.lastindex or 2) - 2]
            raise UserError(f"{uri}: this is a table of {kind}, whose log says which files count: have its writer export it as plain Parquet")
