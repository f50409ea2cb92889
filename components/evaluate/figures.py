"""What is drawn of an evaluation: ROC, precision and recall, calibration, confusion matrix, slices."""

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from core.classes import written
from core.config import UseCase
from core.metrics import METRICS, Predictions
from core.reports import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    import pandas as pd

POINTS = 200  # of a ROC curve
BINS = 10
MOST_SLICES = 12  # values of one column, the most frequent
LEAST_ROWS = 30  # below that, a slice's metric says nothing
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "",
    "text.parse_math": False,  # a class may be called $5-$10
    "axes.spines.top": False,
    "axes.spines.right": False,
}
STYLE |= {
    "axes.edgecolor": GREY,
    "axes.labelcolor": "#1f2937",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
}


class Slice(NamedTuple):
    """The metric on the rows with one value of one column."""

    column: str
    value: str
    rows: int
    challenger: float
    rival: float


def slices(usecase: UseCase, rows: "pd.DataFrame", challenger: Predictions, rival: Predictions) -> list[Slice]:
    """Measure both models on each slice that the config names and that has rows enough."""
    metric = METRICS[usecase.metric]
    first, second = metric.prepare(challenger), metric.prepare(rival)
    found = []
    for column in usecase.evaluate.slices:
        counts = rows[column].value_counts().head(MOST_SLICES)
        for value, count in counts[counts >= LEAST_ROWS].items():
            weights = np.asarray(rows[column] == value, dtype=np.float64)
            found.append(Slice(column, str(value), int(count), first(weights), second(weights)))
    return found


def roc(answers: Predictions) -> tuple[list[float], list[float], list[float]] | None:
    """Compute a binary classifier's ROC curve: false positive rates, true positive rates, thresholds; finite numbers all."""
    if answers.probabilities is None or answers.probabilities.shape[1] != 2:
        return None
    scores, hits, rows = _thresholds(answers)
    rates = [np.r_[0, counts / max(counts[-1], 1)].tolist() for counts in (rows - hits, hits)]
    return rates[0], rates[1], [1.0, *scores.tolist()]


def precision(answers: Predictions) -> tuple[list[float], list[float]] | None:
    """Compute a binary classifier's recall and precision, from the highest threshold to the lowest."""
    if answers.probabilities is None or answers.probabilities.shape[1] != 2:
        return None
    _, hits, rows = _thresholds(answers)
    return (hits / max(hits[-1], 1)).tolist(), (hits / rows).tolist()


def confusion(answers: Predictions) -> tuple[list[str], list[list[int]]] | None:
    """Count the rows of each true class (a line) by predicted class (a column)."""
    if answers.probabilities is None:
        return None
    count = answers.probabilities.shape[1]
    cells = np.bincount(answers.truth * count + answers.labels, minlength=count * count).reshape(count, count)
    return [written(name) for name in answers.classes], cells.tolist()


def draw(usecase: UseCase, answers: Predictions, measured: list[Slice], rival: str) -> dict[str, str]:
    """Draw every plot that fits the task, as SVG by name."""
    drawn = {}
    curve, precise, matrix, positive = roc(answers), precision(answers), confusion(answers), usecase.positive_name
    if curve and precise:
        drawn["roc"] = _svg(lambda axes: _roc(axes, curve[0], curve[1], positive))
        drawn["precision"] = _svg(lambda axes: _precision(axes, *precise, positive))
        drawn["calibration"] = _svg(lambda axes: _calibration(axes, answers, positive))
    if matrix:
        drawn["confusion"] = _svg(lambda axes: _confusion(axes, *matrix))
    else:
        drawn["residuals"] = _svg(lambda axes: _residuals(axes, answers, usecase.target))
    for column in usecase.evaluate.slices:
        chosen = [item for item in measured if item.column == column]
        if chosen:
            drawn[f"slices-{column}"] = _svg(lambda axes, chosen=chosen: _slices(axes, chosen, usecase.title(), rival))
    return drawn


def _thresholds(answers: Predictions) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return some thresholds of a binary classifier, and how many positive and how many of all rows are at or above each."""
    assert answers.probabilities is not None  # noqa: S101
    scores = answers.probabilities[:, 1]
    order = np.argsort(-scores, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(scores[order])), len(order) - 1]
    kept = ends[np.unique(np.linspace(0, len(ends) - 1, POINTS).astype(int))]
    return scores[order][kept], np.cumsum(answers.truth[order] == 1)[kept], kept + 1


def _svg(paint: Any) -> str:
    with rc_context(STYLE):
        figure = Figure(figsize=(4.4, 3.4), layout="constrained")
        paint(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _roc(axes: Axes, false: list[float], true: list[float], positive: str) -> None:
    axes.plot(false, true, color=BLUE, linewidth=1.8)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    axes.set(title=f"ROC of {positive}", xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01))


def _precision(axes: Axes, recall: list[float], precise: list[float], positive: str) -> None:
    axes.plot(recall, precise, color=BLUE, linewidth=1.8)
    axes.axhline(precise[-1], color=GREY, linewidth=0.8, linestyle="--")  # the share of the positive rows: what any ranking has
    axes.set(title=f"Precision and recall of {positive}", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.01))


def _calibration(axes: Axes, answers: Predictions, positive: str) -> None:
    """Compare predicted probability and share of positives, in bins of equal count."""
    assert answers.probabilities is not None  # noqa: S101
    predicted = answers.probabilities[:, 1]
    parts = [part for part in np.array_split(np.argsort(predicted, kind="stable"), BINS) if len(part)]
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    axes.plot([predicted[part].mean() for part in parts], [(answers.truth[part] == 1).mean() for part in parts], color=BLUE, marker="o", markersize=4)
    axes.set(title=f"Calibration of {positive}", xlabel="predicted probability", ylabel="share that came true", xlim=(0, 1), ylim=(0, 1))


def _confusion(axes: Axes, names: list[str], cells: list[list[int]]) -> None:
    counts = np.array(cells)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15)
    for (line, column), count in np.ndenumerate(counts):
        colour = "white" if shares[line, column] > 0.6 else "#1f2937"
        axes.text(column, line, f"{count:,}\n{shares[line, column]:.0%}", ha="center", va="center", color=colour)
    axes.set(title="Confusion matrix", xlabel="predicted", ylabel="true", xticks=range(len(names)), yticks=range(len(names)))
    axes.set_xticklabels(names)
    axes.set_yticklabels(names)


def _residuals(axes: Axes, answers: Predictions, target: str) -> None:
    axes.scatter(answers.truth, answers.labels, s=9, color=BLUE, alpha=0.5, linewidths=0)
    bounds = [float(min(answers.truth.min(), answers.labels.min())), float(max(answers.truth.max(), answers.labels.max()))]
    axes.plot(bounds, bounds, color=GREY, linewidth=0.8, linestyle="--")
    axes.set(title="Predicted and true", xlabel=f"true {target}", ylabel=f"predicted {target}")


def _slices(axes: Axes, chosen: list[Slice], title: str, rival: str) -> None:
    places = np.arange(len(chosen))
    axes.scatter([item.rival for item in chosen], places, color=ORANGE, s=22, label=rival, zorder=2)
    axes.scatter([item.challenger for item in chosen], places, color=BLUE, s=22, label="challenger", zorder=3)
    axes.hlines(places, [item.rival for item in chosen], [item.challenger for item in chosen], color=GREY, linewidth=0.8, zorder=1)
    axes.set(xlabel=f"{title} by {chosen[0].column} (rows)", yticks=places)
    axes.set_yticklabels([f"{item.value} ({item.rows:,})" for item in chosen])
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
