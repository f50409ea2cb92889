"""Write the results to the targets that the config names: each whole or not at all, and once a run."""

import tempfile
from pathlib import Path

from components.load import predictions
from components.load.request import Request
from components.load.targets import s3, send
from core import registry
from core.config import UseCase
from core.targets import Load
from core.tracking import Run, run_id


def load(run: Run, table: str, pages: dict[str, str]) -> None:
    """Write everything.

    What a target has taken of this run before is left as it is, so a step that failed at the second target may be run again.

    Args:
        run: The step's notes.
        table: The table that transform made.
        pages: The steps' pages, by name.

    Raises:
        UserError: A target does not take it. It is as it was before.
    """
    with tempfile.TemporaryDirectory() as folder:
        answered = Path(folder, "predictions.parquet")
        if any(item.what == "predictions" for item in run.usecase.load):
            _answer(run, table, answered)
        for item in run.usecase.load:
            rows = answered if item.what == "predictions" else Path(table)
            done = _pages(item, pages) if item.what == "report" else _rows(run, item, rows)
            run.summary += f"{'; ' if run.summary else ''}{done}"


def _answer(run: Run, table: str, path: Path) -> None:
    """Let the model that serves now answer the test rows."""
    champion = registry.champion(run.usecase.name)
    if champion:
        predictions.write(run.usecase, table, champion, run_id(), path)
        run.tags["champion"] = champion.version


def _pages(item: Load, pages: dict[str, str]) -> str:
    s3.put_pages(item.to.address, run_id(), pages)
    return f"{len(pages)} pages -> {item.to.address}"


def _rows(run: Run, item: Load, rows: Path) -> str:
    if not rows.exists():
        return f"no {item.what} for {item.to.address}: there is no champion"
    request = Request(run.usecase.name, run_id(), rows, run.usecase.limits.memory)
    is_new = send(item.to, request)
    run.metrics[f"rows.{item.what}"] = float(request.count)
    what = f"predictions{_of_class(run.usecase)}" if item.what == "predictions" else "rows"
    return f"{request.count:,} {what} {'->' if is_new else 'were already in'} {item.to.address}"


def _of_class(usecase: UseCase) -> str:
    """Say whose probability the predictions have, where the config names the class."""
    return "" if usecase.positive is None else f" (probability of {usecase.positive_name})"
