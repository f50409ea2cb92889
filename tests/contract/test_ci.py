"""CI: the script that people and the workflow run alike."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_ci_is_a_script_that_can_be_run_and_parsed() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=False).returncode == 0


def test_ci_goes_on_after_a_failed_stage_and_fails_at_the_end(repository: Path) -> None:
    (repository / "Makefile").write_text("lint:\n\t@false\ntest:\n\t@echo the tests ran\n")

    answer = ci(repository, "lint", "unit")

    assert answer.returncode == 1
    assert "the tests ran" in answer.stdout
    assert re.search(r"^lint +\d+ s  FAILED \(2\)\nunit +\d+ s  passed$", answer.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("recipe", "status"),
    [
        pytest.param("@echo same >pipelines/compiled/a.yaml", 0, id="as committed"),
        pytest.param("@echo other >pipelines/compiled/a.yaml", 1, id="changed"),
        pytest.param("@echo new >pipelines/compiled/b.yaml", 1, id="not committed"),
    ],
)
def test_ci_fails_when_the_compiled_yaml_is_not_what_the_code_gives(repository: Path, recipe: str, status: int) -> None:
    (repository / "Makefile").write_text(f"compile:\n\t{recipe}\n")

    answer = ci(repository, "compile")

    assert answer.returncode == status


def test_ci_that_is_ended_stops_what_it_started(repository: Path) -> None:
    (repository / "Makefile").write_text("test:\n\t@trap 'echo stopped; exit 1' TERM; touch started; sleep 60 & wait\n")
    variables = os.environ | {"TMPDIR": str(repository.parent)}

    with subprocess.Popen(
        ["bash", ".ci/run", "unit"], cwd=repository, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        deadline = time.monotonic() + 20
        while not (repository / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
        output = process.communicate(timeout=20)[0]

    assert process.returncode == 143
    assert "stopped" in output
    assert list(repository.parent.glob("tmp*")) == []


def test_the_workflow_runs_the_same_script_on_every_supported_python() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yaml").read_text())["jobs"]["ci"]
    supported = (ROOT / "pyproject.toml").read_text().split('requires-python = "')[1].split('"')[0]

    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    assert (supported, job["strategy"]["matrix"]["python"]) == (">=3.11,<3.14", ["3.11", "3.12", "3.13"])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with CI, a compiled pipeline and a Makefile yet to be written."""
    folder = tmp_path / "repository"
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    (folder / "pipelines" / "compiled").mkdir(parents=True)
    (folder / "pipelines" / "compiled" / "a.yaml").write_text("same\n")
    (folder / "Makefile").touch()
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def ci(repository: Path, *stages: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", ".ci/run", *stages], cwd=repository, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
