"""The last fit: after the verdict, the judged model's pipeline once more, on the rows of all splits."""

import json
from dataclasses import asdict
from pathlib import Path

from sklearn.base import clone

from components.train.allowance import allowance, kept_to
from components.train.fit import fitted_on
from components.train.learner import Learner
from components.train.memory import Budget
from components.train.survey import survey
from core.bundle import Golden, dump_model, frame, load_model
from core.errors import EstimatorError, UserError
from core.predict import golden_answers
from core.tables import inputs
from core.tracking import Run


def refit(run: Run, candidate: str, table: str, model: str, golden: str, target: str, target_golden: str) -> None:
    """Fit the judged model's pipeline on all rows, and let the golden rows have its answers.

    Args:
        run: The step's notes.
        candidate: The candidate's name.
        table: The table that transform made.
        model: The judged model, in skops' format.
        golden: Golden rows and the judged model's answers, as JSON.
        target: Where the fitted pipeline is written.
        target_golden: Where the golden rows and its answers are written.

    Raises:
        UserError: The rows do not fit into memory, or the estimator refuses them.
    """
    usecase, allowed = run.usecase, allowance(run.usecase)
    counted = survey(table, usecase)
    budget = Budget(usecase, counted, allowed)
    rows = budget.rows("all")
    with kept_to(allowed):
        pipeline = clone(load_model(Path(model).read_bytes()))
        try:
            Learner(table, usecase, counted, budget).fit_pipeline(candidate, pipeline, rows, "all")
        except EstimatorError as error:
            raise UserError(f"{candidate} cannot be fitted on {rows:,} rows: {error}: set train.refit: train+validation") from error
        Path(target).write_bytes(dump_model(pipeline))
    columns, kept = inputs(usecase), Golden(**json.loads(Path(golden).read_text())).rows
    answers = golden_answers(pipeline, frame({item.name: [row[item.name] for row in kept] for item in columns}, columns))
    Path(target_golden).write_text(json.dumps(asdict(answers), ensure_ascii=False))
    run.parameters["fitted_on"] = fitted_on(usecase, rows, counted, "all")
    run.metrics |= {"rows.fitted": float(rows), "expected_memory_mib": budget.expected(rows) / 2**20}
    run.summary = f"{candidate}, fitted on {run.parameters['fitted_on']}"
