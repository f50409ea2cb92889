"""Faults during a run: one clear sentence, nothing half done, the old model serves on, the next run goes through."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.deploy.local import LocalDeployer, Served
from core import registry, storage
from core.bundle import digest, pack, unpack
from core.config import Serving
from local import platform as embedded
from local.platform import Platform
from local.state import load
from tests.e2e.command import ORDER, Running, ask, mlops
from tests.e2e.outcomes import WEAK, answers_right, assert_failed, assert_goes_through, assert_still_champion, model_servers, serving

SLOW = pytest.mark.slow


# A user's mistakes


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["run", "wein"], r"error: there is no use case wein: choose one of .*wine.*", id="use case"),
        pytest.param(
            ["run", "wine", "--set", "train.max_trails=3"],
            r"error: --set train\.max_trails=3: unknown key: .* \(did you mean max_trials\?\)",
            id="key",
        ),
        pytest.param(
            ["run", "wine", "--set", "train.max_trials=many"],
            r"error: --set train\.max_trials=many: .*'many'.*",
            id="value",
        ),
        pytest.param(
            ["run", "wine", "--set", "train.max_trials"], r"error: --set train\.max_trials: write it as --set train\.max_trials=3", id="no value"
        ),
    ],
)
def test_a_mistake_is_refused_before_anything_starts_in_one_sentence(platform: Platform, arguments: list[str], sentence: str) -> None:
    shown = mlops(*arguments)

    assert (shown.code, shown.out) == (1, "")
    assert re.fullmatch(sentence, shown.err.strip())


# What may happen to a run. All on a platform of their own, which may be broken.


@SLOW
@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        pytest.param("s3", r"the S3 server at http://127\.0\.0\.1:\d+ does not answer: start it \(`mlops platform up`\)", id="S3"),
        pytest.param("mlflow", r"MLflow at http://127\.0\.0\.1:\d+ does not answer: start it \(`mlops platform up`\)", id="MLflow"),
    ],
)
def test_a_server_that_is_killed_during_a_run_fails_it_and_the_old_model_serves_on(
    champion: Served, question: dict[str, Any], server: str, sentence: str
) -> None:
    running = Running("run", "wine")
    running.at("transform")

    with killed(server):
        shown = running.end()
        answers = ask(champion.address, question)

    assert_failed(shown, sentence)
    assert len(answers) == 1
    assert shown.report.is_file()
    assert "The run failed." in shown.report.read_text()
    assert_still_champion(champion)
    assert_goes_through()


@contextmanager
def killed(server: str) -> Iterator[None]:
    process = getattr(load(), server)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for each in family:
        each.kill()
    yield
    embedded.up()


@SLOW
def test_a_disk_that_fills_up_during_a_run_fails_it_and_with_room_the_next_run_goes_through(
    champion: Served, question: dict[str, Any], disk: Path
) -> None:
    if not os.path.ismount(disk):
        pytest.skip("only root on Linux can mount a small disk")
    running = Running("run", "wine", TMPDIR=str(temporary(disk)))
    running.at("train")

    filler = fill(disk)
    shown = running.end()
    answers = ask(champion.address, question)
    filler.unlink()

    assert shown.code == 1
    assert "Traceback" not in shown.out + shown.err
    assert re.search(r"no space left|disk", shown.out + shown.err, re.IGNORECASE), shown.out + shown.err
    assert len(answers) == 1
    assert_still_champion(champion)
    assert_goes_through()


def temporary(disk: Path) -> Path:
    folder = disk / "tmp"
    folder.mkdir(exist_ok=True)
    return folder


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
    return filler


@SLOW
def test_of_two_runs_that_promote_at_once_exactly_one_wins_and_the_other_says_so(champion: Served) -> None:
    runs = [Running("run", "wine"), Running("run", "wine")]

    with LocalDeployer("wine", Serving()).change():  # nobody deploys until both want to
        for run in runs:
            run.at("deploy")
    won, lost = sorted((run.end() for run in runs), key=lambda shown: shown.code)

    assert won.code == 0, won.out
    version = won.steps["deploy"].split()[1]
    conflict = f"the champion of wine is version {version} now, the challenger was judged against version 1: run the pipeline again"
    assert_failed(lost, f"^deploy: {conflict}$")
    assert (won.folder != lost.folder, list(won.steps), list(lost.steps)) == (True, ORDER, ORDER)
    now, served = registry.champion("wine"), serving("wine")
    assert now
    assert served
    assert now.version == served.version == version
    assert answers_right(served)
    assert [each.pid for each in model_servers()] == [served.process.pid]


@SLOW
def test_a_version_that_answers_otherwise_than_in_training_is_not_deployed_and_the_old_one_serves_on(champion: Served) -> None:
    running = Running("run", "wine")
    deployer = running.at("deploy")
    deployer.suspend()
    swapped = with_wrong_answers(registry.aliased("wine", "challenger"))
    registry.tag(swapped, swapped.tags)
    deployer.resume()

    shown = running.end()

    assert_failed(shown, r"^deploy: .*row \d+: predict.* where training gave ")
    assert_still_champion(champion)
    assert [each.pid for each in model_servers()] == [champion.process.pid]
    assert_goes_through()


def with_wrong_answers(version: registry.Version | None) -> registry.Version:
    """Say that training answered otherwise, in a served form with a digest of its own."""
    assert version
    bundle = unpack(storage.read(version.uri), version.digest)
    golden = replace(bundle.golden, predict=[*bundle.golden.predict[1:], "grignolino"])
    data = pack(replace(bundle, golden=golden))
    uri = "s3://models/wine/bad.zip"
    storage.write(uri, data)
    return replace(version, uri=uri, digest=digest(data))


@SLOW
def test_a_challenger_that_lost_is_registered_on_request(champion: Served) -> None:
    shown = mlops("run", "wine", *WEAK, "--register-anyway")

    assert shown.code == 0, shown.out + shown.err
    assert "\nthe champion stays: " in shown.out
    assert_still_champion(champion)
    number = shown.steps["register"].split()[1].rstrip(",")
    refused = mlops("deploy", "wine", number)
    deployed = mlops("deploy", "wine", number, "--reason", "the new rules ask for it")
    assert (refused.code, deployed.code) == (1, 0)
    assert "--reason" in refused.err
    assert "the new rules ask for it" in mlops("history", "wine").out.splitlines()[1]
