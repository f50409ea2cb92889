"""report: one page, whatever happened."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.report.report import Step, report
from components.report.report import outcome as sentence
from core import mlflow_connection, tracking
from core.configtext import parse
from core.errors import UserError
from core.mlflow_api import get_artifact
from core.processes import free_port
from core.tracking import Run, record
from local.platform import Platform
from tests.unit import small


def leave(config: str, step: str, metrics: dict[str, float] | None = None, error: str = "", **tags: str) -> None:
    """Leave in MLflow what a step leaves."""
    run = Run(step, parse(config), metrics=metrics or {}, summary=f"{step} did its work", live=True)
    run.tags |= tags | ({"error": error} if error else {})
    run.close("FAILED" if error else "FINISHED")


def outcome(config: str) -> tuple[str, dict[str, str]]:
    run = tracking.get(tracking.parent(parse(config)))
    return run["info"]["status"], {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def test_a_run_that_succeeded_is_told_step_by_step_and_ended(platform: Platform, run_id: str, tmp_path: Path) -> None:
    config, page = small.config(), tmp_path / "page.html"
    leave(config, "extract", {"rows.rows": 600.0})
    leave(config, "evaluate", {"test.roc_auc": 0.875, "rival.roc_auc": 0.5})
    leave(config, "deploy")

    report(config, False, str(page))

    text = page.read_text()
    status, _ = outcome(config)
    assert status == "FINISHED"
    assert "The run succeeded." in text and "extract did its work" in text
    assert "0.875" in text and run_id in text
    assert "Does it hold for &lt;every&gt; row?" in text
    address = tracking.get(tracking.parent(parse(config)))["info"]["artifact_uri"]
    assert get_artifact(address, "report.html").decode() == text


def test_a_run_that_failed_is_told_with_the_step_and_its_sentence(platform: Platform, run_id: str, tmp_path: Path) -> None:
    config, page = small.config(), tmp_path / "page.html"
    leave(config, "extract")
    leave(config, "validate", error="bad data: rows.x: 3 rows are null", page="http://mlflow/data.html")

    report(config, True, str(page))

    status, tags = outcome(config)
    assert status == "FAILED"
    assert tags["outcome"] == "validate failed: bad data: rows.x: 3 rows are null"
    text = page.read_text()
    assert "Validate failed: bad data: rows.x: 3 rows are null" in text
    assert 'Page of validate: <a href="http://mlflow/data.html">http://mlflow/data.html</a>' in text


def test_a_step_that_left_no_word_is_named(platform: Platform, run_id: str, tmp_path: Path) -> None:
    config, page = small.config(), tmp_path / "page.html"
    leave(config, "extract")
    leave(config, "validate")

    report(config, True, str(page))

    assert "Transform was killed or could not start" in page.read_text()


def test_without_mlflow_the_page_still_says_what_is_known(run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.html"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "no address")

    with pytest.raises(SystemExit) as ended:
        report(small.config(), False, str(page))

    assert ended.value.code == 1
    assert "What the steps did is not known: the MLflow server is not configured" in page.read_text()


def test_a_users_mistake_ends_a_step_with_one_sentence_and_no_traceback(platform: Platform, run_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = small.config()

    with pytest.raises(SystemExit) as ended, record("train", config):
        raise UserError("the rows are wrong: correct them")

    assert ended.value.code == 1
    assert capsys.readouterr().out.endswith("failed: the rows are wrong: correct them\n")
    assert [(step["info"]["run_name"], step["info"]["status"]) for step in tracking.steps(parse(config))] == [("train", "FAILED")]


@pytest.mark.parametrize("failed", [True, False], ids=["Kubeflow knows", "Kubeflow says RUNNING"])
def test_a_killed_step_fails_the_run_and_stays_open_nowhere(failed: bool, platform: Platform, run_id: str, tmp_path: Path) -> None:
    config, page = small.config(), tmp_path / "page.html"
    leave(config, "extract")
    first, second = (Run("train", parse(config), live=True) for _ in range(2))  # tried again by Kubeflow
    trial = tracking.create(first.usecase, "trial-0", parent=first.id, tags={"trial": "true"})
    assert {tracking.get(run)["info"]["status"] for run in (first.id, second.id, trial)} == {"RUNNING"}

    report(config, failed, str(page))

    assert {tracking.get(run)["info"]["status"] for run in (first.id, second.id, trial)} == {"KILLED"}
    status, tags = outcome(config)
    assert status == "FAILED"
    assert "train was killed" in tags["outcome"] and "limits.steps.train.memory" in tags["outcome"]
    assert "The run failed." in page.read_text()


def test_a_killed_refit_names_the_limits_that_it_has() -> None:
    assert sentence(small.usecase(), [Step("refit", "KILLED")], True).startswith(
        "refit was killed: if it needs more than its limit of 4Gi, raise limits.steps.train.memory, else look at its log"
    )


def test_a_run_without_an_end_is_no_success(platform: Platform, run_id: str, tmp_path: Path) -> None:
    config, page = small.config(), tmp_path / "page.html"
    leave(config, "extract")
    leave(config, "evaluate")  # the pod of the step after it was killed before it could begin a run

    report(config, False, str(page))

    assert outcome(config)[0] == "FAILED"
    assert "The run failed." in page.read_text()


def test_a_step_that_kubeflow_took_from_its_cache_is_not_blamed(platform: Platform, run_id: str, tmp_path: Path) -> None:
    config, page = small.config(), tmp_path / "page.html"
    leave(config, "extract")
    leave(config, "evaluate")  # validate, transform and train left nothing in this run

    report(config, True, str(page))

    assert outcome(config)[1]["outcome"].startswith("register was killed or could not start")


def test_a_closed_gate_is_a_success_with_the_verdicts_reason(platform: Platform, run_id: str, tmp_path: Path) -> None:
    config = small.config()
    evaluated = Run("evaluate", parse(config), tags={"reason": "the champion stays: 0.8 against 0.8"}, live=True)
    evaluated.close("FINISHED")
    leave(config, "serve")

    report(config, False, str(tmp_path / "page.html"))

    status, tags = outcome(config)
    assert (status, tags["outcome"]) == ("FINISHED", "the champion stays: 0.8 against 0.8; serve did its work")


def test_what_a_step_says_cannot_change_the_page(platform: Platform, run_id: str, tmp_path: Path) -> None:
    config, page = small.config(), tmp_path / "page.html"
    leave(config, "validate", error="bad data: <script>alert(1)</script>")

    report(config, True, str(page))

    assert "<script" not in page.read_text()
    assert "&lt;script&gt;" in page.read_text()


def test_with_an_mlflow_that_is_down_the_page_is_written_and_the_step_fails(run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv(mlflow_connection.SERVER, f"{address} 1 0.0")  # a server of this machine whose process is dead
    code = "import sys; from components.report.report import report; report(sys.argv[1], True, sys.argv[2])"
    command = [sys.executable, "-c", code, small.config(), str(tmp_path / "page.html")]

    done = subprocess.run(command, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == f"failed: MLflow at {address} does not answer: start it (`mlops platform up`) or correct MLFLOW_TRACKING_URI\n"
    assert f"MLflow at {address} does not answer" in (tmp_path / "page.html").read_text()
