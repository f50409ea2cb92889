"""The README's commands, run for real: they print what it shows."""

from pathlib import Path

import pytest

from tests.contract.documents import README, checkout, follow, same


@pytest.mark.slow
def test_the_commands_of_the_readme_print_what_it_shows(home: Path, tmp_path: Path) -> None:
    done = list(follow(README, checkout(tmp_path / "checkout")))

    assert [command.line for command, _ in done][:2] == ["make run", "make run"]
    for command, printed in done:
        assert same(command.printed, printed), "\n".join([f"$ {command.line}", *printed])
