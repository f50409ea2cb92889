"""The model registry: versions, and the two aliases `challenger` and `champion`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from core import champion_record
from core.errors import ChampionMissing, Conflict
from core.mlflow_api import TAG_LIMIT, NotFound, call
from core.mlflow_connection import uri

REIGN = "champion.since."  # and the time: how the registry remembers who was champion


class Reign(NamedTuple):
    """From when on a version was champion, and why it became it."""

    since: str
    version: str
    reason: str


@dataclass(frozen=True)
class Version:
    """A registered version of a model.

    Attributes:
        name: The registered model: the use case.
        version: Its number, as MLflow writes it.
        uri: Where its served form lies.
        digest: SHA-256 of the served form, `sha256:...`.
        judged_against: The champion's version when it was judged, empty without one.
        run: The pipeline run that registered it.
        data: SHA-256 of the data that it was trained on.
        previous: The champion before it, empty without one.
        reason: Why it was found better, or why somebody made it champion.
        better: Whether the verdict was for it: `true`, `false`, or empty in a version that is older than this tag.
        fitted: Where the set of the rows lies that it was fitted on, see `core.fitted`.
    """

    name: str
    version: str
    uri: str
    digest: str
    judged_against: str
    run: str = ""
    data: str = ""
    previous: str = ""
    reason: str = ""
    better: str = ""
    fitted: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """How the registry remembers what it has no field for."""
        return {"serving.uri": self.uri, "serving.digest": self.digest, "judged_against": self.judged_against, "fitted.uri": self.fitted}


def get(name: str, version: str) -> Version | None:
    """Find a version by its number."""
    try:
        return _parse(call("GET", "model-versions/get", {"name": name, "version": version})["model_version"])
    except NotFound:
        return None


def aliased(name: str, alias: str) -> Version | None:
    """Find the version that an alias names."""
    try:
        aliases = call("GET", "registered-models/get", {"name": name})["registered_model"].get("aliases", [])
    except NotFound:
        return None
    number = next((item["version"] for item in aliases if item["alias"] == alias), None)
    return get(name, str(number)) if number else None


def champion(name: str) -> Version | None:
    """Find the version that should serve, None if there never was one.

    Raises:
        ChampionMissing: There was one, but its alias is gone, its version is deleted, or this MLflow does not know it.
    """
    version, record = aliased(name, "champion"), champion_record.read(name)
    if record and not knows(name, record.version, record.digest):
        raise ChampionMissing(unknown(name, record.version, f"should serve ({champion_record.address(name)})"))
    if version is None:
        reigned = [reign.version for reign in reigns(name)] or ([record.version] if record else [])
        if reigned:
            raise ChampionMissing(_missing(name, reigned[-1]))
    return version


def knows(name: str, number: str, digest: str) -> bool:
    """Tell whether MLflow knows this served form by this number, or knows that the version was deleted."""
    version = get(name, number)
    return version.digest == digest if version else any(reign.version == number for reign in reigns(name))


def find(name: str, run: str, digest: str) -> Version | None:
    """Find the version that a run has registered before, of the same served form."""
    condition = f"name = '{name}' AND tag.`kfp.pipeline_run_id` = '{run}' AND tag.`serving.digest` = '{digest}'"
    found = call("GET", "model-versions/search", {"filter": condition, "max_results": 1}).get("model_versions", [])
    return _parse(found[0]) if found else None


def set_alias(name: str, alias: str, version: str) -> None:
    """Let an alias name a version."""
    call("POST", "registered-models/alias", {"name": name, "alias": alias, "version": version})


def tag(version: Version, tags: dict[str, str]) -> None:
    """Set tags of a version."""
    for key, value in tags.items():
        call("POST", "model-versions/set-tag", {"name": version.name, "version": version.version, "key": key, "value": value})


def describe(version: Version, card: str) -> None:
    """Set the version's description, in Markdown."""
    call("PATCH", "model-versions/update", {"name": version.name, "version": version.version, "description": card})


def require_champion(challenger: Version) -> None:
    """Refuse a challenger if the champion is no longer the one that it was judged against.

    Raises:
        Conflict: It is another one by now.
    """
    now = champion(challenger.name)
    number = now.version if now else ""
    if number != challenger.judged_against:
        was = f"version {challenger.judged_against}" if challenger.judged_against else "none"
        raise Conflict(
            f"the champion of {challenger.name} is version {number or 'none'} now, the challenger was judged against {was}: run the pipeline again"
        )


def promote(challenger: Version, reason: str) -> None:
    """Make the challenger the champion, and note who was before and why this one is now.

    Raises:
        Conflict: The champion is no longer the one that it was judged against.
    """
    require_champion(challenger)
    replace_champion(challenger, challenger.judged_against, reason)


def replace_champion(version: Version, previous: str, reason: str) -> None:
    """Make a version the champion, whatever it was judged against, and note who was before and why it is now."""
    tag(version, {"previous": previous, "reason": reason[:TAG_LIMIT]})
    restore_champion(version, reason)


def restore_champion(version: Version, reason: str) -> None:
    """Let the alias name a version; nothing more is noted if it was the last champion."""
    set_alias(version.name, "champion", version.version)
    remember(version, reason)


def last_champion(name: str, but: str = "") -> Version | None:
    """Find the version that was champion last and is still registered.

    Args:
        name: The model.
        but: A version that is not looked for.
    """
    numbers = (reign.version for reign in reversed(reigns(name)) if reign.version != but)
    return next((version for number in numbers if (version := get(name, number))), None)


def remember(version: Version, reason: str) -> None:
    """Note that a version is champion from now on, unless that is noted: what promoted it may have been killed just before."""
    champion_record.write(version.name, version.version, version.digest)
    known = reigns(version.name)
    if known and known[-1].version == version.version:
        return
    key = REIGN + datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    call("POST", "registered-models/set-tag", {"name": version.name, "key": key, "value": f"{version.version} {reason}"[:TAG_LIMIT]})


def reigns(name: str) -> list[Reign]:
    """List the champions, the first one first."""
    try:
        tags = call("GET", "registered-models/get", {"name": name})["registered_model"].get("tags", [])
    except NotFound:
        return []
    found = sorted((item["key"].removeprefix(REIGN), item["value"]) for item in tags if item["key"].startswith(REIGN))
    return [Reign(since, *value.split(" ", 1)) for since, value in found]


def _parse(item: dict[str, object]) -> Version:
    pairs = item.get("tags", [])
    tags = {pair["key"]: pair["value"] for pair in pairs} if isinstance(pairs, list) else {}
    keys = (
        *("serving.uri", "serving.digest", "judged_against", "kfp.pipeline_run_id", "data.sha256"),
        *("previous", "reason", "better", "fitted.uri"),
    )
    return Version(str(item["name"]), str(item["version"]), *(tags.get(key, "") for key in keys))


def _missing(name: str, number: str) -> str:
    lost = f"version {number} was the champion of {name}, but"
    if get(name, number):
        return f"{lost} MLflow at {uri()} has no alias `champion` for it any more: restore it with `mlops rollback {name}`"
    return f"{lost} it is deleted in MLflow at {uri()}. What serves keeps serving. To accept the loss, {_instead(name)}"


def unknown(name: str, number: str, what: str) -> str:
    """Say that MLflow does not know the version that serves or should."""
    return (
        f"version {number} of {name} {what}, but MLflow at {uri()} has no such version: "
        "correct MLFLOW_TRACKING_URI, or restore the registered model if it was renamed or deleted. "
        f"What serves keeps serving. If that version is lost, {_instead(name)}"
    )


def _instead(name: str) -> str:
    """Say how to accept that a champion is lost."""
    return (
        f"deploy another version with `mlops deploy {name} VERSION --reason ...` "
        f"(older ones: `mlops history {name}`, a new one: `mlops run {name} --register-anyway`)"
    )
