"""The search: trials on the training rows, scored on the validation rows. The best is then fitted on both, as `train.refit` says."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from sklearn.pipeline import Pipeline

from components.train.allowance import allowance, kept_to
from components.train.learner import Learner
from components.train.memory import Budget
from components.train.page import write, write_failed
from components.train.survey import Survey, survey
from core.bundle import dump_model
from core.classes import listed, note, positive
from core.config import Candidate, UseCase
from core.errors import EstimatorError, UserError
from core.predict import must_answer
from core.tables import splits
from core.tracking import Run

optuna.logging.set_verbosity(optuna.logging.ERROR)
NEEDS_EVERY_CLASS = ("roc_auc", "average_precision")
TOO_FEW = re.compile("least populated class|examples for at least one class|number of members in each class")  # in scikit-learn's words
Publish = Callable[[str, float, dict[str, Any], dict[str, float]], None]


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
        Score of the best trial on the validation rows; with `refit: none`, of the written model.

    Raises:
        UserError: The rows cannot be learnt from or do not fit into memory, or every trial failed.
    """
    usecase, allowed = run.usecase, allowance(run.usecase)
    found = survey(table, usecase)
    _require_variety(usecase, found)
    budget, trials = Budget(usecase, found, allowed), list[Trial]()
    run.page = "trials.html"
    try:
        with kept_to(allowed):
            learnt = _learn(run, table, found, budget, trials)
            Path(model).write_bytes(dump_model(learnt.pipeline))
    except BaseException:
        if trials:
            run.artifacts[run.page] = write_failed(usecase, trials, page)
        raise
    best, rows, failed = learnt.trial, fitted_on(usecase, learnt.rows, found, usecase.train.fitted_on), failures(learnt.trials)
    known = note(usecase, found.classes["train"])
    problem = str(failed) if failed.number else ""
    run.artifacts[run.page] = write(usecase, learnt.trials, best, learnt.value, rows, problem, known.get("positive_class", ""), page)
    run.parameters |= {
        "candidate": best.candidate,
        "estimator": usecase.train.candidates[best.candidate].estimator,
        "seed": usecase.train.seed,
        "fitted_on": rows,
    } | (known | best.parameters)
    run.metrics |= {f"validation.{usecase.metric}": learnt.value, "trials": float(len(learnt.trials)), "trials.failed": float(failed.number)}
    run.metrics |= {"rows.fitted": float(learnt.rows), "expected_memory_mib": budget.expected(learnt.rows) / 2**20}
    run.summary = f"{best.candidate}, {usecase.title()} {learnt.value:.4f} on validation, best of {len(learnt.trials)} trials"
    if failed.number:
        run.summary += f", {failed}"
    if learnt.rows < found.count(usecase.train.fitted_on):
        run.summary += f", fitted on {rows}"
    return learnt.value


class Failures(NamedTuple):
    """How many trials failed, and why the first one did."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.number} failed, the first with: {self.reason}"


def failures(trials: list[Trial]) -> Failures:
    """Count the trials that failed."""
    reasons = [trial.problem for trial in trials if trial.problem]
    return Failures(len(reasons), reasons[0] if reasons else "")


class Learnt(NamedTuple):
    """The best of the trials, fitted on `rows` rows, and its score on the validation rows."""

    pipeline: Pipeline
    value: float
    rows: int
    trial: Trial
    trials: list[Trial]


def _learn(run: Run, table: str, found: Survey, budget: Budget, trials: list[Trial]) -> Learnt:
    usecase, split = run.usecase, run.usecase.train.fitted_on
    searched, rows = budget.rows("train"), budget.rows(split)
    if usecase.train.refit == "all":
        budget.rows("all")  # refused now, not after the verdict
    learner = Learner(table, usecase, found, budget)
    search(usecase, learner, min(searched, usecase.train.sample_rows or searched), run.trial, trials)
    best = _best(usecase, trials, found)
    try:
        pipeline = learner.fit(best.candidate, best.parameters, rows, split)
    except EstimatorError as error:  # a sample may have hidden it
        raise UserError(f"{best.candidate} cannot be fitted on {rows:,} rows: {error}: correct train.candidates") from error
    value = float(best.score or 0.0)
    if split == "train":  # a model cannot be scored on rows that it learnt from
        with must_answer(pipeline, "validation"):
            value = learner.score(pipeline)
    return Learnt(pipeline, value, rows, best, trials)


def search(usecase: UseCase, learner: Learner, rows: int, publish: Publish, trials: list[Trial]) -> None:
    """Try `max_trials` models: each candidate at least once, then where optuna's TPE expects the best.

    Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011.

    Args:
        usecase: The use case.
        learner: Fits and scores.
        rows: How many training rows a trial learns from.
        publish: Gets each trial.
        trials: Gets each trial, so that those before an interruption are known.
    """

    def objective(trial: optuna.Trial) -> float:
        name = trial.suggest_categorical("candidate", list(usecase.train.candidates))
        candidate = usecase.train.candidates[name]
        parameters = _suggest(trial, name, candidate)
        started = time.time()
        value, problem = _try(usecase, learner, name, parameters, rows)
        trials.append(Trial(name, parameters, value, time.time() - started, problem))
        outcome = problem or f"{usecase.title()} {value:.4f}"
        print(f"trial {len(trials)} of {usecase.train.max_trials}: {name}, {outcome}, {trials[-1].seconds:.1f} s", flush=True)
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


def _suggest(trial: optuna.Trial, name: str, candidate: Candidate) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for parameter, space in candidate.search.items():
        key = f"{name}.{parameter}"
        if space.int:
            chosen[parameter] = trial.suggest_int(key, *space.int, log=space.log)
        elif space.float:
            chosen[parameter] = trial.suggest_float(key, *space.float, log=space.log)
        else:
            choice = space.choice or ()  # by its index: a choice may be a list or a mapping, which optuna warns about
            chosen[parameter] = choice[trial.suggest_categorical(key, range(len(choice)))]
    return chosen


def _try(usecase: UseCase, learner: Learner, name: str, parameters: dict[str, Any], rows: int) -> tuple[float | None, str]:
    """Fit and score one model; parameters that the estimator refuses cost the trial, not the run."""
    try:
        value = learner.score(learner.fit(name, parameters, rows))
    except EstimatorError as error:
        return None, str(error)
    return (value, "") if np.isfinite(value) else (None, f"its {usecase.title()} is no finite number")


def _best(usecase: UseCase, trials: list[Trial], found: Survey) -> Trial:
    scored = [trial for trial in trials if trial.score is not None]
    if not scored:
        reason = failures(trials).reason
        raise UserError(f"all {len(trials)} trials failed, the first with: {reason}: {_rare(usecase, found, reason) or 'correct train.candidates'}")
    sign = 1 if usecase.greater_is_better else -1
    return max(scored, key=lambda trial: sign * (trial.score or 0.0))


def _rare(usecase: UseCase, found: Survey, reason: str) -> str:
    """Name the rarest class, with what it lacks, if an estimator could not divide the rows of one; empty if that was not it."""
    if not found.members or not TOO_FEW.search(reason):
        return ""
    rarest = min(found.members, key=lambda value: found.members[value])
    return (
        f"the class {usecase.target} = {rarest} has {found.members[rarest]:,} of {found.rows['train']:,} training rows, where the estimator needs "
        "2 to hold some back and one for each fold of a cross-validation: deliver more of them, or filter the class out in features()"
    )


def fitted_on(usecase: UseCase, rows: int, found: Survey, split: str) -> str:
    """Say on which rows a model was fitted: how many, of which splits, from when to when."""
    *others, last = splits(split)
    of, span, named = found.count(split), found.span(split), f"{', '.join(others)} and {last}" if others else last
    sentence = f"{f'{rows:,}' if rows >= of else f'{rows:,} of {of:,}'} rows of {named}"
    sentence += f", {usecase.split.column} from {span[0]} to {span[1]}" if span else ""
    return sentence if rows >= of else f"{sentence}, seed {usecase.train.seed}"


def _require_variety(usecase: UseCase, found: Survey) -> None:
    """Refuse rows that no classifier can learn from, or that hold an answer it cannot give."""
    if usecase.task == "regression":
        return
    classes, asked = set(found.classes["train"]), set(found.classes["validation"])
    if len(classes) < 2:
        raise UserError(
            f"all {found.rows['train']:,} training rows have {usecase.target} = {classes.pop()}: a model needs two classes; "
            "correct features() or the split"
        )
    if usecase.task == "binary" and len(classes) > 2:
        raise UserError(f"{usecase.target} has {len(classes)} classes: write task: multiclass")
    if usecase.task == "multiclass" and len(classes) == 2:
        raise UserError(f"{usecase.target} has the two classes {listed(found.classes['train'])}: write task: binary")
    unknown = asked - classes
    if unknown:
        raise UserError(f"the validation rows hold {usecase.target} = {sorted(unknown)[0]}, which no training row has: change the split")
    if usecase.task == "binary":
        positive(usecase, found.classes["train"])
    lacking = classes - asked
    if lacking and usecase.metric in NEEDS_EVERY_CLASS:
        raise UserError(
            f"{usecase.metric} cannot be computed on the validation rows: none has {usecase.target} = {sorted(lacking)[0]}; "
            "deliver more data or change the split"
        )
