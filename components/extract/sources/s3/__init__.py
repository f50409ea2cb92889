"""Objects of an S3 server: one key, all below a prefix, or a glob of keys."""

from datetime import UTC, datetime

from components.extract.delivery import Delivery, Request
from components.extract.empty import empty
from components.extract.formats import named
from components.extract.sources.s3.listing import listed
from components.extract.sources.s3.places import place
from components.extract.sources.s3.watermark import mark, unread
from core.errors import UserError
from core.sources import S3Source
from core.storage import errors, split
from core.transfer import get


def fetch(source: S3Source, request: Request) -> Delivery:
    """Download the objects that the address means, each as it is now: what arrives later or is overwritten is not part of the run.

    Raises:
        UserError: There is none, one changed meanwhile, or S3 refuses.
    """
    bucket, pattern = split(source.uri)
    before, now = request.watermark if source.incremental else None, datetime.now(UTC)
    with errors(source.uri):
        found = listed(source.uri, bucket, pattern)
        if not found and not before:
            raise UserError(f"{source.uri}: no object matches: correct the address or deliver the data")
        wanted = unread(found, before)
        kind = named(source, request, [item.key for item in wanted]) if wanted else "parquet"
        files = {request.folder / place(number, item.key): item for number, item in enumerate(wanted)}
        get(bucket, files)
    newest = max((item.modified for item in found), default=None)
    return Delivery(
        files=list(files) or [empty(request)],
        format=kind,
        origin={
            "uri": source.uri,
            "objects": len(wanted),
            "bytes": sum(item.size for item in wanted),
            "newest": newest.isoformat() if newest else None,
            "listed": now.isoformat(timespec="seconds"),
        },
        pins={item.key: item.version or item.etag for item in wanted},
        watermark=mark(found, before) if source.incremental else None,
    )
