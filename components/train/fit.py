"""The search: trials on the training rows, judged on the validation rows; the best is then fitted on all training rows."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from components.train.page import write
from components.train.pipeline import build
from core.bundle import dump_model
from core.config import Candidate, UseCase
from core.errors import UserError, first_line
from core.metrics import METRICS, score
from core.predict import predict
from core.tables import examples
from core.tracking import Run

if TYPE_CHECKING:
    import pandas as pd

optuna.logging.set_verbosity(optuna.logging.WARNING)
NEEDS_EVERY_CLASS = ("roc_auc", "average_precision")
Rows = tuple["pd.DataFrame", NDArray[Any]]


@dataclass(frozen=True)
class Trial:
    """One model that was tried."""

    candidate: str
    parameters: dict[str, Any]
    score: float | None
    seconds: float
    problem: str = ""


def fit(run: Run, table: str, model: str, page: str) -> float:
    """Search, fit the best, write it.

    Args:
        run: The step's notes.
        table: The table that transform made.
        model: Where the fitted pipeline is written.
        page: Where the list of trials is written.

    Returns:
        Score of the written model on the validation rows.

    Raises:
        UserError: The rows cannot be learnt from, or every trial failed.
    """
    usecase = run.usecase
    learn, check = examples(table, usecase, "train"), examples(table, usecase, "validation")
    _require_variety(usecase, learn[1], check[1])
    trials = search(usecase, _sample(usecase, learn), check, run.trial)
    best = _best(usecase, trials)
    fitted = _fit(build(usecase.train.candidates[best.candidate], usecase.features, best.parameters, usecase.train.seed), learn)
    value = _score(usecase, fitted, check)
    Path(model).write_bytes(dump_model(fitted))
    run.artifacts["trials.html"] = write(usecase, trials, best, value, page)
    run.parameters |= {
        "candidate": best.candidate,
        "estimator": usecase.train.candidates[best.candidate].estimator,
        "seed": usecase.train.seed,
    } | best.parameters
    run.metrics |= {f"validation.{usecase.metric}": value, "trials": float(len(trials))}
    run.summary = f"{best.candidate}, {METRICS[usecase.metric].title} {value:.4f} on validation, best of {len(trials)} trials"
    return value


def search(usecase: UseCase, learn: Rows, check: Rows, publish: Callable[[str, float, dict[str, Any], dict[str, float]], None]) -> list[Trial]:
    """Try `max_trials` models: each candidate at least once, then where optuna's TPE expects the best.

    Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011.
    """
    trials: list[Trial] = []

    def objective(trial: optuna.Trial) -> float:
        name = trial.suggest_categorical("candidate", list(usecase.train.candidates))
        candidate = usecase.train.candidates[name]
        parameters = _suggest(trial, name, candidate)
        started = time.time()
        value, problem = _try(usecase, candidate, parameters, learn, check)
        trials.append(Trial(name, parameters, value, time.time() - started, problem))
        publish(
            f"trial-{len(trials)}-{name}", started, {"candidate": name} | parameters, {} if value is None else {f"validation.{usecase.metric}": value}
        )
        if value is None:
            raise optuna.TrialPruned
        return value

    study = optuna.create_study(
        direction="maximize" if usecase.greater_is_better else "minimize", sampler=optuna.samplers.TPESampler(seed=usecase.train.seed)
    )
    for name in usecase.train.candidates:
        study.enqueue_trial({"candidate": name})
    study.optimize(objective, n_trials=usecase.train.max_trials)
    return trials


def _suggest(trial: optuna.Trial, name: str, candidate: Candidate) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for parameter, space in candidate.search.items():
        key = f"{name}.{parameter}"
        if space.int:
            chosen[parameter] = trial.suggest_int(key, *space.int, log=space.log)
        elif space.float:
            chosen[parameter] = trial.suggest_float(key, *space.float, log=space.log)
        else:
            chosen[parameter] = trial.suggest_categorical(key, list(space.choice or ()))
    return chosen


def _try(usecase: UseCase, candidate: Candidate, parameters: dict[str, Any], learn: Rows, check: Rows) -> tuple[float | None, str]:
    """Fit and score one model; parameters that the estimator refuses cost the trial, not the run."""
    try:
        fitted = _fit(build(candidate, usecase.features, parameters, usecase.train.seed), learn)
        value = _score(usecase, fitted, check)
    except (ValueError, ArithmeticError) as error:
        return None, first_line(error)
    return (value, "") if np.isfinite(value) else (None, f"its {METRICS[usecase.metric].title} is no finite number")


def _fit(pipeline: Pipeline, learn: Rows) -> Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as iterations that ran out: the score says whether it matters
        return pipeline.fit(*learn)


def _score(usecase: UseCase, fitted: Pipeline, check: Rows) -> float:
    return score(usecase.metric, predict(fitted, *check))


def _best(usecase: UseCase, trials: list[Trial]) -> Trial:
    scored = [trial for trial in trials if trial.score is not None]
    if not scored:
        raise UserError(f"every trial failed, the last with: {trials[-1].problem}: correct train.candidates")
    sign = 1 if usecase.greater_is_better else -1
    return max(scored, key=lambda trial: sign * (trial.score or 0.0))


def _sample(usecase: UseCase, learn: Rows) -> Rows:
    """Draw the rows that the search learns from."""
    rows, target = learn
    count = usecase.train.sample_rows
    if count is None or count >= len(target):
        return learn
    chosen = np.sort(np.random.default_rng(usecase.train.seed).choice(len(target), count, replace=False))
    if usecase.task != "regression":  # one row at least of each class: a model cannot answer with one that it never saw
        classes, first = np.unique(target, return_index=True)
        chosen = np.union1d(chosen, first[~np.isin(classes, target[chosen])])
    return rows.iloc[chosen], target[chosen]


def _require_variety(usecase: UseCase, learn: NDArray[Any], check: NDArray[Any]) -> None:
    """Refuse rows that no classifier can learn from, or that hold an answer it cannot give."""
    if usecase.task == "regression":
        return
    classes = set(learn.tolist())
    if len(classes) < 2:
        raise UserError(
            f"all {len(learn):,} training rows have {usecase.target} = {classes.pop()}: a model needs two classes; correct features() or the split"
        )
    if usecase.task == "binary" and len(classes) > 2:
        raise UserError(f"{usecase.target} has {len(classes)} classes: write task: multiclass")
    unknown = set(check.tolist()) - classes
    if unknown:
        raise UserError(f"the validation rows hold {usecase.target} = {sorted(unknown)[0]}, which no training row has: change the split")
    lacking = classes - set(check.tolist())
    if lacking and usecase.metric in NEEDS_EVERY_CLASS:
        raise UserError(
            f"{usecase.metric} cannot be computed on the validation rows: none has {usecase.target} = {sorted(lacking)[0]}; "
            "deliver more data or change the split"
        )
