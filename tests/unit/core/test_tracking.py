"""What a step leaves in a real MLflow, and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import uuid
from typing import Any

import pytest

from core import storage, tracking
from core.config import UseCase
from core.configtext import parse
from core.errors import UserError
from core.mlflow_api import NotFound, call, get_artifact
from core.processes import free_port
from core.tracking import Run, Status, record
from tests.unit import small

pytestmark = pytest.mark.usefixtures("platform")


@pytest.fixture
def config() -> str:
    return small.config()


@pytest.fixture
def usecase(config: str) -> UseCase:
    return parse(config)


@pytest.fixture(autouse=True)
def run_id(monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of a step without KFP's plugin."""
    found = str(uuid.uuid4())
    monkeypatch.setenv("KFP_RUN_ID", found)
    monkeypatch.setenv("GIT_SHA", "0123abc")
    monkeypatch.setenv("IMAGE", "registry/image:0123abc")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return found


@pytest.fixture
def plugin(usecase: UseCase, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """What KFP's own plugin makes before a step starts: a run of the pipeline and below it one of the step."""
    parent = tracking.create(usecase, "by the plugin", tags={})
    own = tracking.create(usecase, "the step", tags={}, parent=parent)
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    return parent, own


def test_the_pipeline_runs_own_run_is_made_once_and_found_again(usecase: UseCase, run_id: str) -> None:
    first = tracking.parent(usecase)

    second = tracking.parent(usecase)

    assert second == first
    assert _tags(first)["kfp.pipeline_run_id"] == run_id


def test_another_pipeline_run_has_another_run(usecase: UseCase, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tracking.parent(usecase)
    monkeypatch.setenv("KFP_RUN_ID", str(uuid.uuid4()))

    second = tracking.parent(usecase)

    assert second != first


def test_the_run_says_what_is_needed_to_repeat_it(usecase: UseCase, config: str) -> None:
    tags = _tags(tracking.parent(usecase))

    assert (tags["git.sha"], tags["image"], tags["mlflow.note.content"]) == ("0123abc", "registry/image:0123abc", usecase.description)
    assert parse(tags["config"]) == usecase


def test_a_step_leaves_all_its_notes_in_a_run_below_the_pipelines(usecase: UseCase, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    with record("train", config) as run:
        run.parameters["seed"] = 7
        run.metrics["validation.roc_auc"] = 0.75
        run.tags["data.sha256"] = "ab12"
        run.artifacts["page.html"] = b"<p>page</p>"
        run.dataset("rows", "f" * 64, {"uri": "s3://data/rows.parquet"}, {"x": "DOUBLE"}, 600, "raw")
        run.summary = "it went well"

    left = tracking.get(run.id)
    tags, metrics = _tags(run.id), {item["key"]: item["value"] for item in left["data"]["metrics"]}
    assert left["info"]["status"] == "FINISHED"
    assert left["data"]["params"] == [{"key": "seed", "value": "7"}]
    assert metrics["validation.roc_auc"] == 0.75
    assert metrics["seconds"] > 0 and metrics["cpu_seconds"] > 0 and 10 < metrics["peak_memory_mib"] < 10_000
    assert (tags["mlflow.parentRunId"], tags["step"], tags["data.sha256"]) == (tracking.parent(usecase), "train", "ab12")
    assert (tags["summary"], left["info"]["run_name"]) == ("it went well", "train")
    assert get_artifact(left["info"]["artifact_uri"], "page.html") == b"<p>page</p>"
    assert capsys.readouterr().out == "done: it went well\n"


def test_a_steps_datasets_are_its_inputs_in_mlflow(config: str) -> None:
    with record("extract", config) as run:
        run.dataset("rows", "f" * 64, {"uri": "s3://data/rows-*.parquet"}, {"x": "DOUBLE", "kind": "VARCHAR"}, 600, "raw")

    (used,) = tracking.get(run.id)["inputs"]["dataset_inputs"]
    assert (used["dataset"]["name"], used["dataset"]["digest"]) == ("rows", "f" * 36)
    assert json.loads(used["dataset"]["source"]) == {"uri": "s3://data/rows-*.parquet"}
    assert json.loads(used["dataset"]["profile"]) == {"num_rows": 600}
    assert [item["name"] for item in json.loads(used["dataset"]["schema"])["mlflow_colspec"]] == ["x", "kind"]
    assert used["tags"] == [{"key": "mlflow.data.context", "value": "raw"}]


def test_what_a_step_left_counts_once_its_pipeline_run_has_succeeded(usecase: UseCase, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def pipeline_run(text: str, status: Status | None) -> None:
        monkeypatch.setenv("KFP_RUN_ID", str(uuid.uuid4()))
        with record("extract", config) as run:
            run.artifacts["origin.json"] = text.encode()
        if status:
            tracking.end(tracking.parent(usecase), status)

    def accepted() -> bytes | None:
        return Run("extract", usecase, live=True).accepted("origin.json")

    assert accepted() is None
    pipeline_run("one", "FINISHED")
    pipeline_run("two", "FINISHED")
    pipeline_run("three", "FAILED")
    pipeline_run("four", None)

    assert accepted() == b"two"
    assert Run("validate", usecase, live=True).accepted("origin.json") is None
    assert Run("extract", usecase, live=True).accepted("other.json") is None


def test_what_a_step_left_is_found_too_where_kfps_plugin_made_its_run(plugin: tuple[str, str], usecase: UseCase, config: str) -> None:
    with record("extract", config) as run:
        run.artifacts["origin.json"] = b"one"
    for each in reversed(plugin):  # which the plugin itself does
        tracking.end(each, "FINISHED")

    assert Run("extract", usecase, live=True).accepted("origin.json") == b"one"


def test_a_trial_is_a_run_below_its_steps(config: str) -> None:
    with record("train", config) as run:
        run.trial("trial-1-trees", time.time() - 5, {"candidate": "trees", "learning_rate": 0.1}, {"validation.roc_auc": 0.7})
        run.trial("trial-2-linear", time.time(), {"candidate": "linear"}, {})

    found = _children(run)
    assert sorted(each["info"]["run_name"] for each in found) == ["trial-1-trees", "trial-2-linear"]
    first = next(each for each in found if each["info"]["run_name"] == "trial-1-trees")
    assert first["info"]["status"] == "FINISHED"
    assert first["info"]["end_time"] - first["info"]["start_time"] >= 5000
    assert {item["key"]: item["value"] for item in first["data"]["params"]} == {"candidate": "trees", "learning_rate": "0.1"}


def test_steps_come_in_the_order_of_their_start_and_the_newest_of_each(usecase: UseCase) -> None:
    parent = tracking.parent(usecase)
    starts = {"extract": 100.0, "train": 300.0, "validate": 200.0, "extract again": 250.0}
    runs = {name: tracking.create(usecase, name.split()[0], tags={}, parent=parent, started=start) for name, start in starts.items()}
    tracking.create(usecase, "trial", tags={}, parent=runs["train"])

    found = tracking.steps(usecase)

    assert [each["info"]["run_id"] for each in found] == [runs["validate"], runs["extract again"], runs["train"]]


def test_a_users_mistake_ends_the_step_with_one_sentence(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, record("transform", config) as run:
        raise UserError("bad data: a\nbad data: b")

    assert ended.value.code == 1
    assert capsys.readouterr().out == "failed: bad data: a\nbad data: b\n"
    assert tracking.get(run.id)["info"]["status"] == "FAILED"
    assert _tags(run.id)["error"] == "bad data: a\nbad data: b"


def test_a_failed_step_says_where_its_page_is(config: str, run_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), record("validate", config) as run:
        run.page, run.artifacts = "data.html", {"data.html": b"<p>bad rows</p>"}
        raise UserError("bad data: rows.x: 3 rows are null")

    copy = f"s3://pipelines/kfp/{run.usecase.name}-training/{run_id}/validate/data.html"
    link = f"{tracking.page(run.usecase).rpartition('/')[0]}/{run.id}/artifacts/data.html"
    assert capsys.readouterr().out == f"failed: bad data: rows.x: 3 rows are null\npage: {link} (copy: {copy})\n"
    assert (_tags(run.id)["page"], _tags(run.id)["page.copy"]) == (link, copy)
    assert storage.read(copy) == get_artifact(tracking.get(run.id)["info"]["artifact_uri"], "data.html") == b"<p>bad rows</p>"


def test_a_page_that_s3_refuses_is_still_in_mlflow(config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(SystemExit), record("train", config) as run:
        run.page, run.artifacts = "trials.html", {"trials.html": b"<p>trials</p>"}
        raise UserError("all trials failed")

    assert capsys.readouterr().out.endswith(f"/{run.id}/artifacts/trials.html\n")
    assert get_artifact(tracking.get(run.id)["info"]["artifact_uri"], "trials.html") == b"<p>trials</p>"


def test_a_mistake_of_ours_keeps_its_traceback_and_is_noted_too(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), record("transform", config) as run:
        print(1 // 0)

    assert capsys.readouterr().out == "failed: ZeroDivisionError: integer division or modulo by zero\n"
    assert tracking.get(run.id)["info"]["status"] == "FAILED"


def test_a_wrong_config_ends_the_step_with_one_line(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), record("transform", config.replace("{", '{"trian": {}, ', 1)):
        pass

    said = capsys.readouterr().out
    assert re.match(r"failed: usecases/small-\w+/config\.yaml line 1: trian: unknown key: ", said) and said.count("\n") == 1


def test_with_kfps_plugin_a_step_joins_its_run_and_leaves_the_end_to_it(plugin: tuple[str, str], config: str, usecase: UseCase) -> None:
    parent, own = plugin

    with record("train", config) as run:
        run.parameters["seed"] = 7
        run.trial("trial-1", time.time(), {}, {})

    left = tracking.get(own)
    assert (run.id, tracking.parent(usecase)) == (own, parent)
    assert left["info"]["status"] == "RUNNING"
    assert left["data"]["params"] == [{"key": "seed", "value": "7"}]
    assert [each["info"]["run_name"] for each in _children(run)] == ["trial-1"]


def test_with_kfps_plugin_a_failed_step_says_why_and_leaves_the_end_to_it(plugin: tuple[str, str], config: str) -> None:
    with pytest.raises(SystemExit), record("train", config):
        raise UserError("no rows")

    assert tracking.get(plugin[1])["info"]["status"] == "RUNNING"
    assert _tags(plugin[1])["error"] == "no rows"


def tree_of_the_plugin(usecase: UseCase) -> tuple[str, dict[str, str]]:
    """Make the runs of KFP's plugin for a training run, with its names and in its experiment.

    Returns:
        The run of the pipeline, and the run of each task.
    """
    experiment = call("POST", "experiments/create", {"name": f"KFP-Default-{uuid.uuid4()}"})["experiment_id"]

    def make(name: str, parent: str = "") -> str:
        tags = [{"key": "mlflow.parentRunId", "value": parent}] if parent else []
        body = {"experiment_id": experiment, "run_name": name, "start_time": int(time.time() * 1000), "tags": tags}
        return str(call("POST", "runs/create", body)["run"]["info"]["run_id"])

    root = make("wine, 30 Nov 14:05")
    handler = make("exit-handler-1", root)
    runs = {name: make(name, handler) for name in ("extract", "train", "evaluate")}
    runs |= {"serve": make("serve", make("condition-3", handler)), "load-2": make("load-2", make("condition-4", handler))}
    return root, runs | {"report": make("report", root)}


def test_steps_are_found_in_the_run_tree_of_kfps_plugin(usecase: UseCase, monkeypatch: pytest.MonkeyPatch) -> None:
    root, runs = tree_of_the_plugin(usecase)
    for name, run in runs.items():
        monkeypatch.setenv("MLFLOW_RUN_ID", run)
        step = Run(name.removesuffix("-2"), usecase, live=True, summary=f"{name} is done")
        if name == "train":
            step.trial("trial-1", time.time(), {"depth": 3}, {"score": 0.5})
        if name != "report":
            step.close("FINISHED")

    assert tracking.parent(usecase) == root
    assert [tracking.step_of(step) for step in tracking.steps(usecase)] == ["extract", "train", "evaluate", "serve", "load", "report"]
    trials = tracking._children(usecase, runs["train"])
    assert [(trial["info"]["run_name"], trial["info"]["experiment_id"]) for trial in trials] == [
        ("trial-1", tracking.get(root)["info"]["experiment_id"])
    ]
    assert not call("POST", "runs/search", {"experiment_ids": [_own_experiment(usecase)]}).get("runs")


def _own_experiment(usecase: UseCase) -> str:
    try:
        return str(call("GET", "experiments/get-by-name", {"experiment_name": usecase.name})["experiment"]["experiment_id"])
    except NotFound:
        return "0"


def test_silent_pipeline_run_is_closed_by_the_next_one(usecase: UseCase, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = max(limits.minutes for limits in usecase.limits.steps.values()) * 60 + tracking.ORPHAN_MARGIN
    old, recent = time.time() - longest - 60, time.time() - longest + 60
    silent, active = (
        tracking.create(usecase, "training", tags={"kfp.pipeline_run_id": str(uuid.uuid4())}, started=started) for started in (old, old)
    )
    step = tracking.create(usecase, "train", tags={"step": "train"}, parent=silent, started=old)
    trial = tracking.create(usecase, "trial-1", tags={}, parent=step, started=old)
    tracking.create(usecase, "train", tags={"step": "train"}, parent=active, started=recent)

    tracking.end_orphans(usecase)

    assert [tracking.get(run)["info"]["status"] for run in (silent, step, trial)] == ["KILLED"] * 3
    assert _tags(silent)["outcome"] == "the run was terminated from outside, no report was written"
    assert [tracking.get(run)["info"]["status"] for run in (active, tracking.parent(usecase))] == ["RUNNING"] * 2


def test_with_a_plugin_that_made_one_run_for_all_it_is_the_parent(usecase: UseCase, monkeypatch: pytest.MonkeyPatch) -> None:
    only = tracking.create(usecase, "by the plugin", tags={})
    monkeypatch.setenv("MLFLOW_RUN_ID", only)

    assert tracking.parent(usecase) == only


def test_outside_of_a_pipeline_a_step_says_how_to_start_one(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KFP_RUN_ID")

    with pytest.raises(UserError, match="KFP_RUN_ID is not set: a step runs inside a pipeline; start one with `mlops run` or `mlops submit`"):
        tracking.run_id()


def test_two_steps_that_meet_in_a_new_experiment_share_it(usecase: UseCase, step_process: Any) -> None:
    processes = [step_process(usecase, "tracking.create(usecase, 'step', tags={})") for _ in range(2)]

    said = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], said
    assert call("GET", "experiments/get-by-name", {"experiment_name": usecase.name})["experiment"]["name"] == usecase.name


def test_an_experiment_that_was_deleted_is_a_sentence(usecase: UseCase) -> None:
    tracking.parent(usecase)
    number = call("GET", "experiments/get-by-name", {"experiment_name": usecase.name})["experiment"]["experiment_id"]
    call("POST", "experiments/delete", {"experiment_id": number})

    with pytest.raises(UserError, match="restore it"):
        tracking.parent(usecase)


def test_an_mlflow_that_is_not_there_is_a_sentence_and_no_traceback(usecase: UseCase, step_process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLOPS_MLFLOW_SERVER", f"{address} 1 0")  # its process is gone: nobody waits

    process = step_process(usecase, "with tracking.record('train', usecase.text): raise UserError('no rows')")

    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    assert out.splitlines() == [
        "failed: no rows",
        f"not in MLflow either: MLflow at {address} does not answer: start it (`mlops platform up`) or correct MLFLOW_TRACKING_URI",
    ]


@pytest.mark.parametrize("address", ["", "sqlite:///mlflow.db", "127.0.0.1:5000"])
def test_an_address_that_is_none_is_a_sentence(address: str, usecase: UseCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)

    with pytest.raises(UserError, match="the MLflow server is not configured: set MLFLOW_TRACKING_URI to its http address"):
        tracking.parent(usecase)


@pytest.fixture
def step_process() -> Any:
    """Start Python code in a process of its own, as a step is."""

    def start(usecase: UseCase, code: str) -> subprocess.Popen[str]:
        imports = "from core import tracking; from core.configtext import parse; from core.errors import UserError"
        head = f"{imports}; usecase = parse({usecase.text!r})\n"
        return subprocess.Popen([sys.executable, "-c", head + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def _tags(run: str) -> dict[str, str]:
    return {item["key"]: item["value"] for item in tracking.get(run)["data"]["tags"]}


def _children(run: Run) -> list[dict[str, Any]]:
    experiment = tracking.get(run.id)["info"]["experiment_id"]
    body = {"experiment_ids": [experiment], "filter": f"tags.`mlflow.parentRunId` = '{run.id}'"}
    found: list[dict[str, Any]] = call("POST", "runs/search", body)["runs"]
    return found
