"""load: what goes where, of which model, and once a run."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.evaluate.golden import choose
from components.load import predictions
from components.load.load import load
from components.register.register import served_form
from core import registry, storage
from core.bundle import Bundle, load_model
from core.errors import UserError
from core.examples import examples
from core.predict import predict
from core.targets import Load
from core.tracking import Run
from local.platform import Platform
from tests.unit import models, small
from tests.unit.components.conftest import Trained


@pytest.fixture
def uri(platform: Platform) -> str:
    """A prefix that no other test uses."""
    return f"s3://data/load-{uuid.uuid4().hex[:8]}/"


@pytest.fixture
def pages(tmp_path: Path) -> dict[str, str]:
    for name in ("validation", "trials", "evaluation"):
        Path(tmp_path, name).write_text(f"<p>{name}</p>")
    return {name: str(tmp_path / name) for name in ("validation", "trials", "evaluation")}


def crowned(bundle: Bundle) -> registry.Version:
    version = models.published(bundle)
    registry.promote(version, "it is better")
    return version


def bundled(trained: Trained) -> Bundle:
    usecase, model = trained.named(), load_model(Path(trained.model).read_bytes())
    return served_form(usecase, model, choose(usecase, examples(trained.table, usecase, "test")[0], model))


def run_of(trained: Trained, name: str, *loads: dict[str, Any]) -> Run:
    found = tuple(Load.model_validate(item) for item in loads)
    return Run("load", trained.usecase.model_copy(update={"name": name, "load": found}))


def manifest(uri: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(storage.read(uri + "manifest.json"))
    return found


def test_predictions_are_the_test_rows_with_the_answers_that_evaluate_judged(
    platform: Platform, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, usecase = bundled(trained), trained.usecase
    version = models.published(bundle)
    judged = predict(load_model(bundle.model), *examples(trained.table, usecase, "test"), usecase)
    monkeypatch.setattr(predictions, "BATCH", 100)  # several

    predictions.write(usecase, trained.table, version, "run-1", tmp_path / "made.parquet")

    made = pq.read_table(tmp_path / "made.parquet")
    whole = pq.read_table(trained.table, filters=[("split", "=", "test")]).drop_columns("split")
    assert made.select(whole.column_names).to_pandas().equals(whole.to_pandas())
    answers = made["prediction"].to_numpy()
    if judged.probabilities is None:
        np.testing.assert_allclose(answers, judged.labels, rtol=1e-12)
        assert made.column_names[-3:] == ["prediction", "model_version", "run_id"]
    else:
        classes = load_model(bundle.model).classes_
        assert (answers == classes[judged.labels]).all()
        names = ["probability"] if len(classes) == 2 else [f"probability_{name}" for name in classes]
        assert made.column_names[-len(names) - 2 :] == [*names, "model_version", "run_id"]
        expected = judged.probabilities[:, -len(names) :]
        np.testing.assert_allclose(np.column_stack([made[name] for name in names]), expected, rtol=1e-12)
    assert set(made["model_version"].to_pylist()) == {version.version} and set(made["run_id"].to_pylist()) == {"run-1"}


def test_the_probability_is_of_the_positive_class(platform: Platform, risk: Trained, uri: str, run_id: str, tmp_path: Path) -> None:
    bundle = bundled(risk)
    run = run_of(risk, crowned(bundle).name, {"what": "predictions", "to": f"{uri}predictions/"})

    predictions.write(risk.usecase, risk.table, models.published(bundle), "run-1", tmp_path / "made.parquet")
    load(run, risk.table, {})

    rows, _ = examples(risk.table, risk.usecase, "test")
    expected = load_model(bundle.model).predict_proba(rows)[:, 0]
    np.testing.assert_allclose(pq.read_table(tmp_path / "made.parquet")["probability"], expected, rtol=1e-12)
    assert run.summary == f"120 predictions (probability of bad) -> {uri}predictions/"


def test_each_result_goes_to_its_target_and_a_second_time_nothing_changes(
    platform: Platform, binary: Trained, bundle: Bundle, uri: str, pages: dict[str, str], run_id: str
) -> None:
    version = crowned(bundle)
    loads: list[dict[str, Any]] = [
        {"what": "table", "to": {"kind": "s3", "uri": f"{uri}table/", "partition_by": ["split"]}},
        {"what": "predictions", "to": f"{uri}predictions/"},
        {"what": "report", "to": f"{uri}pages/"},
    ]
    first, second = (run_of(binary, version.name, *loads) for _ in range(2))

    load(first, binary.table, pages)
    before = {name: storage.read(f"{uri}{name}/manifest.json") for name in ("table", "predictions")}
    load(second, binary.table, pages)

    assert first.summary == f"600 rows -> {uri}table/; 120 predictions -> {uri}predictions/; 3 pages -> {uri}pages/"
    assert first.metrics == {"rows.table": 600.0, "rows.predictions": 120.0}
    assert first.tags == {"champion": version.version}
    assert second.summary == f"600 rows were already in {uri}table/; 120 predictions were already in {uri}predictions/; 3 pages -> {uri}pages/"
    assert {name: storage.read(f"{uri}{name}/manifest.json") for name in before} == before
    assert len(manifest(f"{uri}table/")["files"]) == 3
    assert storage.read(f"{uri}pages/{run_id}/trials.html") == b"<p>trials</p>"


def test_predictions_are_those_of_the_champion_not_of_the_challenger(
    platform: Platform, binary: Trained, bundle: Bundle, uri: str, pages: dict[str, str], run_id: str
) -> None:
    version = crowned(bundle)
    challenger = models.published(bundle, version.version)
    run = run_of(binary, version.name, {"what": "predictions", "to": uri})

    load(run, binary.table, pages)

    assert run.tags["champion"] == version.version != challenger.version


def test_without_a_champion_there_are_no_predictions_and_all_else_is_loaded(
    platform: Platform, binary: Trained, uri: str, pages: dict[str, str], run_id: str
) -> None:
    run = run_of(binary, small.usecase().name, {"what": "predictions", "to": f"{uri}p/"}, {"what": "table", "to": f"{uri}t/"})

    load(run, binary.table, pages)

    assert run.summary == f"no predictions for {uri}p/: there is no champion; 600 rows -> {uri}t/"


def test_what_fails_at_the_second_target_is_made_up_for_by_the_next_run_of_the_step(
    platform: Platform, binary: Trained, uri: str, pages: dict[str, str], run_id: str
) -> None:
    good, bad = {"what": "table", "to": f"{uri}t/"}, {"what": "table", "to": {"kind": "s3", "uri": f"{uri}u/", "partition_by": ["week"]}}
    with pytest.raises(UserError, match="there is no column week"):
        load(run_of(binary, "small", good, bad), binary.table, pages)
    before = storage.read(f"{uri}t/manifest.json")

    load(again := run_of(binary, "small", good, {"what": "table", "to": f"{uri}u/"}), binary.table, pages)

    assert again.summary == f"600 rows were already in {uri}t/; 600 rows -> {uri}u/"
    assert storage.read(f"{uri}t/manifest.json") == before


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        pytest.param({"prediction": [1] * 600}, "makes a column prediction, a name that the predictions need: call it otherwise", id="taken"),
        pytest.param({"x": None}, r"the table has no column x, which small-\w+ version \d+ reads: let features\(\) make it", id="missing"),
        pytest.param({"split": ["train"] * 600}, "there are no test rows", id="no rows"),
    ],
)
def test_a_table_that_cannot_be_predicted_is_refused(
    platform: Platform, bundle: Bundle, tmp_path: Path, columns: dict[str, Any], sentence: str
) -> None:
    version = models.published(bundle)
    usecase = small.usecase().model_copy(update={"name": version.name})
    data = {name: values for name, values in (small.columns() | columns).items() if values is not None}

    with pytest.raises(UserError, match=sentence):
        predictions.write(usecase, small.written(tmp_path / "table.parquet", data), version, "run", tmp_path / "made.parquet")
