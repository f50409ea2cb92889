"""Train: the search, the model it writes, and what it cannot learn from."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from components.train.allowance import allowance
from components.train.fit import Publish, Trial, fit, search
from components.train.learner import Learner
from components.train.memory import Budget
from components.train.parameters import adapted
from components.train.pipeline import build
from components.train.survey import survey
from core.bundle import load_model
from core.config import UseCase
from core.errors import UserError
from core.examples import examples
from core.metrics import score
from core.predict import predict
from core.tracking import Run
from tests.unit import small
from tests.unit.components.conftest import Trained

LINEAR = {"estimator": "sklearn.linear_model.LogisticRegression"}
REFUSED = {**LINEAR, "parameters": {"solver": "nonsense"}}


def fitted(usecase: UseCase, folder: Path, **columns: Any) -> tuple[Run, float]:
    run, table = Run("train", usecase), small.written(folder / "table.parquet", small.columns(usecase.task) | columns)
    return run, fit(run, table, str(folder / "model.skops"), str(folder / "trials.html"))


def learner(usecase: UseCase, table: str | Path) -> Learner:
    found = survey(str(table), usecase)
    return Learner(str(table), usecase, found, Budget(usecase, found, allowance(usecase)))


def searched(usecase: UseCase, learner: Learner, publish: Publish = lambda *_: None) -> list[Trial]:
    trials = list[Trial]()
    search(usecase, learner, 360, publish, trials)
    return trials


def test_each_kind_of_task_gives_a_model_that_has_learnt_something(trained: Trained) -> None:
    model = load_model(Path(trained.model).read_bytes())
    rows, truth = examples(trained.table, trained.usecase, "test")

    value = score(trained.usecase.metric, predict(model, rows, truth, trained.usecase))

    guess = {"binary": 0.8, "multiclass": 0.8, "regression": 2.5}[trained.usecase.task]
    assert value > guess if trained.usecase.greater_is_better else value < guess


def test_the_same_seed_gives_the_same_bytes(trained: Trained, tmp_path: Path) -> None:
    value = fit(Run("train", trained.usecase), trained.table, str(tmp_path / "model.skops"), str(tmp_path / "trials.html"))

    assert (tmp_path / "model.skops").read_bytes() == Path(trained.model).read_bytes()
    assert np.isfinite(value)


def test_another_seed_searches_elsewhere(binary: Trained) -> None:
    usecases = [small.usecase(train__seed=seed) for seed in (1, 1, 2)]

    tried = [[trial.parameters for trial in searched(usecase, learner(usecase, binary.table))] for usecase in usecases]

    assert tried[0] == tried[1] != tried[2]


def test_the_best_of_all_trials_on_the_validation_rows_is_kept(tmp_path: Path) -> None:
    run, value = fitted(small.usecase(train__max_trials=5), tmp_path)

    trials = searched(run.usecase, learner(run.usecase, tmp_path / "table.parquet"))
    assert value == max(trial.score for trial in trials if trial.score is not None)
    assert (run.metrics["trials"], run.metrics["validation.roc_auc"]) == (5, value)
    assert run.parameters["estimator"].endswith(("LogisticRegression", "HistGradientBoostingClassifier"))
    assert f"{value:.4f} on validation, best of 5 trials" in run.summary


def test_of_errors_the_least_is_kept(tmp_path: Path) -> None:
    run, value = fitted(small.usecase("regression"), tmp_path)

    trials = searched(run.usecase, learner(run.usecase, tmp_path / "table.parquet"))
    assert value == min(trial.score for trial in trials if trial.score is not None)


def test_every_candidate_is_tried_and_every_trial_published(binary: Trained) -> None:
    published: list[tuple[str, dict[str, Any], dict[str, float]]] = []

    trials = searched(
        binary.usecase,
        learner(binary.usecase, binary.table),
        lambda name, _, parameters, metrics: published.append((name, parameters, metrics)),
    )

    assert {trial.candidate for trial in trials[:2]} == {"linear", "trees"}
    assert [name for name, _, _ in published] == [f"trial-{number}-{trial.candidate}" for number, trial in enumerate(trials, 1)]
    assert [metrics["validation.roc_auc"] for _, _, metrics in published] == [trial.score for trial in trials]
    assert all(0.05 <= trial.parameters["learning_rate"] <= 0.5 for trial in trials if trial.candidate == "trees")


def test_failed_trials_cost_no_run_and_are_counted_everywhere(tmp_path: Path) -> None:
    run, _ = fitted(small.usecase(train__candidates__linear=REFUSED), tmp_path)

    assert run.parameters["candidate"] == "trees"
    assert run.metrics["trials.failed"] == 2
    assert "best of 3 trials, 2 failed, the first with: The 'solver' parameter of LogisticRegression must be" in run.summary
    page = (tmp_path / "trials.html").read_text()
    assert "Of 3 trials 2 failed, the first with: The &#39;solver&#39; parameter of LogisticRegression must be" in page


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        pytest.param(REFUSED, "The 'solver' parameter of LogisticRegression", id="refused parameter"),
        pytest.param({"estimator": f"{__name__}.Silent"}, "ValueError: correct train.candidates", id="error without a word"),
        pytest.param({"estimator": f"{__name__}.Confused"}, "KeyError: 'depth': correct train.candidates", id="error of another kind"),
        pytest.param({"estimator": f"{__name__}.Foreign"}, "no split found: correct train.candidates", id="error of a library's own"),
    ],
)
def test_when_all_trials_fail_the_first_reason_is_shown(tmp_path: Path, candidate: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError) as refused:
        fitted(small.usecase(train__candidates={"only": candidate}), tmp_path)

    assert str(refused.value).startswith(f"all 3 trials failed, the first with: {reason}")
    assert not (tmp_path / "model.skops").exists()
    page = (tmp_path / "trials.html").read_text()
    assert "No model was kept: the step failed after 3 of 3 trials." in page and "Kept:" not in page


def test_a_fault_of_our_own_is_no_failed_trial(binary: Trained) -> None:
    broken = binary.usecase.model_copy(update={"metric": "no such metric"})

    with pytest.raises(KeyError, match="no such metric"):
        searched(binary.usecase, learner(broken, binary.table))


def test_a_choice_may_hold_lists_and_mappings_without_a_warning(tmp_path: Path) -> None:
    choice = {"choice": [{0: 1, 1: 50}, None, "balanced"]}
    usecase = small.usecase(train__candidates={"linear": LINEAR | {"search": {"class_weight": choice}}}, train__max_trials=6)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run, _ = fitted(usecase, tmp_path)

    assert run.metrics["trials.failed"] == 0
    assert {trial.parameters["class_weight"] is None for trial in _trials(run, tmp_path)} == {True, False}


def test_a_class_too_rare_for_the_estimator_is_named_with_its_count(tmp_path: Path) -> None:
    stopping = {
        "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
        "parameters": {"early_stopping": True},
        "preprocessing": {"categorical": "ordinal"},
    }
    columns = small.columns("binary")
    split = list(columns["split"])
    others = [row for row, name in enumerate(split) if name != "train"]
    rare = {split.index("train"), *(row for place, row in enumerate(others) if place % 4 < 2)}
    table = columns | {"answer": [int(row in rare) for row in range(len(split))]}
    usecase = small.usecase(train__candidates={"boosting": stopping}, train__max_trials=1)

    with pytest.raises(UserError, match=r"the class answer = 1 has 1 of 360 training rows, .*: deliver more of them, or filter the class out"):
        fit(Run("train", usecase), small.written(tmp_path / "table.parquet", table), str(tmp_path / "m"), str(tmp_path / "p"))


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        pytest.param(
            {"answer": [1] * 600}, "all 360 training rows have answer = 1: a model needs two classes; correct features() or the split", id="all"
        ),
        pytest.param({"answer": [0, 1, 2] * 200}, "answer has 3 classes: write task: multiclass", id="three of two classes"),
        pytest.param(
            {"answer": [0, 1, 0, 0, 0] * 120},
            "roc_auc cannot be computed on the validation rows: none has answer = 1; deliver more data or change the split",
            id="one class to choose by",
        ),
        pytest.param(
            {"answer": ["no", "no", "yes", "perhaps", "no"] * 120},
            "the validation rows hold answer = perhaps, which no training row has: change the split",
            id="class that comes later",
        ),
        pytest.param({"split": ["train", "test"] * 300}, "there are no validation rows", id="no validation rows"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_a_sentence(tmp_path: Path, columns: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        fitted(small.usecase(), tmp_path, **columns)

    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("weights", "labels"),
    [
        pytest.param({0: 1, 1: 10}, [0, 1], id="numbers"),
        pytest.param({"0": 1, "1": 10}, [0, 1], id="numbers in quotes"),
        pytest.param({True: 10}, [False, True], id="true"),
        pytest.param({"false": 1, "true": 10}, [False, True], id="true in quotes"),
        pytest.param({0: 1, 1: 10}, [0.0, 1.0], id="floats"),
        pytest.param({"no": 1, "yes": 10}, ["no", "yes"], id="texts"),
    ],
)
def test_class_weight_reaches_the_estimator_whatever_the_type(tmp_path: Path, weights: dict[Any, Any], labels: list[Any]) -> None:
    candidate = LINEAR | {"search": {"class_weight": {"choice": [weights]}}}
    usecase = UseCase.model_validate(small.document(train__candidates={"linear": candidate}, train__max_trials=1, positive=labels[1]))

    run, _ = fitted(usecase, tmp_path, answer=np.array(labels)[small.columns()["answer"]])

    model = load_model((tmp_path / "model.skops").read_bytes())
    rows, truth = examples(tmp_path / "table.parquet", usecase, "test")
    assert run.metrics["trials.failed"] == 0
    assert (model.predict(rows) == labels[1]).mean() > 1.2 * (truth == labels[1]).mean()


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        pytest.param({"class_weight": {"worse": 2}}, "class_weight of linear has the key 'worse', which is no class of answer: name bad", id="key"),
        pytest.param({"scale_pos_weight": 5}, "scale_pos_weight of linear weighs good, not bad: write class_weight: {bad: ...}", id="other class"),
    ],
)
def test_a_weight_of_another_class_stops_the_run(tmp_path: Path, parameters: dict[str, Any], sentence: str) -> None:
    usecase = small.usecase(train__candidates={"linear": LINEAR | {"parameters": parameters}}, positive="bad")

    with pytest.raises(UserError) as refused:
        fitted(usecase, tmp_path, answer=np.where(small.columns()["answer"] == 1, "bad", "good"))

    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("positive", ["bad", "good"])
@pytest.mark.parametrize("written", [{"x": -1}, [-1, 0, 0]], ids=["by column", "by place"])
def test_monotonic_constraints_are_of_the_positive_class(tmp_path: Path, positive: str, written: Any) -> None:
    trees = small.document()["train"]["candidates"]["trees"] | {"parameters": {"max_iter": 10, "monotonic_cst": written}}
    usecase = small.usecase(train__candidates={"trees": trees}, train__max_trials=1, positive=positive)

    fitted(usecase, tmp_path, answer=np.where(small.columns()["answer"] == 1, "bad", "good"))

    model = load_model((tmp_path / "model.skops").read_bytes())
    rows = pd.DataFrame({"x": np.linspace(-3, 3, 50), "y": 0.0, "kind": "a"})
    scores = model.predict_proba(rows)[:, ["bad", "good"].index(positive)]
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("name", ["monotonic_cst", "monotone_constraints"])
@pytest.mark.parametrize(("positive", "signs"), [("good", [-1, 0, 0]), ("bad", [1, 0, 0])])
def test_constraints_mean_the_positive_class_by_any_name(name: str, positive: str, signs: list[int]) -> None:
    usecase = small.usecase(positive=positive)

    for written in ({"x": -1}, [-1, 0, 0]):
        assert adapted(usecase, "trees", {name: written}, ["bad", "good"])[name] == signs


def test_constraints_that_cannot_be_turned_are_refused() -> None:
    with pytest.raises(UserError, match="monotone_constraints of trees is '-1,0,0': write a list"):
        adapted(small.usecase(positive="bad"), "trees", {"monotone_constraints": "-1,0,0"}, ["bad", "good"])


def test_two_classes_of_a_multiclass_task_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="answer has the two classes high, low: write task: binary"):
        fitted(small.usecase("multiclass"), tmp_path, answer=["high", "low", "low", "high", "low"] * 120)


@pytest.mark.parametrize("name", ["linear", "trees"])
@pytest.mark.parametrize(
    "late",
    [pytest.param("z", id="category that appears later"), pytest.param(None, id="missing"), pytest.param("", id="empty text")],
)
def test_a_value_that_training_never_saw_gets_an_answer(tmp_path: Path, name: str, late: str | None) -> None:
    candidate = small.document()["train"]["candidates"][name]
    known = ["a" if split == "train" else late for split in small.columns()["split"]]

    run, value = fitted(small.usecase(train__candidates={name: candidate}, train__refit="none"), tmp_path, kind=known)

    model = load_model((tmp_path / "model.skops").read_bytes())
    rows, _ = examples(tmp_path / "table.parquet", run.usecase, "test")
    assert value > 0.8
    assert np.isfinite(model.predict_proba(rows)).all()


def test_a_numeric_column_without_any_value_is_no_obstacle(tmp_path: Path) -> None:
    _, value = fitted(small.usecase(), tmp_path, y=np.full(600, np.nan))

    assert value > 0.7


@pytest.mark.parametrize(("refit", "rows", "splits"), [("train+validation", 480, "train and validation"), ("none", 360, "train")])
def test_the_search_learns_from_a_sample_and_the_model_from_all(tmp_path: Path, refit: str, rows: int, splits: str) -> None:
    candidate = {"estimator": "sklearn.neighbors.KNeighborsClassifier"}
    usecase = small.usecase(train__candidates={"neighbours": candidate}, train__sample_rows=50, train__max_trials=1, train__refit=refit)

    run, value = fitted(usecase, tmp_path)

    model = load_model((tmp_path / "model.skops").read_bytes())
    sampled = float((tmp_path / "trials.html").read_text().partition('<td class="n">1</td>')[2].partition('class="n">')[2].partition("<")[0])
    assert model[-1].n_samples_fit_ == rows
    assert run.parameters["fitted_on"] == f"{rows} rows of {splits}"
    assert (value == pytest.approx(sampled, abs=1e-4)) == (refit != "none")  # the score is that of a model that never saw the validation rows


def test_of_a_split_by_time_the_card_says_from_when_to_when(tmp_path: Path) -> None:
    usecase = small.usecase(split={"by": "time", "column": "day"})
    day = np.arange(600) // 5  # as many instants as rows of a split

    run, _ = fitted(usecase, tmp_path, day=day, split=np.where(day < 72, "train", np.where(day < 96, "validation", "test")))

    assert run.parameters["fitted_on"] == "480 rows of train and validation, day from 0 to 95"


def test_a_sample_that_lacks_a_class_costs_no_run(tmp_path: Path) -> None:
    answer = np.where(np.arange(600) % 100 < 4, "rare", np.where(small.columns()["answer"] == 1, "yes", "no"))
    usecase = small.usecase("multiclass", train__sample_rows=12)

    _, value = fitted(usecase, tmp_path, answer=answer)

    assert np.isfinite(value)


@pytest.mark.parametrize(("refit", "splits"), [("train+validation", ("train", "validation")), ("none", ("train",))])
def test_the_written_model_is_fitted_on_no_other_rows(tmp_path: Path, refit: str, splits: tuple[str, ...]) -> None:
    data = small.columns()
    learnt = np.isin(data["split"], splits)
    candidates = {"linear": LINEAR}

    fitted(small.usecase(train__candidates=candidates, train__refit=refit), tmp_path, y=np.where(learnt, data["y"], data["y"] + 1000))

    model = load_model((tmp_path / "model.skops").read_bytes())
    mean = model["prepare"].named_transformers_["numeric"][-1].mean_[1]
    assert mean == pytest.approx(data["y"][learnt].mean(), abs=1e-9)


def test_the_seed_reaches_an_estimator_that_draws_at_random() -> None:
    usecase = small.usecase()

    trees = build(usecase.train.candidates["trees"], usecase.features, {"learning_rate": 0.1}, 42)
    fixed = build(usecase.train.candidates["trees"], usecase.features, {"random_state": 7}, 42)

    assert (trees[-1].random_state, fixed[-1].random_state) == (42, 7)
    assert trees[-1].categorical_features == [2]


def test_the_page_shows_every_trial(tmp_path: Path) -> None:
    run, _ = fitted(small.usecase(), tmp_path)

    page = (tmp_path / "trials.html").read_text()
    assert page.count("<tr>") == 1 + 3
    assert "learning_rate" in page
    assert run.artifacts["trials.html"].decode() == page


class Silent(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator that fails without a word."""

    def fit(self, rows: Any, target: Any) -> None:
        raise ValueError


class Confused(Silent):
    """An estimator that fails with an error that is no ValueError."""

    def fit(self, rows: Any, target: Any) -> None:
        raise KeyError("depth")


class Foreign(Silent):
    """An estimator that fails when it is asked, with an error that derives from Exception alone, as LightGBM's does."""

    def fit(self, rows: Any, target: Any) -> None:
        self.classes_ = np.unique(target)

    def predict_proba(self, rows: Any) -> Any:
        raise Exception("no split found")


def _trials(run: Run, folder: Path) -> list[Trial]:
    return searched(run.usecase, learner(run.usecase, folder / "table.parquet"))
