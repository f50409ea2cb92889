"""Outputs of a step by what they depend on: data, code and config. The same on a laptop, in a Job and on Kubeflow.

Kubeflow's own cache does not work here. Its key holds the identity of the input artifacts, and extract makes a new one in
each run. kfp's local cache does not know the code that a step imports. See docs/decisions/step-cache.md.
"""

import hashlib
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from core import storage
from core.errors import UserError
from core.featurecode import code_digest
from core.tracking import Run

T = TypeVar("T")

FOLDER = "cache"  # below the artifacts' address; its objects expire: k8s/base/buckets/provision.py
SWITCH = "MLOPS_CACHE"  # `off`: every step does its work
CODE = ("components", "core")  # what the steps that are cached run, beside the use case's own code


def fingerprint(run: Run, **inputs: Any) -> str:
    """Return the key of a step's outputs.

    Args:
        run: The step's notes.
        inputs: Content hash of each input artifact.

    Returns:
        SHA-256 of the inputs, the config, the code and the installed packages; empty if an input has no hash.
    """
    if not all(inputs.values()):
        return ""
    parts = [run.name, run.usecase.text, code_digest(run.usecase.name), _environment(), json.dumps(inputs, sort_keys=True)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def cached(run: Run, key: str, outputs: Mapping[str, str], work: Callable[[], T]) -> T:
    """Take a step's outputs from an earlier run, or do the work and keep them.

    The step's notes (parameters, metrics, artifacts of its MLflow run) are kept with the outputs. Object storage that does
    not answer costs the cache, not the step.

    Args:
        run: The step's notes.
        key: Its fingerprint; empty for no cache.
        outputs: Path of each output file by its name.
        work: Writes the outputs and returns a value that JSON can carry.

    Returns:
        What `work` returned, now or then.
    """
    if not key or not run.live or os.environ.get(SWITCH) == "off":
        return work()
    entry = f"{storage.root('pipelines')}/{FOLDER}/{run.usecase.name}/{run.name}/{key}"
    try:
        return _restore(run, entry, outputs)  # type: ignore[no-any-return]
    except storage.NoSuchObject:
        pass
    except (UserError, ValueError, KeyError) as error:
        print(f"the cache cannot be read, the step does its work: {error}", flush=True)
    value = work()
    try:
        _keep(run, entry, outputs, value)
    except UserError as error:
        print(f"the outputs are not cached: {error}", flush=True)
    return value


def _restore(run: Run, entry: str, outputs: Mapping[str, str]) -> Any:
    known = json.loads(storage.read(f"{entry}/entry.json"))
    for name, path in outputs.items():
        part = Path(f"{path}.part")
        try:
            storage.download(f"{entry}/{name}", part)
            if _digest(part) != known["sha256"][name]:
                raise UserError(f"{entry}/{name} is damaged")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    run.parameters |= known["parameters"]
    run.metrics |= known["metrics"]
    run.tags |= known["tags"] | {"cached_from": known["mlflow_run"]}
    run.artifacts |= {name: text.encode() for name, text in known["artifacts"].items()}
    run.datasets += known["datasets"]
    run.summary = f"{known['summary']}, from the cache"
    return known["value"]


def _keep(run: Run, entry: str, outputs: Mapping[str, str], value: Any) -> None:
    for name, path in outputs.items():
        storage.upload(Path(path), f"{entry}/{name}")
    notes = {
        "sha256": {name: _digest(Path(path)) for name, path in outputs.items()},
        "value": value,
        "mlflow_run": run.id,
        "parameters": run.parameters,
        "metrics": run.metrics,
        "tags": run.tags,
        "artifacts": {name: data.decode() for name, data in run.artifacts.items()},
        "datasets": run.datasets,
        "summary": run.summary,
    }
    storage.write(f"{entry}/entry.json", json.dumps(notes).encode())  # last: with it the entry is whole


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _environment() -> str:
    """Return the SHA-256 of our own code, the installed packages, Python and the processor's architecture."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256(f"{sys.version} {platform.machine()}".encode())
    for path in sorted(path for folder in CODE for path in (root / folder).glob("**/*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    packages = {path.name for folder in ("purelib", "platlib") for path in Path(sysconfig.get_path(folder)).glob("*.dist-info")}
    digest.update("\0".join(sorted(packages)).encode())
    return digest.hexdigest()
