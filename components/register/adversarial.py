"""Rows that try to make two engines differ: what is missing, unknown, extreme, or exactly where a tree splits."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.bundle import Bundle, frame

if TYPE_CHECKING:
    import pandas as pd

FAR = 1e30
EXTREMES = (np.nan, 0.0, -0.0, 1e-300, FAR, -FAR)
ODD_TEXTS = (None, "", " ", "nan", "None", "\x00", "a value that training never saw", "żółć ✈ 🛫")
MOST = 200  # splits or texts of one column
CELLS = 20_000_000  # values of all rows together
BLOCK = 2_000_000  # values of one table
BASES = 7  # rows of the holdout that the odd values are put into


def adversarial(bundle: Bundle, holdout: "pd.DataFrame") -> Iterator["pd.DataFrame"]:
    """Yield tables: rows of the holdout with one odd value each, for each input; then rows that are odd in all inputs.

    Of very many inputs, several are odd in the same row: the number of cells stays bounded.

    Args:
        bundle: With the graph, whose splits and vocabularies are tried, too.
        holdout: The test rows' inputs.
    """
    inputs, odd = bundle.manifest.inputs, _odd_values(bundle, holdout)
    bases = holdout.iloc[np.linspace(0, len(holdout) - 1, BASES).astype(int)].reset_index(drop=True)
    lanes = 1 + len(inputs) * sum(map(len, odd.values())) // CELLS
    pairs = [[(name, value) for name in list(odd)[lane::lanes] for value in odd[name]] for lane in range(lanes)]
    height = max(1, BLOCK // len(inputs))
    for start in range(0, max(map(len, pairs)), height):
        some = [lane[start : start + height] for lane in pairs]
        rows = bases.iloc[np.resize(np.arange(len(bases)), max(map(len, some)))]
        columns = {item.name: rows[item.name].tolist() for item in inputs}
        for lane in some:
            for row, (name, value) in enumerate(lane):
                columns[name][row] = value
        yield frame(columns, inputs)
    longest = max(len(values) for values in odd.values())
    yield frame({name: [values[row % len(values)] for row in range(longest)] for name, values in odd.items()}, inputs)


def _odd_values(bundle: Bundle, holdout: "pd.DataFrame") -> dict[str, list[Any]]:
    """Return the values that each input is tried with."""
    thresholds, texts = splits(bundle.onnx)
    odd: dict[str, list[Any]] = {}
    for place, item in enumerate(bundle.manifest.inputs):
        if item.datatype == "BYTES":
            odd[item.name] = [*ODD_TEXTS, *texts.get(item.name, [])[:MOST]]
        else:
            odd[item.name] = [*EXTREMES, *_beyond(holdout[item.name].to_numpy()), *_around(thresholds.get(place, np.empty(0)))]
    return odd


def splits(onnx: bytes) -> tuple[dict[int, NDArray[np.float64]], dict[str, list[str]]]:
    """Return where the trees of a graph split each input, by its place, and the texts that it knows, by the input's name."""
    from onnx import load_from_string, numpy_helper

    model = load_from_string(onnx)
    found: dict[int, NDArray[np.float64]] = {}
    for node in (node for node in model.graph.node if node.op_type == "TreeEnsemble"):
        attributes = {attribute.name: attribute for attribute in node.attribute}
        features, values = np.array(attributes["nodes_featureids"].ints), numpy_helper.to_array(attributes["nodes_splits"].t)
        found |= {int(place): np.unique(values[(features == place) & np.isfinite(values)]) for place in np.unique(features)}
    return found, json.loads(next(entry.value for entry in model.metadata_props if entry.key == "vocabularies"))


def _beyond(values: NDArray[np.float64]) -> list[float]:
    """Return the least and the greatest number that was seen, and numbers far beyond."""
    known = values[np.isfinite(values)]
    if not len(known):
        return []
    return [float(value) for edge in (known.min(), known.max()) for value in (edge, edge * 1000, edge * -1000)]


def _around(thresholds: NDArray[np.float64]) -> Sequence[float]:
    """Return thresholds and the numbers next to them, among the doubles and among the float32."""
    thresholds = thresholds[np.abs(thresholds) < FAR]
    some = thresholds[np.linspace(0, len(thresholds) - 1, min(len(thresholds), MOST)).astype(int)]
    single = some.astype(np.float32)
    near = [some, np.nextafter(some, -np.inf), np.nextafter(some, np.inf)]
    near += [one.astype(np.float64) for one in (single, np.nextafter(single, np.float32(-np.inf)), np.nextafter(single, np.float32(np.inf)))]
    return [float(value) for value in np.unique(np.concatenate(near)) if abs(value) < FAR]
