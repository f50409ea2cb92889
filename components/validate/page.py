"""The data report: what the raw tables hold, and what breaks the contract."""

from pathlib import Path
from typing import Any

from core.config import UseCase
from core.reports import render

BODY = """
{% if violations %}<section class="bad"><h2>The contract is broken</h2><ul>{% for line in violations %}<li>{{ line }}</li>{% endfor %}</ul></section>
{% else %}<p class="good">Every table keeps its contract.</p>{% endif %}
{% for table, columns in summaries.items() %}
<h2>{{ table }} <small>{{ "{:,}".format(columns[0].count if columns else 0) }} rows</small></h2>
<div class="scroll"><table>
<tr><th>column</th><th>type</th><th class="n">missing</th><th class="n">distinct</th><th>least</th><th>median</th><th>greatest</th></tr>
{% for c in columns %}<tr><td>{{ c.column_name }}{% if c.column_name in usecase.contract[table].columns %} <span class="mark" title="named by the contract">&bull;</span>{% endif %}</td>
<td>{{ c.column_type | lower }}</td><td class="n">{{ "%.2f" | format(c.null_percentage or 0) }} %</td><td class="n">&asymp; {{ "{:,}".format(c.approx_unique) }}</td>
<td>{{ c.min | short }}</td><td>{{ c.q50 | short }}</td><td>{{ c.max | short }}</td></tr>{% endfor %}
</table></div>
{% endfor %}
<p class="note">&bull; named by the contract</p>
"""


def write(usecase: UseCase, summaries: dict[str, list[dict[str, Any]]], violations: list[str], path: str) -> bytes:
    """Write the page and return its bytes."""
    page = render(f"{usecase.name}: data", BODY, usecase=usecase, summaries=summaries, violations=violations)
    Path(path).write_text(page, encoding="utf-8")
    return page.encode()
