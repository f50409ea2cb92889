"""What an operator asks for: which version serves, which did, another one instead. Each returns the text to show."""

from components.deploy.deploy import bring_into_service, registered, roll_back, serve_champion
from components.deploy.deployer import Served, deployer
from core import registry
from core.config import Serving
from core.configfile import load_serving, names


def deploy(name: str, version: str) -> str:
    """Bring a registered version into service, if it was judged against the present champion."""
    served = bring_into_service(deployer(name, _serving(name)), registered(name, version), "deployed by hand")
    return _said(served)


def resume(name: str) -> str:
    """Put in order what a killed deployment left: the champion serves, and nothing else."""
    served = serve_champion(name, _serving(name))
    return _said(served) if served else f"{name} has no champion, so nothing serves"


def rollback(name: str, version: str | None, reason: str) -> str:
    """Make another version the champion again, by default the one before."""
    served = roll_back(name, version, _serving(name), reason or "rolled back by hand")
    return _said(served)


def history(name: str) -> list[str]:
    """List what served when, the latest first: from which run and data, and why it was replaced."""
    reigns = registry.reigns(name)
    if not reigns:
        return [f"{name} never had a champion"]
    lines = [f"{'since':21}{'version':9}{'run':10}{'data':14}why; why replaced"]
    following = [*reigns[1:], None]
    for reign, successor in reversed(list(zip(reigns, following, strict=True))):
        version = registry.get(name, reign.version)
        run, data = (version.run[:8], version.data[:12]) if version else ("deleted", "")
        replaced = f"; replaced by version {successor.version}: {successor.reason}" if successor else ""
        lines.append(f"{reign.since[:19]}Z {reign.version:9}{run:10}{data:14}{reign.reason}{replaced}")
    return lines


def status(name: str) -> str:
    """Say what serves, and what should."""
    where, champion = deployer(name, Serving()), registry.champion(name)
    served = where.serving()
    if served is None:
        return (
            f"{name}: champion is version {champion.version}, but nothing serves: mlops deploy {name} --resume"
            if champion
            else f"{name}: no champion"
        )
    if champion is None or champion.version != served.version:
        should = f"version {champion.version}" if champion else "none"
        return f"{name}: version {served.version} serves, but the champion is {should}: mlops deploy {name} --resume"
    return f"{name}: version {served.version} serves since {served.since or 'a moment'} at {served.address}, {where.count(served)}"


def _said(served: Served) -> str:
    return f"{served.usecase} version {served.version} serves at {served.address}"


def _serving(name: str) -> Serving:
    """Return what a server of the use case may use; the default for one that is in no folder here."""
    return load_serving(name) if name in names() else Serving()
