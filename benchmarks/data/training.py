"""Training on much data: CPU seconds, wall seconds and peak memory of three estimators, held against what was computed beforehand.

`python -m benchmarks.data.training`; every fit is the train step's own function in a process of its own, on generated rows.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.options import is_quick

ROWS = (300_000, 3_000_000)
NUMBERS, TEXTS = 15, (3, 12, 40, 100, 200, 600)
ORDINAL = {"numeric": "passthrough", "categorical": "ordinal"}
CANDIDATES: dict[str, dict[str, Any]] = {
    "HistGradientBoosting, 5 trees": {
        "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
        "preprocessing": ORDINAL,
        "parameters": {"max_iter": 5, "early_stopping": False},
    },
    "LightGBM, 5 trees": {"estimator": "lightgbm.LGBMClassifier", "preprocessing": ORDINAL, "parameters": {"n_estimators": 5}},
    "SGD, one-hot, in batches": {"estimator": "sklearn.linear_model.SGDClassifier", "parameters": {"loss": "log_loss"}},
}
MEMORY = {"SGD, one-hot, in batches": "680Mi"}  # too little for 300,000 rows at once


def main() -> None:
    """Measure and print a line a fit."""
    sizes, candidates = ((3_000,), [*CANDIDATES][:1]) if is_quick("benchmarks.data.training", __doc__) else (ROWS, [*CANDIDATES])
    print(f"{'rows':>11}  {'estimator':<32}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'expected MB':>13}  ROC AUC")
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            _generate(Path(folder, "table.parquet"), rows)
            for name in candidates:
                printed = subprocess.check_output([sys.executable, "-m", __spec__.name, folder, name], text=True)
                found = json.loads(printed.splitlines()[-1])
                print(
                    f"{rows:>11,}  {name:<32}{found['wall']:>8.1f}{found['cpu']:>8.1f}{found['peak']:>9,.0f}{found['expected']:>13,.0f}  "
                    f"{found['value']:.4f}",
                    flush=True,
                )


def _generate(path: Path, rows: int) -> None:
    """Write a table of 21 columns, nine of ten rows to learn from."""
    numbers = ", ".join(f"hash(i * 31 + {place}) % 1000003 / 1000003 AS n{place}" for place in range(NUMBERS))
    texts = ", ".join(f"'c' || (hash(i * 17 + {place}) % {count}) AS c{place}" for place, count in enumerate(TEXTS))
    split = "CASE i % 20 WHEN 0 THEN 'validation' WHEN 1 THEN 'test' ELSE 'train' END AS split"
    answer = "(hash(i) % 1000 / 1000 < hash(i * 31) % 1000003 / 1000003)::INT AS answer"
    made = f"SELECT {numbers}, {texts}, {answer}, {split} FROM range({rows}) t(i)"  # noqa: S608
    duckdb.execute(f"COPY ({made}) TO '{path}' (FORMAT parquet)")


def _fit(folder: Path, name: str) -> dict[str, float]:
    """Search on a sample with one trial, then fit on all rows, in this process."""
    from components.train.fit import fit
    from core.configtext import parse
    from core.tracking import Run

    run = Run("train", parse(json.dumps(_document(name))))
    started = time.perf_counter()
    value = fit(run, str(folder / "table.parquet"), str(folder / "model.skops"), str(folder / "trials.html"))
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    return {
        "value": value,
        "wall": time.perf_counter() - started,
        "cpu": time.process_time(),
        "peak": peak / 1e6,
        "expected": run.metrics["expected_memory_mib"] * 2**20 / 1e6,
    }


def _document(name: str) -> dict[str, Any]:
    return {
        "name": "large",
        "description": "Rows that are made up.",
        "task": "binary",
        "target": "answer",
        "key": ["i"],
        "metric": "roc_auc",
        "sources": {"rows": "rows.csv"},
        "contract": {"rows": {"columns": {"i": {"type": "integer"}}}},
        "features": {"numeric": [f"n{place}" for place in range(NUMBERS)], "categorical": [f"c{place}" for place in range(len(TEXTS))]},
        "split": {"by": "random"},
        "train": {"max_trials": 1, "sample_rows": 20_000, "candidates": {"only": CANDIDATES[name]}},
        "evaluate": {"floor": 0.5},
        "limits": {"steps": {"train": {"memory": MEMORY.get(name, "8Gi")}}},
    }


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(_fit(Path(sys.argv[1]), sys.argv[2])))
    else:
        main()
