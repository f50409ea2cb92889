"""The benchmarks still run: each says what it measures, and has a quick form where no cluster or peer is needed."""

import subprocess
import sys

import pytest

from tests.contract.documents import ROOT

QUICK = ("benchmarks", "benchmarks.data.contract", "benchmarks.data.objects", "benchmarks.data.postgresql", "benchmarks.data.training")
OTHERS = ("benchmarks.data.kafka", "benchmarks.data.transform", "benchmarks.rollouts", "benchmarks.serving", "benchmarks.serving.layers")


@pytest.mark.slow
@pytest.mark.parametrize("module", [*QUICK, *OTHERS])
def test_help_says_what_is_measured_and_measures_nothing(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.startswith(f"usage: python -m {module} [-h]")


@pytest.mark.slow
@pytest.mark.parametrize("module", QUICK)
def test_the_quick_form_runs_to_its_end(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--quick"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
