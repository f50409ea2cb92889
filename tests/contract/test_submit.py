"""Submit against a server that speaks the shapes of the KFP v2beta1 REST API and refuses what the real one refuses."""

import base64
import json
import subprocess
import sys
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from kfp import compiler, dsl

from core.errors import UserError
from pipelines.kubeflow import connect
from pipelines.submit import Submission, Submitted, submit
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


def send(package: Path, commit: str = "3f2a1c0", namespace: str | None = None, config: str = CONFIG) -> Submitted:
    submission = Submission(
        "wine", package, config, commit, "wine, 30 Nov 14:05", "the run", "the pipeline", "the version", "pipeline", "s3://pipelines/kfp"
    )
    return submit(connect(None, namespace), submission)


def test_first_submit_creates_pipeline_version_experiment_and_run(kubeflow: Kubeflow, compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submitted = send(compiled)

    run = kubeflow.runs["run-1"]
    assert submitted == Submitted("run-1", f"{kubeflow.url}/#/runs/details/run-1")
    assert [(each["name"], each["description"]) for each in kubeflow.pipelines.values()] == [("wine-training", "the pipeline")]
    assert [each["description"] for each in kubeflow.versions.values()] == ["the version"]
    assert [each["display_name"] for each in kubeflow.experiments.values()] == ["wine"]
    assert run["runtime_config"] == {"parameters": {"config": CONFIG}, "pipeline_root": "s3://pipelines/kfp"}
    assert (run["service_account"], run["description"]) == ("pipeline", "the run")
    assert capsys.readouterr().out == ""


def test_runs_of_an_experiment_are_numbered(kubeflow: Kubeflow, compiled: Path) -> None:
    send(compiled)
    send(compiled)

    assert [run["display_name"] for run in kubeflow.runs.values()] == ["wine, 30 Nov 14:05, #1", "wine, 30 Nov 14:05, #2"]


def test_second_submit_of_the_same_package_reuses_its_version(kubeflow: Kubeflow, compiled: Path) -> None:
    send(compiled)

    again = send(compiled)

    assert again.run_id == "run-2"
    assert len(kubeflow.pipelines) == len(kubeflow.versions) == len(kubeflow.experiments) == 1
    assert kubeflow.runs["run-2"]["pipeline_version_reference"] == {"pipeline_id": "pipeline-1", "pipeline_version_id": "pipeline_version-1"}


def test_new_commit_becomes_a_new_version_of_the_same_pipeline(kubeflow: Kubeflow, compiled: Path) -> None:
    send(compiled)

    send(compiled, commit="9d8e7f6-dirty")

    first, second = (version["name"] for version in kubeflow.versions.values())
    assert len(kubeflow.pipelines) == 1
    assert first.startswith("3f2a1c0-")
    assert second == first.replace("3f2a1c0-", "9d8e7f6-dirty-")
    assert kubeflow.runs["run-2"]["pipeline_version_reference"]["pipeline_version_id"] == "pipeline_version-2"


def test_one_commit_with_another_image_is_another_version(kubeflow: Kubeflow, compiled: Path, tmp_path: Path) -> None:
    send(compiled)
    mirrored = compile_pipeline(tmp_path / "mirrored.yaml", image="registry.example.com/python:1")

    assert send(mirrored).run_id == "run-2"

    assert len({version["name"] for version in kubeflow.versions.values()}) == 2


def test_character_that_mysql_cannot_store_is_refused_before_anything_is_sent(kubeflow: Kubeflow, compiled: Path) -> None:
    with pytest.raises(UserError, match=r"config.yaml line 2: Kubeflow's database cannot store '🍷'"):
        send(compiled, config="name: wine\ndescription: früh 東京 🍷\n")

    assert not kubeflow.pipelines


def test_a_multi_user_kubeflow_gets_everything_in_the_users_namespace(kubeflow: Kubeflow, compiled: Path) -> None:
    kubeflow.multi_user = True

    send(compiled, namespace="ada")

    assert [thing["namespace"] for thing in (*kubeflow.pipelines.values(), *kubeflow.experiments.values())] == ["ada", "ada"]


def test_a_multi_user_kubeflow_without_a_namespace_is_refused_before_anything_is_made(kubeflow: Kubeflow, compiled: Path) -> None:
    kubeflow.multi_user = True

    with pytest.raises(UserError, match="multi-user: name your namespace"):
        send(compiled)

    assert not kubeflow.pipelines


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        pytest.param("KFP_TOKEN", "let-me-in", id="token"),
        pytest.param("KFP_TOKEN", "Bearer let-me-in", id="token copied with its scheme"),
        pytest.param("KFP_COOKIE", "oauth2_proxy_kubeflow=let-me-in", id="cookie"),
    ],
)
def test_login_from_the_environment(kubeflow: Kubeflow, compiled: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    kubeflow.token = "let-me-in"
    monkeypatch.setenv(variable, value)

    assert send(compiled).run_id == "run-1"


def token(**claims: object) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


KUBERNETES = {"iss": "https://kubernetes.default.svc.cluster.local", "exp": time.time() + 600}


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        pytest.param({}, "it asks for a login: set KFP_TOKEN to a bearer token or KFP_COOKIE", id="nothing"),
        pytest.param({"KFP_TOKEN": "abc"}, "the token of KFP_TOKEN is not accepted", id="opaque token"),
        pytest.param({"KFP_TOKEN": token(exp=1_700_000_000)}, "the token of KFP_TOKEN expired at 2023-11-14 22:13 UTC", id="expired token"),
        pytest.param(
            {"KFP_TOKEN": token(**KUBERNETES, aud=["https://kubernetes"])},
            "is for https://kubernetes and not for pipelines.kubeflow.org: make it with `kubectl -n ada create token default-editor "
            "--audience=pipelines.kubeflow.org`",
            id="audience",
        ),
        pytest.param({"KFP_COOKIE": "session=old"}, "the cookie of KFP_COOKIE is not accepted, it may have expired", id="cookie"),
    ],
)
def test_refused_login_names_what_is_wrong_with_it(
    kubeflow: Kubeflow, compiled: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], sentence: str
) -> None:
    kubeflow.token = "let-me-in"
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    with pytest.raises(UserError) as refused:
        send(compiled, namespace="ada")

    assert "refuses access (HTTP 401)" in str(refused.value)
    assert sentence in str(refused.value)
    assert not any(value in str(refused.value) for value in environment.values())


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        pytest.param(401, r"refuses access .HTTP 401.: it asks for a login", id="no login"),
        pytest.param(302, r"refuses access .HTTP 302.: it asks for a login", id="redirect to a login page"),
        pytest.param(403, r"forbids it .HTTP 403, no.: ask the owner of the profile", id="forbidden"),
        pytest.param(404, r"answers, but not as Kubeflow Pipelines .HTTP 404.: correct the path", id="another server"),
    ],
)
def test_a_refusal_says_what_to_do(kubeflow: Kubeflow, compiled: Path, status: int, sentence: str) -> None:
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
