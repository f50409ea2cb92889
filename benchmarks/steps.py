"""What the steps of pipeline runs took, as MLflow has it."""

import os
from typing import Any


def recorded(home: str) -> dict[str, dict[str, float]]:
    """Return the metrics of each step: of several runs, those of the first.

    Args:
        home: MLOPS_HOME of the platform, whose servers run.
    """
    os.environ["MLOPS_HOME"] = home
    from local.environment import enter
    from local.state import load

    enter(load())
    from mlflow import MlflowClient

    client = MlflowClient()
    experiments = [found.experiment_id for found in client.search_experiments()]
    found: dict[str, Any] = {}
    for run in client.search_runs(experiments, "tags.step != ''", order_by=["start_time ASC"]):
        found.setdefault(run.info.run_name, run.data.metrics)
    return found
