"""Where an object's copy lies on this machine."""

import hashlib
import re
from pathlib import Path, PurePosixPath

from core.errors import UserError

LONGEST = 240  # bytes of a name: file systems take 255, of which the number has some
# Signs of a glob, or none that a file system takes; and what would make a folder look like a numbered file.
ODD = re.compile(r"[\x00-\x1f\x7f*?\[\]\\]|(?<=^\d{6})-|(?<=^\d{7})-")


def place(number: int, key: str) -> Path:
    """Return a path below the source's folder: the key's folders, which may be partitions, and its name behind a number.

    No two objects share one, also where capitals do not count or a folder is called as an object is; and none leads out of the folder.

    Raises:
        UserError: The key has a part that no folder can be called.
    """
    *folders, name = key.split("/")
    return Path(*(_safe(folder) for folder in folders), f"{number:06}-{_safe(name)}")


def _safe(name: str) -> str:
    """Spell what cannot be a file's name as in an address, which is how partitions spell it, too."""
    if name in (".", ".."):
        raise UserError(f"an object's key has the part {name} between its slashes, for which no client can ask: copy the object under another key")
    spelt = ODD.sub(lambda sign: f"%{ord(sign[0]):02X}", name) or "%2F"
    return spelt if len(spelt.encode()) <= LONGEST else _shortened(spelt)


def _shortened(name: str) -> str:
    if "=" in name:  # perhaps a partition, whose value would change
        raise UserError(f"an object's key has the part {name[:40]}..., longer than the name of a folder may be ({LONGEST} bytes): shorten it")
    ending = "".join(PurePosixPath(name).suffixes[-2:])[-20:]
    return f"{name[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}{ending}"
