"""The page of an evaluation."""

from pathlib import Path

from components.evaluate.figures import Slice
from core.config import UseCase
from core.reports import embedded, render

BODY = """
<p class="good">{{ reason }}</p>
{% if positive %}<p>Positive class: <b>{{ positive }}</b>.</p>
{% endif %}
<table><tr><th>metric on the test rows</th><th class="n">challenger</th><th class="n">{{ rival }}</th></tr>
{% for name, (own, other) in values.items() %}<tr><td>{{ name }}</td><td class="n">{{ own | short }}</td><td class="n">{{ other | short }}</td></tr>{% endfor %}</table>
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
    rival_values: dict[str, float],
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
        values={usecase.title(name): (value, rival_values[name]) for name, value in values.items()},
        rival=rival,
        metric=usecase.title(),
    )
    Path(path).write_text(page, encoding="utf-8")
    return page.encode()
