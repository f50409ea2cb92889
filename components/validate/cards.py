"""What the data report says of each column, in the order of its importance."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from components.validate.drift import Change
from components.validate.figures import histogram
from components.validate.profile import Profile, Sight
from components.validate.violation import Violation
from components.validate.words import share, value
from core.contract import Column
from core.reports import short

TEXTS = 6  # bars of a column of text
MOST = 150  # cards of one table
SURE = 100  # different values below which DuckDB's estimate is right
NAMED = 5  # texts in a sentence
HEADS = ("least", "1 %", "25 %", "median", "75 %", "99 %", "greatest")
ORDER = ("broken", "large", "small", "none")  # of severities


@dataclass(frozen=True)
class Bar:
    """One text and how often it is there."""

    text: str
    part: float  # share of the known values
    before: float | None
    length: float  # against the longest, as what was before
    length_before: float
    is_new: bool

    @property
    def says(self) -> str:
        """The share, for people."""
        return share(self.part)

    @property
    def said(self) -> str:
        """The share in the last run that succeeded."""
        return share(self.before or 0)


@dataclass(frozen=True)
class Card:
    """One column, as the page shows it."""

    name: str
    anchor: str
    type: str
    severity: str  # none, small, large or broken
    shift: str  # the same without broken: how far it is from the last run that succeeded
    promise: list[str] = field(default_factory=list)
    nulls: str = ""
    nulls_before: str = ""
    distinct: str = ""
    heads: tuple[str, ...] = ()  # of the quantiles
    quantiles: list[str] = field(default_factory=list)
    quantiles_before: list[str] = field(default_factory=list)
    picture: Markup | None = None
    bars: list[Bar] = field(default_factory=list)
    more: int = 0  # texts without a bar
    news: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


def cards(
    named: dict[str, Column], sights: dict[str, Sight], changes: dict[str, Change | None], violations: list[Violation], anchor: str
) -> list[Card]:
    """Make the cards of a table: the contract's columns first; if there are too many, those with news before those without."""
    found = [
        _card(name, f"{anchor}-{index}", named.get(name), sights[name].now, changes[name], [one for one in violations if one.column == name])
        for index, name in enumerate(sorted(sights, key=lambda name: name not in named))
    ]
    ranks = {card.anchor: index for index, card in enumerate(sorted(found, key=lambda card: ORDER.index(card.severity)))}
    return [card for card in found if ranks[card.anchor] < MOST]


def _card(name: str, anchor: str, promise: Column | None, now: Profile, changed: Change | None, violations: list[Violation]) -> Card:
    before = changed.before if changed else None
    texts = list(_bars(now, changed)) if max(now.values.values(), default=0) > 1 else []
    return Card(
        name,
        anchor,
        now.type.lower(),
        "broken" if violations else changed.severity if changed else "none",
        changed.severity if changed else "none",
        list(_promise(promise)) if promise else [],
        share(now.nulls / now.rows) if now.rows else "-",
        share(before.nulls / before.rows) if before and abs(changed.nulls if changed else 0) >= 0.0001 else "",
        f"{'' if now.distinct < SURE or now.values else '≈ '}{now.distinct:,}" if now.kind != "other" else "",
        HEADS[::3] if now.kind == "time" else HEADS,
        _quantiles(now),
        _quantiles(before) if before and before.quantiles != now.quantiles else [],
        histogram(now, before) if now.counts and sum(now.counts) else None,
        texts,
        now.distinct - len(texts) if texts else 0,
        list(_news(now, changed)) if changed else [],
        [violation.text.removeprefix(f".{name}: ") for violation in violations],
    )


def _quantiles(column: Profile) -> list[str]:
    """Write them; of times, which are long, three."""
    return [value(number, column) for number in (column.quantiles[::3] if column.kind == "time" else column.quantiles)]


def _bars(now: Profile, changed: Change | None) -> Iterator[Bar]:
    before = changed.before if changed and changed.before.known else None
    shown = {text: count / now.known for text, count in list(now.values.items())[:TEXTS]}
    old = {text: before.values[text] / before.known for text in shown if text in before.values} if before else {}
    longest = max([*shown.values(), *old.values()])
    for text, part in shown.items():
        was = old.get(text)
        yield Bar(text, part, was, part / longest, (was or 0) / longest, bool(changed and text in changed.new))


def _promise(column: Column) -> Iterator[str]:
    """Say what the contract wants, in a few words each."""
    yield column.type
    if column.nulls:
        yield f"at most {share(column.nulls)} null"
    if column.min is not None or column.max is not None:
        yield " … ".join("" if bound is None else short(bound) for bound in (column.min, column.max)).strip()
    if column.values is not None:
        yield f"one of {len(column.values)}"
    if column.pattern is not None:
        yield f"like {column.pattern}"
    if column.outside:
        yield f"{share(column.outside)} may be outside"


def _news(now: Profile, changed: Change) -> Iterator[str]:
    """Say what is other than in the last run that succeeded."""
    measures: dict[str, Any] = {"PSI": changed.psi, "KS": changed.ks, "variation": changed.variation}
    known = [f"{name} {short(measure, 2)}" for name, measure in measures.items() if measure is not None]
    if known and changed.psi and (changed.psi > 0.01 or changed.severity != "none"):
        yield ", ".join(known)
    if now.type != changed.before.type:
        yield f"was {changed.before.type.lower()}"
    for word, texts in (("new", changed.new), ("gone", changed.gone)):
        if texts:
            more = f" and {len(texts) - NAMED:,} more" if len(texts) > NAMED else ""
            yield f"{word}: {', '.join(texts[:NAMED])}{more}"
    if now.quantiles and changed.before.quantiles:
        if now.quantiles[0] < changed.before.quantiles[0]:
            yield f"least was {value(changed.before.quantiles[0], now)}"
        if now.quantiles[-1] > changed.before.quantiles[-1]:
            yield f"greatest was {value(changed.before.quantiles[-1], now)}"
