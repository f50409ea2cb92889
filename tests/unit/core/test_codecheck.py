"""The configuration against scikit-learn and the use case's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sklearn.utils import all_estimators
from skops.io._trusted_types import SKLEARN_ESTIMATOR_TYPE_NAMES

from core.codecheck import code_problems, estimator
from core.configcheck import Problem
from core.errors import UserError
from core.featurecode import features
from core.trusted_types import TRUSTED
from tests.unit.small import variant

LOGISTIC = {"estimator": "sklearn.linear_model.LogisticRegression"}


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        pytest.param({"name": "vine"}, "name", "the folder is called wine: write name: wine or rename the folder", id="name"),
        pytest.param({"sources__wine": "vine.csv"}, "sources.wine", "there is no file vine.csv beside the config", id="file"),
        pytest.param(
            {"sources__wine": {"kind": "kafka", "topic": "wine", "format": "avro", "definition": "wine.avsc"}},
            "sources.wine.definition",
            "there is no file wine.avsc beside the config",
            id="schema of a topic",
        ),
        pytest.param({"target": "grape"}, "target", "features() makes no column grape", id="target"),
        pytest.param({"features__numeric": ["alcohol", "sugar"]}, "features.numeric.1", "features() makes no column sugar", id="feature"),
        pytest.param({"key": ["alcohol", "bottle"]}, "key.1", "features() makes no column bottle", id="key"),
        pytest.param({"split": {"by": "time", "column": "year"}}, "split.column", "features() makes no column year", id="split column"),
        pytest.param({"evaluate__baseline": "last"}, "evaluate.baseline", "features() makes no column last", id="baseline"),
        pytest.param(
            {"train__candidates__forest": {"estimator": "sklearn.ensemble.RandomForst"}},
            "train.candidates.forest.estimator",
            "there is no estimator sklearn.ensemble.RandomForst",
            id="estimator",
        ),
        pytest.param(
            {"train__candidates__forest": LOGISTIC | {"parameters": {"depth": 3}}},
            "train.candidates.forest.parameters.depth",
            "LogisticRegression has no such parameter: choose one of",
            id="parameter",
        ),
        pytest.param(
            {"train__candidates__forest": LOGISTIC | {"search": {"c": {"float": [1, 2]}}}},
            "train.candidates.forest.search.c",
            "LogisticRegression has no such parameter: choose one of",
            id="searched parameter",
        ),
        pytest.param(
            {"train__candidates__forest": {"estimator": "sklearn.linear_model.Ridge"}},
            "train.candidates.forest.estimator",
            "does not fit a multiclass task: choose a classifier with predict_proba()",
            id="regressor for classes",
        ),
        pytest.param(
            {"train__candidates__forest": {"estimator": "sklearn.linear_model.RidgeClassifier"}},
            "train.candidates.forest.estimator",
            "does not fit a multiclass task",
            id="classifier without probabilities",
        ),
        pytest.param(
            {"train__candidates__forest": {"estimator": "sklearn.mixture.GaussianMixture"}},
            "train.candidates.forest.estimator",
            "does not fit a multiclass task",
            id="probabilities of no classifier",
        ),
        pytest.param(
            {"train__candidates__forest": {"estimator": "sklearn.ensemble.VotingClassifier"}},
            "train.candidates.forest.estimator",
            "VotingClassifier takes another estimator as estimators, which a config cannot write yet",
            id="estimator of estimators",
        ),
        pytest.param(
            {"train__candidates__forest": {"estimator": "sklearn.semi_supervised.SelfTrainingClassifier"}},
            "train.candidates.forest.estimator",
            "SelfTrainingClassifier takes another estimator as estimator",
            id="estimator whose default fits nothing",
        ),
        pytest.param(
            {
                "train__candidates__forest": {
                    "estimator": "sklearn.calibration.CalibratedClassifierCV",
                    "parameters": {"estimator": "sklearn.svm.SVC"},
                }
            },
            "train.candidates.forest.parameters.estimator",
            "CalibratedClassifierCV takes another estimator as estimator",
            id="estimator by its path",
        ),
        pytest.param(
            {"train__candidates__forest": {"estimator": "sklearn.ensemble.BaggingClassifier", "parameters": {"estimator": None}}},
            "",
            "",
            id="estimator that may be left out",
        ),
        pytest.param(
            {"train__candidates__forest": {"estimator": "usecases.wine.model.Voter"}},
            "train.candidates.forest.estimator",
            "models only of scikit-learn and LightGBM can be loaded safely: choose one of theirs",
            id="estimator of one's own",
        ),
        pytest.param(
            {"train__candidates__forest": {"estimator": "catboost.CatBoostClassifier"}},
            "train.candidates.forest.estimator",
            "catboost is not installed, and models only of scikit-learn",
            id="package that is not installed",
        ),
        pytest.param(
            {"train__candidates__forest": LOGISTIC | {"parameters": {"C": "1e-2 "}}},
            "train.candidates.forest.parameters.C",
            "The 'C' parameter of LogisticRegression must be a float",
            id="value of the wrong type",
        ),
        pytest.param(
            {"train__candidates__forest": LOGISTIC | {"search": {"solver": {"choice": ["lbfgs", "adam", "saga"]}}}},
            "train.candidates.forest.search.solver",
            "The 'solver' parameter of LogisticRegression must be a str among",
            id="choice that is none",
        ),
        pytest.param(
            {
                "train__candidates__forest": {
                    "estimator": "sklearn.ensemble.RandomForestClassifier",
                    "search": {"max_features": {"float": [0.5, 1.5]}},
                }
            },
            "train.candidates.forest.search.max_features",
            "Got 1.5 instead",
            id="bound beyond what is allowed",
        ),
    ],
)
def test_what_the_code_does_not_have_is_named_with_its_place(change: dict[str, Any], place: str, message: str) -> None:
    usecase = variant("wine", **change)

    problems = list(code_problems(usecase, "wine"))

    assert [".".join(map(str, problem.path)) for problem in problems] == ([place] if place else [])
    assert not place or message in problems[0].message


def test_the_whole_row_is_no_key_of_a_wide_table() -> None:
    columns = {name: {"type": "number"} for name in (*variant("wine").contract["wine"].columns, *(f"x{index}" for index in range(1_000)))}

    problems = list(code_problems(variant("wine", key="all", contract__wine__columns=columns), "wine"))

    assert [problem.path for problem in problems] == [("key",)]
    assert "name the columns that identify a row" in problems[0].message


def test_features_takes_the_sources_that_the_config_names() -> None:
    other = {"columns": {"x": {"type": "number"}}}

    problems = list(code_problems(variant("wine", sources__more="wine.csv", contract__more=other), "wine"))

    assert problems == [Problem(("sources",), "features() takes wine, the config names wine, more: make them the same")]


@pytest.mark.parametrize(
    ("type_", "change", "place", "message"),
    [
        pytest.param("string", {}, "features.numeric.8", 'hue is text: convert it in features(), such as _.hue.cast("float64")', id="text"),
        pytest.param("date", {}, "features.numeric.8", "hue is a date: make a number of it in features(), such as _.hue.month()", id="date"),
        pytest.param("timestamp", {}, "features.numeric.8", "such as _.hue.hour() or _.hue.epoch_seconds()", id="timestamp"),
        pytest.param("boolean", {}, "", "", id="boolean"),
        pytest.param("integer", {"categorical": ["hue"]}, "features.categorical.0", "hue is an integer, not text: write", id="code"),
        pytest.param("boolean", {"categorical": ["hue"]}, "features.categorical.0", "or name it under features.numeric", id="flag as text"),
        pytest.param("date", {"categorical": ["hue"]}, "features.categorical.0", "hue is a date, not text", id="date as text"),
        pytest.param("string", {"categorical": ["hue"]}, "", "", id="text as text"),
        pytest.param("string", {"target": "hue", "task": "regression"}, "target", "hue is text, but a regression predicts a number", id="regression"),
        pytest.param("date", {"target": "hue"}, "target", "hue is a date, which has no classes", id="classes of dates"),
        pytest.param("integer", {"target": "hue"}, "", "", id="classes of integers"),
        pytest.param("string", {"by": "time"}, "split.column", "hue is text, which has no order in time", id="time as text"),
        pytest.param("timestamp", {"by": "time"}, "", "", id="time"),
    ],
)
def test_a_column_of_the_wrong_type_is_refused(type_: str, change: dict[str, Any], place: str, message: str) -> None:
    usecase = variant("wine", **{"contract__wine__columns__hue": {"type": type_}} | _roles(change))

    problems = [problem for problem in code_problems(usecase, "wine") if problem.path[0] != "train"]

    assert [".".join(map(str, problem.path)) for problem in problems] == ([place] if place else [])
    assert not place or message in problems[0].message


def _roles(change: dict[str, Any]) -> dict[str, Any]:
    """The change of a config that gives the column `hue` another role than that of a numeric feature."""
    if not change:
        return {}
    others = [name for name in variant("wine").features.numeric if name != "hue"]
    features = {"numeric": others, "categorical": change.get("categorical", [])}
    split = {"split": {"by": "time", "column": "hue"}} if "by" in change else {}
    task = {key: change[key] for key in ("target", "task") if key in change} | ({"metric": "mae"} if "task" in change else {})
    return {"features": features} | split | task


def test_a_regressions_baseline_is_a_number() -> None:
    (problem,) = code_problems(variant("diabetes", evaluate__baseline="sex"), "diabetes")

    assert problem.path == ("evaluate", "baseline")
    assert "sex is text, but a regression's baseline is a number" in problem.message


def test_a_regression_needs_a_regressor() -> None:
    usecase = variant("diabetes", train__candidates__ridge={"estimator": "sklearn.ensemble.RandomForestClassifier"})

    problems = list(code_problems(usecase, "diabetes"))

    assert [problem.message for problem in problems] == ["sklearn.ensemble.RandomForestClassifier does not fit a regression task: choose a regressor"]


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_every_estimator_that_is_accepted_can_be_loaded(kind: str) -> None:
    names = {f"{found.__module__}.{found.__qualname__}" for _, found in all_estimators(type_filter=kind)}

    assert names <= {*SKLEARN_ESTIMATOR_TYPE_NAMES, *TRUSTED}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("LogisticRegression", id="no module"),
        pytest.param("", id="nothing"),
        pytest.param(".linear_model.LogisticRegression", id="relative"),
        pytest.param("sklearn.linear_model", id="module"),
        pytest.param("sklearn.linear_model.ridge_regression", id="function"),
        pytest.param("sklearn.linear_model.Logistic", id="misspelt"),
        pytest.param("skleanr.linear_model.LogisticRegression", id="module misspelt"),
        pytest.param("pathlib.Path", id="class of another kind"),
        pytest.param("sklearn..LogisticRegression", id="two dots"),
    ],
)
def test_what_is_no_estimator_is_refused_in_a_sentence(path: str) -> None:
    with pytest.raises(UserError, match=r"there is no estimator .*: write the import path of a class with fit"):
        estimator(path)


def test_a_use_case_without_code_is_told_what_to_write() -> None:
    with pytest.raises(UserError) as refused:
        features("nowhere")

    assert str(refused.value) == "usecases/nowhere/features.py is missing: write the function features() there"


def test_an_estimator_whose_module_ends_python_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaving_module.py").write_text("raise SystemExit('bye')\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(UserError, match="there is no estimator leaving_module"):
        estimator("leaving_module.Forest")
