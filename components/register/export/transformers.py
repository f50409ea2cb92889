"""Fitted scikit-learn transformers, as functions of the inputs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from components.register.export.columns import Column, Step, per_column
from components.register.export.errors import NotExportable
from components.register.export.text import Vocabularies

Columns = list[Column]


def transformed(transformer: Any, columns: Sequence[Column], vocabularies: Vocabularies) -> Columns:
    """Return the columns that a transformer gives.

    Raises:
        NotExportable: A column of them is not a function of one input, or the transformer is not known here.
    """
    kind = type(transformer).__name__
    if transformer == "passthrough" or (kind == "FunctionTransformer" and transformer.func is None):
        return list(columns)
    if kind == "Pipeline" and not (columns and _are_text(columns)):
        for _, step in transformer.steps:
            columns = transformed(step, columns, vocabularies) if step is not None else columns
        return list(columns)
    if kind == "ColumnTransformer":
        return _selected(transformer, columns, vocabularies)
    if columns and _are_text(columns):
        return vocabularies.tabulated(transformer, columns)
    if any(column.is_text and column.table is None for column in columns):
        raise NotExportable(f"{kind} reads numbers and text together")
    if kind not in NUMERIC:
        raise NotExportable(f"the transformer {kind} has no exact ONNX form here")
    return NUMERIC[kind](transformer, list(columns))


def _are_text(columns: Sequence[Column]) -> bool:
    return all(column.is_text and column.table is None for column in columns)


def _selected(transformer: Any, columns: Sequence[Column], vocabularies: Vocabularies) -> Columns:
    """Give each part of a ColumnTransformer its columns; the results stand side by side."""
    found: Columns = []
    for name, part, _ in transformer.transformers_:
        places = transformer._transformer_to_input_indices[name]
        if part != "drop" and len(places):
            found += transformed(part, [columns[place] for place in places], vocabularies)
    return found


def _standard(scaler: Any, columns: Columns) -> Columns:
    return per_column(columns, ("sub", scaler.mean_ if scaler.with_mean else None), ("div", scaler.scale_ if scaler.with_std else None))


def _robust(scaler: Any, columns: Columns) -> Columns:
    return per_column(columns, ("sub", scaler.center_ if scaler.with_centering else None), ("div", scaler.scale_ if scaler.with_scaling else None))


def _min_max(scaler: Any, columns: Columns) -> Columns:
    found = per_column(columns, ("mul", scaler.scale_), ("add", scaler.min_))
    low, high = scaler.feature_range
    return [column.then(Step("clip", value=high, old=low)) for column in found] if scaler.clip else found


def _max_abs(scaler: Any, columns: Columns) -> Columns:
    found = per_column(columns, ("div", scaler.scale_))
    return [column.then(Step("clip", value=1.0, old=-1.0)) for column in found] if getattr(scaler, "clip", False) else found


def _imputed(imputer: Any, columns: Columns) -> Columns:
    """Fill what is missing; a column that was empty in training is left out unless `keep_empty_features`."""
    is_nan = np.isnan(imputer.missing_values)
    filled = [
        column.then(Step("fill", float(value)) if is_nan else Step("replace", float(value), float(imputer.missing_values)))
        for column, value in zip(columns, imputer.statistics_, strict=True)
        if imputer.keep_empty_features or not np.isnan(value)
    ]
    if imputer.indicator_ is None:
        return filled
    mark = Step("mark") if is_nan else Step("same", old=float(imputer.missing_values))
    return filled + [columns[place].then(mark) for place in imputer.indicator_.features_]


NUMERIC: dict[str, Callable[[Any, Columns], Columns]] = {
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "SimpleImputer": _imputed,
}
