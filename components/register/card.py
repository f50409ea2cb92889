"""The model card, which MLflow shows as the version's description."""

from typing import Any

from core.config import UseCase
from core.registry import Version
from core.tables import SPLITS
from core.tracking import notes


def write(usecase: UseCase, version: Version, steps: list[dict[str, Any]], engine: str, positive: str) -> str:
    """Write the card in Markdown, from what the steps of the run left in MLflow, the engine that was chosen and the positive class."""
    found = [notes(run) for run in steps]
    metrics, tags, parameters = ({key: value for note in found for key, value in note[section].items()} for section in ("metrics", "tags", "params"))
    title = usecase.title()
    tested, validated = (_number(metrics.get(f"{rows}.{usecase.metric}")) for rows in ("test", "validation"))
    learnt, chosen, judged = (_number(metrics.get(f"rows.{split}")) for split in SPLITS)
    fitted = parameters.get("fitted_on")
    lines = [
        f"**{usecase.description}**",
        "",
        f"- Task: {usecase.task}, target `{usecase.target}`" + (f", positive class `{positive}`" if positive else ""),
        f"- Model: {parameters.get('candidate')} (`{parameters.get('estimator')}`)",
        f"- {title} on the test rows: {tested}, on the validation rows: {validated}",
        f"- Verdict: {tags.get('reason', 'none')}",
        f"- Rows: {learnt} to learn from, {chosen} to choose by, {judged} to judge by" + (f"; fitted on {fitted}" if fitted else ""),
        f"- Reads {len(usecase.features.names)} columns: {', '.join(usecase.features.names)}",
        f"- Data: SHA-256 `{tags.get('data.sha256', 'unknown')}`",
        f"- Engine: {engine}",
        f"- Served form: `{version.uri}`, `{version.digest}`",
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}"
