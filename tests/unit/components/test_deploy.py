"""deploy on the laptop: it keeps the contract of every form of deployment; real servers, written down when they have been proven."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import requests

from components.deploy.deploy import deploy, serve
from components.deploy.local import STARTING, LocalDeployer, Served, start, stop
from components.deploy.smoke import replay
from components.register.export import export
from core.bundle import Bundle, load_model
from core.config import Serving
from core.engines import OnnxEngine
from core.errors import UserError
from core.processes import free_port
from core.tracking import Run
from local.platform import Platform
from tests.unit import models, small

pytest.register_assert_rewrite("tests.deployer.contract")

from tests.deployer.contract import Bench, Contract  # noqa: E402
from tests.deployer.processes import ProcessBench, wrong  # noqa: E402


@pytest.fixture
def bundle(bundle: Bundle) -> Bundle:
    """The served form for ONNX Runtime: its server starts in a quarter of the time of scikit-learn's."""
    graph = export(load_model(bundle.model), bundle.manifest.inputs)
    return replace(bundle, manifest=replace(bundle.manifest, engine=OnnxEngine.name), **graph._asdict())


@pytest.fixture
def bench(platform: Platform, bundle: Bundle) -> Iterator[ProcessBench]:
    made = ProcessBench(bundle)
    yield made
    made.clear()


@pytest.fixture
def name(bench: ProcessBench) -> str:
    return bench.name


class TestProcesses(Contract):
    """See tests/deployer/contract.py."""

    def test_of_two_that_deploy_at_once_exactly_one_wins(self, bench: Bench) -> None:
        super().test_of_two_that_deploy_at_once_exactly_one_wins(bench)

        logs = list(Path(os.environ["MLOPS_HOME"], "logs").glob(f"serving-{bench.name}-*.log"))
        assert len(logs) == 1, "the second waited for the first, and was refused before it started a server"


def serving(name: str) -> Served:
    served = LocalDeployer(name, Serving()).serving()
    assert served
    return served


def step(name: str) -> Run:
    return Run("deploy", small.usecase().model_copy(update={"name": name}))


def test_the_step_returns_the_address_and_notes_who_is_champion(name: str, bundle: Bundle) -> None:
    first, run = models.published(bundle), step(name)

    address = deploy(run, first.version)

    assert address == serving(name).address
    assert run.tags == {"address": address, "champion": first.version}
    assert run.summary == f"version {first.version} serves at {address}"
    assert not (Path(os.environ["MLOPS_HOME"]) / "serving" / f"{name}{STARTING}").exists()


def test_a_server_that_a_killed_deployer_left_behind_is_written_down_and_ended_by_the_next(name: str, bundle: Bundle) -> None:
    first = models.published(bundle)
    left = start(first, Serving())  # and the deployer dies here
    record = Path(os.environ["MLOPS_HOME"]) / "serving" / f"{name}{STARTING}"
    assert json.loads(record.read_text())["process"]["pid"] == left.process.pid

    deploy(step(name), first.version)

    assert serving(name).process != left.process
    assert not psutil.pid_exists(left.process.pid)
    assert not record.exists()


def test_a_champion_that_serves_is_left_as_it_is(name: str, bundle: Bundle) -> None:
    deploy(step(name), models.published(bundle).version)
    before = serving(name)

    assert serve(step(name)) == before.address
    assert serving(name) == before


def test_a_champion_serves_on_with_the_log_that_its_config_asks_for(name: str, bundle: Bundle) -> None:
    deploy(step(name), models.published(bundle).version)
    before = serving(name)
    logging = Run("serve", small.usecase().model_copy(update={"name": name, "serving": Serving(log_predictions=0.25)}))

    address = serve(logging)

    after = serving(name)
    assert (before.log_predictions, after.log_predictions) == (0, 0.25)
    assert psutil.Process(after.process.pid).environ()["PREDICTION_LOG"] == "0.25"
    assert not psutil.pid_exists(before.process.pid)
    assert serve(logging) == address
    assert serving(name) == after


def test_what_was_written_down_before_there_was_such_a_log_is_read(name: str, bundle: Bundle) -> None:
    deploy(step(name), models.published(bundle).version)
    before, record = serving(name), Path(os.environ["MLOPS_HOME"]) / "serving" / f"{name}.json"
    record.write_text(json.dumps({key: value for key, value in json.loads(record.read_text()).items() if key != "log_predictions"}))

    serve(step(name))

    assert serving(name) == before


def test_a_champion_whose_server_is_gone_serves_again(name: str, bundle: Bundle) -> None:
    deploy(step(name), models.published(bundle).version)
    stop(serving(name))
    run = step(name)

    address = serve(run)

    assert requests.get(f"{address}/v2/health/ready", timeout=5).ok
    assert run.tags == {"address": address, "champion": "1"}
    assert run.summary == f"version 1 serves at {address}"


def test_without_a_champion_nothing_serves_also_not_what_a_killed_deployer_left(name: str, bundle: Bundle) -> None:
    left = start(models.published(bundle), Serving())  # and the deployer dies here
    run = step(name)

    assert serve(run) == ""
    assert run.summary == "there is no champion, so nothing serves"
    assert not psutil.pid_exists(left.process.pid)


def test_the_smoke_test_tells_what_a_server_answers(name: str, bundle: Bundle) -> None:
    deploy(step(name), models.published(bundle).version)
    served = serving(name)
    nowhere = f"http://127.0.0.1:{free_port()}"
    other_answers = r"answers otherwise than in training: row 0: predict [01] where training gave [01]; row 1: .* and 37 more"

    replay(served.address, bundle, served.version)
    with pytest.raises(UserError, match=rf"^version 1 of {name} {other_answers}$"):
        replay(served.address, wrong(bundle), "1")
    with pytest.raises(UserError, match=rf"^version 2 of {name} refuses the golden rows: .*2$"):
        replay(served.address, wrong(bundle), "2")
    with pytest.raises(UserError, match=rf"^version nowhere of {name} does not answer the smoke test: ConnectionError$"):
        replay(nowhere, wrong(bundle), "nowhere")
