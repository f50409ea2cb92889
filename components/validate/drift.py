"""How far a column is from the data of the last run that succeeded, and whether the contract allows it.

The population stability index is that of credit scoring (N. Siddiqi, Credit Risk Scorecards, Wiley 2006, with its limits 0.1 and 0.25),
which is the symmetric divergence of H. Jeffreys (1946): the sum over bins of (p - q) ln(p / q). Data that have not changed give
about (bins - 1) (1/n + 1/m) for n and m rows, from chance alone (B. Yurdakul, Statistical Properties of PSI, 2018).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from components.validate.profile import Profile, Sight
from components.validate.violation import Violation
from core.contract import Contract, Drift

LEAST = 1e-4  # share of an empty bin: else the index of a bin that only one side has would be without end
BIN = 0.1  # least share of the last run's rows in a bin of numbers
SMALL, LARGE = 0.1, 0.25  # of the index, by Siddiqi


@dataclass(frozen=True)
class Change:
    """What is other than in the last run that succeeded."""

    before: Profile
    nulls: float  # change of their share
    psi: float | None = None  # None: nothing to compare
    chance: float = 0.0  # the index that chance alone may give
    ks: float | None = None  # of numbers and times
    variation: float | None = None  # of text and booleans
    new: list[str] = field(default_factory=list)  # texts
    gone: list[str] = field(default_factory=list)

    @property
    def severity(self) -> str:
        """How far it is, in one word: `none`, `small` or `large`."""
        if self.psi is None or self.psi <= max(SMALL, self.chance):
            return "small" if self.new or self.gone or abs(self.nulls) > SMALL / 10 else "none"
        return "small" if self.psi <= LARGE else "large"


def change(sight: Sight, before: Profile | None) -> Change | None:
    """Compare a column with what it held in the last run that succeeded.

    Returns:
        None if there is nothing to compare it with.
    """
    now = sight.now
    if before is None or before.kind != now.kind or not before.rows or not now.rows:
        return None
    nulls = now.nulls / now.rows - before.nulls / before.rows
    if sight.counts and sum(sight.counts) and sum(before.counts):
        bins = _merged(before.counts, sight.counts)
        return Change(before, nulls, _psi(bins), _chance(bins), ks=_ks(before.counts, sight.counts))
    if sight.values and before.known and now.known:
        bins = _texts(sight, before)
        new = [value for value in now.values if value not in before.values] if sum(before.values.values()) == before.known else []
        gone = [value for value, count in sight.values.items() if not count]
        return Change(before, nulls, _psi(bins), _chance(bins), variation=_variation(bins), new=new, gone=gone)
    return Change(before, nulls)


def check(name: str, changed: Change | None, sight: Sight, contract: Contract) -> Iterator[Violation]:
    """Yield what the contract does not allow of a column's change.

    Args:
        name: The column.
        changed: How far it is from the last run that succeeded, None if there is none.
        sight: What it holds now.
        contract: What its table promises.
    """
    column = contract.columns.get(name)
    limits = contract.drift if column is None or column.drift is None else column.drift
    if column is None or changed is None:
        return
    place = ("columns", name, "drift") if column.drift else ("drift",)
    for key, words in WORDS.items():
        limit, measured = getattr(limits, key), getattr(changed, key)
        if limit is not None and measured is not None and abs(measured) > limit:
            since = "against the last run that succeeded"
            text = f".{name}: {words.format(abs(measured))} {since}, the contract allows {limit:g}{_which(changed, key)}"
            yield Violation((*place, key), text, column=name)
    if changed.psi is None and sight.now.kind == "text" and sight.now.known and _limits_values(limits):
        text = f".{name}: about {sight.now.distinct:,} different texts are too many to tell drift by: remove its limits of psi and variation"
        yield Violation(place, text, column=name)


WORDS = {
    "psi": "its population stability index is {:.2f}",
    "ks": "its distribution has moved by {:.2f} (Kolmogorov-Smirnov)",
    "variation": "a share of {:.2f} of the rows went to other values",
    "nulls": "the share of nulls has changed by {:.2f}",
}


def _limits_values(limits: Drift) -> bool:
    return limits.psi is not None or limits.variation is not None


def _which(changed: Change, key: str) -> str:
    """Say what came and went, and for nulls from what to what."""
    if key == "nulls":
        was = changed.before.nulls / changed.before.rows
        return f" (from {was:.2f} to {was + changed.nulls:.2f})"
    parts = [f"{word} {', '.join(texts[:3])}" for word, texts in (("new", changed.new), ("gone", changed.gone)) if texts]
    return f" ({'; '.join(parts)})" if parts else ""


def _merged(before: list[int], now: list[int]) -> list[tuple[int, int]]:
    """Join neighbouring bins until each has its share of the rows of before; one that has it alone stays alone."""
    least, merged, pair = BIN * sum(before), [], (0, 0)
    for one, other in zip(before, now, strict=True):
        if one >= least and any(pair):
            merged.append(pair)
            pair = (0, 0)
        pair = (pair[0] + one, pair[1] + other)
        if pair[0] >= least:
            merged.append(pair)
            pair = (0, 0)
    return [*merged, pair] if any(pair) else merged


def _texts(sight: Sight, before: Profile) -> list[tuple[int, int]]:
    """Count each text that was kept, and all others together."""
    bins = [(count, sight.values.get(value, 0)) for value, count in before.values.items()]
    rest = (before.known - sum(one for one, _ in bins), sight.now.known - sum(other for _, other in bins))
    return [*bins, rest] if any(rest) else bins


def _shares(bins: list[tuple[int, int]]) -> list[tuple[float, float]]:
    before, now = (sum(pair[side] for pair in bins) for side in (0, 1))
    return [(one / before, other / now) for one, other in bins]


def _psi(bins: list[tuple[int, int]]) -> float:
    floored = [(max(one, LEAST), max(other, LEAST)) for one, other in _shares(bins)]
    return sum((other - one) * math.log(other / one) for one, other in floored)


def _chance(bins: list[tuple[int, int]]) -> float:
    """Return the index that unchanged data stay below all but always: mean and three standard deviations of its chi-squared distribution."""
    before, now = (sum(pair[side] for pair in bins) for side in (0, 1))
    free = len(bins) - 1
    return (free + 3 * math.sqrt(2 * free)) * (1 / before + 1 / now)


def _ks(before: list[int], now: list[int]) -> float:
    ahead, most = 0.0, 0.0
    for one, other in _shares(list(zip(before, now, strict=True))):
        ahead += other - one
        most = max(most, abs(ahead))
    return most


def _variation(bins: list[tuple[int, int]]) -> float:
    return sum(abs(one - other) for one, other in _shares(bins)) / 2
