"""What may befall a run: each time one clear sentence, nothing half done, the old model serves on, the next run goes through."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.deploy.deploy import serve_champion
from components.deploy.local import LocalDeployer, Served
from core import registry, storage
from core.bundle import digest, pack, unpack
from core.config import Serving
from core.mlflow_api import call
from local import platform as embedded
from local.environment import environment
from local.platform import Platform
from local.state import load
from tests import disks
from tests.e2e.command import ORDER, Ended, Running, ask, below, mlflow_run, mlops, wait_for

SLOW = pytest.mark.slow
STUMP = "train.candidates={stump: {estimator: sklearn.tree.DecisionTreeClassifier, parameters: {max_depth: 1}}}"
WEAK = ("--set", STUMP, "--set", "train.max_trials=1", "--set", "evaluate.floor=5")
DISK = 800  # MB


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


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk where this system lets us mount one; else a folder."""
    folder = tmp_path_factory.mktemp("disk")
    is_mounted = disks.mount(folder, DISK)
    yield folder
    if is_mounted:
        disks.unmount(folder)


@pytest.fixture(scope="module")
def own(disk: Path) -> Iterator[Platform]:
    """A platform with a champion that every other model beats."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_HOME", str(disk / "home"))
        started = embedded.up()
        for variable, value in environment(started).items():
            patch.setenv(variable, value)
        assert mlops("run", "wine", *WEAK).code == 0
        yield started
        embedded.down()


def serving(name: str) -> Served | None:
    return LocalDeployer(name, Serving()).serving()


@pytest.fixture
def champion(own: Platform) -> Iterator[Served]:
    """The weak champion, in service."""
    registry.set_alias("wine", "champion", "1")
    serve_champion("wine", Serving())
    served = serving("wine")
    assert served
    assert served.version == "1"
    yield served
    Running.end_all()


@pytest.fixture
def question(champion: Served) -> dict[str, Any]:
    """A golden row, for times when S3 cannot be asked for it."""
    return dict(unpack(storage.read(champion.uri), champion.digest).golden.rows[0])


def answers_right(served: Served) -> bool:
    """Ask a server for its golden rows."""
    golden = unpack(storage.read(served.uri), served.digest).golden
    return bool([ask(served.address, dict(row))[0] for row in golden.rows[:3]] == list(golden.predict[:3]))


def assert_failed(shown: Ended, sentence: str) -> None:
    assert shown.code == 1, shown.out
    assert shown.err == ""
    assert "Traceback" not in shown.out
    found = re.findall(r"^failed after \d+ s: (.*)$", shown.out, re.MULTILINE)
    assert len(found) == 1, shown.out
    assert re.search(sentence, found[0]), found[0]


def assert_still_champion(served: Served) -> None:
    now = registry.champion("wine")
    assert now
    assert (now.version, serving("wine")) == (served.version, served)
    assert answers_right(served)


def assert_goes_through() -> None:
    """The next run makes its model champion, and nothing is left but its server."""
    shown = mlops("run", "wine")
    assert shown.code == 0, shown.out + shown.err
    assert "\nthe challenger becomes champion: " in shown.out
    now, served = registry.champion("wine"), serving("wine")
    assert now
    assert served
    assert now.version == served.version == shown.steps["deploy"].split()[1]
    assert answers_right(served)
    assert [each.pid for each in model_servers()] == [served.process.pid]


def model_servers() -> list[psutil.Process]:
    """Every server of this platform's models: they alone know its S3 address."""
    address = os.environ["AWS_ENDPOINT_URL_S3"]
    servers = [each for each in psutil.process_iter(["cmdline"]) if (each.info["cmdline"] or [])[1:3] == ["-m", "serving"]]
    return [each for each in servers if each.environ().get("AWS_ENDPOINT_URL_S3") == address]


def kill_at(step: str, *, begun: Callable[[], Any] = lambda: True) -> Ended:
    running = Running("run", "wine")
    process = running.at(step)
    wait_for(begun)
    process.kill()
    return running.end()


@SLOW
def test_whichever_step_is_killed_the_run_says_so_and_the_next_run_passes_that_step(champion: Served) -> None:
    for step in ORDER[:-1]:
        shown = kill_at(step)

        assert_failed(shown, f"^{step}: {step} was killed \\(signal 9\\)")
        assert list(shown.steps) == [*ORDER[: ORDER.index(step) + 1], "report"]
        assert f"{step} was killed" in shown.report.read_text().lower()
        assert_still_champion(champion)

    assert_goes_through()


@SLOW
def test_a_report_that_is_killed_fails_the_run_and_takes_nothing_back(champion: Served) -> None:
    shown = kill_at("report")

    assert_failed(shown, r"^report: report was killed \(signal 9\)")
    assert "none: the report step did not run" in shown.out
    served = serving("wine")
    assert served
    assert served.version != champion.version
    assert answers_right(served)


@SLOW
def test_a_deployment_that_is_killed_beside_its_new_server_leaves_the_old_one_and_the_next_run_ends_the_stray(champion: Served) -> None:
    shown = kill_at("deploy", begun=lambda: len(model_servers()) == 2)

    assert_failed(shown, r"^deploy: deploy was killed \(signal 9\)")
    assert_still_champion(champion)
    assert_goes_through()


@SLOW
def test_ctrl_c_ends_the_run_with_130_and_leaves_no_process_and_no_open_run(champion: Served) -> None:
    running = Running("run", "wine")
    running.at("deploy")
    (new,) = wait_for(lambda: [server for server in model_servers() if server.pid != champion.process.pid])
    new.suspend()  # or it would be ready, and the deployment over, before the signal comes
    family = running.family()

    os.kill(running.pid, signal.SIGINT)
    time.sleep(3)  # the signal goes from the command to the step, and from the step to its server
    new.resume()
    shown = running.end()

    assert (shown.code, shown.err) == (130, "stopped\n")
    assert "Traceback" not in shown.out
    assert psutil.wait_procs(family, timeout=2)[1] == []
    assert len(model_servers()) == 1
    status, steps = newest_run()
    assert status == "KILLED"
    assert [run["info"]["status"] for run in steps] == ["FINISHED"] * 6 + ["KILLED"]
    assert_still_champion(champion)
    assert_goes_through()


def newest_run() -> tuple[str, list[dict[str, Any]]]:
    """Status of the last pipeline run in MLflow, and the runs of its steps."""
    experiment = call("GET", "experiments/get-by-name", {"experiment_name": "wine"})["experiment"]["experiment_id"]
    body = {
        "experiment_ids": [experiment],
        "filter": "tags.`kfp.pipeline_run_id` != ''",
        "order_by": ["attributes.start_time DESC"],
    }
    found = call("POST", "runs/search", body)["runs"][0]
    return mlflow_run(found["info"]["run_id"])[0], below(found["info"]["run_id"])


@SLOW
def test_a_run_that_is_killed_itself_leaves_nothing_that_stops_the_next(champion: Served) -> None:
    running = Running("run", "wine")
    running.at("train")
    family = running.family()

    os.kill(running.pid, signal.SIGKILL)
    running.end()

    assert_still_champion(champion)
    assert_goes_through()
    assert psutil.wait_procs(family, timeout=30)[1] == []


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
