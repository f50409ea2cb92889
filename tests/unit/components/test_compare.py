"""Two models on the same rows: the sign, the interval, the verdict."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluate.compare import Comparison, compare, dummy
from components.evaluate.judge import decide
from core.metrics import METRICS, Predictions
from tests.unit import small

LABELS = np.array([0, 1] * 200)


def _answers(noise: float, seed: int) -> Predictions:
    scores = np.clip(LABELS * 0.4 + 0.3 + np.random.default_rng(seed).normal(scale=noise, size=400), 0.01, 0.99)
    return Predictions(LABELS, (scores > 0.5).astype(int), np.c_[1 - scores, scores])


@pytest.mark.parametrize("metric", [name for name, metric in METRICS.items() if "binary" in metric.tasks])
def test_better_is_above_zero_whatever_the_metrics_direction(metric: str) -> None:
    usecase = small.usecase(metric=metric)

    found = compare(usecase, _answers(0.2, 1), _answers(0.6, 2))

    assert 0 < found.low < found.difference < found.high


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_better_is_above_zero_for_numbers_too(metric: str) -> None:
    random, truth = np.random.default_rng(0), np.arange(200.0)

    found = compare(
        small.usecase("regression", metric=metric),
        Predictions(truth, truth + random.normal(scale=1, size=200)),
        Predictions(truth, truth + random.normal(scale=20, size=200)),
    )

    assert 0 < found.low < found.difference < found.high


def test_changing_sides_changes_the_sign() -> None:
    usecase, good, poor = small.usecase(), _answers(0.2, 1), _answers(0.6, 2)

    there, back = compare(usecase, good, poor), compare(usecase, poor, good)

    assert (back.difference, back.low, back.high) == pytest.approx((-there.difference, -there.high, -there.low), abs=1e-12)


def test_the_interval_narrows_as_rows_come() -> None:
    usecase, good, poor = small.usecase(metric="accuracy"), _answers(0.2, 1), _answers(0.6, 2)
    few = [Predictions(each.truth[:40], each.labels[:40], np.asarray(each.probabilities)[:40]) for each in (good, poor)]

    wide, narrow = compare(usecase, few[0], few[1]), compare(usecase, good, poor)

    assert narrow.high - narrow.low < wide.high - wide.low


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    usecase = small.usecase("regression", evaluate__bootstrap=200, evaluate__confidence=0.9)
    random, hits = np.random.default_rng(0), 0

    for _ in range(200):
        truth = np.zeros(80)
        found = compare(usecase, Predictions(truth, random.normal(size=80)), Predictions(truth, random.normal(scale=2, size=80)))
        hits += found.low <= np.sqrt(2 / np.pi) <= found.high

    assert 0.83 < hits / 200 < 0.96


def test_rows_of_a_group_are_drawn_together() -> None:
    """Errors of a group are nearly equal: 20 groups of 10 rows know as much as 20 rows, not as 200."""
    usecase = small.usecase("regression", evaluate__bootstrap=200, evaluate__confidence=0.9)
    random, groups, truth = np.random.default_rng(0), np.repeat(np.arange(20), 10), np.zeros(200)
    hits = {"rows": 0, "groups": 0}

    for _ in range(200):
        challenger, rival = (random.normal(scale=scale, size=20)[groups] + random.normal(scale=0.1, size=200) for scale in (1, 2))
        expected = np.sqrt(2 / np.pi) * (np.hypot(2, 0.1) - np.hypot(1, 0.1))
        for name, units in (("rows", None), ("groups", groups)):
            found = compare(usecase, Predictions(truth, challenger), Predictions(truth, rival), units)
            hits[name] += found.low <= expected <= found.high

    assert hits["rows"] / 200 < 0.6
    assert 0.8 < hits["groups"] / 200 < 0.95


@pytest.mark.parametrize(
    ("comparison", "is_first", "better", "reason"),
    [
        pytest.param(Comparison(0.8, 0.7, 0.1, 0.05, 0.15), False, True, "the challenger becomes champion: ", id="surely better"),
        pytest.param(Comparison(0.8, 0.7, 0.1, 0.0, 0.15), False, False, "the champion stays: ", id="perhaps not better"),
        pytest.param(Comparison(0.5, 0.3, 0.2, 0.1, 0.3), False, True, "the challenger becomes champion: ", id="no floor for a later one"),
        pytest.param(Comparison(0.8, 0.5, 0.3, 0.2, 0.4), True, True, "the challenger becomes the first champion: ", id="first"),
        pytest.param(Comparison(0.6, 0.5, 0.1, 0.05, 0.2), True, True, "the challenger becomes the first champion: ", id="first on the floor"),
        pytest.param(Comparison(0.59, 0.5, 0.09, 0.05, 0.2), True, False, "no champion: the challenger misses the floor of 0.6 (", id="first below"),
        pytest.param(Comparison(0.7, 0.5, 0.2, -0.1, 0.4), True, False, "no champion: the challenger is not better than ", id="first unsure"),
        pytest.param(Comparison(0.8, 0.7, 0.1, float("-inf"), float("inf")), False, False, "the champion stays: ", id="no interval"),
    ],
)
def test_the_whole_interval_decides(comparison: Comparison, is_first: bool, better: bool, reason: str) -> None:
    decided, said = decide(small.usecase(), comparison, "version 3", is_first=is_first)

    assert decided is better
    assert said.startswith(reason)
    assert "of version 3" in said


@pytest.mark.parametrize(
    ("low", "is_first", "better", "reason"),
    [
        pytest.param(-0.009, False, True, "the challenger becomes champion: it is not worse than version 3 by more than 0.01, ", id="inside"),
        pytest.param(-0.011, False, False, "the champion stays: the challenger may be worse than version 3 by more than 0.01, ", id="outside"),
        pytest.param(-0.009, True, False, "no champion: ", id="not against a dummy"),
    ],
)
def test_below_zero_the_margin_asks_for_non_inferiority(low: float, is_first: bool, better: bool, reason: str) -> None:
    usecase = small.usecase("binary", evaluate__min_improvement=-0.01)

    decided, said = decide(usecase, Comparison(0.8, 0.8, 0.0, low, 0.01), "version 3", is_first=is_first)

    assert (decided, said[: len(reason)]) == (better, reason)


def test_the_floor_of_an_error_is_its_greatest() -> None:
    usecase = small.usecase("regression", evaluate__floor=3.0)

    decided = [decide(usecase, Comparison(mae, 9.0, 9 - mae, 1, 8), "a dummy", is_first=True)[0] for mae in (2.9, 3.1)]

    assert decided == [True, False]


@pytest.mark.parametrize(("metric", "value"), [("mae", 2.0), ("rmse", 4.0)])
def test_the_dummy_of_a_regression_is_the_best_constant_for_the_metric(metric: str, value: float) -> None:
    found = dummy(small.usecase("regression", metric=metric), np.array([1.0, 2.0, 9.0]), Predictions(np.zeros(2), np.zeros(2)))

    assert found.labels.tolist() == [value, value]
