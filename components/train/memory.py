"""What fits into memory: computed from the rows, the columns and the estimator before a row is read."""

from bisect import bisect_right
from typing import Any

import psutil
from sklearn.utils import get_tags

from components.train.allowance import Allowance, shown
from components.train.pipeline import MOST_CATEGORIES, build
from components.train.survey import Survey
from core.codecheck import estimator
from core.config import Candidate, UseCase
from core.errors import UserError

# At the peak of the fit, in multiples of the prepared matrix, its making included: measured (docs/training.md), and a tenth more
FACTORS = {"HistGradientBoosting": 3.0, "LGBM": 2.2, "XGB": 3.0, "RandomForest": 2.2, "ExtraTrees": 2.2, "DecisionTree": 2.2}
SPARSE, DENSE = 2.9, 5.0  # of every estimator that takes a sparse matrix, and of those that are not named
RESERVE = 256 * 2**20  # what is imported and compiled later, and what the allocator keeps
PREPARED = 100_000  # rows that the preprocessing is fitted on where a model learns in batches
FORESTS = {"RandomForest": 100, "ExtraTrees": 100, "DecisionTree": 1, "ExtraTree": 1, "Bagging": 10}  # and their usual trees
NODE, COPIES = 72, 3  # bytes of a tree's node without its values; a forest while it is written


class Budget:
    """What each candidate needs, held against what there is.

    Args:
        usecase: The use case.
        survey: The table in numbers.
        allowed: What the step may use.
    """

    def __init__(self, usecase: UseCase, survey: Survey, allowed: Allowance) -> None:
        self._usecase, self._survey, self._allowed = usecase, survey, allowed
        for candidate in usecase.train.candidates.values():
            estimator(candidate.estimator)  # imported now, it counts as used
        used = psutil.Process().memory_info().rss
        self._fixed = used + RESERVE + survey.texts + survey.rows["validation"] * (80 + 24 * self._outputs)

    def rows(self, split: str = "train") -> int:
        """Decide how many rows are learnt from, as `train.max_rows` says.

        Args:
            split: Of which splits, such as train+validation.

        Raises:
            UserError: They do not fit, and nobody said that fewer will do.
        """
        most = self._usecase.train.max_rows
        wanted = min(self._survey.count(split), most) if isinstance(most, int) else self._survey.count(split)
        tight = {name: self._fitting(name, wanted) for name in self._usecase.train.candidates if not self._can(name, wanted)}
        least = min(tight.values(), default=wanted)
        if tight and (most != "fit" or least < 1):
            raise UserError(self._refusal(min(tight, key=lambda name: tight[name]), wanted, least))
        return least

    def holds(self, name: str, rows: int) -> bool:
        """Tell whether a candidate can be fitted on so many rows at once."""
        return self.need(name, rows) <= self._allowed.bytes

    def expected(self, rows: int) -> int:
        """Return what the hungriest candidate needs, in memory or in batches."""
        names = self._usecase.train.candidates
        return max(self.need(name, rows if self.holds(name, rows) else min(rows, PREPARED)) for name in names)

    def need(self, name: str, rows: int) -> int:
        """Compute the bytes at the peak of the fit on rows that are held: the process, the rows, the prepared matrix, the model."""
        candidate, features = self._usecase.train.candidates[name], self._usecase.features
        held = 8 * len(features.names) + 3 * self._label
        working = self._working(candidate) + 24 * self._outputs
        return int(self._fixed + rows * (held + working) + self._trees(candidate, rows))

    @property
    def _outputs(self) -> int:
        return max(1, len(self._survey.classes["train"]))

    @property
    def _label(self) -> int:
        """Bytes of one target: NumPy's texts are as wide as the longest."""
        return 4 * max([2, *(len(label) for label in self._survey.classes["train"] if isinstance(label, str))])

    def _can(self, name: str, rows: int) -> bool:
        return self.holds(name, rows) or (learns_in_batches(self._usecase, name) and self.holds(name, min(rows, PREPARED)))

    def _fitting(self, name: str, rows: int) -> int:
        """Return how many rows fit, to two digits: so that a little more or less memory does not make another model."""
        most: int = bisect_right(range(rows + 1), self._allowed.bytes, key=lambda count: self.need(name, count)) - 1
        step: int = 10 ** max(0, len(str(most)) - 2)
        return max(0, most // step * step)

    def _refusal(self, name: str, rows: int, fitting: int) -> str:
        fewer = f", set train.max_rows to about {fitting:,} or to fit" if fitting else ""
        batches = "" if learns_in_batches(self._usecase, name) else ", or choose an estimator with partial_fit, such as SGDClassifier"
        return (
            f"train: {rows:,} rows x {len(self._usecase.features.names)} columns need about {shown(self.need(name, rows))} for {name}, "
            f"the step has {shown(self._allowed.bytes)}: {self._allowed.cure}{fewer}{batches}"
        )

    def _working(self, candidate: Candidate) -> float:
        """Return the bytes that a row takes, once it is prepared, at the peak."""
        features, wide = self._usecase.features, candidate.preprocessing.categorical == "onehot"
        width = len(features.numeric) + sum(min(count, MOST_CATEGORIES) + 1 if wide else 1 for count in self._survey.distinct.values())
        filled = len(features.names)
        if filled < 0.3 * width and get_tags(build(candidate, features, {}, 0)[-1]).input_tags.sparse:  # as ColumnTransformer decides
            return 12 * filled * SPARSE
        return 8 * width * FACTORS.get(_named(candidate, FACTORS), DENSE)

    def _trees(self, candidate: Candidate, rows: int) -> float:
        """Bound what a forest's trees take: without a bound of depth or leaves they grow with the rows."""
        name = _named(candidate, FORESTS)
        if not name:
            return 0
        given = _largest(candidate)
        share = 0.7 if len(self._survey.classes["train"]) == 2 else 1.3  # nodes a row, of labels that are mere noise
        nodes = [share * rows / _number(given.get("min_samples_leaf"), 1)]
        nodes += [2.0 ** min(_number(given["max_depth"], 60) + 1, 60)] if given.get("max_depth") else []
        nodes += [2.0 * _number(given["max_leaf_nodes"], 0)] if given.get("max_leaf_nodes") else []
        return _number(given.get("n_estimators"), FORESTS[name]) * min(nodes) * (NODE + 8 * self._outputs) * COPIES


def learns_in_batches(usecase: UseCase, name: str) -> bool:
    """Tell whether a candidate's estimator has `partial_fit`, with the parameters that it is given."""
    return hasattr(build(usecase.train.candidates[name], usecase.features, {}, 0)[-1], "partial_fit")


def _named(candidate: Candidate, names: dict[str, Any]) -> str:
    kind = candidate.estimator.rpartition(".")[2]
    return next((name for name in names if kind.startswith(name)), "")


def _largest(candidate: Candidate) -> dict[str, Any]:
    """Return the parameters with which the model is the largest that the search may try."""
    given = dict(candidate.parameters)
    for key, space in candidate.search.items():
        values = space.int or space.float or space.choice or ()
        numbers = [value for value in values if isinstance(value, int | float)]
        given[key] = (min if key == "min_samples_leaf" else max)(numbers) if len(numbers) == len(values) else None
    return given


def _number(value: Any, usual: float) -> float:
    return float(value) if isinstance(value, int | float) and value >= 1 else float(usual)
