"""What an incremental source remembers of a run that succeeded: up to when all objects are read, and which of the newest."""

from datetime import datetime, timedelta
from typing import Any

from core.calls import Pinned

LATE = timedelta(hours=1)  # by which an object may become visible after its time: a long upload bears the time of its start


def unread(found: list[Pinned], before: Any) -> list[Pinned]:
    """Return the objects that no run has read: they are newer, or came late, or have other content than then."""
    if not before:
        return found
    limit, recent = datetime.fromisoformat(before["newest"]) - LATE, before["recent"]
    return [item for item in found if item.modified > limit and recent.get(item.key) != item.etag]


def mark(found: list[Pinned], before: Any) -> Any:
    """Return what the next run may take as read, should this one succeed."""
    times = [item.modified for item in found] + ([datetime.fromisoformat(before["newest"])] if before else [])
    newest = max(times)
    return {"newest": newest.isoformat(), "recent": {item.key: item.etag for item in found if item.modified > newest - LATE}}
