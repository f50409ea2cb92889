"""Into service: servers beside the old ones, proven with the golden rows, then the traffic, then the alias, then the old ones go."""

from collections.abc import Callable
from pathlib import Path

from components.deploy.agreement import agreed_champion, is_version
from components.deploy.deployer import Deployer, S, Served, deployer
from components.deploy.smoke import replay
from core import registry
from core.bundle import Bundle, unpack
from core.config import Serving
from core.errors import UserError
from core.markdown import link
from core.registry import Version
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
    challenger = registered(run.usecase.name, version)
    served: Served = bring_into_service(deployer(run.usecase.name, run.usecase.serving), challenger, challenger.reason)
    return _noted(run, served)


def serve(run: Run) -> str:
    """Let the champion serve, and nothing else.

    Args:
        run: The step's notes.

    Returns:
        The address of the server, empty if there never was a champion.

    Raises:
        UserError: It cannot serve, or answers otherwise than in training.
    """
    served = serve_champion(run.usecase.name, run.usecase.serving)
    if served:
        return _noted(run, served)
    run.summary = "there is no champion, so nothing serves"
    return ""


def describe(run: Run, path: str) -> dict[str, str]:
    """Write the Markdown of the endpoint, and return its metadata: empty if nothing serves.

    Args:
        run: The step's notes, after `deploy` or `serve`.
        path: Where the Markdown is written.
    """
    where = deployer(run.usecase.name, run.usecase.serving)
    served: Served | None = where.serving()
    if served is None:
        Path(path).write_text("nothing serves", encoding="utf-8")
        return {}
    servers = where.count(served)
    Path(path).write_text(f"{link(served.address, served.address)} serves version {served.version} ({servers})", encoding="utf-8")
    return {"address": served.address, "version": served.version, "servers": servers}


def bring_into_service(where: Deployer[S], challenger: Version, reason: str) -> S:
    """Let a version serve and make it the champion, or leave everything as it was.

    Args:
        where: The form of deployment.
        challenger: The version; `judged_against` is the champion that it may follow.
        reason: Why it becomes champion.
    """
    with where.change():
        champion = agreed_champion(where, challenger.name)
        if champion is None or champion.version != challenger.version:
            return follow(where, champion, challenger, reason)
        return _serve(where, champion)


def serve_champion(name: str, serving: Serving) -> Served | None:
    """Let the champion serve, and nothing else: after a restart, or a deployment that was killed on the way.

    Returns:
        What serves; None if there never was a champion.
    """
    where = deployer(name, serving)
    with where.change():
        champion = agreed_champion(where, name)
        if champion:
            served: Served = _serve(where, champion)
            return served
        where.take_back(None)
    return None


def registered(name: str, version: str) -> Version:
    """Find a registered version."""
    found = registry.get(name, version)
    if found is None:
        raise UserError(f"{name} has no version {version} in MLflow: run the pipeline again, or name another one")
    return found


def _noted(run: Run, served: Served) -> str:
    """Leave in the step's notes what serves; return its address."""
    run.tags |= {"address": served.address, "champion": served.version}
    run.summary = f"version {served.version} serves at {served.address}"
    return served.address


def follow(where: Deployer[S], champion: Version | None, challenger: Version, reason: str) -> S:
    """Let a challenger take the champion's place, if that is still the one that it may follow."""
    registry.require_champion(challenger)
    before = _restored(where, champion)
    return take_over(where, before, challenger, lambda: registry.promote(challenger, reason))


def _restored(where: Deployer[S], champion: Version | None) -> S | None:
    """Return what serves; what a killed deployment left there without being promoted is no state to go back to."""
    now = where.serving()
    if champion is None:
        where.take_back(None)
        return None
    if is_version(now, champion):
        return now
    try:
        return _serve(where, champion)
    except UserError as error:  # a champion that cannot serve any more must not stand in the way of the next one
        print(f"the champion, version {champion.version}, cannot serve: {error}", flush=True)
        return where.serving()


def _serve(where: Deployer[S], champion: Version) -> S:
    return take_over(where, where.serving(), champion, lambda: registry.remember(champion, champion.reason))


def take_over(where: Deployer[S], before: S | None, version: Version, promote: Callable[[], None]) -> S:
    """Start a version beside what serves, prove it without traffic, then with, promote it; only then the old one goes."""
    try:
        bundle = unpack(read(version.uri), version.digest)
        new = where.start(version)
        for server in new.servers:
            replay(server, bundle, version.version)
        where.switch(new)
        replay(new.address, bundle, version.version)
        promote()
    except BaseException as error:
        _take_back(where, before, error)
        if isinstance(error, UserError):
            raise type(error)(f"{error}; {f'version {before.version} serves on' if before else 'nothing is left of it'}") from error
        raise
    where.settle(new)
    return new


def _take_back(where: Deployer[S], before: S | None, error: BaseException) -> None:
    """Go back to what served before, and prove that it does."""
    try:
        where.take_back(before)
        if before:
            replay(before.address, _bundle(before), before.version)
    except UserError as failure:
        raise UserError(f"{error}; and going back to what was before failed, too: {failure}; then run `mlops deploy --resume`") from error


def _bundle(served: Served) -> Bundle:
    return unpack(read(served.uri), served.digest)
