"""load in the compiled pipeline: only where the config asks for it, after what decides which model serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from core.configfile import load
from pipelines.build import shape
from pipelines.steps import SOURCES
from tests.contract.compiling import compile_wine

LOADS = 'load=[{what: report, to: "s3://data/wine/"}]'


def graphs(path: Path) -> dict[str, dict[str, Any]]:
    """The tasks of each group."""
    pipeline = next(yaml.load_all(path.read_text(), yaml.CSafeLoader))
    return {name: component["dag"]["tasks"] for name, component in pipeline["components"].items() if "dag" in component}


def test_without_a_load_there_is_no_such_step(tmp_path: Path) -> None:
    tasks = {task for group in graphs(compile_wine(tmp_path)).values() for task in group}

    assert tasks.isdisjoint({"load", "load-2"})


@pytest.mark.parametrize("before", ["deploy", "serve"])
def test_a_load_follows_what_lets_a_model_serve_and_has_the_pages_of_the_steps(tmp_path: Path, before: str) -> None:
    path = compile_wine(tmp_path, LOADS)

    (group,) = (tasks for tasks in graphs(path).values() if before in tasks)
    (task,) = (task for name, task in group.items() if name.startswith("load"))
    assert task["dependentTasks"] == [before]
    assert task["inputs"]["artifacts"].keys() == {"table", "validation", "trials", "evaluation"}
    assert not task["cachingOptions"].get("enableCache")


def test_a_load_learns_the_addresses_and_credentials_of_its_servers(tmp_path: Path) -> None:
    path = compile_wine(tmp_path, LOADS)

    _, platform = yaml.load_all(path.read_text(), yaml.CSafeLoader)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    found = [settings for name, settings in executors.items() if name.startswith("exec-load")]
    assert len(found) == 2
    assert all(SOURCES in {item["secretName"] for item in settings["secretAsEnv"]} for settings in found)


def test_only_what_is_part_of_the_yaml_shapes_it() -> None:
    plain = load("wine")

    assert shape(load("wine", ["train.max_trials=3", "limits.memory=2GB"])) == shape(plain)
    for override in (LOADS, "limits.steps.train.cpu=1", "limits={steps: {train: {cpu: 1}}}", "spark={}", "train.refit=all"):
        assert shape(load("wine", [override])) != shape(plain)
