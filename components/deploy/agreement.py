"""Who is champion, by two witnesses: MLflow's alias, and what serves. While they contradict each other, nothing is stopped."""

from components.deploy.deployer import Deployer, S, Served
from core import registry
from core.errors import ChampionMissing
from core.mlflow_api import uri
from core.registry import Version


def agreed_champion(where: Deployer[S], name: str) -> Version | None:
    """Return the champion if MLflow and what serves agree; None if there never was one.

    Raises:
        ChampionMissing: A champion reigned or serves, but MLflow names none, or does not know what serves.
    """
    champion, served = registry.champion(name), where.serving()
    if served is None or is_version(served, champion):
        return champion
    if not _is_known(served):
        raise ChampionMissing(
            f"version {served.version} of {name} serves at {served.address}, but MLflow at {uri()} has no such version: "
            "correct MLFLOW_TRACKING_URI, or restore the registered model if it was renamed or deleted. "
            f"What serves keeps serving. If that version is lost, {registry.instead(name)}"
        )
    if champion is None and served.since:
        raise ChampionMissing(
            f"version {served.version} of {name} serves at {served.address}, but MLflow at {uri()} has no alias `champion` for it: "
            f"restore it with `mlops rollback {name}`"
        )
    return champion


def restorable(where: Deployer[S], name: str) -> Version | None:
    """Find the version that the missing alias should name: what serves, or else the last champion."""
    served = where.serving()
    if served and served.since:
        version = registry.get(name, served.version)
        return version if is_version(served, version) else None
    return registry.last_champion(name)


def is_version(served: Served | None, version: Version | None) -> bool:
    """Tell whether a version is what serves."""
    return served is not None and version is not None and (served.version, served.digest) == (version.version, version.digest)


def _is_known(served: Served) -> bool:
    """Tell whether what serves comes from this MLflow, also if its version was deleted there."""
    version = registry.get(served.usecase, served.version)
    if version is None:
        return any(reign.version == served.version for reign in registry.reigns(served.usecase))
    return version.digest == served.digest
