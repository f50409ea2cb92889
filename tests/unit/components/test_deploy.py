"""deploy on the laptop: real servers, the alias and what serves change together or not at all."""

import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from components.deploy.deploy import deploy, serve_champion
from components.deploy.local import STARTING, Served, serving, start, stop
from components.deploy.smoke import replay
from core import registry
from core.bundle import Bundle, Golden, Label
from core.errors import Conflict, UserError
from core.mlflow_api import call
from core.processes import free_port
from core.registry import Version
from core.tracking import Run
from local.platform import Platform
from tests.unit import models, small


@pytest.fixture
def name(platform: Platform, bundle: Bundle) -> Iterator[str]:
    yield bundle.manifest.name
    served = serving(bundle.manifest.name)
    if served:
        stop(served)


def step(name: str) -> Run:
    return Run("deploy", small.usecase().model_copy(update={"name": name}))


def wrong(bundle: Bundle) -> Bundle:
    """The same model, with golden answers that it does not give."""
    answers: list[Label] = [1 - int(label) for label in bundle.golden.predict]
    return dataclasses.replace(bundle, golden=Golden(bundle.golden.rows, answers, bundle.golden.predict_proba))


def version_that_answers(served: Served) -> str:
    return str(requests.get(f"{served.address}/v2/models/{served.usecase}", timeout=10).json()["versions"][0])


def test_a_first_version_serves_and_becomes_champion(name: str, bundle: Bundle) -> None:
    first = models.published(bundle)

    address = deploy(step(name), first.version)

    served, champion = serving(name), registry.champion(name)
    assert served and champion
    assert (served.address, served.version, champion.version) == (address, first.version, first.version)
    assert version_that_answers(served) == first.version
    assert not (Path(os.environ["MLOPS_HOME"]) / "serving" / f"{name}{STARTING}").exists()


def test_deploying_again_changes_nothing(name: str, bundle: Bundle) -> None:
    first = models.published(bundle)
    deploy(step(name), first.version)
    before = serving(name)

    deploy(step(name), first.version)

    assert serving(name) == before


def test_the_next_version_replaces_the_first_and_remembers_it(name: str, bundle: Bundle) -> None:
    first = models.published(bundle)
    deploy(step(name), first.version)
    old = serving(name)
    second = models.published(bundle, judged_against=first.version)

    deploy(step(name), second.version)

    served, champion = serving(name), registry.champion(name)
    assert old and served and champion
    assert served.version == champion.version == second.version
    assert not psutil.pid_exists(old.process.pid)
    tags = call("GET", "model-versions/get", {"name": name, "version": second.version})["model_version"]["tags"]
    assert {"key": "previous", "value": first.version} in tags


def test_a_version_with_other_golden_answers_is_refused_and_the_old_one_serves_on(name: str, bundle: Bundle) -> None:
    first = models.published(bundle)
    deploy(step(name), first.version)
    old = serving(name)
    second = models.published(wrong(bundle), judged_against=first.version)

    with pytest.raises(UserError, match=r"row 0: predict"):
        deploy(step(name), second.version)

    champion = registry.champion(name)
    assert old and champion
    assert serving(name) == old
    assert champion.version == version_that_answers(old) == first.version
    servers = [each.pid for each in psutil.process_iter(["cmdline"]) if name in (each.info["cmdline"] or [])]
    assert servers == [old.process.pid]


def test_a_challenger_that_was_judged_against_another_champion_is_refused(name: str, bundle: Bundle) -> None:
    first, late = models.published(bundle), models.published(bundle)
    deploy(step(name), first.version)

    with pytest.raises(Conflict, match=f"is version {first.version} now, the challenger was judged against none: run the pipeline again"):
        deploy(step(name), late.version)

    served = serving(name)
    assert served and served.version == first.version


def test_of_two_that_deploy_at_once_exactly_one_wins(name: str, bundle: Bundle) -> None:
    rivals = [models.published(bundle), models.published(bundle)]

    def attempt(rival: Version) -> str:
        try:
            deploy(step(name), rival.version)
        except Conflict:
            return "refused"
        return rival.version

    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(attempt, rivals))

    champion, served = registry.champion(name), serving(name)
    assert champion and served
    assert sorted(ended) == sorted([champion.version, "refused"])
    assert served.version == champion.version
    logs = list(Path(os.environ["MLOPS_HOME"], "logs").glob(f"serving-{name}-*.log"))
    assert len(logs) == 1, "the second waited for the first, and was refused before it started a server"


def test_the_champion_serves_again_after_its_server_was_killed(name: str, bundle: Bundle) -> None:
    first = models.published(bundle)
    deploy(step(name), first.version)
    killed = serving(name)
    assert killed
    os.kill(killed.process.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(killed.process.pid)] if psutil.pid_exists(killed.process.pid) else [], timeout=5)

    served = serve_champion(name)

    assert served and served.process != killed.process
    assert version_that_answers(served) == first.version


def test_a_server_that_a_killed_deployer_left_behind_is_ended_by_the_next(name: str, bundle: Bundle) -> None:
    first = models.published(bundle)
    left = start(first)  # and the deployer dies here
    record = Path(os.environ["MLOPS_HOME"]) / "serving" / f"{name}{STARTING}"
    assert json.loads(record.read_text())["process"]["pid"] == left.process.pid

    deploy(step(name), first.version)

    served = serving(name)
    assert served and served.process != left.process
    assert not psutil.pid_exists(left.process.pid)


def test_a_version_that_is_not_registered_is_refused(platform: Platform, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} has no version 7 in MLflow: run the pipeline again"):
        deploy(step(name), "7")


def test_without_a_champion_nothing_is_started(platform: Platform, name: str, bundle: Bundle) -> None:
    models.published(bundle)

    assert serve_champion(name) is None
    assert serving(name) is None


def test_a_champion_that_serves_is_left_as_it_is(name: str, bundle: Bundle) -> None:
    deploy(step(name), models.published(bundle).version)
    before = serving(name)

    assert serve_champion(name) == before


def test_when_the_alias_is_moved_while_a_server_starts_that_server_is_ended(name: str, bundle: Bundle) -> None:
    first, by_hand = models.published(bundle), models.published(bundle)
    deploy(step(name), first.version)
    old = serving(name)
    late = models.published(bundle, judged_against=first.version)
    record = Path(os.environ["MLOPS_HOME"]) / "serving" / f"{name}{STARTING}"

    with ThreadPoolExecutor() as pool:
        deploying = pool.submit(deploy, step(name), late.version)
        while not record.exists():
            time.sleep(0.01)
        started = json.loads(record.read_text())["process"]["pid"]
        registry.set_alias(name, "champion", by_hand.version)
        with pytest.raises(Conflict, match=f"is version {by_hand.version} now, the challenger was judged against version {first.version}"):
            deploying.result()

    assert registry.champion(name) == by_hand
    assert serving(name) == old
    assert not psutil.pid_exists(started)
    assert not record.exists()


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        pytest.param(
            "1", r"answers otherwise than in training: row 0: predict [01] where training gave [01]; row 1: .* and 37 more", id="other answers"
        ),
        pytest.param("2", r"refuses the golden rows: .*2", id="another version"),
        pytest.param("nowhere", r"does not answer the smoke test: ConnectionError", id="no server"),
    ],
)
def test_the_smoke_test_tells_what_a_server_answers(name: str, bundle: Bundle, asked: str, sentence: str) -> None:
    deploy(step(name), models.published(bundle).version)
    served = serving(name)
    assert served
    address = served.address if asked != "nowhere" else f"http://127.0.0.1:{free_port()}"

    replay(served.address, bundle, served.version)
    with pytest.raises(UserError, match=rf"^version {asked} of {name} {sentence}; the one before serves on$"):
        replay(address, wrong(bundle), asked)
