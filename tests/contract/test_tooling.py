"""What stands round the code: the Makefile, the image's recipe, CI and the hooks."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TARGET = re.compile(r"^([a-z]+):.*## \S", re.MULTILINE)
INSTRUCTION = re.compile(r"^([A-Z]+) (.+?)(?<!\\)$", re.MULTILINE | re.DOTALL)


def make(*arguments: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *arguments], cwd=folder, env=inherited | environment, capture_output=True, text=True, check=False)


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def instructions() -> list[tuple[str, str]]:
    return INSTRUCTION.findall(re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))


def test_make_alone_prints_every_target_with_its_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())

    printed = make().stdout

    assert set(TARGET.findall(makefile)) == phony - {"help"}
    assert re.findall(r"^  ([a-z]+) +\S", printed, re.MULTILINE) == TARGET.findall(makefile)
    assert "##" not in printed


def test_a_target_is_one_or_two_lines() -> None:
    recipes = re.findall(r"^[a-z]+:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert len(recipes) > 10
    assert [recipe for recipe in recipes if recipe.count("\n") > 2] == []


@pytest.mark.parametrize("target", ["stop", "status"])
def test_before_there_is_an_environment_stop_and_status_say_so_and_make_none(tmp_path: Path, target: str) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)

    answer = make(target, folder=tmp_path)

    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == "Nothing is running: nothing was ever started here.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_overrides_and_the_use_case_reach_the_command() -> None:
    shown = make("-n", "run", "USECASE=wine", "SET=train.max_trials=3 train.seed=1").stdout

    assert ".venv/bin/mlops run wine --set 'train.max_trials=3' --set 'train.seed=1'" in shown


@pytest.mark.parametrize("minor", [10, 14])
def test_a_python_of_another_version_is_refused_in_one_sentence(checkout: Path, minor: int) -> None:
    other = f"import sys; sys.version_info = (3, {minor}, 0); exec(sys.argv[1])"
    (checkout / "other").write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{other}" "$2"\n')
    (checkout / "other").chmod(0o755)

    answer = environment(checkout, PYTHON="./other")

    assert answer.returncode == 1
    assert answer.stderr.startswith("./other is not Python 3.11, 3.12 or 3.13: install one (apt install python3, ")
    assert answer.stderr.count("\n") == 1


def test_a_python_that_can_fetch_no_uv_is_told_what_to_install(checkout: Path) -> None:
    (checkout / "bare").write_text(
        f'#!/bin/sh\n[ "$1" = -m ] && exit 1\ncase "$2" in *executable*) echo "$PWD/bare";; *) exec "{sys.executable}" "$@";; esac\n'
    )
    (checkout / "bare").chmod(0o755)

    answer = environment(checkout, PYTHON="./bare", PATH="/usr/bin:/bin")

    assert answer.returncode == 1
    assert answer.stderr.endswith("/bare has neither venv nor pip to fetch it: apt install python3-venv, or install uv\n")
    assert not (checkout / ".uv").exists()


def test_an_environment_that_was_cut_off_leaves_no_stamp(checkout: Path) -> None:
    uv = checkout / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "uv 1.0.0" && exit\nmkdir -p .venv && : >.venv/half && exec sleep 60\n')
    uv.chmod(0o755)
    (checkout / ".venv").mkdir()
    for name in ("pyvenv.cfg", ".synced"):
        (checkout / ".venv" / name).touch()
    variables = os.environ | {"PATH": f"{uv.parent}:{os.environ['PATH']}", "PYTHON": sys.executable}

    with subprocess.Popen(["sh", ".ci/environment"], cwd=checkout, env=variables, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + 20
        while not (checkout / ".venv" / "half").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGTERM)

    assert (checkout / ".venv" / "half").exists()
    assert not (checkout / ".venv" / ".synced").exists()


FAKE_UV = """#!/bin/sh
[ "$1" = --version ] && echo "uv 1.0.0" && exit
echo "$@" >>uv.log
[ "$1" != sync ] || mkdir -p .venv/bin
"""


@pytest.fixture
def asked(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Run make in a checkout that has its environment, with a uv in .uv that only notes what it is asked."""
    for name in ("Makefile", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, checkout)
    (checkout / ".uv" / "bin").mkdir(parents=True)
    (checkout / ".uv" / "bin" / "uv").write_text(FAKE_UV)
    (checkout / ".uv" / "bin" / "uv").chmod(0o755)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=checkout, check=True)
    (checkout / ".venv" / ".synced").touch()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # without a uv
    log = checkout / "uv.log"

    def run(*arguments: str) -> list[str]:
        log.unlink(missing_ok=True)
        answer = make(*arguments, f"PYTHON={sys.executable}", folder=checkout)
        assert answer.returncode == 0, answer.stderr
        return log.read_text().splitlines() if log.exists() else []

    return run


def install(checkout: Path, package: str) -> None:
    (folder,) = (checkout / ".venv").glob("lib/python3*/site-packages")
    (folder / f"{package}-1.0.dist-info").mkdir()
    (folder / f"{package}-1.0.dist-info" / "METADATA").write_text(f"Name: {package}\nVersion: 1.0\n")


def test_an_extra_that_is_installed_survives_the_next_make(checkout: Path, asked: Callable[..., list[str]]) -> None:
    assert asked(".venv/.synced") == []
    (first,) = asked("add", "EXTRAS=lightgbm")
    install(checkout, "lightgbm")
    again = asked(".venv/.synced", "EXTRAS=lightgbm")
    (checkout / "uv.lock").touch()
    (later,) = asked(".venv/.synced")

    assert first.startswith("sync --locked ")
    assert re.findall(r"--extra \S+", first) == re.findall(r"--extra \S+", later) == ["--extra lightgbm"]
    assert again == []


def test_a_package_is_added_to_the_lock_before_the_environment(asked: Callable[..., list[str]]) -> None:
    added, synced = asked("add", "PACKAGE=holidays>=0.5")

    assert re.fullmatch(r"add --no-sync .* holidays>=0\.5", added)
    assert synced.startswith("sync --locked ")
    assert "--extra" not in synced


def test_nothing_to_add_is_one_sentence(checkout: Path) -> None:
    shutil.copy(ROOT / "Makefile", checkout)

    answer = make("add", folder=checkout)

    assert answer.returncode == 2
    assert "name what to add: make add PACKAGE=holidays" in answer.stderr


def test_the_hooks_come_from_this_repository_alone() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())

    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    assert {hook["language"] for hook in config["repos"][0]["hooks"]} == {"system"}


def test_the_hook_for_large_files_names_the_one_over_a_megabyte(tmp_path: Path) -> None:
    (tmp_path / "small.csv").write_bytes(b"0" * 1_000_000)
    (tmp_path / "large file.csv").write_bytes(b"0" * 1_000_001)

    answer = subprocess.run(
        ["sh", ROOT / ".ci/large-files", "small.csv", "large file.csv"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (answer.returncode, answer.stderr) == (1, "large file.csv is over 1 MB: put it into object storage\n")


def test_the_image_is_built_in_stages_on_a_named_base_and_runs_as_a_numeric_user() -> None:
    stages = re.split(r"^FROM ", "\n".join(f"{name} {value}" for name, value in instructions()), flags=re.MULTILINE)
    names = [stage.splitlines()[0].split(" AS ")[-1] for stage in stages[1:]]
    finals = {name: INSTRUCTION.findall(stage) for name, stage in zip(names, stages[1:], strict=True) if name in ("spark", names[-1])}

    assert names[-1] == "runtime"  # which has no name of its own: it is what is built where no target is named
    assert {stage.split()[0] for stage in stages[1:]} - set(names) == {"${PYTHON_IMAGE}"}
    assert "ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm" in stages[0]
    for final in finals.values():
        assert [value for name, value in final if name == "USER"] == ["10001:10001"]
        assert "RUN" not in {name for name, _ in final}
    assert "ENTRYPOINT" not in {name for name, _ in instructions()}


def test_no_image_is_named_by_a_tag_that_moves() -> None:
    moving = [
        path
        for path in tracked()
        if path.suffix in {".yaml", ".yml"} or path.name in {"Dockerfile", "Makefile"}
        if re.search(r":latest\b", path.read_text())
    ]

    assert moving == []


def test_no_handwritten_file_names_a_package_registry() -> None:
    registry = re.compile(r"\b(pypi|pythonhosted|npmjs|proxy\.golang|crates|repo1?\.maven)\.(org|io|com|apache)", re.IGNORECASE)
    texts = {path: path.read_bytes().decode("utf-8", "ignore") for path in tracked() if path.name != "uv.lock"}

    assert [str(path.relative_to(ROOT)) for path, text in texts.items() if registry.search(text)] == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a space in its path, as far as the environment is concerned."""
    folder = tmp_path / "my checkout"
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    return folder


def environment(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", ".ci/environment"], cwd=checkout, env=os.environ | variables, capture_output=True, text=True, check=False)
