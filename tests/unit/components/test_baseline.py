"""Simple rivals: a column of features() judged beside the dummy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.evaluate.baseline import baseline, simple_rivals
from components.evaluate.judge import judge
from components.evaluate.rows import JudgedRows
from components.report.page import write
from components.report.report import Step
from components.train.fit import fit
from core.config import UseCase
from core.errors import UserError
from core.metrics import Predictions
from core.tracking import Run
from local.platform import Platform
from tests.unit import small


def usecase(task: str = "binary", /, **changes: Any) -> UseCase:
    return small.usecase(task, **({"evaluate__baseline": "last"} | changes))


def guess(classes: tuple[Any, ...] = ("good", "bad"), rows: int = 3) -> Predictions:
    """A dummy that answers with the first class."""
    shares = np.r_[0.7, np.full(len(classes) - 1, 0.3 / (len(classes) - 1))]
    return Predictions(np.zeros(rows, dtype=int), np.zeros(rows, dtype=int), np.tile(shares, (rows, 1)), classes)


def test_numbers_are_a_regressions_predictions_and_gaps_the_dummys() -> None:
    dummy = Predictions(np.array([1.0, 2.0, 3.0]), np.full(3, 2.0))

    found = baseline(usecase("regression"), np.array([1.5, np.nan, 3.5]), dummy)

    assert found.labels.tolist() == [1.5, 2.0, 3.5]


@pytest.mark.parametrize(
    ("values", "classes", "probabilities", "labels"),
    [
        pytest.param(["bad", None, "good"], ("good", "bad"), [1.0, 0.3, 0.0], [1, 0, 0], id="classes"),
        pytest.param([0.9, np.nan, 0.25], ("good", "bad"), [0.9, 0.3, 0.25], [1, 0, 0], id="probabilities"),
        pytest.param([1, 0, 0], (0, 1), [1.0, 0.0, 0.0], [1, 0, 0], id="0 and 1"),
        pytest.param([True, False, False], (False, True), [1.0, 0.0, 0.0], [1, 0, 0], id="booleans"),
    ],
)
def test_classes_and_probabilities_are_a_binary_baseline(values: list[Any], classes: Any, probabilities: list[float], labels: list[int]) -> None:
    found = baseline(usecase(positive="bad"), np.array(values), guess(classes))

    assert found.probabilities is not None
    assert found.probabilities[:, 1].tolist() == probabilities
    assert found.probabilities.sum(axis=1) == pytest.approx(1)
    assert found.labels.tolist() == labels


def test_classes_are_a_multiclass_baseline() -> None:
    found = baseline(usecase("multiclass"), np.array(["low", "mid", None], dtype=object), guess(("high", "low", "mid")))

    assert found.labels.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        pytest.param("binary", ["bad", "worse", "good"], "holds worse: it has to be a class, good, bad, or the probability of bad", id="class"),
        pytest.param("binary", [0.5, 1.5, 0.1], "holds 1.5: it has to be a class", id="probability above 1"),
        pytest.param("multiclass", [0.5, 0.2, 0.1], "holds 0.1: it has to be a class, good, bad$", id="probability of several"),
        pytest.param("regression", [np.inf, 1.0, 2.0], "holds an infinite number: make it null", id="infinite"),
    ],
)
def test_what_is_no_prediction_is_refused(task: str, values: list[Any], message: str) -> None:
    dummy = Predictions(np.zeros(3), np.zeros(3)) if task == "regression" else guess()

    with pytest.raises(UserError, match=f"evaluate.baseline last {message}"):
        baseline(usecase(task), np.array(values), dummy)


@pytest.mark.parametrize(("noise", "better"), [(0.01, False), (9.0, True)], ids=["better than the model", "worse than the model"])
def test_a_first_champion_must_beat_the_better_of_dummy_and_baseline(platform: Platform, tmp_path: Path, noise: float, better: bool) -> None:
    columns = small.columns("regression")
    last = columns["answer"] + np.random.default_rng(0).normal(scale=noise, size=600)
    table = small.written(tmp_path / "table.parquet", columns | {"last": last})
    run = Run("evaluate", usecase("regression"))
    fit(Run("train", run.usecase), table, str(tmp_path / "model"), str(tmp_path / "trials.html"))

    verdict = judge(run, table, str(tmp_path / "model"), *(str(tmp_path / name) for name in ("metrics", "curves", "page.html", "golden")))

    assert verdict.better is better
    assert run.tags["judged_against"] == ("a dummy" if better else "the baseline last")
    test = columns["split"] == "test"
    assert run.metrics["baseline.mae"] == pytest.approx(np.abs(last - columns["answer"])[test].mean())
    assert run.metrics["rival.mae"] == min(run.metrics["baseline.mae"], run.metrics["dummy.mae"])
    page = (tmp_path / "page.html").read_text()
    assert all(f"<tr><td>{name}</td>" in page for name in ("challenger", "a dummy", "the baseline last"))


def test_a_baseline_is_that_of_the_judged_rows(tmp_path: Path) -> None:
    columns = small.columns("regression")
    table = small.written(tmp_path / "table.parquet", columns | {"last": columns["answer"]})
    judged = JudgedRows(np.arange(120) % 2 == 1, None)
    truth = columns["answer"][columns["split"] == "test"][1::2]

    _, rival = simple_rivals(usecase("regression"), table, judged, Predictions(truth, truth))

    assert rival.values["mae"] == 0


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        pytest.param({}, True, id="nothing said"),
        pytest.param({"evaluate__baseline": None}, False, id="there is none"),
        pytest.param({"evaluate__baseline": "last"}, False, id="named"),
        pytest.param({"split": {"by": "random"}}, False, id="not by time"),
    ],
)
def test_only_a_split_by_time_without_a_word_asks_for_a_baseline(change: dict[str, Any], lacks: bool) -> None:
    assert small.usecase(**({"split": {"by": "time", "column": "at"}} | change)).lacks_baseline is lacks


def test_the_report_keeps_a_row_for_each_model() -> None:
    metrics = {"test.mae": 3.0, "rival.mae": 4.0, "dummy.mae": 9.0, "baseline.mae": 5.0}
    steps = [Step("evaluate", "FINISHED", metrics, tags={"judged_against": "version 2"})]

    page = write(usecase("regression"), steps, "", False, {}, {})

    rows = re.findall(r"<tr><td>([^<]+)</td><td class=.n.>(\d)</td></tr>", page)
    assert "names no baseline" not in page
    assert rows == [("challenger", "3"), ("version 2", "4"), ("a dummy", "9"), ("the baseline last", "5")]


def test_the_report_points_out_a_split_by_time_without_a_baseline() -> None:
    steps = [Step("evaluate", "FINISHED", {"test.mae": 3.0, "rival.mae": 4.0}, tags={"judged_against": "version 2"})]

    page = write(small.usecase("regression", split={"by": "time", "column": "at"}), steps, "", False, {}, {})

    assert "names no baseline" in page
