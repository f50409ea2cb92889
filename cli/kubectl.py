"""kubectl, as a function."""

import shutil
import subprocess

from core.errors import UserError


def kubectl(*arguments: str, stdin: str | None = None, shown: bool = False) -> str:
    """Run kubectl to its end.

    Args:
        arguments: Of kubectl.
        stdin: What it reads.
        shown: Print what it prints instead of returning it.

    Raises:
        UserError: There is no kubectl, or it fails: its first line of stderr.
    """
    path = shutil.which("kubectl")
    if not path:
        raise UserError("no kubectl on the PATH: install it")
    out = None if shown else subprocess.PIPE
    done = subprocess.run([path, *arguments], input=stdin, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(done.stderr.strip().splitlines()[0] if done.stderr.strip() else "kubectl does not say why")
    return done.stdout or ""
