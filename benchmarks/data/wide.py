"""Tables of many columns, from Parquet to a tested server: CPU seconds and peak memory of each step, and how they grow with the columns.

Run it with `.venv/bin/python -m benchmarks.data.wide`. It takes about five minutes.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.options import is_quick
from benchmarks.steps import recorded
from core.featurecode import FOLDER

ROOT = FOLDER.parent
MLOPS = str(ROOT / ".venv" / "bin" / "mlops")
NAME = "benchmark-wide"  # of the use case, which is there for the time of the benchmark
ROWS, COLUMNS = 10_000, (1_000, 10_000)
QUICK_ROWS, QUICK_COLUMNS = 500, (20, 200)
GROUP = 2_048  # rows of a row group: a writer of wide tables keeps it small
SIGNAL = 20  # columns that tell of the target
CONFIG = """\
name: {name}
description: Numbers that are made up.
task: binary
target: answer
key: [id]
metric: roc_auc
sources: {{rows: rows.parquet}}
contract:
  rows:
    columns:
      id: {{type: integer}}
      answer: {{type: integer}}
{contract}
features: {{numeric: [{features}]}}
split: {{by: random}}
train:
  max_trials: 1
  candidates:
    linear: {{estimator: sklearn.linear_model.LogisticRegression, parameters: {{max_iter: 20}}}}
evaluate: {{floor: 0.5}}
limits:
  memory: 4GB
  steps: {{train: {{memory: 8Gi}}}}
"""


def main() -> None:
    """Run the narrower and the wider table, and print their figures beside each other."""
    rows, sizes = (QUICK_ROWS, QUICK_COLUMNS) if is_quick("benchmarks.data.wide", __doc__) else (ROWS, COLUMNS)
    narrow, wide = (_measured(rows, columns) for columns in sizes)
    table = Table("step", *(f"{columns:,}: {unit}" for columns in sizes for unit in ("CPU s", "peak MiB")), "CPU, times", title=f"{rows:,} rows")
    for step, figures in wide.items():
        before = narrow[step]
        cells = [f"{one[name]:.{digits}f}" for one in (before, figures) for name, digits in (("cpu_seconds", 1), ("peak_memory_mib", 0))]
        table.add_row(step, *cells, f"{figures['cpu_seconds'] / before['cpu_seconds']:.1f}")
    Console().print(table)


def _measured(rows: int, columns: int) -> dict[str, dict[str, float]]:
    """Run a use case of so many columns on a platform of its own, and return what each step took."""
    folder = FOLDER / NAME
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"MLOPS_HOME": home}
        try:
            _make(folder, rows, columns)
            subprocess.run([MLOPS, "run", NAME], env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            return recorded(home)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([MLOPS, "platform", "down"], env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _make(folder: Path, rows: int, columns: int) -> None:
    """Write the use case: an id, a target, and numbers of which the first ones tell of it."""
    random, names = np.random.default_rng(0), [f"x{index}" for index in range(columns - 2)]
    answer = random.integers(0, 2, rows)
    values = {name: random.normal(size=rows).round(4) + answer * (0.3 if index < SIGNAL else 0) for index, name in enumerate(names)}
    folder.mkdir()
    pq.write_table(pa.table({"id": np.arange(rows), "answer": answer} | values), folder / "rows.parquet", row_group_size=GROUP)
    contract = "\n".join(f"      {name}: {{type: number}}" for name in names)
    (folder / "config.yaml").write_text(CONFIG.format(name=NAME, contract=contract, features=", ".join(names)))
    (folder / "features.py").write_text("def features(rows):\n    return rows\n")


if __name__ == "__main__":
    main()
