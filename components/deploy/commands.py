"""What an operator changes: another version serves. Each command returns the text to show."""

from components.deploy.by_hand import BY_HAND, bring_by_hand, require_verdict
from components.deploy.deploy import bring_into_service, registered, serve_champion
from components.deploy.deployer import Served, deployer
from core.config import Serving
from core.configfile import load_serving, names


def deploy(name: str, version: str, reason: str) -> str:
    """Bring a registered version into service: by its verdict, or for a reason whatever it was judged against."""
    where = deployer(name, _serving(name))
    if reason:
        return _said(bring_by_hand(where, name, version, reason))
    challenger = registered(name, version)
    require_verdict(challenger)
    return _said(bring_into_service(where, challenger, BY_HAND))


def resume(name: str) -> str:
    """Put in order what a killed deployment left: the champion serves, and nothing else."""
    served = serve_champion(name, _serving(name))
    return _said(served) if served else f"{name} has no champion, so nothing serves"


def rollback(name: str, version: str | None, reason: str) -> str:
    """Make another version the champion again, by default the one before; or restore a champion whose alias is missing."""
    return _said(bring_by_hand(deployer(name, _serving(name)), name, version, reason))


def _said(served: Served) -> str:
    return f"{served.usecase} version {served.version} serves at {served.address}"


def _serving(name: str) -> Serving:
    """Return what a server of the use case may use; the default for one that is in no folder here."""
    return load_serving(name) if name in names() else Serving()
