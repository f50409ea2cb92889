"""The run's page: decision, figures, plots, cost of each step."""

from typing import TYPE_CHECKING, Any

from core.config import UseCase
from core.metrics import METRICS
from core.reports import embedded, render
from core.tables import SPLITS

if TYPE_CHECKING:
    from components.report.report import Step

BODY = """
<p class="note">{{ usecase.description }}</p>
<section class="{{ "bad" if failed else "good" }}"><b>{{ "The run failed." if failed else "The run succeeded." }}</b> {{ outcome }}
{% for step in steps if step.status == "FAILED" and step.tags.get("page") %}<br>Page of {{ step.name }}: <a href="{{ step.tags["page"] }}">{{ step.tags["page"] }}</a>
{% if step.tags.get("page.copy") %}, copy <code>{{ step.tags["page.copy"] }}</code>{% endif %}{% endfor %}</section>
{% if steps %}
<h2>Steps</h2>
<table><tr><th>step</th><th>what came out</th><th class="n">seconds</th><th class="wide" style="width:16%"></th><th class="n wide">CPU seconds</th><th class="n">peak memory</th></tr>
{% for step in steps %}<tr><td>{{ step.name }}</td><td>{{ step.tags.get("summary", "") if step.status == "FINISHED" else "killed" if step.status == "KILLED" else "failed: " ~ step.tags.get("error", "no reason was left").splitlines()[0] }}</td>
<td class="n">{{ "%.1f" | format(step.metrics.get("seconds", 0)) }}</td><td class="wide"><div class="bar" style="width:{{ (100 * (step.metrics.get("seconds", 0)) / longest) | round }}%"></div></td>
<td class="n wide">{{ "%.1f" | format(step.metrics.get("cpu_seconds", 0)) }}</td><td class="n">{{ "%.0f" | format(step.metrics.get("peak_memory_mib", 0)) }} MiB</td></tr>{% endfor %}
</table>
{% endif %}
{% if models %}
<h2>Test rows</h2>
<div class="scroll"><table><tr><th></th>{% for title in titles %}<th class="n">{{ title }}</th>{% endfor %}</tr>
{% for name, values in models.items() %}<tr><td>{{ name }}</td>{% for value in values %}<td class="n">{{ value | short }}</td>{% endfor %}</tr>{% endfor %}</table></div>
{% if usecase.lacks_baseline %}<p class="note">The rows are split by time, and the config names no baseline: name a column such as the last
known value as evaluate.baseline, or write null if there is none.</p>{% endif %}
<p class="note">The challenger: {{ model }}. Fitted on {{ fitted }}.{% if positive %} Positive class: {{ positive }}.{% endif %}</p>
{% endif %}
{% if plots %}<h2>Plots</h2><div class="plots">{% for plot in plots %}<div>{{ plot }}</div>{% endfor %}</div>{% endif %}
{% if data %}<h2>Data</h2>
<table><tr><th>rows of</th><th class="n"></th></tr>{% for name, rows in data.items() %}<tr><td>{{ name }}</td><td class="n">{{ rows | short }}</td></tr>{% endfor %}</table>{% endif %}
<h2>To repeat it</h2>
<table>{% for name, value in about.items() %}<tr><td>{{ name }}</td><td><code>{{ value }}</code></td></tr>{% endfor %}</table>
"""


def write(usecase: UseCase, steps: "list[Step]", outcome: str, failed: bool, plots: dict[str, str], about: dict[str, str]) -> str:
    """Render the page."""
    known = {step.name: step for step in steps}
    measured = known["evaluate"].metrics if "evaluate" in known else {}
    extracted = known["extract"].tags.get("data.sha256") if "extract" in known else None
    return render(
        f"{usecase.name}: training",
        BODY,
        usecase=usecase,
        steps=steps,
        outcome=outcome[:1].upper() + outcome[1:],
        failed=failed,
        longest=max([step.metrics.get("seconds", 0.0) for step in steps] + [1e-9]),
        titles=[usecase.title(name) for name in METRICS if f"test.{name}" in measured],
        models=_models(usecase, known["evaluate"]) if "evaluate" in known else {},
        model=known["train"].tags.get("summary", "") if "train" in known else "",
        fitted=known["train"].parameters.get("fitted_on", "rows that are not known") if "train" in known else "",
        positive=known["evaluate"].tags.get("positive_class", "") if "evaluate" in known else "",
        plots=[embedded(svg) for svg in plots.values()],
        data=_rows(known),
        about=about | ({"data.sha256": extracted} if extracted else {}),
    )


def _models(usecase: UseCase, evaluated: "Step") -> dict[str, list[float | None]]:
    """Return the metrics of the challenger, of the champion if there is one, of the dummy and of the baseline: a row each."""
    names = [name for name in METRICS if f"test.{name}" in evaluated.metrics]
    rival = evaluated.tags.get("judged_against", "")
    kinds = {"challenger": "test", rival: "rival", "a dummy": "dummy", f"the baseline {usecase.evaluate.baseline}": "baseline"}
    found = {title: [evaluated.metrics.get(f"{kind}.{name}") for name in names] for title, kind in kinds.items()}
    return {title: values for title, values in found.items() if any(value is not None for value in values)}


def _rows(known: "dict[str, Step]") -> dict[str, Any]:
    """Count the rows of the raw tables and of each split."""
    counted = {
        name: {key.removeprefix("rows."): value for key, value in step.metrics.items() if key.startswith("rows.")} for name, step in known.items()
    }
    raw, splits = counted.get("extract", {}), counted.get("transform", {})
    return {f"source {name}": raw[name] for name in sorted(raw)} | {f"split {name}": splits[name] for name in SPLITS if name in splits}
