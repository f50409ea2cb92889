"""A version becomes champion because somebody wants it: another one than the verdict's, an older one, or one whose alias is missing."""

from dataclasses import replace

from components.deploy.agreement import agreed_champion, is_version, restorable
from components.deploy.deploy import follow, registered, take_over
from components.deploy.deployer import Deployer, S
from core import registry
from core.errors import ChampionMissing, UserError
from core.registry import Version

BY_HAND = "deployed by hand"


def bring_by_hand(where: Deployer[S], name: str, number: str | None, reason: str) -> S:
    """Make a version the champion because somebody wants it, with the same proofs.

    Args:
        where: The form of deployment.
        name: The use case.
        number: The version; if None, the champion before the present one, or the present one if its alias is missing.
        reason: Why. Needed for a version that lost its verdict, and for another one than the champion that is missing.
    """
    with where.change():
        try:
            champion = agreed_champion(where, name)
        except ChampionMissing:
            version = registered(name, number) if number and reason else restorable(where, name)
            if version is None or (number and version.version != number):
                raise
            return _restore(where, version, reason)
        version = registered(name, number or _before(name, champion))
        if champion and version.version == champion.version:
            raise UserError(
                f"{name} version {version.version} is the champion already: name another one (mlops history {name}), "
                f"or start its servers (mlops deploy {name} --resume)"
            )
        if not reason:
            require_verdict(version)
        follower = replace(version, judged_against=champion.version if champion else "")
        return follow(where, champion, follower, reason or BY_HAND)


def require_verdict(version: Version) -> None:
    """Refuse a version that lost its comparison and never was champion."""
    if version.better == "false" and all(reign.version != version.version for reign in registry.reigns(version.name)):
        raise UserError(
            f"{version.name} version {version.version} was not found better ({version.reason}): "
            f"if it is to serve all the same, say why: mlops deploy {version.name} {version.version} --reason ..."
        )


def _before(name: str, champion: Version | None) -> str:
    if champion is None:
        raise UserError(f"{name} has no champion, so there is nothing to roll back: run its pipeline first")
    if not champion.previous:
        raise UserError(f"{name} version {champion.version} is its first champion: there is none to roll back to")
    return champion.previous


def _restore(where: Deployer[S], version: Version, reason: str) -> S:
    """Give the place of a missing champion to a version: the same one gets its alias back, another one follows it."""
    before, reigned = where.serving(), [reign.version for reign in registry.reigns(version.name)]
    if is_version(before, version) or version.version in reigned[-1:]:
        return take_over(where, before, version, lambda: registry.restore_champion(version, reason or BY_HAND))
    last = registry.last_champion(version.name, but=version.version)
    previous = last.version if last else ""
    return take_over(where, before, version, lambda: registry.replace_champion(version, previous, reason or BY_HAND))
