"""The benchmarks still run: each says what it measures, and has a quick form where no cluster or peer is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.documents import ROOT

QUICK = (
    "benchmarks",
    *(f"benchmarks.data.{name}" for name in ("contract", "kafka", "objects", "postgresql", "training", "transform", "wide")),
    "benchmarks.serving.hostile",
)
WITH_WRK = ("benchmarks.serving.layers",)
OTHERS = ("benchmarks.rollouts", "benchmarks.serving")


def run(module: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *options]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("module", [*QUICK, *WITH_WRK, *OTHERS])
def test_help_says_what_is_measured_and_measures_nothing(module: str) -> None:
    done = run(module, "--help")

    assert done.stdout.startswith(f"usage: python -m {module} [-h]"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", [*QUICK, *(pytest.param(name, marks=pytest.mark.skipif(not shutil.which("wrk"), reason="needs wrk")) for name in WITH_WRK)]
)
def test_the_quick_form_runs_to_its_end_and_writes_no_record(module: str) -> None:
    records = {path: path.read_bytes() for path in ROOT.glob("benchmarks/**/*.json")}

    done = run(module, "--quick")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert {path: path.read_bytes() for path in records} == records


@pytest.mark.slow
def test_rollouts_ask_for_a_cluster_in_one_sentence(tmp_path: Path) -> None:
    done = run("benchmarks.rollouts", KUBECONFIG="", MLOPS_TEST_RIG=str(tmp_path / "none"))

    assert (done.returncode, done.stderr) == (1, "no Kubernetes: set KUBECONFIG, or start a kind or minikube cluster\n")
