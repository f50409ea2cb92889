"""The page of an evaluation."""

from pathlib import Path

from components.evaluate.baseline import Rival
from components.evaluate.figures import Slice
from core.config import UseCase
from core.reports import embedded, render

BODY = """
<p class="good">{{ reason }}</p>
{% if positive %}<p>Positive class: <b>{{ positive }}</b>.</p>
{% endif %}
<div class="scroll"><table><tr><th>on the test rows</th>{% for title in titles %}<th class="n">{{ title }}</th>{% endfor %}</tr>
{% for name, measured in models %}<tr><td>{{ name }}</td>{% for value in measured %}<td class="n">{{ value | short }}</td>{% endfor %}</tr>{% endfor %}</table></div>
{% if lacks_baseline %}<p class="note">The rows are split by time, and the config names no baseline: name a column such as the last known value as
evaluate.baseline, or write null if there is none.</p>{% endif %}
<h2>Plots</h2><div class="plots">{% for plot in plots %}<div>{{ plot }}</div>{% endfor %}</div>
{% if slices %}<h2>Slices</h2>
<table><tr><th>column</th><th>value</th><th class="n">rows</th><th class="n">{{ metric }} of the challenger</th><th class="n">of {{ rival }}</th></tr>
{% for s in slices %}<tr><td>{{ s.column }}</td><td>{{ s.value }}</td><td class="n">{{ "{:,}".format(s.rows) }}</td><td class="n">{{ s.challenger | short }}</td><td class="n">{{ s.rival | short }}</td></tr>{% endfor %}
</table>{% endif %}
"""


def write(
    usecase: UseCase,
    drawn: dict[str, str],
    slices: list[Slice],
    values: dict[str, float],
    opponents: list[Rival],
    rival: str,
    reason: str,
    positive: str,
    path: str,
) -> bytes:
    """Write the page and return its bytes."""
    page = render(
        f"{usecase.name}: evaluation",
        BODY,
        reason=reason,
        positive=positive,
        plots=[embedded(svg) for svg in drawn.values()],
        slices=slices,
        titles=[usecase.title(name) for name in values],
        models=[("challenger", values.values()), *((item.name, item.values.values()) for item in opponents)],
        lacks_baseline=usecase.lacks_baseline,
        rival=rival,
        metric=usecase.title(),
    )
    Path(path).write_text(page, encoding="utf-8")
    return page.encode()
