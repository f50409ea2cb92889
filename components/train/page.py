"""The list of trials."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config import UseCase
from core.reports import render

if TYPE_CHECKING:
    from components.train.fit import Trial

BODY = """
{% if best %}<p>Kept: <b>{{ best.candidate }}</b>, fitted on {{ rows }}. {{ metric }} {{ value | short }} on the validation rows.{% if positive %} Positive class: <b>{{ positive }}</b>.{% endif %}</p>
{% else %}<p class="bad">No model was kept: the step failed after {{ trials | length }} of {{ wanted }} trials.</p>
{% endif %}
{% if failed %}<p class="bad">Of {{ trials | length }} trials {{ failed }}.</p>
{% endif %}
<table><tr><th class="n">trial</th><th>candidate</th><th>parameters</th><th class="n">{{ metric }}</th><th class="n">seconds</th></tr>
{% for trial in trials %}<tr><td class="n">{{ loop.index }}</td><td>{% if trial == best %}<b>{{ trial.candidate }}</b>{% else %}{{ trial.candidate }}{% endif %}</td>
<td>{% for key, item in trial.parameters.items() %}{{ key }} {{ item | short }}{{ ", " if not loop.last }}{% endfor %}{% if trial.problem %} failed: {{ trial.problem }}{% endif %}</td>
<td class="n">{{ trial.score | short }}</td><td class="n">{{ "%.1f" | format(trial.seconds) }}</td></tr>{% endfor %}
</table>
"""


def write(usecase: UseCase, trials: "list[Trial]", best: "Trial", value: float, rows: str, failed: str, positive: str, path: str) -> bytes:
    """Write the page and return its bytes."""
    return _write(usecase, trials, path, best=best, value=value, rows=rows, failed=failed, positive=positive)


def write_failed(usecase: UseCase, trials: "list[Trial]", path: str) -> bytes:
    """Write the page of a search after which no model was kept, and return its bytes."""
    return _write(usecase, trials, path, best=None, value=None, rows="", failed="", positive="")


def _write(usecase: UseCase, trials: "list[Trial]", path: str, **values: Any) -> bytes:
    wanted, metric = usecase.train.max_trials, usecase.title()
    page = render(f"{usecase.name}: trials", BODY, trials=trials, wanted=wanted, metric=metric, **values)
    Path(path).write_text(page, encoding="utf-8")
    return page.encode()
