"""The registry of a real MLflow: versions, aliases, and the promotion that only one of two may win."""

from __future__ import annotations

import uuid

import pytest

from core import champion_record, registry, storage
from core.errors import ChampionMissing, Conflict, UserError
from core.mlflow_api import call
from tests.unit import small
from tests.unit.models import version

pytestmark = pytest.mark.usefixtures("platform")


@pytest.fixture
def name() -> str:
    return small.usecase().name


def test_a_name_that_nothing_is_registered_under_has_no_versions(name: str) -> None:
    assert registry.champion(name) is None
    assert registry.get(name, "1") is None
    assert registry.find(name, "run", "sha256:0") is None


def test_a_version_is_found_with_what_it_was_registered_with(name: str) -> None:
    made = version(name, "sha256:ab", judged_against="7")

    found = registry.get(name, made.version)

    assert found == made == registry.Version(name, "1", "s3://models/ab.zip", "sha256:ab", "7")


def test_an_alias_names_one_version_at_a_time(name: str) -> None:
    first, second = version(name, "sha256:ab"), version(name, "sha256:cd")

    registry.set_alias(name, "challenger", first.version)
    registry.set_alias(name, "challenger", second.version)

    assert registry.aliased(name, "challenger") == second
    assert registry.champion(name) is None


@pytest.mark.parametrize(
    ("run", "digest", "there"),
    [
        pytest.param("run-1", "sha256:ab", True, id="same run, same model"),
        pytest.param("run-2", "sha256:ab", False, id="another run"),
        pytest.param("run-1", "sha256:cd", False, id="another model"),
    ],
)
def test_a_version_is_found_again_by_its_run_and_its_digest(name: str, run: str, digest: str, there: bool) -> None:
    made = version(name, "sha256:ab")
    registry.tag(made, {"kfp.pipeline_run_id": "run-1"})

    found = registry.find(name, run, digest)

    assert (found is not None and found.version == made.version) is there


def test_promoting_the_first_leaves_no_previous_one(name: str) -> None:
    first = version(name, "sha256:ab")

    registry.promote(first, "it is better")

    champion = registry.champion(name)
    assert champion and (champion.version, champion.previous, champion.reason) == ("1", "", "it is better")


def test_promoting_remembers_who_was_champion(name: str) -> None:
    registry.promote(version(name, "sha256:ab"), "it is the first")
    second = version(name, "sha256:cd", judged_against="1")

    registry.promote(second, "it is better")

    champion = registry.champion(name)
    assert champion and champion.version == second.version
    assert _tags(second)["previous"] == "1"


@pytest.mark.parametrize(
    ("judged_against", "sentence"),
    [
        pytest.param("", "is version 1 now, the challenger was judged against none: run the pipeline again", id="against none"),
        pytest.param("7", "is version 1 now, the challenger was judged against version 7: run the pipeline again", id="against another"),
    ],
)
def test_a_challenger_that_was_judged_against_another_champion_is_refused(name: str, judged_against: str, sentence: str) -> None:
    registry.promote(version(name, "sha256:ab"), "it is better")
    champion = registry.champion(name)
    challenger = version(name, "sha256:cd", judged_against=judged_against)

    with pytest.raises(Conflict) as refused:
        registry.promote(challenger, "it is better")

    assert str(refused.value) == f"the champion of {name} {sentence}"
    assert registry.champion(name) == champion
    assert "previous" not in _tags(challenger)


def test_a_challenger_of_a_champion_that_is_gone_is_refused(name: str) -> None:
    challenger = version(name, "sha256:cd", judged_against="7")

    with pytest.raises(Conflict, match=f"the champion of {name} is version none now, the challenger was judged against version 7"):
        registry.promote(challenger, "it is better")

    assert registry.champion(name) is None


RENAMED = {"new_name": f"renamed-{uuid.uuid4().hex}"}


@pytest.mark.parametrize(
    ("method", "path", "body", "sentence"),
    [
        pytest.param("DELETE", "registered-models/alias", {"alias": "champion"}, "has no alias `champion`", id="no alias"),
        pytest.param("DELETE", "model-versions/delete", {"version": "1"}, "it is deleted in MLflow", id="deleted"),
        pytest.param("POST", "registered-models/rename", RENAMED, "should serve .* correct MLFLOW_TRACKING_URI", id="renamed"),
    ],
)
def test_a_champion_that_is_missing_is_not_one_that_never_was(name: str, method: str, path: str, body: dict[str, str], sentence: str) -> None:
    registry.promote(version(name, "sha256:ab"), "it is the first")
    late = version(name, "sha256:cd")
    call(method, path, {"name": name, **body})

    with pytest.raises(ChampionMissing, match=f"^version 1 .*of {name}.* {sentence}"):
        registry.champion(name)
    with pytest.raises(ChampionMissing):
        registry.promote(late, "it is better than a dummy")


def test_a_model_that_was_deleted_and_made_again_lacks_its_alias(name: str) -> None:
    registry.promote(version(name, "sha256:ab"), "it is the first")
    call("DELETE", "registered-models/delete", {"name": name})
    version(name, "sha256:ab")

    with pytest.raises(ChampionMissing, match=f"has no alias `champion` .* `mlops rollback {name}`"):
        registry.champion(name)


def test_a_damaged_record_of_the_champion_is_named(name: str) -> None:
    storage.write(champion_record.address(name), b"{")

    with pytest.raises(UserError, match=rf"^s3://models/{name}/champion.json is damaged: delete it"):
        registry.champion(name)


def test_a_restored_champion_keeps_what_was_noted_of_it(name: str) -> None:
    registry.promote(version(name, "sha256:ab"), "it is the first")
    registry.promote(version(name, "sha256:cd", judged_against="1"), "it is better")
    before, reigns = registry.champion(name), registry.reigns(name)
    call("DELETE", "registered-models/alias", {"name": name, "alias": "champion"})

    last = registry.last_champion(name)
    assert last
    registry.restore_champion(last, "restored by hand")

    assert (registry.champion(name), registry.reigns(name)) == (before, reigns)


def test_a_description_is_what_mlflow_shows(name: str) -> None:
    made = version(name, "sha256:ab")

    registry.describe(made, "**Größe** of `x`")

    assert call("GET", "model-versions/get", {"name": name, "version": "1"})["model_version"]["description"] == "**Größe** of `x`"


def _tags(version: registry.Version) -> dict[str, str]:
    found = call("GET", "model-versions/get", {"name": version.name, "version": version.version})["model_version"]
    return {item["key"]: item["value"] for item in found["tags"]}


def test_a_version_says_what_it_was_made_of(name: str) -> None:
    made = version(name, "sha256:ab")
    registry.tag(made, {"kfp.pipeline_run_id": "run-1", "data.sha256": "12ab", "reason": "it is better"})

    found = registry.get(name, made.version)

    assert found
    assert (found.run, found.data, found.reason) == ("run-1", "12ab", "it is better")


def test_the_registry_knows_who_was_champion_when_and_why(name: str) -> None:
    registry.promote(version(name, "sha256:ab"), "it is the first")
    registry.promote(version(name, "sha256:cd", judged_against="1"), "it is better: by 0.01")

    reigns = registry.reigns(name)

    assert [(reign.version, reign.reason) for reign in reigns] == [("1", "it is the first"), ("2", "it is better: by 0.01")]
    assert reigns[0].since < reigns[1].since


def test_a_model_that_nobody_knows_had_no_champion(name: str) -> None:
    assert registry.reigns(name) == []


def test_a_champion_that_nobody_could_note_any_more_is_noted_once(name: str) -> None:
    first = version(name, "sha256:ab")
    registry.set_alias(name, "champion", first.version)  # and the deployer dies here

    registry.remember(first, "it is the first")
    registry.remember(first, "it is the first")

    assert [(reign.version, reign.reason) for reign in registry.reigns(name)] == [("1", "it is the first")]
