"""Rows for a target, sent by a process of its own that is killed at a point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from components.load.request import Request
from components.load.targets import send
from core.targets import Target


def killed(target: dict[str, Any], request: Request, place: str, moment: str, call: int = 1) -> None:
    """Let a process send rows and kill itself.

    Args:
        target: Where to.
        request: The rows.
        place: A function of a module, or a class's: `module:function`.
        moment: before or after the call; within: when it has yielded its first.
        call: Which call.
    """
    given = [json.dumps(target), request.usecase, request.run, str(request.rows), request.memory, place, moment, str(call)]
    ended = subprocess.run([sys.executable, "-m", "tests.unit.components.killed", *given], capture_output=True, text=True, timeout=100)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def main(target: str, usecase: str, run: str, rows: str, memory: str, place: str, moment: str, call: str) -> None:
    module, _, function = place.partition(":")
    owner, _, name = function.rpartition(".")
    holder = getattr(import_module(module), owner) if owner else import_module(module)
    original, calls = getattr(holder, name), count(1)

    def deadly(*given: Any, **named: Any) -> Any:
        is_the_one = next(calls) == int(call)
        if is_the_one and moment == "before":
            die()
        found = original(*given, **named)
        if is_the_one and moment == "after":
            die()
        return last_words(found) if moment == "within" else found

    setattr(holder, name, deadly)
    send(TypeAdapter[Any](Target).validate_python(json.loads(target)), Request(usecase, run, Path(rows), memory))


def last_words(items: Iterator[Any]) -> Iterator[Any]:
    yield next(items)
    die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
