"""The compiled pipeline as a pod runs it: `python -m local.job FOLDER`; and what the runner leaves to Kubeflow."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kfp import compiler, dsl
from rich.console import Console

from core import storage
from core.configtext import parameter
from core.featurecode import FOLDER, code_digest
from local import job
from local.platform import Platform
from local.runner import Step, run
from pipelines.package import COMPILED
from tests.contract.compiling import in_a_thread
from tests.e2e.command import reserved

ROOT = Path(__file__).resolve().parents[2]
step = dsl.component(base_image="localhost/python:1", install_kfp_package=False)


class Silent:
    """Listens to no step."""

    def started(self, name: str) -> None:
        pass

    def ended(self, step: Step) -> None:
        pass


@step
def fail(count: str) -> None:
    from pathlib import Path

    with Path(count).open("a") as file:
        file.write("once ")
    print("failed: the file is not there: correct its name", flush=True)
    raise SystemExit(1)


@step
def image() -> None:
    import os

    print(f"done: {os.environ.get('IMAGE')}")


def package(tmp_path: Path, name: str, body: Any) -> Path:
    def pipeline(config: str = "") -> None:
        body()

    in_a_thread(lambda: compiler.Compiler().compile(dsl.pipeline(pipeline, name=name), str(tmp_path / f"{name}.yaml")))
    return tmp_path / f"{name}.yaml"


@pytest.fixture(autouse=True)
def environment(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restores what the runner sets."""
    monkeypatch.setenv("KFP_RUN_ID", "before")
    monkeypatch.setenv("IMAGE", "")


def test_a_step_here_does_not_claim_to_run_in_the_image_of_the_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE", "localhost/of-this-pod:1")

    def body() -> None:
        image().set_env_variable("IMAGE", "localhost/of-the-yaml:1")

    (shown,) = run(package(tmp_path, "imaged", body), "", str(uuid4()), tmp_path / "run", Silent())

    assert shown.summary == "localhost/of-this-pod:1"


def start(folder: Path, tmp_path: Path) -> subprocess.Popen[str]:
    settings = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "local.job", str(folder)]
    return subprocess.Popen(command, cwd=tmp_path, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def mounted(folder: Path, **changes: Any) -> Path:
    """What the Job's ConfigMap holds."""
    folder.mkdir()
    (folder / "wine-training.yaml").write_bytes((COMPILED / "wine-training.yaml").read_bytes())
    overrides = [f"{path.replace('__', '.')}={value}" for path, value in ({"train__max_trials": 2} | changes).items()]
    text = (FOLDER / "wine" / "config.yaml").read_text()
    (folder / "config.yaml").write_text(parameter("wine", text, overrides))
    (folder / "code.sha256").write_text(code_digest("wine"))
    return folder


@pytest.mark.slow
def test_a_run_in_a_pod_prints_a_plain_line_a_step_then_the_verdict_and_the_links(tmp_path: Path) -> None:
    with reserved("wine"):
        process = start(mounted(tmp_path / "mlops"), tmp_path)

        out, err = process.communicate(timeout=300)

    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("✓")][:5] == ["extract", "validate", "transform", "train", "evaluate"]
    assert "\x1b" not in out
    assert [line.split()[0] for line in lines[-3:]] == ["server", "MLflow", "report"]


def test_a_step_that_fails_in_a_pod_ends_it_with_1_and_its_log_is_kept_on_s3(tmp_path: Path) -> None:
    process = start(mounted(tmp_path / "mlops", sources__wine="gone.csv"), tmp_path)

    out, _ = process.communicate(timeout=300)

    assert process.returncode == 1
    assert "\n✗  extract " in out
    assert next(line for line in out.splitlines() if line.startswith("failed after ")).partition("extract: ")[2]
    log = next(line.removeprefix("log  ") for line in out.splitlines() if line.startswith("log  "))
    assert b"failed: " in storage.read(log)


def test_a_pod_notes_the_step_that_runs_or_failed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "termination-log"
    note.touch()
    monkeypatch.setattr(job, "TERMINATION_LOG", note)
    display = job.NotedDisplay(Console(quiet=True))
    noted = []

    for name, error in {"extract": "", "train": "train was killed", "report": ""}.items():
        display.started(name)
        noted.append(note.read_text())
        display.ended(Step(name, 1.0, "", error, tmp_path / "log"))
        noted.append(note.read_text())

    assert noted == ["extract", "", "train", "train", "train", "train"]


def test_a_config_that_is_wrong_in_a_pod_is_one_line(tmp_path: Path) -> None:
    process = start(mounted(tmp_path / "mlops", train__max_trials=0), tmp_path)

    out, err = process.communicate(timeout=120)

    assert (process.returncode, err) == (1, "")
    assert out.startswith("error: --set train.max_trials=0: ")


def test_a_pod_whose_image_has_other_code_runs_nothing(tmp_path: Path) -> None:
    folder = mounted(tmp_path / "mlops")
    (folder / "code.sha256").write_text(code_digest("flights"))
    process = start(folder, tmp_path)

    out, err = process.communicate(timeout=120)

    assert (process.returncode, err) == (1, "")
    assert out.startswith("error: the code in usecases/wine is another one in this image than where the run was submitted: build an image")


def test_the_digest_of_code_changes_with_a_files_content_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.featurecode.FOLDER", tmp_path)
    shutil.copytree(FOLDER / "wine", tmp_path / "wine")
    digests = [code_digest("wine")]

    features = tmp_path / "wine" / "features.py"
    features.write_text(features.read_text() + "\n")
    digests.append(code_digest("wine"))
    features.rename(features.with_name("columns.py"))
    digests.append(code_digest("wine"))
    (tmp_path / "wine" / "config.yaml").write_text("name: wine")

    assert len(set(digests)) == 3
    assert code_digest("wine") == digests[-1]


def test_a_pod_that_is_stopped_ends_its_step_and_says_so(tmp_path: Path) -> None:
    process = start(mounted(tmp_path / "mlops"), tmp_path)
    assert process.stdout
    while "extract" not in process.stdout.readline():
        pass

    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)

    assert process.returncode == 130
    assert out.splitlines()[-1] == "stopped"
