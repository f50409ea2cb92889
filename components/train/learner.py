"""Fits pipelines on the training rows, at once where they fit into memory, else batch by batch; scores them on the validation rows."""

import warnings
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from components.train.memory import PREPARED, Budget
from components.train.parameters import adapted
from components.train.pipeline import build
from components.train.survey import Survey
from core.config import UseCase
from core.errors import estimator_errors
from core.examples import Rows, batches, examples
from core.metrics import score
from core.predict import predict_in_batches

SEEN = 1_000_000  # rows after which stochastic gradient descent has come to rest: scikit-learn's user guide, 1.5.7


class Learner:
    """Holds the rows that it read last, as every trial of the search learns from the same.

    Args:
        table: The table that transform made.
        usecase: The use case.
        survey: The table in numbers.
        budget: What fits into memory.
    """

    def __init__(self, table: str, usecase: UseCase, survey: Survey, budget: Budget) -> None:
        self._table, self._usecase, self._survey, self._budget = table, usecase, survey, budget
        self._held: tuple[tuple[int, str], Rows] | None = None

    def fit(self, name: str, parameters: dict[str, Any], rows: int, split: str = "train") -> Pipeline:
        """Fit one candidate.

        Args:
            name: The candidate's.
            parameters: What the search chose.
            rows: How many rows to learn from.
            split: Of which splits, such as train+validation.

        Raises:
            EstimatorError: The estimator refuses its parameters or the rows.
        """
        given = adapted(self._usecase, name, parameters, self._survey.classes["train"])
        with estimator_errors():
            pipeline = build(self._usecase.train.candidates[name], self._usecase.features, given, self._usecase.train.seed)
        return self.fit_pipeline(name, pipeline, rows, split)

    def fit_pipeline(self, name: str, pipeline: Pipeline, rows: int, split: str) -> Pipeline:
        """Fit a pipeline of a candidate.

        Args:
            name: The candidate's.
            pipeline: Not fitted yet.
            rows: As of `fit`.
            split: As of `fit`.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as iterations that ran out: the score says whether it matters
            if self._budget.holds(name, rows):
                data, target = self._read(rows, split)
                with estimator_errors():
                    return pipeline.fit(data, target)
            self._held = None
            return self._fit_in_batches(pipeline, rows, split)

    def score(self, fitted: Pipeline) -> float:
        """Return the use case's metric on the validation rows."""
        return score(self._usecase.metric, predict_in_batches(fitted, batches(self._table, self._usecase, "validation"), self._usecase))

    def _read(self, rows: int, split: str) -> Rows:
        if self._held is None or self._held[0] != (rows, split):
            self._held = None  # gone before the others are read
            self._held = ((rows, split), examples(self._table, self._usecase, split, most=rows))
        return self._held[1]

    def _fit_in_batches(self, pipeline: Pipeline, rows: int, split: str) -> Pipeline:
        """Fit the preprocessing on a sample, then the model in as many passes over the table as it takes; each in another order."""
        prepare, model = pipeline[0], pipeline[-1]
        sample = examples(self._table, self._usecase, split, most=min(rows, PREPARED))
        with estimator_errors():
            prepare.fit(*sample)
        del sample  # gone before the batches are read
        classes = self._survey.classes["train"]
        known = {"classes": np.array(classes)} if classes else {}
        for turn in range(max(1, -(-SEEN // rows))):
            for data, target in batches(self._table, self._usecase, split, most=rows, seed=self._usecase.train.seed + turn):
                with estimator_errors():
                    model.partial_fit(prepare.transform(data), target, **known)
        return pipeline
