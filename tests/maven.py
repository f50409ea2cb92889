"""Jars of Maven Central, for servers that no wheel has; they stay in the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[1] / ".local" / "jars"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>t</groupId><artifactId>t</artifactId><version>1</version>
<dependencies>{}</dependencies></project>"""
DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


def jars(folder: Path, *coordinates: str) -> None:
    """Have artifacts, each `group:name:version`, and what they need in a folder; the test is skipped if they cannot be downloaded."""
    if folder.exists():
        return
    if not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("it needs java and mvn")
    place = folder.parent / f"{uuid.uuid4().hex}"  # another worker may be at it, too
    place.mkdir(parents=True)
    (place / "pom.xml").write_text(POM.format("".join(DEPENDENCY.format(*each.split(":")) for each in coordinates)))
    command = ("mvn", "-q", "-B", "-f", str(place / "pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={place / 'jars'}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | {"MAVEN_OPTS": "-Xmx256m"})
        if done.returncode:
            pytest.skip(f"Maven Central does not give {', '.join(coordinates)}: {done.stdout[-300:]}")
        with suppress(OSError):
            (place / "jars").rename(folder)
    finally:
        shutil.rmtree(place)
