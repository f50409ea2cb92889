"""The cache of steps, on a real object storage and MLflow."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from core import step_cache, storage, tracking
from core.configtext import parse
from core.step_cache import cached, fingerprint
from core.tracking import Run
from tests.unit import small

pytestmark = pytest.mark.usefixtures("platform")


@pytest.fixture(autouse=True)
def run_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_RUN_ID", str(uuid.uuid4()))


class Step:
    """A step whose work is counted."""

    def __init__(self, folder: Path) -> None:
        self.config, self.folder, self.done = small.config(), folder, 0

    def run(self, data: str = "data-1", config: str = "") -> tuple[Any, Run, str]:
        """Run it; return its value, its notes and its output."""
        run, output = Run("train", parse(config or self.config), live=True), self.folder / str(uuid.uuid4())

        def work() -> float:
            self.done += 1
            output.write_text(f"model of {data}")
            run.parameters["depth"], run.metrics["validation.roc_auc"], run.tags["note"] = 3, 0.75, "good"
            run.artifacts["trials.html"] = b"<p>trials</p>"
            run.dataset("table", "sha", {"uri": "s3://data/table"}, {"x": "double"}, 10, "training")
            run.summary = "a tree"
            return 0.75

        value = cached(run, fingerprint(run, table=data), {"model": str(output)}, work)
        run.close("FINISHED")
        return value, run, output.read_text()


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return Step(tmp_path)


def test_same_data_code_and_config_take_outputs_and_notes_from_the_cache(step: Step) -> None:
    value, first, model = step.run()

    again, second, restored = step.run()

    assert (step.done, again, restored) == (1, value, model)
    assert (second.parameters, second.metrics, second.artifacts, second.datasets) == (
        first.parameters,
        first.metrics,
        first.artifacts,
        first.datasets,
    )
    assert second.summary == "a tree, from the cache"
    assert tracking.notes(tracking.get(second.id))["tags"]["cached_from"] == first.id


def test_new_data_never_gets_an_old_output(step: Step) -> None:
    step.run("data-1")

    assert step.run("data-2")[2] == "model of data-2"
    assert step.run("data-1")[2] == "model of data-1"
    assert step.done == 2


def test_another_config_runs_the_step(step: Step) -> None:
    step.run()

    step.run(config=step.config.replace("Does it hold", "Will it hold"))

    assert step.done == 2


def test_changed_code_or_packages_run_the_step(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    step.run()

    monkeypatch.setattr(step_cache, "CODE", ("core",))  # as if a file of components had gone
    step.run()

    assert step.done == 2


def test_without_a_hash_of_the_input_nothing_is_cached(step: Step) -> None:
    step.run("")
    step.run("")

    assert step.done == 2


def test_cache_can_be_switched_off(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    step.run()
    monkeypatch.setenv("MLOPS_CACHE", "off")
    step.run()

    assert step.done == 2


def test_damaged_output_is_not_taken(step: Step, capsys: pytest.CaptureFixture[str]) -> None:
    _, run, _ = step.run()
    storage.write(f"s3://pipelines/cache/{run.usecase.name}/train/{fingerprint(run, table='data-1')}/model", b"half")

    assert step.run()[2] == "model of data-1"
    assert step.done == 2
    assert "is damaged" in capsys.readouterr().out


def test_without_object_storage_the_step_does_its_work(step: Step, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run, output = Run("train", parse(step.config), live=True), step.folder / "model"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")

    assert cached(run, "0123abc", {"model": str(output)}, lambda: output.write_text("model")) == 5
    assert "the step does its work" in capsys.readouterr().out
