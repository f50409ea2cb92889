"""Into service: a server beside the old one, proven with the golden rows, then the alias, then the old one goes."""

import os
from collections.abc import Callable

from components.deploy.local import Served, change, serving, start, stop
from components.deploy.smoke import replay
from core import registry
from core.bundle import unpack
from core.errors import UserError
from core.storage import read
from core.tracking import Run


def deploy(run: Run, version: str) -> str:
    """Bring a version into service; a second time it only looks whether it is there.

    Args:
        run: The step's notes.
        version: The registered version's number.

    Returns:
        The address of the server.

    Raises:
        Conflict: Another run promoted since the verdict.
        UserError: The server did not start, or answered otherwise than training. What served before serves on.
    """
    if "MLOPS_HOME" not in os.environ:
        raise UserError("deploy serves on this machine only: MLOPS_HOME is not set; run it with `mlops run`")
    challenger = registry.get(run.usecase.name, version)
    if challenger is None:
        raise UserError(f"{run.usecase.name} has no version {version} in MLflow: run the pipeline again")
    with change(run.usecase.name):
        served = _bring_up(challenger)
    run.tags |= {"address": served.address, "champion": served.version}
    run.summary = f"version {served.version} serves at {served.address}"
    return served.address


def serve_champion(name: str) -> Served | None:
    """Let the champion serve, if none of its version does: after a restart, or a run that died on the way.

    Returns:
        What serves; None if there is no champion.
    """
    with change(name):
        champion = registry.champion(name)
        if champion is None:
            return None
        old = serving(name)
        if old and old.version == champion.version and old.digest == champion.digest:
            return old
        return _replace(old, champion, lambda: None)


def _bring_up(challenger: registry.Version) -> Served:
    champion, old = registry.champion(challenger.name), serving(challenger.name)
    is_champion = champion is not None and champion.version == challenger.version
    if is_champion and old and old.version == challenger.version:
        return old
    if not is_champion:
        registry.require_champion(challenger)
    return _replace(old, challenger, lambda: None if is_champion else registry.promote(challenger))


def _replace(old: Served | None, version: registry.Version, promote: Callable[[], None]) -> Served:
    """Start a version beside the old server, prove it, promote it; only then the old one goes."""
    new = start(version)
    try:
        replay(new.address, unpack(read(version.uri), version.digest), version.version)
        promote()
    except BaseException:
        stop(new)
        raise
    new.remember()
    if old:
        stop(old)
    return new
