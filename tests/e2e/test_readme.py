"""The pages' commands, run for real in a copy of the checkout: they print what the pages show."""

import subprocess
from pathlib import Path

import pytest

from local.platform import Platform
from tests.contract.documents import README, RUN, WALK, checkout, equipped, follow, same


@pytest.mark.slow
def test_the_commands_of_the_readme_print_what_it_shows(home: Path, tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout")
    subprocess.run(["make", ".venv/.synced"], cwd=folder, check=True)  # as the first make does, with words that depend on the machine

    done = list(follow(README, folder))

    assert [command.line for command, _ in done] == ["make run", "make run", "make status", "make stop"]
    for command, printed in done:
        assert same(command.printed, printed), "\n".join([f"$ {command.line}", *printed])


@pytest.mark.slow
def test_the_walk_to_ones_own_use_case_prints_what_the_page_shows(platform: Platform, tmp_path: Path) -> None:
    done = list(follow(WALK, equipped(checkout(tmp_path / "checkout"))))

    assert len(done) > 10
    for command, printed in done:
        assert same(command.printed, printed), "\n".join([f"$ {command.line}", *printed])


def test_the_commands_of_the_page_on_runs_print_what_it_shows(platform: Platform, tmp_path: Path) -> None:
    for command, printed in follow(RUN, equipped(checkout(tmp_path / "checkout"))):
        assert same(command.printed, printed), "\n".join([f"$ {command.line}", *printed])
