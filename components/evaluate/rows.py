"""The test rows that a verdict is given on: those that neither model was fitted on, and which of them belong together."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.bundle import digest
from core.config import UseCase
from core.errors import NotComparable
from core.fitted import units_of, unseen
from core.metrics import Predictions
from core.registry import Version
from core.storage import NoSuchObject, read

MIN_UNITS = 10  # with so many groups, an interval of 95% covers the true difference in about 90% of the cases; with 2, in 60%


@dataclass(frozen=True)
class JudgedRows:
    """Which test rows count.

    Attributes:
        kept: Of each test row, in the table's order, whether it counts.
        units: The same number for rows that are resampled together; None if each row is alone.
        refusal: Why there can be no verdict on these rows, empty if there can; then all rows are kept.
        champion: Who was fitted on the other rows, such as `version 3`.
    """

    kept: NDArray[np.bool_]
    units: NDArray[np.uint64] | None
    refusal: str = ""
    champion: str = ""

    @property
    def left_out(self) -> int:
        """How many test rows do not count."""
        return int((~self.kept).sum())

    @property
    def sentence(self) -> str:
        """Say how many rows were left out, and why; empty if none was."""
        if not self.left_out:
            return ""
        return f"judged on {self.kept.sum():,} of {len(self.kept):,} test rows: {self.champion} was fitted on the others"

    def of(self, answers: Predictions) -> Predictions:
        """Return the answers to the rows that count."""
        if not self.left_out:
            return answers
        probabilities = None if answers.probabilities is None else answers.probabilities[self.kept]
        return answers._replace(truth=answers.truth[self.kept], labels=answers.labels[self.kept], probabilities=probabilities)

    def refused(self, why: str) -> "JudgedRows":
        """Return all rows, and why there is no verdict on them."""
        return replace(self, kept=np.ones_like(self.kept), units=None, refusal=why)


def judged_rows(usecase: UseCase, table: str, rows: int, champion: Version | None) -> JudgedRows:
    """Leave out the test rows that the champion was fitted on, and refuse a verdict on too few rows or groups.

    Args:
        usecase: The use case.
        table: The table that transform made.
        rows: How many test rows it has.
        champion: With whom the challenger is compared, if there is one.

    Raises:
        UserError: The champion's set cannot be read, although it may be there.
    """
    every = JudgedRows(np.ones(rows, dtype=bool), None)
    name = f"version {champion.version}" if champion else ""
    try:
        kept = _unseen(usecase, table, champion) if champion else every.kept
    except NotComparable as error:
        return every.refused(f"which test rows {name} was fitted on is not known: {error}. {by_hand(usecase)}")
    units = units_of(usecase, table)
    units = None if units is None else units[kept]
    if kept.sum() < usecase.evaluate.min_rows:
        left = f"only {kept.sum():,} of {rows:,} test rows are left that {name} was not fitted on" if champion else f"there are {rows:,} test rows"
        return every.refused(f"{left}, fewer than evaluate.min_rows {usecase.evaluate.min_rows}: wait for more data")
    drawn = MIN_UNITS if units is None else len(np.unique(units))
    if drawn < MIN_UNITS:
        left = f"{kept.sum():,} test rows{f' that {name} was not fitted on' if champion else ''}"
        return every.refused(f"the {left} are of {drawn} {_groups(usecase)}, fewer than {MIN_UNITS}: wait for data of more of them")
    return JudgedRows(kept, units, champion=name)


def _unseen(usecase: UseCase, table: str, champion: Version) -> NDArray[np.bool_]:
    if not champion.fitted:
        raise NotComparable("it was registered without that")
    try:
        data = read(champion.fitted)
    except NoSuchObject as error:
        raise NotComparable(str(error)) from error
    if digest(data).removeprefix("sha256:") not in champion.fitted:
        raise NotComparable(f"{champion.fitted} was changed after the registration")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fitted.parquet")
        path.write_bytes(data)
        return unseen(usecase, table, path)


def _groups(usecase: UseCase) -> str:
    return f"values of {usecase.split.column}" if usecase.split.by == "group" else "keys"


def by_hand(usecase: UseCase) -> str:
    """Say how to replace a champion that the challenger cannot be compared with."""
    return (
        f"Register the challenger with `mlops run {usecase.name} --register-anyway`, "
        f"then deploy it with `mlops deploy {usecase.name} VERSION --reason ...`"
    )
