"""Small disks: they fill up soon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def mount(folder: Path, megabytes: int) -> bool:
    """Lay a disk of memory over a folder; whether this system let us: only root on Linux may."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    return sys.platform == "linux" and os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


def unmount(folder: Path) -> None:
    """Take it away; what is still open on it may be used to its end."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
