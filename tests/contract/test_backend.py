"""What a real Kubeflow does otherwise than kfp's local runner, as it was seen on one: our steps take it as it comes.

Caching, security context, limits and what is upstream of deploy are in test_pipelines.py; logs and states of a run in test_follow.py.
"""

import uuid
from pathlib import Path

import pytest
from kfp import dsl

from components.report.component import report
from core import tracking
from core.config import STEPS
from core.configtext import parse
from core.tracking import Run
from local.platform import Platform
from pipelines.follow import steps
from pipelines.package import COMPILED
from tests.unit import small


@pytest.mark.parametrize(
    ("word", "failed"),
    [
        pytest.param("COMPLETE", False, id="success on a cluster"),
        pytest.param("SUCCEEDED", False, id="success on a laptop"),
        pytest.param("RUNNING", False, id="a gate that stayed closed"),
        pytest.param("FAILED", True, id="failure"),
    ],
)
def test_only_the_word_failed_means_that_the_run_failed(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str, failed: bool
) -> None:
    monkeypatch.setenv("KFP_RUN_ID", str(uuid.uuid4()))
    config, status = small.config(), dsl.PipelineTaskFinalStatus(word, "pipelines/1", "training", None, None)
    Run("serve", parse(config), live=True).close("FINISHED")  # the last step

    report.python_func(config, status, dsl.HTML(uri=str(tmp_path / "report.html")))

    assert ("The run failed." in (tmp_path / "report.html").read_text()) == failed
    assert tracking.get(tracking.parent(parse(config)))["info"]["status"] == ("FAILED" if failed else "FINISHED")


def test_the_steps_of_a_run_are_those_with_an_image_and_not_the_groups() -> None:
    assert steps(COMPILED / "wine-training.yaml") == set(STEPS) - {"load"}
