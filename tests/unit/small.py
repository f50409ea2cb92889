"""Small use cases, one of each task, and tables for them; `variant` changes a use case by dotted keys, as `--set` does."""

from __future__ import annotations

import copy
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.config import UseCase
from core.configfile import load
from core.configtext import parameter, parse
from core.featurecode import FOLDER

TREES = {"binary": "HistGradientBoostingClassifier", "multiclass": "HistGradientBoostingClassifier", "regression": "HistGradientBoostingRegressor"}
LINEAR = {"binary": "LogisticRegression", "multiclass": "LogisticRegression", "regression": "Ridge"}
METRIC = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "mae"}
FLOOR = {"binary": 0.6, "multiclass": 1.5, "regression": 10.0}


def document(task: str = "binary", /, **changes: Any) -> dict[str, Any]:
    """A use case with two candidates; `train__seed=7` changes train.seed."""
    made: dict[str, Any] = {
        "name": f"small-{uuid.uuid4().hex[:8]}",
        "description": "Does it hold for <every> row?",
        "task": task,
        "target": "answer",
        "metric": METRIC[task],
        "key": ["y"],
        "sources": {"rows": "rows.csv"},
        "contract": {"rows": {"columns": {"x": {"type": "number"}}}},
        "features": {"numeric": ["x", "y"], "categorical": ["kind"]},
        "split": {"by": "random"},
        "train": {
            "seed": 1,
            "max_trials": 3,
            "candidates": {
                "linear": {"estimator": f"sklearn.linear_model.{LINEAR[task]}"},
                "trees": {
                    "estimator": f"sklearn.ensemble.{TREES[task]}",
                    "preprocessing": {"numeric": "passthrough", "categorical": "ordinal"},
                    "parameters": {"max_iter": 10},
                    "search": {"learning_rate": {"float": [0.05, 0.5], "log": True}},
                },
            },
        },
        "evaluate": {"floor": FLOOR[task], "bootstrap": 200, "slices": ["kind"]},
    }
    return changed(made, **changes)


def config(task: str = "binary", /, **changes: Any) -> str:
    """The same as the text that a step gets: JSON is YAML."""
    return json.dumps(document(task, **changes))


def usecase(task: str = "binary", /, **changes: Any) -> UseCase:
    return parse(config(task, **changes))


def variant(which: str, /, **changes: Any) -> UseCase:
    """One of the real use cases, changed."""
    overrides = [f"{path.replace('__', '.')}={json.dumps(value)}" for path, value in changes.items()]
    return parse(parameter(which, load(which).text, overrides))


def changed(document: dict[str, Any], /, **changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(document)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = made
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = value
    return made


def columns(task: str = "binary", rows: int = 600, seed: int = 0) -> dict[str, Any]:
    """Columns with holes in each kind, a target that can be learnt from them, and the split."""
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(2, rows))
    kind = random.choice(["a", "b", "c"], rows)
    signal = 2 * x - y + (kind == "a") + random.normal(scale=0.7, size=rows)
    target = {
        "binary": (signal > 0).astype(np.int64),
        "multiclass": np.array(["high", "low", "mid"])[np.digitize(signal, [-1, 1])],
        "regression": 10 + 3 * signal,
    }[task]
    x[::11] = np.nan
    holes = [None if row % 13 == 5 else str(value) for row, value in enumerate(kind)]
    split = np.resize(["train", "train", "train", "validation", "test"], rows)
    return {"x": x, "y": y, "kind": holes, "answer": target, "split": split}


def written(path: Path, data: dict[str, Any]) -> str:
    pq.write_table(pa.table(data), path)
    return str(path)


def raw_wine(folder: Path) -> Path:
    """The real wines, raw, as extract writes them."""
    import duckdb

    path = folder / "wine.parquet"
    duckdb.execute(f"COPY (FROM read_csv('{FOLDER}/wine/wine.csv')) TO '{path}' (FORMAT parquet)")
    return path
