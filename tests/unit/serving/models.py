"""Small real models, trained and packed as the steps do it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from components.register.export import export
from components.register.typical import typical
from core import storage
from core.bundle import Bundle, Datatype, Golden, Input, Manifest, Output, digest, dump_model, frame, pack

Columns = dict[str, list[Any]]
BUCKET = "models"
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Trained:
    """A fitted pipeline, the rows it was made of and the bundle it was packed into, for scikit-learn."""

    pipeline: Any
    columns: Columns
    bundle: Bundle

    @cached_property
    def onnx(self) -> Bundle:
        """The same for ONNX Runtime."""
        manifest = replace(self.bundle.manifest, engine="onnx")
        return replace(self.bundle, manifest=manifest, **export(self.pipeline, manifest.inputs)._asdict())

    def bundles(self) -> list[Bundle]:
        return [self.onnx, self.bundle]

    def rows(self, *numbers: int) -> list[dict[str, Any]]:
        return [{name: values[number] for name, values in self.columns.items()} for number in numbers]

    def answer(self, rows: list[dict[str, Any]], method: str = "predict_proba") -> Any:
        table = frame({name: [row[name] for row in rows] for name in self.columns}, self.bundle.manifest.inputs)
        return getattr(self.pipeline, method)(table).tolist()

    def same(self, answers: Any, rows: list[dict[str, Any]], method: str = "predict_proba") -> bool:
        """Whether these are the answers of training: labels exactly, numbers but for the engine's rounding."""
        expected = self.answer(rows, method)
        if method == "predict" and self.bundle.manifest.task != "regression":
            return bool(answers == expected and list(map(type, answers)) == list(map(type, expected)))
        given, wanted = np.array(answers, dtype=float), np.array(expected)
        return given.shape == wanted.shape and np.allclose(given, wanted, rtol=TOLERANCE, atol=TOLERANCE)


def publish(bundle: Bundle) -> tuple[str, str]:
    """Put the bundle where the register step puts it; return its address and digest."""
    data = pack(bundle)
    uri = f"s3://{BUCKET}/{bundle.manifest.name}/{digest(data).removeprefix('sha256:')}.zip"
    storage.write(uri, data)
    return uri, digest(data)


def columns_of(numbers: pd.DataFrame, texts: list[str | None]) -> Columns:
    """Numbers with every seventh missing, and a text column named `region`."""
    columns = {str(name): [None if row % 7 == place else value for row, value in enumerate(numbers[name])] for place, name in enumerate(numbers)}
    columns["region"] = [texts[row % len(texts)] for row in range(len(numbers))]
    return columns


def trained(name: str, task: Any, columns: Columns, target: Any, model: Any, label: Datatype) -> Trained:
    """Fit, and pack as the register step does."""
    inputs = tuple(Input(column, "BYTES" if column == "region" else "FP64") for column in columns)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="constant", fill_value="missing"), OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    preparation = ColumnTransformer([("numbers", numbers, [c for c in columns if c != "region"]), ("texts", texts, ["region"])])
    pipeline = Pipeline([("preparation", preparation), ("model", model)]).fit(frame(columns, inputs), target)
    classes = None if task == "regression" else tuple(pipeline.classes_.tolist())
    outputs = (Output("predict", label),) + (() if classes is None else (Output("predict_proba", "FP64"),))
    manifest = Manifest(name, task, "target", "scikit-learn", inputs, outputs, classes, {"scikit-learn": "1.9.1"}, typical(frame(columns, inputs)))
    rows = [{column: values[number] for column, values in columns.items()} for number in range(0, 60, 3)]
    table = frame({column: [row[column] for row in rows] for column in columns}, inputs)
    proba = None if classes is None else pipeline.predict_proba(table).tolist()
    return Trained(pipeline, columns, Bundle(manifest, Golden(rows, pipeline.predict(table).tolist(), proba), dump_model(pipeline)))


def wrong_golden(bundle: Bundle) -> Bundle:
    """The same model with a golden row that training answered otherwise."""
    proba = [list(row) for row in bundle.golden.predict_proba or []]
    proba[4][0] += 1e-6
    return replace(bundle, golden=replace(bundle.golden, predict_proba=proba))
