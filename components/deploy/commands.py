"""What an operator asks for: which version serves, which did, another one instead. Each returns the text to show."""

from components.deploy.agreement import agreed_champion, is_version
from components.deploy.by_hand import BY_HAND, bring_by_hand, require_verdict
from components.deploy.deploy import bring_into_service, registered, serve_champion
from components.deploy.deployer import Served, deployer
from core import registry
from core.config import Serving
from core.configfile import load_serving, names
from core.errors import ChampionMissing


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


def history(name: str) -> list[str]:
    """List what served when, the latest first: from which run and data, and why it was replaced."""
    reigns = registry.reigns(name)
    if not reigns:
        registry.champion(name)  # refuses if there was one that this MLflow does not know
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
    where = deployer(name, Serving())
    served = where.serving()
    try:
        champion = agreed_champion(where, name)
    except ChampionMissing as missing:
        return f"{name}: {missing}"
    if served is None:
        cure = f"champion is version {champion.version}, but nothing serves: mlops deploy {name} --resume" if champion else "no champion"
        return f"{name}: {cure}"
    if not is_version(served, champion):
        should = f"version {champion.version}" if champion else "none"
        return f"{name}: version {served.version} serves, but the champion is {should}: mlops deploy {name} --resume"
    return f"{name}: version {served.version} serves since {served.since or 'a moment'} at {served.address}, {where.count(served)}"


def _said(served: Served) -> str:
    return f"{served.usecase} version {served.version} serves at {served.address}"


def _serving(name: str) -> Serving:
    """Return what a server of the use case may use; the default for one that is in no folder here."""
    return load_serving(name) if name in names() else Serving()
