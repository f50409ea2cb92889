"""Submit against a server that speaks the shapes of the KFP v2beta1 REST API and refuses what the real one refuses."""

import subprocess
import sys
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from kfp import compiler, dsl

from core.errors import UserError
from pipelines.submit import Submitted, submit
from tests.contract.compiling import in_a_thread
from tests.contract.kubeflow import Handler, Kubeflow

CONFIG = "{name: wine, train: {seed: 7}}"


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    return compile_pipeline(tmp_path / "wine-training.yaml", image="localhost/python:1")


def compile_pipeline(target: Path, image: str) -> Path:
    def train(config: str) -> float:
        return 1.0

    step = dsl.component(train, base_image=image, install_kfp_package=False)

    def pipeline(config: str = CONFIG) -> None:
        step(config=config)

    in_a_thread(lambda: compiler.Compiler().compile(dsl.pipeline(pipeline, name="wine-training"), str(target)))
    return target


def send(package: Path, version: str = "3f2a1c0", namespace: str | None = None) -> Submitted:
    return submit("wine", package, CONFIG, experiment="wine", version=version, namespace=namespace)


def test_the_first_submit_makes_the_pipeline_its_version_the_experiment_and_a_run(
    kubeflow: Kubeflow, compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted = send(compiled)

    assert submitted == Submitted("run-1", f"{kubeflow.url}/#/runs/details/run-1")
    assert [pipeline["name"] for pipeline in kubeflow.pipelines.values()] == ["wine-training"]
    assert [version["name"] for version in kubeflow.versions.values()] == ["3f2a1c0"]
    assert [experiment["display_name"] for experiment in kubeflow.experiments.values()] == ["wine"]
    assert kubeflow.runs["run-1"]["runtime_config"]["parameters"] == {"config": CONFIG}
    assert capsys.readouterr().out == ""


def test_a_second_submit_of_the_same_commit_runs_the_version_that_is_there(kubeflow: Kubeflow, compiled: Path) -> None:
    send(compiled)

    again = send(compiled)

    assert again.run_id == "run-2"
    assert len(kubeflow.pipelines) == len(kubeflow.versions) == len(kubeflow.experiments) == 1
    assert kubeflow.runs["run-2"]["pipeline_version_reference"] == {"pipeline_id": "pipeline-1", "pipeline_version_id": "pipeline_version-1"}


def test_a_new_commit_becomes_a_new_version_of_the_same_pipeline(kubeflow: Kubeflow, compiled: Path) -> None:
    send(compiled)

    send(compiled, version="9d8e7f6")

    assert len(kubeflow.pipelines) == 1
    assert [version["name"] for version in kubeflow.versions.values()] == ["3f2a1c0", "9d8e7f6"]
    assert kubeflow.runs["run-2"]["pipeline_version_reference"]["pipeline_version_id"] == "pipeline_version-2"


def test_a_version_that_is_there_with_other_contents_is_not_run_in_silence(kubeflow: Kubeflow, compiled: Path, tmp_path: Path) -> None:
    send(compiled)
    changed = compile_pipeline(tmp_path / "changed.yaml", image="localhost/python:2")

    with pytest.raises(UserError, match="3f2a1c0 of this pipeline is on Kubeflow with other contents: commit the change"):
        send(changed)

    assert len(kubeflow.runs) == 1


def test_a_multi_user_kubeflow_gets_everything_in_the_users_namespace(kubeflow: Kubeflow, compiled: Path) -> None:
    kubeflow.multi_user = True

    send(compiled, namespace="ada")

    assert [thing["namespace"] for thing in (*kubeflow.pipelines.values(), *kubeflow.experiments.values())] == ["ada", "ada"]


def test_a_multi_user_kubeflow_without_a_namespace_is_refused_before_anything_is_made(kubeflow: Kubeflow, compiled: Path) -> None:
    kubeflow.multi_user = True

    with pytest.raises(UserError, match="multi-user: name your namespace"):
        send(compiled)

    assert not kubeflow.pipelines


def test_a_token_from_the_environment_opens_a_kubeflow_with_a_login(kubeflow: Kubeflow, compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeflow.token = "let-me-in"
    with pytest.raises(UserError, match="HTTP 401"):
        send(compiled)

    monkeypatch.setenv("KFP_TOKEN", "let-me-in")

    assert send(compiled).run_id == "run-1"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        pytest.param(401, "asks for a login or refuses yours .HTTP 401.: set KFP_TOKEN", id="no login"),
        pytest.param(403, "asks for a login or refuses yours .HTTP 403.: set KFP_TOKEN", id="forbidden"),
        pytest.param(302, "asks for a login or refuses yours .HTTP 302.: set KFP_TOKEN", id="sent to a login page"),
        pytest.param(404, "answers, but not as Kubeflow Pipelines .HTTP 404.: correct the path", id="another server"),
    ],
)
def test_a_refusal_says_what_to_set(kubeflow: Kubeflow, compiled: Path, status: int, sentence: str) -> None:
    kubeflow.status = status

    with pytest.raises(UserError, match=sentence):
        send(compiled)


def test_an_unreachable_kubeflow_is_told_at_once_with_the_port_forward(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_ENDPOINT", "127.0.0.1:9")
    start = time.monotonic()

    with pytest.raises(UserError, match=r"cannot be reached at http://127.0.0.1:9: correct KFP_ENDPOINT, .*kubectl -n kubeflow port-forward"):
        send(compiled)

    assert time.monotonic() - start < 6


def test_a_server_that_never_answers_is_given_up_after_five_seconds(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as silent:  # listens, and nobody accepts
        monkeypatch.setenv("KFP_ENDPOINT", f"http://127.0.0.1:{silent.server_port}")
        start = time.monotonic()

        with pytest.raises(UserError, match="cannot be reached"):
            send(compiled)

    assert time.monotonic() - start < 8


@pytest.mark.parametrize("endpoint", ["", "http://[", "kubeflow.invalid", "ftp://127.0.0.1"])
def test_an_endpoint_that_is_missing_or_no_address_is_one_sentence(compiled: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("KFP_ENDPOINT", endpoint)

    with pytest.raises(UserError, match="KFP_ENDPOINT"):
        send(compiled)


def test_an_address_copied_from_the_browser_is_good_enough(kubeflow: Kubeflow, compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_ENDPOINT", f"{kubeflow.url.removeprefix('http://')}/#/pipelines")

    assert send(compiled).link == f"{kubeflow.url}/#/runs/details/run-1"


@pytest.mark.parametrize("command", ["compile", "submit"])
def test_an_image_that_may_be_another_one_tomorrow_is_refused(command: str) -> None:
    tool = Path(sys.executable).parent / "mlops"

    refused = subprocess.run([tool, command, "--image", "registry.example.com/team/mlops:latest"], capture_output=True, text=True, check=False)

    assert refused.returncode == 1
    assert refused.stderr.startswith("error: registry.example.com/team/mlops:latest may be another image tomorrow: name it by a tag that never moves")
