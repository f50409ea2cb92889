"""Runs and steps that are killed: one clear sentence, the old model serves on, the next run goes through."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from components.deploy.local import Served
from core.mlflow_api import call
from tests.e2e.command import ORDER, Ended, Running, below, mlflow_run, wait_for
from tests.e2e.outcomes import answers_right, assert_failed, assert_goes_through, assert_still_champion, model_servers, serving

SLOW = pytest.mark.slow
KILLED = ("extract", "train", "register")  # the first, one that computes, one that changes MLflow


def kill_at(step: str, *, begun: Callable[[], Any] = lambda: True) -> Ended:
    running = Running("run", "wine")
    process = running.at(step)
    wait_for(begun)
    process.kill()
    return running.end()


@SLOW
def test_a_killed_step_fails_the_run_and_the_next_run_passes_it(champion: Served) -> None:
    for step in KILLED:
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
