"""`mlops submit --wait`: the steps of a run on a server that speaks like Kubeflow, their logs on a real S3."""

import io
import uuid
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.follow import follow
from core import storage
from core.errors import UserError
from local.platform import Platform
from pipelines.kubeflow import connect
from pipelines.package import COMPILED
from pipelines.submit import Submitted
from tests.contract.kubeflow import Kubeflow

PACKAGE = COMPILED / "wine-training.yaml"
DONE = {"start_time": "2026-01-01T10:00:00Z", "end_time": "2026-01-01T10:00:07.5Z"}
BEGUN = {"start_time": "2026-01-01T10:00:00Z", "end_time": "1970-01-01T00:00:00Z"}


@pytest.fixture(autouse=True)
def home(platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keeps the logs of this test apart."""
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))


@pytest.fixture
def submitted(kubeflow: Kubeflow) -> Submitted:
    run_id = str(uuid.uuid4())
    kubeflow.runs[run_id] = {"run_id": run_id}
    return Submitted(run_id, f"{kubeflow.url}/#/runs/details/{run_id}")


def task(name: str, state: str, **more: Any) -> dict[str, Any]:
    times = DONE if state in ("SUCCEEDED", "FAILED") else BEGUN
    return {"task_id": f"{name}-{uuid.uuid4()}", "display_name": name, "state": state, **times, **more}


def leave(submitted: Submitted, step: str, log: str, retry: int = 0) -> None:
    root = f"s3://pipelines/kfp/wine-training/{submitted.run_id}/{step}/{uuid.uuid4()}"
    storage.write(f"{root}/executor-logs-{retry}", log.encode())


def watch(submitted: Submitted) -> tuple[str, str]:
    """Follow a run; return what was printed, and the error."""
    printed = io.StringIO()
    try:
        follow(connect(None, None), submitted, PACKAGE, Console(file=printed, highlight=False), pipeline_root=storage.artifacts(), poll=0.01)
    except UserError as error:
        return printed.getvalue(), str(error)
    return printed.getvalue(), ""


def test_each_step_is_a_line_with_its_seconds_and_its_own_words(kubeflow: Kubeflow, submitted: Submitted) -> None:
    leave(submitted, "extract", "much\ndone: 178 wines\n")
    leave(submitted, "train", "done: random-forest\n")
    kubeflow.states = ["PENDING", "RUNNING", "RUNNING", "SUCCEEDED"]
    kubeflow.tasks = [
        [],
        [task("extract", "RUNNING")],
        [task("extract", "SUCCEEDED"), task("train", "PENDING")],
        [task("train", "SUCCEEDED"), task("extract", "SUCCEEDED")],
    ]

    printed, error = watch(submitted)

    assert (printed, error) == (
        f"✓  extract        7.5 s  178 wines\n✓  train          7.5 s  random-forest\n\nthe run succeeded\nrun     {submitted.link}\n",
        "",
    )


def test_groups_drivers_and_closed_gates_are_no_steps(kubeflow: Kubeflow, submitted: Submitted) -> None:
    others = [task(name, "SUCCEEDED") for name in ("root", "exit-handler-1", "train-driver", "executor", "condition-2")]
    kubeflow.tasks = [[*others, task("train", "SUCCEEDED"), task("deploy", "SKIPPED")]]

    printed, _ = watch(submitted)

    assert [line.split()[1] for line in printed.splitlines() if line.startswith(("✓", "✗"))] == ["train"]


def test_a_failed_step_ends_with_its_own_error_from_the_log_of_its_last_try(kubeflow: Kubeflow, submitted: Submitted) -> None:
    leave(submitted, "extract", "failed: the first try\n", retry=0)
    leave(submitted, "extract", "one line\nfailed: wine.csv is gone: put it back\nMLflow is slow\npage: http://mlflow/page.html\n", retry=1)
    kubeflow.states = ["RUNNING", "FAILED"]
    kubeflow.tasks = [[task("extract", "RUNNING")], [task("root", "FAILED"), task("extract", "FAILED"), task("report", "SUCCEEDED")]]

    printed, error = watch(submitted)

    assert error == "extract: wine.csv is gone: put it back"
    assert f"✗  extract        7.5 s  wine.csv is gone: put it back\n{'':25}page: http://mlflow/page.html\n" in printed
    assert "  | one line\n  | MLflow is slow\nlog  " in printed
    assert (Path(printed.split("log  ")[1].split("\n")[0])).read_text().startswith("one line")


@pytest.mark.parametrize("away", ["no credentials", "no server"])
def test_without_object_storage_the_log_comes_from_kubeflow(
    kubeflow: Kubeflow, submitted: Submitted, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    if away == "no server":
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    else:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    kubeflow.logs["wine-executor-7"] = "one line\nfailed: wine.csv is gone: restore it\n"
    kubeflow.states, kubeflow.tasks = ["FAILED"], [[task("extract", "FAILED", child_tasks=[{"pod_name": "wine-executor-7"}])]]

    _, error = watch(submitted)

    assert error == "extract: wine.csv is gone: restore it"


def test_pod_that_was_refused_has_no_log(kubeflow: Kubeflow, submitted: Submitted) -> None:
    kubeflow.states, kubeflow.tasks = ["FAILED"], [[task("extract", "FAILED")]]

    _, error = watch(submitted)

    assert error.startswith("extract: it ended as FAILED without an error message: it left no log, its pod may have been refused: look at its events")


def test_step_that_was_done_when_the_run_was_terminated_says_so(kubeflow: Kubeflow, submitted: Submitted) -> None:
    leave(submitted, "validate", "done: 25 columns keep the contract\n")
    kubeflow.states, kubeflow.tasks = ["FAILED"], [[task("validate", "FAILED")]]

    assert watch(submitted)[1] == "validate: it had done its work (25 columns keep the contract) when the run was ended"


def test_verdict_and_addresses_of_the_report_end_the_output(kubeflow: Kubeflow, submitted: Submitted) -> None:
    lines = ("verdict: the champion stays", "server: http://wine.mlops-serving", "MLflow: http://mlflow/#/runs/1", "done: 58 s in 7 steps")
    leave(submitted, "report", "\n".join(lines))
    kubeflow.tasks = [[task("report", "SUCCEEDED")]]

    printed, _ = watch(submitted)

    end = f"\nthe champion stays\nserver  http://wine.mlops-serving\nMLflow  http://mlflow/#/runs/1\nrun     {submitted.link}\n"
    assert printed.endswith(end)


def test_step_without_a_log_is_no_failure(kubeflow: Kubeflow, submitted: Submitted) -> None:
    kubeflow.tasks = [[task("train", "SUCCEEDED")]]

    printed, error = watch(submitted)

    assert (error, printed.splitlines()[0]) == ("", "✓  train          7.5 s  its log is not there")


def test_a_run_that_succeeded_before_its_last_tasks_say_so_is_waited_for(kubeflow: Kubeflow, submitted: Submitted) -> None:
    kubeflow.states = ["SUCCEEDED"]
    kubeflow.tasks = [[task("report", "RUNNING")], [task("report", "RUNNING")], [task("report", "SUCCEEDED")]]

    printed, error = watch(submitted)

    assert (error, printed.splitlines()[0]) == ("", "✓  report         7.5 s  its log is not there")


def test_a_task_that_says_running_for_ever_does_not_hold_up_a_run_that_succeeded(kubeflow: Kubeflow, submitted: Submitted) -> None:
    kubeflow.states, kubeflow.tasks = ["SUCCEEDED"], [[task("report", "RUNNING")]]

    printed, error = watch(submitted)

    assert error == ""
    assert printed.startswith("✓  report ")


def test_a_run_that_was_cancelled_without_a_failed_step_says_so(kubeflow: Kubeflow, submitted: Submitted) -> None:
    kubeflow.states, kubeflow.tasks = ["CANCELED"], [[task("extract", "SUCCEEDED")]]

    _, error = watch(submitted)

    assert error == f"the run ended as CANCELED: no step failed, look at {submitted.link}"


def test_on_a_terminal_steps_side_by_side_are_shown_together(kubeflow: Kubeflow, submitted: Submitted) -> None:
    kubeflow.states = ["RUNNING", "SUCCEEDED"]
    kubeflow.tasks = [[task("validate", "RUNNING"), task("transform", "RUNNING")], [task("validate", "SUCCEEDED"), task("transform", "SUCCEEDED")]]
    terminal = io.StringIO()

    console = Console(file=terminal, force_terminal=True, width=100, highlight=False)
    follow(connect(None, None), submitted, PACKAGE, console, pipeline_root=storage.artifacts(), poll=0.01)

    assert "validate" in terminal.getvalue()
    assert "transform" in terminal.getvalue()
