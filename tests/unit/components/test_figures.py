"""What is drawn of an evaluation, and the golden rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.evaluate import figures
from components.evaluate.golden import choose
from components.train.pipeline import build
from core.bundle import load_model
from core.errors import UserError
from core.examples import examples
from core.metrics import Predictions, score
from core.predict import predict
from tests.unit.components.conftest import Trained


@pytest.mark.parametrize("scores", [[0.1, 0.4, 0.35, 0.8], [0.5, 0.5, 0.5, 0.5], [0.9, 0.1, 0.9, 0.1]])
def test_the_roc_curve_is_scikit_learns(scores: list[float]) -> None:
    from sklearn.metrics import roc_curve

    truth, positive = np.array([0, 0, 1, 1]), np.array(scores)

    found = figures.roc(Predictions(truth, (positive > 0.5).astype(int), np.c_[1 - positive, positive]))

    assert found is not None
    false, true, _ = roc_curve(truth, positive, drop_intermediate=False)
    assert (found[0], found[1]) == (false.tolist(), true.tolist())
    assert len(found[2]) == len(found[0])


def test_a_long_roc_curve_is_thinned_and_keeps_its_ends() -> None:
    random = np.random.default_rng(0)
    truth, scores = random.integers(2, size=50_000), random.random(50_000)

    found = figures.roc(Predictions(truth, truth, np.c_[1 - scores, scores]))

    assert found is not None
    assert len(found[0]) == figures.POINTS + 1
    assert (found[0][0], found[1][0], found[0][-1], found[1][-1]) == (0, 0, 1, 1)


def test_slices_are_the_metric_of_their_rows(binary: Trained) -> None:
    model = load_model(Path(binary.model).read_bytes())
    rows, truth = examples(binary.table, binary.usecase, "train")
    answers = predict(model, rows, truth, binary.usecase)

    found = figures.slices(binary.usecase, rows, answers, answers)

    kept = (rows["kind"] == "b").to_numpy()
    part = next(item for item in found if item.value == "b")
    assert part.rows == kept.sum()
    assert part.challenger == pytest.approx(score("roc_auc", predict(model, rows[kept], truth[kept], binary.usecase)), abs=1e-12)


def test_a_slice_of_few_rows_is_not_shown(binary: Trained) -> None:
    rows, truth = examples(binary.table, binary.usecase, "train")
    rows["kind"] = ["rare" if number < figures.LEAST_ROWS - 1 else "often" for number in range(len(rows))]
    answers = predict(load_model(Path(binary.model).read_bytes()), rows, truth, binary.usecase)

    found = figures.slices(binary.usecase, rows, answers, answers)

    assert [item.value for item in found] == ["often"]


def test_a_drawing_is_the_same_each_time(binary: Trained) -> None:
    model = load_model(Path(binary.model).read_bytes())
    answers = predict(model, *examples(binary.table, binary.usecase, "test"), binary.usecase)

    first, second = (figures.draw(binary.usecase, answers, [], "a dummy") for _ in range(2))

    assert list(first) == ["roc", "precision", "calibration", "confusion"]
    assert first == second


def test_few_rows_are_all_golden(binary: Trained) -> None:
    rows, _ = examples(binary.table, binary.usecase, "test")

    golden = choose(binary.usecase, rows[:7], load_model(Path(binary.model).read_bytes()))

    assert len(golden.rows) == 7


def test_an_infinite_golden_value_is_refused_with_the_cure(binary: Trained) -> None:
    rows, _ = examples(binary.table, binary.usecase, "test")
    trees = build(binary.usecase.train.candidates["trees"], binary.usecase.features, {}, 0)
    trees.fit(rows, np.arange(len(rows)) % 2)

    with pytest.raises(UserError, match="the golden rows hold an infinite number, which JSON cannot carry: let the contract refuse it"):
        choose(binary.usecase, rows.assign(x=np.inf), trees)
