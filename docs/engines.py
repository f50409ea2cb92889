"""Measure which pipelines ONNX Runtime serves, for the table of docs/served-form.md: `.venv/bin/python -m docs.engines`."""

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn import ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler, TargetEncoder

from components.register.engine import Choice, choose
from core.bundle import Bundle, Golden, Input, Manifest, Output, frame
from docs.marks import filled

if TYPE_CHECKING:
    import pandas as pd

PAGE = Path(__file__).parent / "served-form.md"
BOUNDS = {1e-12: "below 1e-12", 1e-9: "below 1e-9"}  # far enough apart that another machine's last digits change nothing
SCIKIT_LEARN = "scikit-learn"
CLASSES = {"binary": "two classes", "multiclass": "several"}
INPUTS = (Input("x", "FP64"), Input("y", "FP64"), Input("z", "FP64"), Input("kind", "BYTES"), Input("place", "BYTES"))
NUMBERS, TEXTS = ["x", "y", "z"], ["kind", "place"]
Make = Callable[[], Any]

ONE_HOT = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=6)
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)


def _filled(*steps: Any) -> Any:
    return make_pipeline(SimpleImputer(), *steps)


PREPARATIONS: dict[str, Make] = {
    "standard, onehot": lambda: _prepared(_filled(StandardScaler()), ONE_HOT),
    "min-max, ordinal": lambda: _prepared(_filled(MinMaxScaler(clip=True)), ORDINAL),
    "robust, target": lambda: _prepared(make_pipeline(SimpleImputer(strategy="median", add_indicator=True), RobustScaler()), TargetEncoder()),
    "passthrough, ordinal": lambda: _prepared("passthrough", ORDINAL),
    "none, filled onehot": lambda: _prepared("drop", make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))),
}
CLASSIFIERS: dict[str, Make] = {
    "HistGradientBoostingClassifier": lambda: ensemble.HistGradientBoostingClassifier(max_iter=10, random_state=0),
    "GradientBoostingClassifier": lambda: ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0),
    "RandomForestClassifier": lambda: ensemble.RandomForestClassifier(n_estimators=10, random_state=0),
    "ExtraTreesClassifier": lambda: ensemble.ExtraTreesClassifier(n_estimators=10, max_depth=5, random_state=0),
    "DecisionTreeClassifier": lambda: tree.DecisionTreeClassifier(max_depth=5, random_state=0),
    "AdaBoostClassifier": lambda: ensemble.AdaBoostClassifier(n_estimators=10, random_state=0),
    "BaggingClassifier": lambda: ensemble.BaggingClassifier(n_estimators=5, random_state=0),
    "LogisticRegression": lambda: linear_model.LogisticRegression(max_iter=500),
    "LinearDiscriminantAnalysis": lambda: LinearDiscriminantAnalysis(),
    "SVC(probability)": lambda: svm.SVC(probability=True, random_state=0),
    "CalibratedClassifierCV(LinearSVC)": lambda: CalibratedClassifierCV(svm.LinearSVC(random_state=0), cv=3),
    "CalibratedClassifierCV(SVC)": lambda: CalibratedClassifierCV(svm.SVC(random_state=0), cv=3),
    "CalibratedClassifierCV(RandomForestClassifier, isotonic)": lambda: CalibratedClassifierCV(
        ensemble.RandomForestClassifier(n_estimators=10, random_state=0), method="isotonic", cv=3
    ),
    "VotingClassifier(soft)": lambda: ensemble.VotingClassifier(
        [("a", linear_model.LogisticRegression(max_iter=500)), ("b", ensemble.RandomForestClassifier(n_estimators=10, random_state=0))], voting="soft"
    ),
    "GaussianNB": lambda: naive_bayes.GaussianNB(),
    "MLPClassifier": lambda: neural_network.MLPClassifier(hidden_layer_sizes=(8,), max_iter=50, random_state=0),
    "KNeighborsClassifier": lambda: neighbors.KNeighborsClassifier(),
}
REGRESSORS: dict[str, Make] = {
    "HistGradientBoostingRegressor": lambda: ensemble.HistGradientBoostingRegressor(max_iter=10, random_state=0),
    "HistGradientBoostingRegressor(poisson)": lambda: ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=10, random_state=0),
    "GradientBoostingRegressor": lambda: ensemble.GradientBoostingRegressor(n_estimators=10, random_state=0),
    "RandomForestRegressor": lambda: ensemble.RandomForestRegressor(n_estimators=10, random_state=0),
    "ExtraTreesRegressor": lambda: ensemble.ExtraTreesRegressor(n_estimators=10, max_depth=5, random_state=0),
    "DecisionTreeRegressor": lambda: tree.DecisionTreeRegressor(max_depth=5, random_state=0),
    "Ridge": lambda: linear_model.Ridge(),
    "ElasticNet": lambda: linear_model.ElasticNet(alpha=0.01),
    "PoissonRegressor": lambda: linear_model.PoissonRegressor(),
    "LinearSVR": lambda: svm.LinearSVR(random_state=0),
    "SVR": lambda: svm.SVR(),
    "MLPRegressor": lambda: neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=50, random_state=0),
    "KNeighborsRegressor": lambda: neighbors.KNeighborsRegressor(),
}


def main() -> None:
    """Put the table between the marks of the page."""
    PAGE.write_text(filled(PAGE.read_text(), "docs.engines", table()))


def table() -> str:
    """Return the table, a row an estimator."""
    head = [f"| estimator | {' | '.join(PREPARATIONS)} |", f"|---|{'---|' * len(PREPARATIONS)}"]
    return "\n".join([*head, *(row(name) for name in (*CLASSIFIERS, *REGRESSORS))]) + "\n"


def row(name: str) -> str:
    """Return an estimator's row: what the register step decided with each preparation."""
    return f"| `{name}` | {' | '.join(_cell(name, preparation) for preparation in PREPARATIONS)} |"


def _cell(name: str, preparation: str) -> str:
    if name in REGRESSORS:
        return _decision("regression", name, preparation)
    found = {task: _decision(task, name, preparation) for task in CLASSES}
    worst = max(found.values(), key=["-", "exact", *BOUNDS.values(), SCIKIT_LEARN].index)
    if len(set(found.values())) == 1 or worst != SCIKIT_LEARN:
        return worst
    return ", ".join(f"{CLASSES[task]}: {decision}" for task, decision in found.items())


@cache
def _decision(task: str, name: str, preparation: str) -> str:
    try:
        choice = measured(task, (CLASSIFIERS | REGRESSORS)[name](), PREPARATIONS[preparation]())
    except ValueError as error:
        if "NaN" not in str(error):
            raise
        return "-"
    if choice.error is None:
        return SCIKIT_LEARN
    return next(text for bound, text in BOUNDS.items() if choice.error <= bound) if choice.error else "exact"


def measured(task: str, model: Any, preparation: Any, rows: int = 240) -> Choice:
    """Fit a pipeline on made-up rows and let the register step choose its engine."""
    table, target = made(task, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = make_pipeline(preparation, model).fit(table, target)
    return choose(served(task, pipeline), pipeline, made(task, rows, seed=1)[0])


def served(task: Any, pipeline: Any, inputs: tuple[Input, ...] = INPUTS) -> Bundle:
    """Return a bundle of a pipeline that holds no model: the proof needs none."""
    outputs = tuple(Output(name, "FP64") for name in ("predict", "predict_proba") if hasattr(pipeline, name))
    classes = tuple(pipeline.classes_.tolist()) if hasattr(pipeline, "classes_") else None
    return Bundle(Manifest("made-up", task, "target", "scikit-learn", inputs, outputs, classes, {}), Golden([], [], None), b"")


def made(task: str, rows: int, seed: int = 0) -> tuple["pd.DataFrame", NDArray[Any]]:
    """Make rows with holes in each column, and a target that can be learnt from them."""
    random = np.random.default_rng(seed)
    x, y, z = random.normal(size=(3, rows))
    z = np.round(10 * z)
    kind, place = random.choice(list("abc"), rows), random.choice([f"p{number}" for number in range(12)], rows)
    signal = 2 * x - y + z / 10 + (kind == "a") + (place > "p5") + random.normal(scale=0.5, size=rows)
    x[::11], y[3::17] = np.nan, np.nan
    texts = [[None if row % 13 == number else value for row, value in enumerate(values)] for number, values in enumerate((kind, place))]
    target = {"binary": (signal > 0).astype(np.int64), "multiclass": np.array(["high", "low", "mid"])[np.digitize(signal, [-1, 1])]}
    return frame(dict(zip(["x", "y", "z", "kind", "place"], [x, y, z, *texts], strict=True)), INPUTS), target.get(task, np.exp(signal / 3))


def _prepared(numbers: Any, texts: Any) -> ColumnTransformer:
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, TEXTS)], sparse_threshold=0)


if __name__ == "__main__":
    main()
