"""An environment for each peer, made once by uv from its pinned requirements, into a folder that git ignores."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.serving.contenders import ENVIRONMENTS, Contender
from benchmarks.serving.model import ROOT


def install(contender: Contender) -> str:
    """Make the environment of a contender if it is not there, with the project's own Python.

    Returns:
        Why that is not possible; empty when it is there.
    """
    if contender.requirements is None:
        return ""
    folder, wanted = ENVIRONMENTS / contender.key, hashlib.sha256(contender.requirements.read_bytes()).hexdigest()
    stamp = folder / ".requirements"
    if stamp.exists() and stamp.read_text() == wanted:
        return ""
    shutil.rmtree(folder, ignore_errors=True)
    reason = _make(folder, contender.requirements)
    if not reason:
        stamp.write_text(wanted)
    return reason


def _make(folder: Path, requirements: Path) -> str:
    python = Path(sys.base_prefix, "bin", "python3")
    install = ["pip", "install", "--quiet", "--compile-bytecode", "--only-binary=:all:", "--python", str(folder / "bin" / "python"), "-r"]
    for command in (["venv", "--quiet", "--python", str(python), str(folder)], [*install, str(requirements)]):
        ended = subprocess.run([_uv(), *command], env=os.environ | {"UV_PYTHON_DOWNLOADS": "never"}, capture_output=True, text=True, check=False)
        if ended.returncode:
            return f"does not install: {' '.join(ended.stderr.split())[:300]}"
    return ""


def _uv() -> str:
    found = shutil.which("uv") or ROOT / ".uv" / "bin" / "uv"
    if not os.access(found, os.X_OK):
        raise SystemExit("uv is missing: `make lint` fetches it")
    return str(found)
