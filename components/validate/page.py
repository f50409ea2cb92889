"""The data report: what breaks the contract, then what the tables hold and what has changed since the last run that succeeded."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.validate.cards import Card, cards
from components.validate.hints import hints
from core.config import UseCase
from core.csvoptions import Csv
from core.reports import render
from core.sources import csv_of

if TYPE_CHECKING:
    from components.validate.contract import Checked

MOST = 200  # violations
STYLE = """
<style>
.facts { color: var(--grey); font-size: .85rem; margin: 0 0 .8rem; overflow-wrap: anywhere; } .facts b { color: var(--text); font-weight: 600; }
.violation { margin: .7rem 0; } .violation .scroll { margin-bottom: 1rem; } .violation p { margin: 0 0 .35rem; overflow-wrap: anywhere; } .violation table { width: auto; font-size: .85rem; } .violation td, .violation th { padding: .15rem 1.1rem .15rem 0; white-space: nowrap; } .violation .mark { color: var(--red); font-weight: 600; }
.column { display: grid; grid-template-columns: 190px 300px minmax(0, 1fr); gap: .3rem 1.6rem; padding: .85rem 0 .85rem .9rem; border-bottom: 1px solid var(--line); border-left: 3px solid transparent; break-inside: avoid; }
.column.small { border-left-color: var(--amber); } .column.large { border-left-color: var(--orange); } .column.broken { border-left-color: var(--red); background: color-mix(in srgb, var(--red) 5%, transparent); }
.column h3 { font-size: .95rem; margin: 0; overflow-wrap: anywhere; } .column .type { color: var(--grey); font-size: .8rem; }
.chips { display: flex; flex-wrap: wrap; gap: .25rem; margin-top: .35rem; } .chips span { font-size: .75rem; line-height: 1.4; padding: 0 .45rem; border: 1px solid var(--line); border-radius: 9px; color: var(--grey); overflow-wrap: anywhere; }
.histogram { width: 100%; max-width: 300px; height: auto; display: block; overflow: visible; } .histogram rect { fill: var(--blue); opacity: .8; } .histogram rect:hover { opacity: 1; } .histogram text { fill: var(--grey); font-size: 10px; } .histogram .ground { stroke: var(--line); } .before { fill: none; stroke: var(--orange); stroke-width: 1.5; stroke-linejoin: round; }
.texts { display: grid; grid-template-columns: minmax(40px, 38%) 1fr auto; gap: .1rem .6rem; font-size: .8rem; line-height: 1.35; align-items: center; } .texts > span:first-child, .texts .text { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } .texts .n { color: var(--grey); }
.track { position: relative; height: .62rem; } .track i { position: absolute; inset: 0 auto 0 0; background: var(--blue); opacity: .8; border-radius: 2px; min-width: 1px; } .track u { position: absolute; top: -2px; bottom: -2px; width: 2px; background: var(--orange); }
.numbers { font-size: .8rem; width: 100%; table-layout: fixed; } .numbers th, .numbers td { border: 0; padding: .05rem .4rem .05rem 0; text-align: left; font-variant-numeric: tabular-nums; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; } .numbers th { font-size: .72rem; font-weight: 400; } .numbers .old td { color: var(--orange); }
.counts { font-size: .85rem; margin: 0 0 .3rem; } .counts span { margin-right: 1.1rem; } .counts em { font-style: normal; color: var(--grey); } .was { color: var(--orange); }
.news { font-size: .8rem; margin: .3rem 0 0; overflow-wrap: anywhere; white-space: pre-wrap; } .news b { font-weight: 600; } .news.small b { color: var(--amber); } .news.large b { color: var(--orange); } .wrong { color: var(--red); } .new { color: var(--amber); font-size: .72rem; font-weight: 600; }
.legend { display: inline-block; width: 1.3rem; height: .6rem; vertical-align: baseline; margin-right: .35rem; } .legend.now { background: var(--blue); opacity: .8; } .legend.old { border-bottom: 2px solid var(--orange); height: .3rem; } .key { margin-right: 1.2rem; white-space: nowrap; }
@media (max-width: 1000px) { .column { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); } .column > :last-child { grid-column: 1 / -1; } }
@media (max-width: 620px) { body { margin: 1.2rem auto; padding: 0 .9rem; } .column { grid-template-columns: minmax(0, 1fr); padding-left: .7rem; } .numbers { font-size: .72rem; } }
</style>
"""
BODY = (
    STYLE
    + """
<p class="note">{{ usecase.description }}</p>
{% if count %}<section class="bad"><h2>{{ "{:,}".format(count) }} violation{{ "s" if count > 1 }} of the contract</h2>
{% for table, violation, anchor in violations %}<div class="violation"><p>{% if anchor %}<a href="#{{ anchor }}">{{ table }}</a>{% else %}{{ table }}{% endif %}{{ violation.text }}</p>
{% if violation.examples %}<div class="scroll"><table><tr>{% for name in violation.examples[0] %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in violation.examples %}<tr>{% for name, value in row.items() %}<td{% if name == violation.column %} class="mark"{% endif %}>{{ "null" if value is none else value }}</td>{% endfor %}</tr>
{% endfor %}</table></div>{% endif %}</div>
{% endfor %}{% if count > violations | length %}<p>{{ "{:,}".format(count - violations | length) }} more are in violations.json of the step's run in MLflow.</p>{% endif %}</section>
{% else %}<p class="good"><b>Every table keeps its contract.</b></p>{% endif %}
{% if compared %}<p class="note"><span class="key"><span class="legend now"></span>this run</span> <span class="key"><span class="legend old"></span>the last run that succeeded</span></p>{% endif %}
{% for table in tables %}
<h2 id="{{ table.anchor }}">{{ table.name }} <small>{{ "{:,}".format(table.rows) }} rows{{ table.grown }}</small></h2>
<p class="facts">{{ table.facts }}{% if table.moved %}<br>Moved since the last run that succeeded: {% for card in table.moved %}<a href="#{{ card.anchor }}">{{ card.name }}</a>{{ ", " if not loop.last }}{% endfor %}{% endif %}</p>
{% for card in table.cards %}<section class="column {{ card.severity }}" id="{{ card.anchor }}">
<div><h3>{{ card.name }}</h3><span class="type">{{ card.type }}</span>
{% if card.promise %}<div class="chips" title="the contract">{% for word in card.promise %}<span>{{ word }}</span>{% endfor %}</div>{% endif %}</div>
<div>{% if card.picture %}{{ card.picture }}{% elif card.bars %}<div class="texts">{% for bar in card.bars %}<span class="text" title="{{ bar.text }}">{{ bar.text or "(empty)" }}{% if bar.is_new %} <b class="new">new</b>{% endif %}</span><span class="track"><i style="width:{{ "%.1f" | format(100 * bar.length) }}%"></i>{% if bar.before is not none %}<u style="left:{{ "%.1f" | format(100 * bar.length_before) }}%" title="before: {{ bar.said }}"></u>{% endif %}</span><span class="n">{{ bar.says }}</span>{% endfor %}
{% if card.more %}<span class="note">{{ "{:,}".format(card.more) }} more</span>{% endif %}</div>{% endif %}</div>
<div><p class="counts"><span><em>null</em> {{ card.nulls }}{% if card.nulls_before %} <span class="was">was {{ card.nulls_before }}</span>{% endif %}</span>{% if card.distinct %}<span><em>different values</em> {{ card.distinct }}</span>{% endif %}</p>
{% if card.quantiles %}<table class="numbers"><tr>{% for head in card.heads %}<th>{{ head }}</th>{% endfor %}</tr>
<tr>{% for text in card.quantiles %}<td title="{{ text }}">{{ text }}</td>{% endfor %}</tr>{% if card.quantiles_before %}<tr class="old">{% for text in card.quantiles_before %}<td title="{{ text }}">{{ text }}</td>{% endfor %}</tr>{% endif %}</table>{% endif %}
{% if card.news %}<p class="news {{ card.shift }}">{% for text in card.news %}{% if loop.first %}<b>{{ text }}</b>{% else %}; {{ text }}{% endif %}{% endfor %}</p>{% endif %}
{% for text in card.hints %}<p class="news small">{{ text }}</p>{% endfor %}{% for text in card.violations %}<p class="news wrong">{{ text }}</p>{% endfor %}</div>
</section>
{% endfor %}{% if table.hidden %}<p class="note">{{ "{:,}".format(table.hidden) }} more columns are not shown.</p>{% endif %}
{% endfor %}
"""
)


@dataclass(frozen=True)
class Table:
    """One table, as the page shows it."""

    name: str
    anchor: str
    rows: int
    grown: str
    facts: str
    cards: list[Card]
    moved: list[Card]
    hidden: int


def write(usecase: UseCase, checked: "list[Checked]", path: str) -> bytes:
    """Write the page and return its bytes."""
    tables = [_table(one, f"t{index}", usecase.sources[one.name].address, csv_of(usecase.sources[one.name])) for index, one in enumerate(checked)]
    every = [(table, violation) for table, one in zip(tables, checked, strict=True) for violation in one.violations]
    page = render(
        f"{usecase.name}: data",
        BODY,
        usecase=usecase,
        tables=tables,
        count=len(every),
        compared=any(changed for one in checked for changed in one.changes.values()),
        violations=[(table.name, violation, _anchor(table, violation.column)) for table, violation in every[:MOST]],
    )
    Path(path).write_text(page, encoding="utf-8")
    return page.encode()


def _cards(one: "Checked", anchor: str) -> list[Card]:
    return cards(one.contract.columns, one.sights, one.changes, one.violations, anchor)


def _table(one: "Checked", anchor: str, address: str, csv: Csv | None) -> Table:
    made = [replace(card, hints=list(hints(card.name, one.sights[card.name].texts, csv))) for card in _cards(one, anchor)]
    before = one.rows_before
    grown = f", {one.rows / before - 1:+.1%} since the last run that succeeded" if before and before != one.rows else ""
    moved = [card for card in made if card.severity in ("large", "broken") and card.news]
    return Table(one.name, anchor, one.rows, grown, " · ".join(_facts(one, address)), made, moved, len(one.columns) - len(made))


def _facts(one: "Checked", address: str) -> Iterator[str]:
    """Say how wide the table is and where it came from."""
    yield f"{len(one.columns):,} columns, {len(one.contract.columns.keys() & one.columns.keys()):,} of them in the contract"
    yield f"from {address}"
    origin: dict[str, Any] = one.about.get("origin") or {}
    for name, value in origin.items():
        if isinstance(value, int | float):
            yield f"{name} {value:,.0f}"  # all of them counts, which come as floats from an artifact's metadata
        elif isinstance(value, str) and name != "uri":
            yield f"{name} {value}"
    if one.about.get("sha256"):
        yield f"sha256 {one.about['sha256'][:16]}"


def _anchor(table: Table, column: str) -> str:
    return next((card.anchor for card in table.cards if card.name == column), "")
