"""load in the compiled pipeline: only where the config asks for it, after what decides which model serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.build import compile_one, shaping
from pipelines.steps import SOURCES

LOADS = 'load=[{what: report, to: "s3://data/wine/"}]'


def graphs(path: Path) -> dict[str, dict[str, Any]]:
    """The tasks of each group."""
    pipeline = next(yaml.safe_load_all(path.read_text()))
    return {name: component["dag"]["tasks"] for name, component in pipeline["components"].items() if "dag" in component}


def test_without_a_load_there_is_no_such_step(tmp_path: Path) -> None:
    tasks = {task for group in graphs(compile_one("wine", tmp_path)).values() for task in group}

    assert tasks.isdisjoint({"load", "load-2"})


@pytest.mark.parametrize("before", ["deploy", "serve"])
def test_a_load_follows_what_lets_a_model_serve_and_has_the_pages_of_the_steps(tmp_path: Path, before: str) -> None:
    path = compile_one("wine", tmp_path, overrides=[LOADS])

    (group,) = (tasks for tasks in graphs(path).values() if before in tasks)
    (load,) = (task for name, task in group.items() if name.startswith("load"))
    assert load["dependentTasks"] == [before]
    assert load["inputs"]["artifacts"].keys() == {"table", "validation", "trials", "evaluation"}
    assert load["retryPolicy"]["maxRetryCount"] == 2
    assert not load["cachingOptions"].get("enableCache")


def test_a_load_learns_the_addresses_and_credentials_of_its_servers(tmp_path: Path) -> None:
    path = compile_one("wine", tmp_path, overrides=[LOADS])

    _, platform = yaml.safe_load_all(path.read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    found = [settings for name, settings in executors.items() if name.startswith("exec-load")]
    assert len(found) == 2
    assert all(SOURCES in {item["secretName"] for item in settings["secretAsEnv"]} for settings in found)


def test_an_override_shapes_the_pipeline_only_where_the_yaml_depends_on_it() -> None:
    given = ["train.max_trials=3", "load=[]", "limits.steps.train.cpu=1", "limits.memory=1GB"]

    assert shaping(given) == ["load=[]", "limits.steps.train.cpu=1"]
