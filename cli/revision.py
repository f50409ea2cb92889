"""The commit of this checkout, its web page and its author."""

import getpass
import re
import shutil
import subprocess

from core.featurecode import FOLDER


def revision() -> str:
    """Name the commit, with -dirty if files differ from it; `unknown` outside a git checkout."""
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or "unknown"


def commit_page(commit: str) -> str:
    """Return the web page of a commit on the usual hosts (GitHub, GitLab, Gitea, Bitbucket); empty without such a remote."""
    remote = re.fullmatch(r"(?:https://(?:[^@/]*@)?|git@|ssh://git@)([^:/]+(?:\.[^:/]+)+)[:/](.+?)(?:\.git)?/?", _git("remote", "get-url", "origin"))
    if not remote:
        return ""
    host, path = remote.groups()
    middle = "/-/commit/" if "gitlab" in host else "/commits/" if "bitbucket" in host else "/commit/"
    return f"https://{host}/{path}{middle}{commit.removesuffix('-dirty')}"


def user() -> str:
    """Name who runs this command: git's user.name, else the account."""
    try:
        return _git("config", "user.name") or getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in a container
        return "unknown"


def _git(*arguments: str) -> str:
    git = shutil.which("git")
    if not git:
        return ""
    return subprocess.run([git, *arguments], cwd=FOLDER.parent, capture_output=True, text=True, check=False).stdout.strip()
