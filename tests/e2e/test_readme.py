"""The pages' commands, run for real in a copy of the checkout: they print what the pages show, in any folder and any shell."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from local.platform import Platform
from tests.contract.documents import README, ROOT, RUN, WALK, checkout, equipped, follow, same

# A shell with settings for everything that is none of ours.
DEAD = "http://127.0.0.1:9"
SHELL = {name: DEAD for proxy in ("http_proxy", "https_proxy", "all_proxy") for name in (proxy, proxy.upper())}
SHELL |= {"AWS_SESSION_TOKEN": "foreign", "AWS_PROFILE": "mine", "AWS_CONFIG_FILE": "/nowhere", "AWS_ENDPOINT_URL": DEAD}
SHELL |= {"MLFLOW_RUN_ID": "0" * 32, "MLFLOW_TRACKING_URI": DEAD, "MLFLOW_TRACKING_TOKEN": "foreign", "UVICORN_PORT": "9"}
SHELL |= {"PYTHONHOME": "/nowhere", "PYTHONWARNINGS": "error"}
SHELL |= {"TZ": "Asia/Kathmandu", "LANG": "C", "CDPATH": "/"}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as the first `make` leaves it, in a folder that a shell would stumble over; uv and its cache are this machine's."""
    folder = checkout(tmp_path_factory.mktemp("fresh") / "it's my [bücher]; $(touch touched)")
    if (ROOT / ".uv").exists():
        shutil.copytree(ROOT / ".uv", folder / ".uv", symlinks=True)
    uv = str(ROOT / ".uv" / "bin" / "uv") if (ROOT / ".uv").exists() else "uv"
    cache = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    # with words that depend on the machine
    subprocess.run(["make", ".venv/.synced"], cwd=folder, env=_shell(UV_CACHE_DIR=cache, LANG="C"), check=True)
    return folder


@pytest.mark.slow
def test_the_commands_of_the_readme_print_what_it_shows(home: Path, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("HOME", str(empty))
    monkeypatch.delenv("MPLCONFIGDIR")

    done = list(follow(README, fresh))

    assert [command.line for command, _ in done] == ["make run", "make run", "make status", "make stop"]
    for command, printed in done:
        assert same(command.printed, printed), "\n".join([f"$ {command.line}", *printed])
    assert list(empty.iterdir()) == []


@pytest.mark.slow
def test_a_run_succeeds_whatever_the_folder_and_the_shell_are(fresh: Path, tmp_path: Path) -> None:
    before, shell = _files(fresh), _shell(**SHELL, PYTHONPATH=str(tmp_path))
    for name in ("core", "yaml"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('foreign')")

    shown = subprocess.run(["sh", "-c", "umask 077 && make run USECASE=wine"], cwd=fresh, env=shell, capture_output=True, text=True)
    asked = subprocess.run(["sh", "-c", shown.stdout.splitlines()[-1]], env=shell, capture_output=True, text=True)
    subprocess.run(["make", "stop"], cwd=fresh, env=_shell(), check=True)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "the challenger becomes the first champion" in shown.stdout
    assert "predictions" in asked.stdout
    assert _files(fresh) == before  # a run needs no checkout that can be written


def _shell(**variables: str) -> dict[str, str]:
    """Return the environment of a shell without a home folder."""
    kept = ("PATH", "TMPDIR", "PIP_CERT", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in kept if name in os.environ} | variables


def _files(folder: Path) -> dict[str, float]:
    """When each file of a checkout was changed, but for those of the environment, the platform and Python's cache."""
    files = [path for path in folder.rglob("*") if not {".venv", ".uv", ".local", "__pycache__"} & set(path.parts) and path.is_file()]
    return {str(path): path.stat().st_mtime for path in files}


@pytest.mark.slow
def test_the_walk_to_ones_own_use_case_prints_what_the_page_shows(platform: Platform, tmp_path: Path) -> None:
    done = list(follow(WALK, equipped(checkout(tmp_path / "checkout"))))

    assert len(done) > 10
    for command, printed in done:
        assert same(command.printed, printed), "\n".join([f"$ {command.line}", *printed])


def test_the_commands_of_the_page_on_runs_print_what_it_shows(platform: Platform, tmp_path: Path) -> None:
    for command, printed in follow(RUN, equipped(checkout(tmp_path / "checkout"))):
        assert same(command.printed, printed), "\n".join([f"$ {command.line}", *printed])
