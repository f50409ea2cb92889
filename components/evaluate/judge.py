"""The verdict: who answers better on the test rows, and how sure that is."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.evaluate import figures
from components.evaluate.baseline import Rival, best, measured, simple_rivals
from components.evaluate.compare import Comparison, compare
from components.evaluate.golden import choose
from components.evaluate.page import write
from components.evaluate.rows import JudgedRows, by_hand, judged_rows
from core.bundle import load_model, plain, unpack
from core.classes import note
from core.config import UseCase
from core.errors import ChampionMissing, EstimatorError, NotComparable, UserError
from core.examples import batches, examples
from core.metrics import Predictions, score
from core.predict import must_answer, predict_in_batches
from core.registry import Version
from core.registry import champion as find_champion
from core.storage import NoSuchObject, read
from core.tables import inputs
from core.tracking import Run

if TYPE_CHECKING:
    import pandas as pd

GOLDEN = 100_000  # test rows that the golden ones are chosen from


@dataclass(frozen=True)
class Verdict:
    """What evaluate decided.

    Attributes:
        better: Whether the challenger should serve.
        champion: The version that it was judged against, empty without one.
        metrics: The challenger's, on the test rows.
        roc: False and true positive rates and thresholds of a binary classifier.
        confusion: Class names and the matrix of a classifier.
    """

    better: bool
    champion: str
    metrics: dict[str, float]
    roc: tuple[list[float], list[float], list[float]] | None
    confusion: tuple[list[str], list[list[int]]] | None


def judge(run: Run, table: str, model: str, metrics: str, curves: str, page: str, golden: str) -> Verdict:
    """Judge the challenger and write what was found.

    Args:
        run: The step's notes.
        table: The table that transform made.
        model: The challenger, in skops' format.
        metrics: Where its metrics are written, as JSON.
        curves: Where ROC and confusion matrix are written, as JSON.
        page: Where the page of plots is written.
        golden: Where the golden rows and answers are written, as JSON.

    Raises:
        UserError: The challenger does not answer, the rows do not suffice for a verdict, or the champion cannot be asked and
            `evaluate.register_anyway` is false.
    """
    usecase = run.usecase
    challenger = load_model(Path(model).read_bytes())
    champion, missing = _champion(usecase)
    with must_answer(challenger, "test"):
        everywhere = predict_in_batches(challenger, batches(table, usecase, "test"), usecase)
    judged = judged_rows(usecase, table, len(everywhere.truth), champion)
    if judged.left_out and not np.isfinite(score(usecase.metric, judged.of(everywhere))):
        judged = judged.refused(
            f"{usecase.metric} cannot be computed on the {judged.kept.sum():,} test rows that {judged.champion} was not fitted on"
        )
    judged, asked = _asked(usecase, table, champion, judged)
    answers = judged.of(everywhere)
    values = measured(usecase, "challenger", answers).values
    if not np.isfinite(values[usecase.metric]):
        raise UserError(f"{usecase.metric} cannot be computed on the {len(answers.truth):,} test rows: {_lacking(usecase, answers)}")
    simple = simple_rivals(usecase, table, judged, answers)
    opponents = [asked, *simple] if asked else simple
    rival = asked or best(usecase, simple)
    comparison = compare(usecase, answers, rival.answers, judged.units)
    better, reason = decide(usecase, comparison, rival.name, is_first=champion is None)
    if missing:
        better, reason = False, f"no verdict without the champion: {missing}"
    elif judged.refusal:
        better, reason = False, f"{'the champion stays' if champion else 'no champion'}: {judged.refusal}"
    elif judged.sentence:
        reason = f"{reason}, {judged.sentence}"
    slices = figures.slices(usecase, _sliced(usecase, table)[judged.kept], answers, rival.answers)
    drawn = figures.draw(usecase, answers, slices, rival.name)
    verdict = Verdict(better, champion.version if champion else "", _finite(values), figures.roc(answers), figures.confusion(answers))
    positive = note(usecase, answers.classes).get("positive_class", "")
    run.artifacts["evaluation.html"] = write(usecase, drawn, slices, values, opponents, rival.name, reason, positive, page)
    run.artifacts |= {f"plots/{title}.svg": svg.encode() for title, svg in drawn.items()}
    Path(metrics).write_text(json.dumps(verdict.metrics))
    Path(curves).write_text(json.dumps({"roc": verdict.roc, "confusion": verdict.confusion}))
    Path(golden).write_text(json.dumps(asdict(choose(usecase, examples(table, usecase, "test", most=GOLDEN)[0], challenger)), ensure_ascii=False))
    run.metrics |= {"rows.judged": float(judged.kept.sum()), "rows.left_out": float(judged.left_out)}
    for kind, opponent in [("rival", rival), *zip(("dummy", "baseline"), simple, strict=False)]:
        run.metrics |= {f"{kind}.{key}": value for key, value in _finite(opponent.values).items()}
    run.tags |= note(usecase, answers.classes)
    _note(run, verdict, comparison, rival.name, reason)
    run.summary += f", {judged.sentence}" if judged.sentence else ""
    if usecase.lacks_baseline and champion is None:
        run.summary += "; no baseline to beat but a dummy: name evaluate.baseline, or write null"
    return verdict


def compared(run: Run, verdict: Verdict) -> dict[str, float]:
    """Return the scalar metrics that Kubeflow shows: challenger and champion (or dummy) on the same rows, the difference and its interval."""
    rival = "champion" if verdict.champion else "dummy"
    figures = {f"challenger.{name}": value for name, value in verdict.metrics.items()}
    figures |= {f"{rival}.{name}": run.metrics[f"rival.{name}"] for name in verdict.metrics if f"rival.{name}" in run.metrics}
    return figures | {name: run.metrics[name] for name in ("difference", "difference_low", "difference_high")}


def decide(usecase: UseCase, comparison: Comparison, rival: str, *, is_first: bool) -> tuple[bool, str]:
    """Decide, and say why in one sentence.

    Better means: the whole interval of the improvement lies above `evaluate.min_improvement`. A first model must also reach the floor,
    and a margin below 0 does not apply to it.
    """
    title = usecase.title()
    margin = max(usecase.evaluate.min_improvement, 0) if is_first else usecase.evaluate.min_improvement
    better = comparison.low > margin
    figures = (
        f"{title} {comparison.challenger:.4f} against {comparison.rival:.4f} of {rival}, improvement {comparison.difference:+.4f} "
        f"[{comparison.low:+.4f}, {comparison.high:+.4f}] at {usecase.evaluate.confidence:.0%} confidence"
    )
    sign = 1 if usecase.greater_is_better else -1
    if is_first and sign * comparison.challenger < sign * usecase.evaluate.floor:
        return False, f"no champion: the challenger misses the floor of {usecase.evaluate.floor} ({figures})"
    if is_first:
        return (
            better,
            f"the challenger becomes the first champion: {figures}"
            if better
            else f"no champion: the challenger is not better than {rival}: {figures}",
        )
    allowed = f" worse than {rival} by more than {-margin:g}, " if margin < 0 else ""
    if better:
        return True, f"the challenger becomes champion: {allowed and f'it is not{allowed}'}{figures}"
    return False, f"the champion stays: {allowed and f'the challenger may be{allowed}'}{figures}"


def _champion(usecase: UseCase) -> tuple[Version | None, str]:
    """Find the champion; one that is missing stops the run, unless the challenger is to be registered without a verdict."""
    try:
        return find_champion(usecase.name), ""
    except ChampionMissing as missing:
        if not usecase.evaluate.register_anyway:
            raise
        return None, str(missing)


def _asked(usecase: UseCase, table: str, champion: Version | None, judged: JudgedRows) -> tuple[JudgedRows, Rival | None]:
    """Ask the champion about the same rows; if it cannot answer, there is no verdict on them."""
    if champion is None or judged.refusal:
        return judged, None
    try:
        return judged, measured(usecase, f"version {champion.version}", judged.of(_answers(usecase, table, champion)))
    except NotComparable as error:
        if not usecase.evaluate.register_anyway:
            raise UserError(f"the champion, version {champion.version}, cannot be asked: {error}. {by_hand(usecase)}") from error
        return judged.refused(f"version {champion.version} cannot be asked: {error}"), None


def _answers(usecase: UseCase, table: str, champion: Version) -> Predictions:
    try:
        data = read(champion.uri)
    except NoSuchObject as error:
        raise NotComparable(str(error)) from error
    try:
        bundle = unpack(data, champion.digest)
        rows = batches(table, usecase, "test", bundle.manifest.inputs)
        return predict_in_batches(load_model(bundle.model), rows, usecase)
    except (UserError, EstimatorError) as error:  # of the model and the columns: nothing here needs a server
        raise NotComparable(str(error)) from error


def _sliced(usecase: UseCase, table: str) -> "pd.DataFrame":
    """Read the columns that the slices are cut by."""
    named = tuple(item for item in inputs(usecase) if item.name in usecase.evaluate.slices)
    return examples(table, usecase, "test", named or inputs(usecase)[:1])[0]


def _lacking(usecase: UseCase, answers: Predictions) -> str:
    """Name the class of which there is no test row."""
    number = np.bincount(answers.truth.astype(int), minlength=len(answers.classes)) if answers.classes else np.ones(1)
    if number.all():
        return "it is no finite number; choose another metric"
    cure = "deliver more data, change the split" + (" or set split.stratify: true" if usecase.split.by == "random" else "")
    return f"none has {usecase.target} = {plain(answers.classes[int(number.argmin())])}, at least 1 must; {cure}"


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _note(run: Run, verdict: Verdict, comparison: Comparison, rival: str, reason: str) -> None:
    compared = {"difference": comparison.difference, "difference_low": comparison.low, "difference_high": comparison.high}
    run.metrics |= {f"test.{name}": value for name, value in verdict.metrics.items()} | compared
    run.tags |= {
        "better": str(verdict.better).lower(),
        "reason": reason,
        "judged_against": rival,
        "plots": json.dumps([path.split("/")[1].removesuffix(".svg") for path in run.artifacts if path.startswith("plots/")]),
    }
    run.summary = reason.partition(":")[0] if verdict.champion == "" else reason.partition(", improvement")[0]
