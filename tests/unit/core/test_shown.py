"""What strangers write never acts on a terminal, and no password in an address is shown."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from cli import serve
from components.deploy import __main__ as operator
from core import registry
from core.errors import UserError, shown
from core.mlflow_api import call
from core.postgresql import address
from core.reports import render
from core.storage import client
from local.display import Display, tail
from local.platform import Platform
from local.runner import Step
from serving.page import _table
from tests.unit import small
from tests.unit.models import version

ATTACK = "\x1b[2J\x1b]0;pwned\x07 \u202eabc \x9b \udc80"
ESCAPED = r"\x1b[2J\x1b]0;pwned\x07 \u202eabc \x9b \udc80"
SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        pytest.param(ATTACK, ESCAPED, id="control characters"),
        pytest.param("two\nlines,\ta tab, é 東京 🍷", "two\nlines,\ta tab, é 東京 🍷", id="ordinary text"),
        pytest.param(f"at http://alice:{SECRET}@host:9/x y@z", "at http://***@host:9/x y@z", id="user and password"),
        pytest.param(f"at http://alice:a/{SECRET}@host", "at http://***@host", id="a slash in the password"),
        pytest.param(f"at s3://{SECRET}@data/x.csv", "at s3://***@data/x.csv", id="a user alone"),
        pytest.param("at http://host:80/a@b", "at http://host:80/a@b", id="a port is no password"),
        pytest.param(f"https://h/x?a=1&Token={SECRET}&b=2", "https://h/x?a=1&Token=***&b=2", id="query"),
        pytest.param(f"https://h/x?api%5Fk%65y={SECRET}&x=1", "https://h/x?api%5Fk%65y=***&x=1", id="a name with escapes"),
        pytest.param(f"--set a=https://h/x?sig={SECRET}: wrong", "--set a=https://h/x?sig=***: wrong", id="a colon behind an address"),
        pytest.param(f"https://h/x?sig=a:{SECRET}: wrong", "https://h/x?sig=***: wrong", id="a colon in a secret"),
        pytest.param(f"host=db password={SECRET} port=1", "host=db password=*** port=1", id="conninfo"),
    ],
)
def test_text_is_masked_and_escaped(text: str, seen: str) -> None:
    assert shown(text) == seen
    assert shown(seen) == seen
    assert str(UserError(text)) == seen


def test_terminal_page_and_log_escape_control_characters(tmp_path: Path) -> None:
    screen = io.StringIO()
    log = tmp_path / "validate.log"
    log.write_text(f"first {ATTACK[:-1]}\n")
    step = Step("validate", 1.0, "", f"bad data: {ATTACK}", log)

    Display(Console(file=screen, force_terminal=False, width=200)).ended(step)
    pages = [render("title", "{{ value }}", value=ATTACK), _table([(ATTACK,)]), screen.getvalue(), tail(step)]

    for page in pages:
        assert r"\x1b[2J" in page
        assert not set(page) & set("\x1b\x07\u202e\x9b")


def from_this_machine(name: str) -> None:
    serve.history(name)


def from_a_pod(name: str) -> None:
    operator.main(["history", name])


@pytest.mark.parametrize("history", [from_this_machine, from_a_pod])
def test_the_history_shows_the_reasons_of_mlflow_escaped(
    platform: Platform, capsys: pytest.CaptureFixture[str], history: Callable[[str], None]
) -> None:
    name = small.usecase().name
    registry.promote(version(name, "sha256:ab"), ATTACK[:-2])

    history(name)

    assert capsys.readouterr().out.splitlines()[1].endswith(ESCAPED.removesuffix(r" \udc80"))


def test_an_unexpected_error_of_a_step_is_logged_escaped() -> None:
    code = (
        f"import core.tracking as t, contextlib\nwith t.record('x', {small.config()!r}) as run: raise ValueError({ATTACK!r} + 'http://a:{SECRET}@h')"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    printed = ended.stdout + ended.stderr

    assert ended.returncode == 1
    assert rb"ValueError: \x1b[2J" in ended.stderr and rb"failed: ValueError: \x1b[2J" in ended.stdout
    assert b"\x1b" not in printed and SECRET.encode() not in printed


def test_a_password_in_the_address_of_a_server_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://alice:{SECRET}@127.0.0.1:9")
    monkeypatch.setenv("PGHOST", f"127.0.0.1 password={SECRET}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://alice:{SECRET}@127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    attempts = {
        "MLFLOW_TRACKING_URI holds a name or password": lambda: call("GET", "experiments/search"),
        "PGHOST holds more than a host": lambda: address("mlops", None),
        "AWS_ENDPOINT_URL_S3 holds a name or password": client,
    }
    for start, attempt in attempts.items():
        with pytest.raises(UserError) as refused:
            attempt()
        assert str(refused.value).startswith(start)
        assert SECRET not in str(refused.value)
