"""Which commit of this checkout runs."""

import shutil
import subprocess

from core.featurecode import FOLDER


def revision() -> str:
    """Name the commit, with -dirty if files differ from it; `unknown` outside a git checkout."""
    git = shutil.which("git")
    if not git:
        return "unknown"
    command = [git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    answer = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
