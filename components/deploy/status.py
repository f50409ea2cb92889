"""What an operator asks: which version serves, and which did. Each returns the text to show.

An answer must come at once, so this module imports no config and no step: that costs more than the answer.
"""

from components.deploy.agreement import agreed_champion, is_version
from components.deploy.deployer import deployer
from core import registry
from core.errors import ChampionMissing


def status(name: str) -> str:
    """Say what serves, and what should."""
    where = deployer(name)
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
