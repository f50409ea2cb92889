"""Who is champion: MLflow's alias, the record beside the models and what serves must agree, else nothing is stopped."""

from components.deploy.deployer import Deployer, S, Served
from core import champion_record, registry
from core.champion_record import ChampionRecord
from core.errors import ChampionMissing
from core.mlflow_connection import uri
from core.registry import Version


def agreed_champion(where: Deployer[S], name: str) -> Version | None:
    """Return the champion if MLflow and what serves agree; None if there never was one.

    Raises:
        ChampionMissing: A champion reigned or serves, but MLflow names none, or does not know what serves.
    """
    champion, served = registry.champion(name), where.serving()
    if served is None or is_version(served, champion):
        return champion
    if not registry.knows(name, served.version, served.digest):
        raise ChampionMissing(registry.unknown(name, served.version, f"serves at {served.address}"))
    if champion is None and served.since:
        raise ChampionMissing(
            f"version {served.version} of {name} serves at {served.address}, but MLflow at {uri()} has no alias `champion` for it: "
            f"restore it with `mlops rollback {name}`"
        )
    return champion


def restorable(where: Deployer[S], name: str) -> Version | None:
    """Find the version that the missing alias should name: what serves or should, or else the last champion."""
    served = where.serving()
    lost = served if served and served.since else champion_record.read(name)
    if lost:
        version = registry.get(name, lost.version)
        return version if is_version(lost, version) else None
    return registry.last_champion(name)


def is_version(served: Served | ChampionRecord | None, version: Version | None) -> bool:
    """Tell whether a version is what serves or should."""
    if served is None or version is None:
        return False
    return (served.version, served.digest) == (version.version, version.digest)
