"""What a transformer makes of the model's inputs: each column that it gives is a function of one input."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """One operation on every number of a column, as NumPy does it within scikit-learn.

    Attributes:
        kind: sub, mul, add, div: by `value`. fill: NaN becomes `value`. replace: `old` becomes `value`. clip: to `old` at least, to `value`
            at most. single: to the nearest float32. mark: 1 where NaN, else 0. same: 1 where it is `old`, else 0.
        value: The operand.
        old: The second one.
    """

    kind: str
    value: float = 0.0
    old: float = 0.0

    @property
    def is_monotone(self) -> bool:
        """Whether a greater number never gives a smaller one; NaN aside."""
        return self.kind not in ("replace", "same") and not (self.kind in ("mul", "div") and self.value < 0)

    def of(self, numbers: Numbers) -> Numbers:
        """Do it."""
        if self.kind in ("sub", "mul", "add", "div"):
            operation = {"sub": np.subtract, "mul": np.multiply, "add": np.add, "div": np.divide}[self.kind]
            return np.asarray(operation(numbers, self.value))
        given: dict[str, Callable[[], Numbers]] = {
            "fill": lambda: np.where(np.isnan(numbers), self.value, numbers),
            "replace": lambda: np.where(numbers == self.old, self.value, numbers),
            "clip": lambda: np.clip(numbers, self.old, self.value),
            "single": lambda: numbers.astype(np.float32).astype(np.float64),
            "mark": lambda: np.isnan(numbers).astype(np.float64),
            "same": lambda: (numbers == self.old).astype(np.float64),
        }
        return given[self.kind]()


@dataclass(frozen=True)
class Column:
    """A column of the matrix that comes out of a transformer.

    Attributes:
        source: The place of the input that it is made of.
        is_text: Whether that input is text, which a column of numbers is made of by `table`.
        table: What each code of a text column becomes: the vocabulary's values, an unknown one, a missing one; None: as it came.
        steps: What is done with the numbers of a numeric input.
    """

    source: int
    is_text: bool
    table: Numbers | None = None
    steps: tuple[Step, ...] = ()

    def then(self, *steps: Step) -> "Column":
        """Do more to it."""
        if self.table is not None:
            return replace(self, table=reduce(lambda numbers, step: step.of(numbers), steps, self.table))
        return replace(self, steps=self.steps + steps)

    def of(self, numbers: Numbers) -> Numbers:
        """Compute it from the numbers of its input."""
        with np.errstate(all="ignore"):
            return reduce(lambda found, step: step.of(found), self.steps, numbers)

    @property
    def is_raw(self) -> bool:
        """Whether nothing was done to it yet."""
        return self.table is None and not self.steps


def inputs_as_columns(datatypes: Sequence[str]) -> list[Column]:
    """Return the columns of the table that the pipeline reads."""
    return [Column(place, datatype == "BYTES") for place, datatype in enumerate(datatypes)]


def per_column(columns: Sequence[Column], *kinds: tuple[str, Any]) -> list[Column]:
    """Do the same operations to each column, each with its own operand.

    Args:
        columns: n of them.
        kinds: An operation and its operands, n of them or one for all; None where there is nothing to do.
    """
    found = list(columns)
    for kind, values in kinds:
        if values is not None:
            operands = np.broadcast_to(np.asarray(values, dtype=np.float64), len(found))
            found = [column.then(Step(kind, float(value))) for column, value in zip(found, operands, strict=True)]
    return found
